//! The stable error codes.

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
    /// All of them.
    pub const ALL: [Self; 15] = [
        Code::UpstreamTokenNotFound,
        Code::UpstreamTokenUnavailable,
        Code::UpstreamTokenMalformed,
        Code::SubjectTokenMissing,
        Code::IdentityRejected,
        Code::TokenExchangeRejected,
        Code::StepUpRequired,
        Code::TokenExchangeForbidden,
        Code::TokenExchangeMisconfigured,
        Code::TokenExchangeUnavailable,
        Code::TokenExchangeTimeout,
        Code::TokenExchangeInvalidResponse,
        Code::BackendNotConfigured,
        Code::IdentityMissing,
        Code::IdentityUnreadable,
    ];

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
