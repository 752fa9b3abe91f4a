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
pub use oauth::WordOrUri;
pub use several::{Choice, ListOf, MapOf, OneOrMany, one_of};
pub use text::{Looks, ProviderOrNone, TextFormat, TextOf};
pub use uri::HttpUrl;
