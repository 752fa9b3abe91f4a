//! The two doors: one request in, one answer out. Neither knows where sessions are kept.

pub mod check;
pub mod token;
