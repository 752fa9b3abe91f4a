//! `upstream_inject`: the named provider's upstream token becomes the bearer token.

use super::Strategy;
use crate::identity::Provider;

/// `upstreamInject`.
#[derive(Debug)]
pub struct UpstreamInject {
    /// Whose token.
    pub provider: Provider,
}

impl Strategy for UpstreamInject {}
