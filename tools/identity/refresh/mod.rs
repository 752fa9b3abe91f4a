//! Keeping a session's tokens fresh: when, who, what is asked of the provider, what is written.

pub mod breaker;
pub mod driver;
pub mod due;
pub mod machine;
pub mod memory;
pub mod provider;

pub use driver::Refresher;
pub use due::Need;
