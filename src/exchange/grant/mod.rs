//! Grants: what is sent to a token endpoint, and what counts as its answer. A grant is a value; each
//! file here makes one kind of it.

mod id_jag;
mod identity;
mod jwt_bearer;
mod token_exchange;
pub mod token_type;

pub use id_jag::id_jag;
pub use identity::identity;
pub use jwt_bearer::{jwt_bearer, on_behalf_of};
pub use token_exchange::{GRANT_TYPE, TokenExchange, token_exchange};

/// What is sent, and what counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// `grant_type`.
    pub grant_type: String,
    /// The parameter that the subject token goes into.
    pub subject: &'static str,
    /// Further parameters, in the order they are sent.
    pub parameters: Vec<(&'static str, String)>,
    /// `actor_token_type`, if an `actor_token` goes along (RFC 8693 §2.1).
    pub actor_token_type: Option<String>,
    /// Which successful answers count.
    pub accepts: Accepts,
    /// Whose table of error words holds.
    pub words: Words,
}

/// Which successful answers count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accepts {
    /// Which `issued_token_type`.
    pub issued: IssuedType,
    /// Which `token_type`.
    pub token_type: TokenTypeRule,
    /// What must be in the token itself.
    pub id_jag: Option<IdJag>,
}

/// Which `issued_token_type` counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IssuedType {
    /// It is not looked at.
    Any,
    /// One of these, in any letter case.
    OneOf(Vec<String>),
}

/// Which `token_type` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenTypeRule {
    /// `Bearer`.
    Bearer,
    /// `Bearer`, or `N_A` (RFC 8693 §2.2.1): the token is asked for as something that is none.
    BearerOrNotApplicable,
    /// `N_A`.
    NotApplicable,
}

/// What an identity assertion must say
/// (draft-ietf-oauth-identity-assertion-authz-grant, section 3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdJag {
    /// Its `aud`: exactly this.
    pub audience: String,
    /// Its `resource` is, or contains, this.
    pub resource: Option<String>,
}

/// Whose table of error words holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Words {
    /// RFC 8693: `invalid_request` is about the subject too (§2.2.2).
    TokenExchange,
    /// RFC 7521: the subject is an assertion, and a bad one is `invalid_grant` (§4.1.1).
    Assertion,
    /// The identity service's.
    Identity,
}
