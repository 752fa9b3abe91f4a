//! The filter's own decision on a request, and what follows from it.

use super::request::{self, Offline};
use super::shown::{form, secret, shortened, url, words};
use super::{Call, Explanation, Next};
use crate::report::printable;
use std::rc::Rc;
use upstream_inject::attributes::Attribute;
use upstream_inject::backend::{Backend, BackendFrom, Backends, Destination};
use upstream_inject::challenge::Challenges;
use upstream_inject::config::Node;
use upstream_inject::decision::{Credential, Decision, Obtain, Request, Source};
use upstream_inject::exchange::client::ClientAuth;
use upstream_inject::exchange::request::{TokenRequest, Tokens};
use upstream_inject::exchange::{Exchange, ExchangeId, Purpose, TokenCall};
use upstream_inject::identity::{Identity, Missing, Provider, TokenKind, UpstreamToken};
use upstream_inject::plan::Plan;
use upstream_inject::refusal::{About, Refusal};
use upstream_inject::token::BearerToken;

/// What the filter would do.
pub(super) fn decide(
    plan: Plan,
    backend: &str,
    metadata: Option<&Node>,
    bearer: Option<&str>,
) -> Explanation {
    let Plan {
        identity: settings,
        challenge: challenges,
        backends,
        default,
        exchanges,
        ..
    } = plan;
    let offline = Offline::new(&settings, backend, metadata, bearer);
    let identity = Identity::new(settings);
    let backends = Backends::new(BackendFrom::ClusterName, backends, default);
    let name = Attribute::Bytes(backend.as_bytes().to_vec());
    let Destination::Backend(backend) = backends.destination(&name, &offline) else {
        return Explanation::default();
    };
    let request = Request::new(&identity, &offline);
    let mut way = Way {
        backend: Rc::clone(&backend),
        exchanges: &exchanges,
        challenges: &challenges,
        identity: &identity,
        offline: &offline,
        metadata,
        explanation: Explanation {
            provider: backend
                .strategy
                .as_ref()
                .and_then(|strategy| strategy.provider().map(str::to_owned)),
            ..Explanation::default()
        },
    };
    match backend.decide(&request) {
        Decision::Forward(credential, outcome) => {
            way.explanation.outcome = outcome.as_str().to_owned();
            way.forward(&credential);
        }
        Decision::Refuse(refusal, provider) => way.refuse(&refusal, provider),
        Decision::Obtain(obtain) => way.obtain(obtain, &request),
    }
    way.explanation
}

/// A decision on its way to what comes of it.
struct Way<'a> {
    backend: Rc<Backend>,
    exchanges: &'a [Exchange],
    challenges: &'a Challenges,
    identity: &'a Identity,
    offline: &'a Offline,
    metadata: Option<&'a Node>,
    explanation: Explanation,
}

