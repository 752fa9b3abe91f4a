//! What is remembered of how exchanges ended.

use super::*;
use crate::time::Time;

impl<W> Engine<W> {
    /// The token's life begins when it was asked for, and ends with the first of: what the endpoint
    /// says, the ends of what it was made of, and the issued token's own, which some leave out of
    /// account. Without a word from the endpoint, the issued token's own end is all there is, or what
    /// the configuration assumes.
    pub(super) fn hold(
        &mut self,
        key: Key,
        issued: Issued,
        asked: Moment,
        exchange: &Exchange,
        claim: Option<&(Address, ClaimId)>,
        clock: &dyn Clock,
    ) -> Obtained {
        let terms = &exchange.terms;
        let value = issued.token.to_value();
        let own = jwt::expiry(issued.token.as_bytes());
        let (expires, stated) = match issued.expires {
            // An own end that is past already tells that clocks differ, not that a dead token was
            // issued.
            ExpiresIn::After(lifetime) => {
                let stated = asked.wall.plus(lifetime);
                let expires = own
                    .filter(|own| *own > asked.wall)
                    .map_or(stated, |own| own.min(stated));
                (Some(expires), true)
            }
            ExpiresIn::Absent => {
                let assumed = terms
                    .assumed_lifetime
                    .map(|lifetime| asked.wall.plus(lifetime));
                (own.or(assumed), false)
            }
            ExpiresIn::Unusable => (None, true),
        };
        let (subject, actor) = key.tokens(exchange.has_actor);
        let ends = [Some(subject), actor].into_iter().flatten();
        let bounded = !(stated && terms.subject_bounds_only_unstated);
        let expires = expires.map(|expires| {
            ends.filter(|_| bounded)
                .filter_map(jwt::expiry)
                .fold(expires, Time::min)
        });
        let jitter = self.random.unit();
        let held = expires.and_then(|expires| {
            let held = self
                .cache
                .hold(key.clone(), value.clone(), asked, expires, terms, jitter);
            held.map(|serial| (serial, expires))
        });
        let serial = held.map(|(serial, _)| serial);
        if let Some(claim) = claim {
            let token = issued.token;
            let outcome = match held {
                Some((serial, expires)) => Outcome::Token(Token {
                    token,
                    serial,
                    asked,
                    expires,
                    forgot_before: None,
                }),
                None => Outcome::Once(token),
            };
            let settled = self.settle(claim, &outcome, clock);
            if let (Some(serial), Some(at)) = (serial, settled.forgot_before) {
                self.cache.forgotten(&key, serial, at);
            }
        }
        Obtained {
            value,
            used: serial.map(|serial| Used {
                key,
                serial,
                was_sent: true,
            }),
        }
    }

    pub(super) fn remember_failure(
        &mut self,
        key: Key,
        failure: &Failure,
        claim: Option<&(Address, ClaimId)>,
        clock: &dyn Clock,
    ) {
        let now = clock.steady();
        // Whether the token in hand is useless now, and how long whoever comes is told this.
        let (drops, remembered) = match failure.kind {
            FailureKind::Rejected | FailureKind::NotFound => {
                (true, Some(self.cache.negative_ttl()))
            }
            // This user is kept to it; a token in hand serves to the end of its usable life.
            FailureKind::UnavailableForUser => {
                (false, Some(failure.wait.unwrap_or(UNAVAILABLE_FOR_USER)))
            }
            // The endpoint was reached and denies this: the token in hand is no longer meant to be
            // used.
            FailureKind::Forbidden | FailureKind::StepUp(_) => (true, None),
            // The endpoint could not say, or means the operator: a token in hand serves on.
            FailureKind::Misconfigured
            | FailureKind::Unavailable
            | FailureKind::Timeout
            | FailureKind::InvalidResponse
            | FailureKind::UnknownCluster => (false, None),
        };
        let remembered = remembered.filter(|time| !time.is_zero());
        if drops {
            self.cache.remove_token(&key);
        }
        if let Some(time) = remembered {
            self.cache.refuse(key, failure.clone(), time, now);
        }
        if let Some(claim) = claim {
            let outcome = Outcome::Failed {
                failure: failure.clone(),
                drops,
                until: remembered.map(|time| now.plus(time)),
            };
            self.settle(claim, &outcome, clock);
        }
    }
}
