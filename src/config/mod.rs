//! From the configuration's text to a [`Plan`](crate::plan::Plan), or to every problem in it.

pub mod path;
pub mod problem;
pub mod tree;

pub use path::Path;
pub use problem::{Problem, Rule};
pub use tree::Node;

/// Where `clientSecretEnv` and `headerValueEnv` are looked up.
pub trait Environment {
    /// The variable `name`, or `None` if it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}
