//! A request's body as a whole.

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;

use super::PATIENCE;

/// The body, if it is of at most so many bytes and comes in time: whoever sends it byte by byte keeps
/// nothing open.
pub(crate) async fn whole<B>(body: B, most: usize) -> Option<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = timeout(PATIENCE, Limited::new(body, most).collect()).await;
    Some(collected.ok()?.ok()?.to_bytes())
}
