//! The two doors: one request in, one answer out. Neither knows where sessions are kept.

pub(crate) mod check;
pub(crate) mod token;
