//! Keeping a session's tokens fresh: when, who, what is asked of the provider, what is written.

pub(crate) mod breaker;
pub(crate) mod driver;
pub(crate) mod due;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod provider;

pub(crate) use driver::Refresher;
pub(crate) use due::Need;
