//! What a single value of the configuration may look like, and what it becomes.

mod duration;
mod header;
mod number;
mod oauth;
mod several;
mod text;
mod uri;

pub use duration::DurationIn;
pub use header::HeaderName;
pub use number::{Boolean, Bytes, Count};
pub use oauth::{FormParameter, GrantKind, GrantType, RequestedTokenType, TokenType};
pub use several::{Choice, ListOf, MapOf, OneOrMany, one_of};
pub use text::{Looks, MetadataKey, MetadataKeyOrNone, TextFormat, TextOf};
pub use uri::{Endpoint, HttpUrl, HttpsUrl, leaves_in_clear};