impl Way<'_> {
    fn forward(&mut self, credential: &Credential<'_>) {
        let header = match credential {
            Credential::None => None,
            Credential::Bearer(token) => {
                Some(("authorization".to_owned(), bearer(token.as_bytes())))
            }
            Credential::BearerIn(name, value) => {
                Some(((*name).to_owned(), bearer(value.token_bytes())))
            }
            Credential::Header(name, value) => Some(((*name).to_owned(), secret(value.reveal()))),
        };
        self.explanation.next = Next::Backend(header);
    }

    fn refuse(&mut self, refusal: &Refusal, provider: Option<&str>) {
        let own = self.backend.strategy.as_ref();
        let about = About {
            backend: Some(&*self.backend.name).filter(|name| !name.is_empty()),
            provider: provider.or_else(|| own?.provider()),
            grpc: false,
        };
        let reply = refusal.reply(&about, self.challenges.of(&self.backend.name));
        self.explanation.outcome = reply.code.as_str().to_owned();
        self.explanation.next = Next::Refusal {
            status: reply.status,
            code: reply.code.as_str(),
            headers: reply
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            body: String::from_utf8_lossy(&reply.body).into_owned(),
            hint: refusal.hint(),
        };
    }

    fn obtain(&mut self, obtain: Obtain<'_>, request: &Request<'_>) {
        let Some(subject) = self.in_hand(obtain.subject, request) else {
            return;
        };
        let actor = match obtain.actor {
            None => None,
            Some(actor) => match self.in_hand(actor, request) {
                None => return,
                actor => actor,
            },
        };
        self.explanation.outcome = obtain.outcome.as_str().to_owned();
        let header = obtain.header.to_owned();
        let Some(exchange) = obtain.exchange.and_then(|id| self.exchange(id)) else {
            let shown = format!("Bearer {}", subject.shown());
            self.explanation.next = Next::Backend(Some((header, shown)));
            return;
        };
        self.call(&exchange.first, &subject, actor.as_ref());
        let mut last = &exchange.first;
        if let Some(second) = &exchange.second {
            let assertion = format!("<what {} answered>", url(&last.token_url));
            let assertion = Held::Later(words(&assertion));
            self.call(second, &assertion, None);
            last = second;
        }
        let shown = format!(
            "Bearer <the access token that {} answers with>",
            url(&last.token_url)
        );
        self.explanation.next = Next::Backend(Some((header, shown)));
    }

    /// A token in hand, or what the identity service would be asked for; `None`: it ends here.
    fn in_hand(&mut self, source: Source, request: &Request<'_>) -> Option<Held> {
        let (id, token) = match source {
            Source::InHand(token) => return Some(Held::Token(token)),
            Source::ByExchange(id, token) => (id, token),
        };
        let exchange = self.exchange(id)?;
        let Purpose::Identity { provider } = &exchange.purpose else {
            return None;
        };
        if request.is_health_check() {
            self.explanation.outcome = "health_check".to_owned();
            self.explanation.next = Next::Backend(None);
            return None;
        }
        if let Err(refusal) = request.require_checked() {
            self.refuse(&refusal, Some(provider));
            return None;
        }
        let provider = provider.clone();
        self.call(&exchange.first, &Held::Token(token), None);
        self.answered(&provider, &exchange)
    }

    /// What the identity service answers with for `provider`: what the command line says of the user's
    /// tokens, if it says something.
    fn answered(&mut self, provider: &str, exchange: &Exchange) -> Option<Held> {
        let settings = self.identity.settings();
        let is_said = |metadata: &&Node| request::says_of_tokens(settings, metadata);
        if self.metadata.filter(is_said).is_none() {
            let text = format!("<the token of {provider} that the identity service answers with>");
            return Some(Held::Later(words(&text)));
        }
        let assumed = "the identity service knows the tokens that --metadata holds: the filter itself \
                       looks for none in metadata";
        if !self.explanation.assumed.iter().any(|said| said == assumed) {
            self.explanation.assumed.push(assumed.to_owned());
        }
        let wants_id_token =
            exchange.first.grant.parameters.iter().any(|(name, value)| {
                *name == "requested_token_type" && value.ends_with(":id_token")
            });
        let kind = match wants_id_token {
            true => TokenKind::Id,
            false => TokenKind::Access,
        };
        let wanted = Provider::new(settings, provider, kind);
        let refusal = match self.identity.upstream_token(&wanted, self.offline) {
            UpstreamToken::Token(token) => return Some(Held::Token(token)),
            UpstreamToken::Missing(Missing::Unavailable) => {
                Refusal::UpstreamTokenUnavailable { retry_after: 5 }
            }
            UpstreamToken::Missing(_) => Refusal::UpstreamTokenNotFound {
                token_presented: true,
                no_tokens_at_all: false,
            },
            UpstreamToken::Malformed(_) => Refusal::ExchangeInvalidResponse,
            UpstreamToken::Unreadable => Refusal::IdentityUnreadable,
        };
        self.refuse(&refusal, Some(provider));
        None
    }

    fn exchange(&self, id: ExchangeId) -> Option<Exchange> {
        let index = usize::try_from(id.0).ok()?;
        self.exchanges.get(index).cloned()
    }

    fn call(&mut self, call: &TokenCall, subject: &Held, actor: Option<&Held>) {
        let actor = actor.map(Held::bytes);
        let is_signed = matches!(call.client, ClientAuth::PrivateKey(_));
        let made = TokenRequest::new(call);
        let signed = words("%3Csigned%20anew%20for%20each%20call%3E");
        let body = made.body(Tokens {
            subject: subject.bytes(),
            actor,
            client_assertion: is_signed.then_some(signed.as_str()),
            ..Tokens::default()
        });
        let headers = made
            .headers()
            .into_iter()
            .map(|(name, value)| {
                let shown = match (name, &call.client) {
                    (
                        "authorization",
                        ClientAuth::Basic {
                            client_id,
                            client_secret,
                        },
                    ) => {
                        let shown = secret(client_secret.reveal());
                        format!("Basic base64({}:{shown})", printable(client_id))
                    }
                    (":path", _) => url(value),
                    _ => value.to_owned(),
                };
                (name.to_owned(), shown)
            })
            .collect();
        let configured: Vec<&str> = call.parameters.iter().map(|(name, _)| &**name).collect();
        self.explanation.calls.push(Call {
            name: call.name,
            url: url(&call.token_url),
            cluster: call.cluster.clone(),
            timeout: call.timeout,
            headers,
            form: form(&body, &configured),
        });
    }
}

/// A token, or words for one that is not known yet.
enum Held {
    Token(BearerToken),
    Later(String),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Held::Token(token) => token.as_bytes(),
            Held::Later(words) => words.as_bytes(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Held::Token(token) => shortened(&String::from_utf8_lossy(token.as_bytes())),
            Held::Later(words) => secret(words),
        }
    }
}

fn bearer(token: &[u8]) -> String {
    format!("Bearer {}", shortened(&String::from_utf8_lossy(token)))
}
