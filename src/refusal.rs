//! Refusals: the one table from what went wrong to what the client, the stats and the logs see.

use crate::challenge::{BearerError, Challenge};
use crate::metadata::Found;
use crate::quote::json_string;
use std::rc::Rc;

/// What a user must do more than to log in, as a token endpoint said it: checked, so that it fits the
/// places that it goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// Whether it is `insufficient_user_authentication` (RFC 9470 §3), and not claims.
    pub insufficient_authentication: bool,
    /// `claims`, in Base64.
    pub claims: Option<String>,
    /// `max_age` in seconds.
    pub max_age: Option<String>,
    /// `acr_values`.
    pub acr_values: Option<String>,
    /// Where the user can do it.
    pub interaction_uri: Option<String>,
}

/// Why a request is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has no token of the provider, or an empty one (`ErrUpstreamTokenNotFound` of the
    /// RFC).
    UpstreamTokenNotFound {
        /// Whether the client showed a bearer token at all: one that showed none is challenged
        /// without an error code (RFC 6750 §3.1).
        token_presented: bool,
        /// Whether nobody has left any tokens for this request, so that it may not be the user's
        /// doing.
        no_tokens_at_all: bool,
    },
    /// The user's token of the provider could not be asked for just now: no login would help.
    UpstreamTokenUnavailable {
        /// Whole seconds after which a try makes sense.
        retry_after: u32,
    },
    /// The user's token of the provider must not be put into a header.
    UpstreamTokenMalformed {
        /// What it is.
        found: Found,
    },
    /// The TH-JWT is to be exchanged, and there is none.
    SubjectTokenMissing,
    /// The TH-JWT is to be exchanged, and in its place is what this filter has set for the backend
    /// from which Envoy has sent the request on.
    SubjectTokenOurOwn,
    /// The identity service does not accept the TH-JWT.
    IdentityRejected,
    /// The STS refused the subject token.
    ExchangeRejected,
    /// The user must do more than to log in.
    StepUp(Rc<StepUp>),
    /// The STS denies access to the target, or the scope.
    ExchangeForbidden,
    /// The STS refuses this client or this kind of request.
    ExchangeMisconfigured,
    /// The STS cannot be reached, or cannot serve.
    ExchangeUnavailable {
        /// Whole seconds after which a try makes sense.
        retry_after: u32,
    },
    /// The STS did not answer in time.
    ExchangeTimeout,
    /// The STS answered with success, and with nothing that can be used.
    ExchangeInvalidResponse,
    /// The backend is neither listed nor covered by a default.
    BackendNotConfigured,
    /// A static key would be sent, and nobody has identified the request.
    IdentityMissing,
    /// The host could not hand out the identity's metadata.
    IdentityUnreadable,
    /// The TH-JWT is to be exchanged, and looked for in a header that a second attempt would find
    /// filled with the first one's credential.
    IdentityInHeader,
    /// Of the TH-JWT and the payload that `jwt_authn` has checked, only one came with the request.
    IdentityIncomplete,
}

/// The stable error code of a refusal: on the wire, in stats, in access logs and in log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// See [`Refusal::UpstreamTokenNotFound`]; a step-up flow acts on it.
    UpstreamTokenNotFound,
    /// See [`Refusal::UpstreamTokenUnavailable`].
    UpstreamTokenUnavailable,
    /// See [`Refusal::UpstreamTokenMalformed`].
    UpstreamTokenMalformed,
    /// See [`Refusal::SubjectTokenMissing`] and [`Refusal::SubjectTokenOurOwn`].
    SubjectTokenMissing,
    /// See [`Refusal::IdentityRejected`].
    IdentityRejected,
    /// See [`Refusal::ExchangeRejected`].
    TokenExchangeRejected,
    /// See [`Refusal::StepUp`].
    StepUpRequired,
    /// See [`Refusal::ExchangeForbidden`].
    TokenExchangeForbidden,
    /// See [`Refusal::ExchangeMisconfigured`].
    TokenExchangeMisconfigured,
    /// See [`Refusal::ExchangeUnavailable`].
    TokenExchangeUnavailable,
    /// See [`Refusal::ExchangeTimeout`].
    TokenExchangeTimeout,
    /// See [`Refusal::ExchangeInvalidResponse`].
    TokenExchangeInvalidResponse,
    /// See [`Refusal::BackendNotConfigured`].
    BackendNotConfigured,
    /// See [`Refusal::IdentityMissing`].
    IdentityMissing,
    /// See [`Refusal::IdentityUnreadable`], [`Refusal::IdentityInHeader`] and
    /// [`Refusal::IdentityIncomplete`].
    IdentityUnreadable,
}

