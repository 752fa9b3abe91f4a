//! The one table: status, challenge, code and description of each refusal.

use super::Refusal;
use super::code::Code;
use crate::challenge::BearerError;

/// What the table says of one refusal.
pub(super) struct Row {
    pub status: u16,
    pub challenge: Option<BearerError>,
    pub code: Code,
    pub description: String,
}

impl Refusal {
    /// The table. `provider` is the one that the backend's strategy names, if it names one.
    pub(super) fn row(&self, provider: Option<&str>) -> Row {
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

    /// The code of this refusal.
    pub fn code(&self) -> Code {
        self.row(None).code
    }
}
