//! `header_injection`: a static header, such as an API key.

use super::Strategy;
use crate::secret::Secret;

/// `headerInjection`.
#[derive(Debug)]
pub struct HeaderInjection {
    /// The header, in lower case.
    pub header: String,
    /// Its value: visible ASCII, space and tab.
    pub value: Secret,
}

impl Strategy for HeaderInjection {}
