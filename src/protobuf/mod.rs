//! Protobuf messages that Envoy hands over as bytes: the wire they are written in, and what is looked
//! up in one kind of them.

pub mod metadata;
pub mod wire;
