//! What is read of the identity, from attributes in a table.

mod look_up;
mod somebody;
mod tokens;

use super::*;
use prost::Message;
use prost_types::Struct;
use prost_types::value::Kind;
use std::collections::{BTreeMap, HashMap};

/// Attributes in a table, by their path with dots.
struct Table(HashMap<String, Attribute>);

impl Table {
    fn of(entries: impl IntoIterator<Item = (&'static str, Attribute)>) -> Self {
        let entries = entries.into_iter();
        Self(
            entries
                .map(|(path, value)| (path.to_owned(), value))
                .collect(),
        )
    }
}

impl Attributes for Table {
    fn read(&self, path: &AttributePath) -> Attribute {
        let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
        let value = self.0.get(&path.replace('\0', "."));
        value.cloned().unwrap_or(Attribute::Absent)
    }
}

/// `envoy.config.core.v3.Metadata`, encoded by prost.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

const MISSING: UpstreamToken = UpstreamToken::Missing(Missing::NotThere);
const NO_TOKENS: UpstreamToken = UpstreamToken::Missing(Missing::NoTokensAtAll);
const NAMESPACE: &str = "envoy.filters.http.ext_authz";
const LEAF: &str = "metadata.filter_metadata.envoy.filters.http.ext_authz.upstream_tokens.github";
const MARKER: &str = "metadata.filter_metadata.envoy.filters.http.ext_authz.health_check";

fn value(kind: Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

fn map(fields: impl IntoIterator<Item = (&'static str, prost_types::Value)>) -> Struct {
    let fields = fields.into_iter();
    Struct {
        fields: fields.map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

fn metadata(fields: Struct) -> Attribute {
    let filter_metadata = [(NAMESPACE.to_owned(), fields)].into();
    Attribute::Bytes(Metadata { filter_metadata }.encode_to_vec())
}

fn token_is(kind: Kind) -> Attribute {
    let tokens = map([("github", value(kind))]);
    metadata(map([("upstream_tokens", value(Kind::StructValue(tokens)))]))
}

fn identity() -> (Identity, Provider) {
    let keys = IdentitySettings::default();
    let provider = Provider::new(&keys, "github", TokenKind::Access);
    (Identity::new(keys), provider)
}

fn sendable(text: &str) -> UpstreamToken {
    UpstreamToken::Token(BearerToken::new(text.as_bytes().to_vec()).unwrap())
}
