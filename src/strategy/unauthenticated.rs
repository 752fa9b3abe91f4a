//! `unauthenticated`: an open backend gets no credential.

use super::Strategy;

/// Has no settings.
#[derive(Debug)]
pub struct Unauthenticated;

impl Strategy for Unauthenticated {}