impl Code {
    /// The code as written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::UpstreamTokenNotFound => "upstream_token_not_found",
            Code::UpstreamTokenUnavailable => "upstream_token_unavailable",
            Code::UpstreamTokenMalformed => "upstream_token_malformed",
            Code::SubjectTokenMissing => "subject_token_missing",
            Code::IdentityRejected => "identity_rejected",
            Code::TokenExchangeRejected => "token_exchange_rejected",
            Code::StepUpRequired => "step_up_required",
            Code::TokenExchangeForbidden => "token_exchange_forbidden",
            Code::TokenExchangeMisconfigured => "token_exchange_misconfigured",
            Code::TokenExchangeUnavailable => "token_exchange_unavailable",
            Code::TokenExchangeTimeout => "token_exchange_timeout",
            Code::TokenExchangeInvalidResponse => "token_exchange_invalid_response",
            Code::BackendNotConfigured => "backend_not_configured",
            Code::IdentityMissing => "identity_missing",
            Code::IdentityUnreadable => "identity_unreadable",
        }
    }
}

/// What the table says of one refusal.
struct Row {
    status: u16,
    challenge: Option<BearerError>,
    code: Code,
    description: String,
}

impl Refusal {
    /// The table. `provider` is the one that the backend's strategy names, if it names one.
    fn row(&self, provider: Option<&str>) -> Row {
        let row = |status, challenge, code, description: &str| Row {
            status,
            challenge,
            code,
            description: description.to_owned(),
        };
        let upstream_token =
            || format!("the upstream token of provider {}", provider.unwrap_or("?"));
        match self {
            Refusal::UpstreamTokenNotFound {
                token_presented, ..
            } => row(
                401,
                Some(match *token_presented {
                    true => BearerError::InvalidToken,
                    false => BearerError::None,
                }),
                Code::UpstreamTokenNotFound,
                &format!("{} was not found: log in again", upstream_token()),
            ),
            Refusal::UpstreamTokenUnavailable { .. } => row(
                503,
                None,
                Code::UpstreamTokenUnavailable,
                &format!(
                    "{} cannot be had just now: try again later",
                    upstream_token()
                ),
            ),
            Refusal::UpstreamTokenMalformed { .. } => row(
                502,
                None,
                Code::UpstreamTokenMalformed,
                &format!("{} cannot be sent as a bearer token", upstream_token()),
            ),
            Refusal::SubjectTokenMissing | Refusal::SubjectTokenOurOwn => row(
                401,
                Some(BearerError::None),
                Code::SubjectTokenMissing,
                "the request carries no bearer token to exchange: log in",
            ),
            Refusal::IdentityRejected => row(
                401,
                Some(BearerError::InvalidToken),
                Code::IdentityRejected,
                "the token of this request is not accepted any more: log in again",
            ),
            Refusal::StepUp(step_up) => row(
                401,
                Some(match step_up.insufficient_authentication {
                    true => BearerError::InsufficientUserAuthentication,
                    false => BearerError::InsufficientClaims,
                }),
                Code::StepUpRequired,
                "the token service asks for more than this login: log in again as it asks",
            ),
            Refusal::ExchangeRejected => row(
                401,
                Some(BearerError::InvalidToken),
                Code::TokenExchangeRejected,
                "the token service refused the subject token: log in again",
            ),
            Refusal::ExchangeForbidden => row(
                403,
                None,
                Code::TokenExchangeForbidden,
                "the token service denied access to this backend",
            ),
            Refusal::ExchangeMisconfigured => row(
                502,
                None,
                Code::TokenExchangeMisconfigured,
                "the token service does not accept this proxy's requests",
            ),
            Refusal::ExchangeUnavailable { .. } => row(
                503,
                None,
                Code::TokenExchangeUnavailable,
                "the token service cannot be reached: try again later",
            ),
            Refusal::ExchangeTimeout => row(
                504,
                None,
                Code::TokenExchangeTimeout,
                "the token service did not answer in time",
            ),
            Refusal::ExchangeInvalidResponse => row(
                502,
                None,
                Code::TokenExchangeInvalidResponse,
                "the token service's answer cannot be used",
            ),
            Refusal::BackendNotConfigured => row(
                500,
                None,
                Code::BackendNotConfigured,
                "no authentication strategy is configured for this backend",
            ),
            Refusal::IdentityMissing => row(
                401,
                Some(BearerError::None),
                Code::IdentityMissing,
                "nobody has identified this request: log in",
            ),
            Refusal::IdentityUnreadable
            | Refusal::IdentityInHeader
            | Refusal::IdentityIncomplete => row(
                500,
                None,
                Code::IdentityUnreadable,
                "the identity of this request cannot be read",
            ),
        }
    }

