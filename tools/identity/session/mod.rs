//! A user's session in ToolHive's store: its keys, its rows, and the stores that hold them.

pub(crate) mod key;
pub(crate) mod row;
pub(crate) mod store;

pub(crate) use key::{Digest, Keys, RowKey, SessionId};
pub(crate) use row::{Row, RowState};
