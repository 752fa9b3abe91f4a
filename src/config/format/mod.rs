//! What a single value of the configuration may look like, and what it becomes.

mod duration;
mod header;
mod number;
mod oauth;
mod several;
mod text;
mod uri;

pub(crate) use duration::DurationIn;
pub(crate) use header::HeaderName;
pub(crate) use number::{Boolean, Bytes, Count};
pub(crate) use oauth::{WordOrUri, own_field};
pub(crate) use several::{Choice, ListOf, MapOf, OneOrMany, one_of};
pub(crate) use text::{Looks, ProviderOrNone, TextFormat, TextOf};
pub(crate) use uri::HttpUrl;
