//! What the log says of a refusal to an operator.

use super::Refusal;
use crate::protobuf::metadata::Found;

impl Refusal {
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
                "the STS cannot be reached or cannot serve, its breaker is open, or too many requests \
                 wait for it"
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
}
