//! A user's session in ToolHive's store: its keys, its rows, and the stores that hold them.

pub mod key;
pub mod row;
pub mod store;

pub use key::{Digest, Keys, RowKey, SessionId};
pub use row::{Row, RowState};