    /// What an operator should look at, for the log.
    pub fn hint(&self) -> &'static str {
        match self {
            Refusal::UpstreamTokenNotFound {
                no_tokens_at_all: true,
                ..
            } => {
                "nobody has left any upstream tokens for this request; if every user gets this, check \
                 that ext_authz runs before the filter and answers with dynamic metadata, and \
                 identity.metadataNamespace and identity.upstreamTokensKey"
            }
            Refusal::UpstreamTokenNotFound { .. } => {
                "the identity holds no token of this provider; the user must log in again"
            }
            Refusal::UpstreamTokenUnavailable { .. } => {
                "this provider, or the store of the sessions, could not be asked just now; see the \
                 log of whoever leaves the upstream tokens"
            }
            Refusal::UpstreamTokenMalformed { found } => match found {
                Found::Text => {
                    "the identity's token of this provider is no text that may stand in a header; \
                     check what the auth server puts into the metadata"
                }
                Found::Map => {
                    "the identity's token of this provider must be a string, is a map; whoever \
                     answers ext_authz must put the token itself there, not what it came in"
                }
                Found::List => {
                    "the identity's token of this provider must be a string, is a list; check what \
                     the auth server puts into the metadata"
                }
                Found::Other => {
                    "the identity's token of this provider must be a string, is a number or a \
                     boolean; check what the auth server puts into the metadata"
                }
            },
            Refusal::SubjectTokenMissing => {
                "the request carries no single bearer token; if it should, check that jwt_authn \
                 has forward: true, and identity.tokenFrom"
            }
            Refusal::SubjectTokenOurOwn => {
                "Envoy itself has sent this request on (internal_redirect_policy, custom_response), \
                 and in the place of the TH-JWT is the credential of the backend before; have \
                 neither on routes that lead to or from a backend with a strategy"
            }
            Refusal::IdentityRejected => {
                "the identity service does not accept the TH-JWT; if it accepts no user's, check its \
                 issuer, its keys and its allowed_audiences"
            }
            Refusal::StepUp(_) => {
                "the token endpoint wants more of this user than a login, such as a second factor; \
                 the client was told"
            }
            Refusal::IdentityIncomplete => {
                "of the TH-JWT and the payload that jwt_authn has checked only one came with the \
                 request; check identity.tokenFrom, identity.payloadKey, \
                 authServer.runConfig.issuer, and that nobody has switched jwt_authn or \
                 set_filter_state off for this route"
            }
            Refusal::ExchangeRejected => {
                "the STS refused the subject token; if it refuses every user, check clientId, \
                 the client secret and clientAuthMethod, audience and the token types"
            }
            Refusal::ExchangeForbidden => {
                "the STS denied access to the target, or the scope; check audience, resource and \
                 scopes"
            }
            Refusal::ExchangeMisconfigured => {
                "the STS does not take this client's requests; check tokenUrl, clientId, the \
                 client secret and clientAuthMethod"
            }
            Refusal::ExchangeUnavailable { .. } => {
                "the STS cannot be reached or cannot serve, or its breaker is open"
            }
            Refusal::ExchangeTimeout => "the STS did not answer within timeout",
            Refusal::ExchangeInvalidResponse => {
                "the STS answered 200 without a usable bearer token of the requested type"
            }
            Refusal::BackendNotConfigured => {
                "the backend is not among outgoingAuth.backends, and there is no \
                 outgoingAuth.default"
            }
            Refusal::IdentityMissing => {
                "neither a payload that jwt_authn has checked nor upstream tokens came with the \
                 request; check that nobody has switched jwt_authn off for this route, \
                 identity.payloadKey and authServer.runConfig.issuer"
            }
            Refusal::IdentityInHeader => {
                "in this placement the TH-JWT must not be looked for in authorization; write \
                 identity: {tokenFrom: filter_state}, and keep the token with \
                 envoy.filters.http.set_filter_state as envoy/demo.yaml shows"
            }
            Refusal::IdentityUnreadable => {
                "Envoy could not hand out the dynamic metadata that ext_authz left"
            }
        }
    }

    /// Whether nobody has left any upstream tokens for the request: a mistake of the set's, perhaps, where
    /// a user who has not logged in is none.
    pub fn is_of_absence(&self) -> bool {
        matches!(
            self,
            Refusal::UpstreamTokenNotFound {
                no_tokens_at_all: true,
                ..
            }
        )
    }

    /// The code of this refusal.
    pub fn code(&self) -> Code {
        self.row(None).code
    }

    /// The whole answer to the client.
    pub fn reply(&self, about: &About<'_>, challenge: &Challenge) -> Reply {
        let row = self.row(about.provider);
        let description = printable(&row.description);
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        if let Some(error) = row.challenge {
            let mut value = challenge.header(error, &description);
            if let Refusal::StepUp(step_up) = self {
                value.push_str(&step_up.parameters(challenge));
            }
            headers.push(("www-authenticate", value));
        }
        if let Refusal::ExchangeUnavailable { retry_after }
        | Refusal::UpstreamTokenUnavailable { retry_after } = self
        {
            headers.push(("retry-after", retry_after.to_string()));
        }
        let body = match about.grpc {
            // Envoy turns the body into `grpc-message`, and sets the content type itself.
            true => description,
            false => {
                headers.push(("content-type", "application/json".to_owned()));
                body(row.code, &description, about, self.interaction_uri())
            }
        };
        Reply {
            status: row.status,
            code: row.code,
            headers,
            body: body.into_bytes(),
        }
    }
}

