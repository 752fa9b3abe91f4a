//! `token_exchange`: the subject token is exchanged at the backend's STS (RFC 8693).

use super::Strategy;
use crate::identity::Provider;
use crate::plan::ExchangeId;

/// `tokenExchange`.
#[derive(Debug)]
pub struct TokenExchange {
    /// What is exchanged, and where.
    pub exchange: ExchangeId,
    /// Whose token is exchanged.
    pub subject: Subject,
    /// The header that carries `Bearer <exchanged token>`, in lower case.
    pub header: String,
}

/// The subject token of an exchange.
#[derive(Debug)]
pub enum Subject {
    /// The request's own bearer token, the TH-JWT.
    Identity,
    /// `subjectProviderName`: that provider's upstream token.
    Provider(Provider),
}

impl Strategy for TokenExchange {}
