//! Why a call brought no token, in words that no endpoint has chosen.

use crate::exchange::settings::{Meaning, Step};
use crate::refusal::StepUp;
use std::rc::Rc;
use std::time::Duration;

/// Why a call brought no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The endpoint's `error`, where it is one of the known words.
    pub error: Option<StsError>,
    /// What the log says of it.
    pub detail: Detail,
    /// How long the endpoint wants to be left alone.
    pub wait: Option<Duration>,
    /// At which of the exchange's calls.
    pub step: Step,
}

impl Failure {
    /// A failure at the first call.
    pub(crate) fn new(kind: FailureKind, detail: Detail) -> Self {
        Self {
            kind,
            error: None,
            detail,
            wait: None,
            step: Step::First,
        }
    }

    /// The same, at that step.
    pub(crate) fn at(self, step: Step) -> Self {
        Self { step, ..self }
    }

    /// Whether no call was made, because the client's assertion could not be signed.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.detail == Detail::Check(Check::Unsigned)
    }

    /// Whether no call was made, because the breaker of its endpoint is open.
    pub(crate) fn is_stopped(&self) -> bool {
        self.detail == Detail::Check(Check::BreakerOpen)
    }

    /// Whether there was no answer, as the breaker counts it: none at all, or one that says of the
    /// endpoint that it cannot (5xx, 429). A 408, and a 4xx whose word says that this one could not be
    /// served now, are answers.
    pub(crate) fn is_no_answer(&self) -> bool {
        match (&self.kind, self.detail) {
            (FailureKind::Timeout, _) => true,
            (FailureKind::Unavailable, Detail::Status(status)) => {
                status == 429 || !(400..=499).contains(&status)
            }
            (FailureKind::Unavailable, Detail::None | Detail::Check(_)) => true,
            _ => false,
        }
    }

    /// The breaker of the endpoint stops the call; a try makes sense after `left`.
    pub(crate) fn stopped(left: Duration) -> Self {
        Self {
            wait: Some(left),
            ..Self::new(FailureKind::Unavailable, Detail::Check(Check::BreakerOpen))
        }
    }

    /// Too many requests wait for one more to.
    pub(crate) fn crowded() -> Self {
        Self {
            wait: Some(Duration::from_secs(1)),
            ..Self::new(FailureKind::Unavailable, Detail::Check(Check::Crowded))
        }
    }

    /// An answer that failed this check.
    pub(crate) fn of_check(check: Check) -> Self {
        Self::new(FailureKind::InvalidResponse, Detail::Check(check))
    }

    /// The exchange's client was refused too often: it is not asked for just now.
    pub(crate) fn paused() -> Self {
        Self::new(FailureKind::Misconfigured, Detail::Check(Check::Paused))
    }

    /// No answer in time.
    pub(crate) fn timeout() -> Self {
        Self::new(FailureKind::Timeout, Detail::None)
    }
}

/// What a log line says of a failure, besides its kind: nothing that an endpoint could choose freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// The status.
    Status(u16),
    /// The check that a successful answer failed, or that kept the call from being made.
    Check(Check),
}

macro_rules! checks {
    ($($name:ident $text:literal,)*) => {
        /// What a successful answer can fail, and what can keep a call from being made. The workers
        /// name them to each other by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Check {
            $(#[doc = $text] $name,)*
        }

        impl Check {
            /// Each in the place of its number, with what a log line says.
            const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

checks! {
    Size "more than 1 MiB",
    NoObject "no JSON object",
    TokenType "token_type",
    IssuedTokenType "issued_token_type",
    AccessToken "access_token",
    NoJwt "access_token is no JWT",
    IdJagAudience "aud of the ID-JAG",
    IdJagResource "resource of the ID-JAG",
    HandedIn "access_token is what was handed in",
    Unsigned "Envoy could not sign the client's assertion",
    BreakerOpen "the breaker of its endpoint is open",
    Paused "its client was refused several times in a row",
    Crowded "too many requests are waiting",
}

impl Check {
    /// What a log line says.
    pub(crate) fn as_str(self) -> &'static str {
        let place = usize::from(self.number());
        Self::ALL.get(place).map_or("", |(_, text)| text)
    }

    /// Its number.
    pub(in crate::exchange) fn number(self) -> u8 {
        self as u8
    }

    /// The one of that number.
    pub(in crate::exchange) fn of_number(number: u8) -> Option<Self> {
        let check = Self::ALL.get(usize::from(number));
        check.map(|(check, _)| *check)
    }
}

/// The kinds of failure, in the words of the `sts` counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The subject was refused.
    Rejected,
    /// The target, or the scope, is denied.
    Forbidden,
    /// The user must do more than to log in.
    StepUp(Rc<StepUp>),
    /// The client or the request as such was refused.
    Misconfigured,
    /// No answer, or one that says that the endpoint cannot serve.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// Success without a usable token.
    InvalidResponse,
    /// The cluster does not exist: not a sign of a struggling endpoint.
    UnknownCluster,
    /// The user has no token of this provider.
    NotFound,
    /// This user's token of this provider cannot be had just now; it says nothing of the endpoint.
    UnavailableForUser,
}

macro_rules! sts_errors {
    ($($name:ident $word:literal $meaning:ident,)*) => {
        /// The `error` words that are understood (RFC 6749 §5.2, RFC 6750 §3.1, RFC 8693 §2.2.2,
        /// OpenID Connect Core §3.1.2.6, and what vendors say). Only these ever appear in a log line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum StsError {
            $(#[doc = concat!("`", $word, "`")] $name,)*
        }

        impl StsError {
            /// The word.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            pub(in crate::exchange) fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }

            /// What it means, unless the grant or the configuration says otherwise.
            pub(super) fn meaning(self) -> Meaning {
                match self { $(Self::$name => Meaning::$meaning,)* }
            }
        }
    };
}

sts_errors! {
    InvalidRequest "invalid_request" Rejected,
    InvalidGrant "invalid_grant" Rejected,
    InvalidToken "invalid_token" Rejected,
    InvalidScope "invalid_scope" Forbidden,
    InsufficientScope "insufficient_scope" Forbidden,
    InvalidTarget "invalid_target" Forbidden,
    AccessDenied "access_denied" Forbidden,
    InvalidClient "invalid_client" Misconfigured,
    UnauthorizedClient "unauthorized_client" Misconfigured,
    UnsupportedGrantType "unsupported_grant_type" Misconfigured,
    TemporarilyUnavailable "temporarily_unavailable" Unavailable,
    ServerError "server_error" Unavailable,
    SlowDown "slow_down" Unavailable,
    InteractionRequired "interaction_required" StepUp,
    LoginRequired "login_required" StepUp,
    ConsentRequired "consent_required" StepUp,
    MfaRequired "mfa_required" StepUp,
    UserPasswordExpired "user_password_expired" StepUp,
    InsufficientUserAuthentication "insufficient_user_authentication" StepUp,
    UpstreamTokenNotFound "upstream_token_not_found" NotFound,
    UpstreamTokenUnavailable "upstream_token_unavailable" Unavailable,
}
