//! What the strategies have in common whose credential comes of an exchange.

use super::subject::Subject;
use crate::decision::{Decision, Obtain, ProviderToken, Request, Strategy};
use crate::exchange::ExchangeId;
use crate::observe::counters::Outcome;

/// The header that carries a bearer token, unless a configuration names another.
pub(super) const AUTHORIZATION: &str = "authorization";

/// A token is obtained for the subject's.
#[derive(Debug)]
pub(super) struct Exchanged {
    /// What is obtained, and where.
    pub exchange: ExchangeId,
    /// Whose token is exchanged.
    pub subject: Subject,
    /// Whose token goes along as the actor's (RFC 8693 §2.1).
    pub actor: Option<ProviderToken>,
    /// The header that carries `Bearer <obtained token>`, in lower case.
    pub header: String,
}

impl Strategy for Exchanged {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        let subject = match self.subject.source(request) {
            Ok(subject) => subject,
            Err(refusal) => return Decision::Refuse(refusal, None),
        };
        let actor = match &self.actor {
            None => None,
            Some(wanted) => match request.provider_token(wanted) {
                Ok(actor) => Some(actor),
                Err(refusal) => return Decision::Refuse(refusal, Some(wanted.name())),
            },
        };
        Decision::Obtain(Obtain {
            subject,
            actor,
            exchange: Some(self.exchange),
            header: &self.header,
            outcome: Outcome::Exchanged,
        })
    }

    fn header(&self) -> Option<&str> {
        Some(&self.header)
    }

    fn provider(&self) -> Option<&str> {
        self.subject.provider()
    }

    fn exchanges_identity_token(&self) -> bool {
        let of_actor = self.actor.as_ref().and_then(|actor| actor.exchange);
        self.subject.exchanges_identity_token() || of_actor.is_some()
    }
}
