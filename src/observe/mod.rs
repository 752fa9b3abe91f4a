//! What operators see: counters, and log lines that cannot flood a log.

pub mod counters;
pub(crate) mod limiter;