impl Refusal {
    fn interaction_uri(&self) -> Option<&str> {
        match self {
            Refusal::StepUp(step_up) => step_up.interaction_uri.as_deref(),
            _ => None,
        }
    }
}

impl StepUp {
    /// What goes along in the challenge.
    fn parameters(&self, challenge: &Challenge) -> String {
        let parameters = [
            ("claims", self.claims.as_deref()),
            (
                "authorization_uri",
                challenge
                    .authorization_uri
                    .as_deref()
                    .filter(|_| !self.insufficient_authentication),
            ),
            ("max_age", self.max_age.as_deref()),
            ("acr_values", self.acr_values.as_deref()),
        ];
        parameters
            .into_iter()
            .filter_map(|(name, value)| Some(format!(", {name}=\"{}\"", value?)))
            .collect()
    }
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The backend, where the request has one that can be named.
    pub backend: Option<&'a str>,
    /// The provider that the backend's strategy names.
    pub provider: Option<&'a str>,
    /// Whether the client speaks gRPC.
    pub grpc: bool,
}

/// A local reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The refusal's code.
    pub code: Code,
    /// The header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

fn body(code: Code, description: &str, about: &About<'_>, link: Option<&str>) -> String {
    let members = [
        ("error", Some(code.as_str())),
        ("error_description", Some(description)),
        ("backend", about.backend),
        ("provider", about.provider),
        ("interaction_uri", link),
    ];
    let members: Vec<String> = members
        .into_iter()
        .filter_map(|(name, text)| Some(format!("\"{name}\":{}", json_string(text?))))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// `text` with each character that RFC 6750 §3 forbids in `error_description` replaced.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => '?',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
