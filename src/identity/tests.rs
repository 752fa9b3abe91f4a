use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
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

#[test]
fn a_leaf_that_can_only_be_a_text_is_taken_and_any_other_looked_up() {
    let bytes = |text: &[u8]| Attribute::Bytes(text.to_vec());
    let text = |text: &str| token_is(Kind::StringValue(text.to_owned()));
    for (leaf, whole, expected) in [
        (
            bytes(b"gho_token"),
            Attribute::Failed,
            sendable("gho_token"),
        ),
        (
            bytes(b"two words"),
            Attribute::Failed,
            UpstreamToken::Malformed(Found::Text),
        ),
        (
            bytes(b"\x01"),
            Attribute::Failed,
            UpstreamToken::Malformed(Found::Text),
        ),
        // What it is costs a look more, and changes nothing else: not even another token beside it.
        (
            bytes(b"\x01"),
            token_is(Kind::BoolValue(true)),
            UpstreamToken::Malformed(Found::Other),
        ),
        (
            bytes(b"\x01\x00\x00\x00 two words"),
            token_is(Kind::StructValue(map([(
                "access_token",
                value(Kind::StringValue("gho_token".to_owned())),
            )]))),
            UpstreamToken::Malformed(Found::Map),
        ),
        (
            bytes(b"\x01\x00\x00\x00 two words"),
            token_is(Kind::ListValue(ListValue { values: vec![] })),
            UpstreamToken::Malformed(Found::List),
        ),
        (
            bytes(b"two words"),
            text("gho_token"),
            UpstreamToken::Malformed(Found::Text),
        ),
        (Attribute::Absent, Attribute::Failed, MISSING),
        (
            Attribute::Failed,
            text("gho_token"),
            UpstreamToken::Unreadable,
        ),
        (bytes(b"ABCDEFGH"), text("ABCDEFGH"), sendable("ABCDEFGH")),
        (
            bytes(b"ABCDEFGH"),
            token_is(Kind::NumberValue(f64::from_le_bytes(*b"ABCDEFGH"))),
            UpstreamToken::Malformed(Found::Other),
        ),
        (bytes(b"ABCDEFGH"), Attribute::Absent, NO_TOKENS),
        (
            bytes(b"ABCDEFGH"),
            Attribute::Failed,
            UpstreamToken::Unreadable,
        ),
        (
            bytes(b"ABCDEFGH"),
            bytes(b"\xff\xff"),
            UpstreamToken::Unreadable,
        ),
        (Attribute::Unpackable, token_is(Kind::NullValue(0)), MISSING),
        (
            Attribute::Unpackable,
            token_is(Kind::StructValue(map([("x", value(Kind::NullValue(0)))]))),
            UpstreamToken::Malformed(Found::Map),
        ),
        (
            Attribute::Unpackable,
            Attribute::Unpackable,
            UpstreamToken::Unreadable,
        ),
    ] {
        let attributes = Table::of([(LEAF, leaf), ("metadata", whole)]);
        let (identity, provider) = identity();
        assert_eq!(identity.upstream_token(&provider, &attributes), expected);
    }
}

#[test]
fn a_provider_that_envoy_would_take_for_an_index_is_looked_up() {
    let keys = IdentitySettings::default();
    for (name, looked_up) in [
        ("0", true),
        ("-1", true),
        ("+1", true),
        (" 7 ", true),
        ("12345678901234567890", true),
        ("a\0b", true),
        ("1e3", false),
        ("0x1", false),
        ("github", false),
        ("a.b/c d", false),
    ] {
        assert_eq!(
            Provider::new(&keys, name, TokenKind::Access).path.is_none(),
            looked_up,
            "{name:?}"
        );
    }
    // Where the tokens are a list, its first element is nobody's.
    let list = Kind::ListValue(ListValue {
        values: vec![value(Kind::StringValue("CANARY".to_owned()))],
    });
    let attributes = Table::of([(
        "metadata",
        metadata(map([("upstream_tokens", value(list))])),
    )]);
    let identity = Identity::new(keys.clone());
    let provider = Provider::new(&keys, "0", TokenKind::Access);
    assert_eq!(identity.upstream_token(&provider, &attributes), NO_TOKENS);
}

#[test]
fn a_health_check_is_boolean_true_in_both_readings() {
    let truth = |kind| metadata(map([("health_check", value(kind))]));
    for (leaf, whole, expected) in [
        (
            Attribute::Bytes(vec![1]),
            truth(Kind::BoolValue(true)),
            true,
        ),
        (
            Attribute::Bytes(vec![1]),
            truth(Kind::StringValue("\u{1}".to_owned())),
            false,
        ),
        (Attribute::Bytes(vec![1]), Attribute::Absent, false),
        (Attribute::Bytes(vec![1]), Attribute::Failed, false),
        (
            Attribute::Bytes(vec![0]),
            truth(Kind::BoolValue(true)),
            false,
        ),
        (
            Attribute::Bytes(b"true".to_vec()),
            truth(Kind::BoolValue(true)),
            false,
        ),
        (Attribute::Absent, truth(Kind::BoolValue(true)), false),
        (Attribute::Unpackable, truth(Kind::BoolValue(true)), false),
        (Attribute::Failed, truth(Kind::BoolValue(true)), false),
    ] {
        let attributes = Table::of([(MARKER, leaf), ("metadata", whole)]);
        assert_eq!(identity().0.is_health_check(&attributes), expected);
    }
}

#[test]
fn why_a_token_is_missing_is_told() {
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let fields = |fields| value(Kind::StructValue(map(fields)));
    let list = |values| value(Kind::ListValue(ListValue { values }));
    let yes = || value(Kind::BoolValue(true));
    let tokens = || ("upstream_tokens", fields(vec![("other", text("t"))]));
    for (identity_fields, expected) in [
        (vec![tokens()], Missing::NotThere),
        (vec![], Missing::NoTokensAtAll),
        (vec![("upstream_tokens", text("t"))], Missing::NoTokensAtAll),
        (
            vec![("upstream_token", fields(vec![]))],
            Missing::NoTokensAtAll,
        ),
        (
            vec![
                tokens(),
                ("upstream_unavailable", fields(vec![("github", yes())])),
            ],
            Missing::Unavailable,
        ),
        (
            vec![(
                "upstream_unavailable",
                list(vec![text("x"), text("github")]),
            )],
            Missing::Unavailable,
        ),
        (
            vec![
                tokens(),
                (
                    "upstream_unavailable",
                    fields(vec![("github", text("true"))]),
                ),
            ],
            Missing::NotThere,
        ),
        (
            vec![
                tokens(),
                ("upstream_unavailable", fields(vec![("other", yes())])),
            ],
            Missing::NotThere,
        ),
        (
            vec![
                tokens(),
                ("upstream_unavailable", list(vec![text("other")])),
            ],
            Missing::NotThere,
        ),
        (
            vec![tokens(), ("upstream_unavailable", text("github"))],
            Missing::NotThere,
        ),
        (
            vec![tokens(), ("upstream_unavailable", yes())],
            Missing::NotThere,
        ),
    ] {
        let attributes = Table::of([("metadata", metadata(map(identity_fields)))]);
        let (identity, provider) = identity();
        let found = identity.upstream_token(&provider, &attributes);
        assert_eq!(found, UpstreamToken::Missing(expected));
    }
}

#[test]
fn a_request_is_identified_by_a_checked_payload_or_by_tokens_and_by_nothing_else() {
    const ISS: &str = "metadata.filter_metadata.envoy.filters.http.jwt_authn.th_jwt.iss";
    let bytes = |text: &str| Attribute::Bytes(text.as_bytes().to_vec());
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let number = value(Kind::NumberValue(f64::from_le_bytes(*b"ABCDEFGH")));
    let payload = |iss: prost_types::Value| {
        let payload = value(Kind::StructValue(map([("iss", iss)])));
        let namespaces = [(
            "envoy.filters.http.jwt_authn".to_owned(),
            map([("th_jwt", payload)]),
        )];
        let filter_metadata = namespaces.into();
        Attribute::Bytes(Metadata { filter_metadata }.encode_to_vec())
    };
    let tokens = |token: prost_types::Value| {
        let tokens = value(Kind::StructValue(map([("github", token)])));
        metadata(map([("upstream_tokens", tokens)]))
    };
    let none = || Attribute::Absent;
    for (issuer, iss, whole, expected, why) in [
        (
            Some("https://as"),
            bytes("https://as"),
            none(),
            true,
            "the issuer configured",
        ),
        (
            Some("https://as"),
            bytes("https://other"),
            none(),
            false,
            "another issuer",
        ),
        (Some("https://as"), none(), none(), false, "no payload"),
        (
            None,
            bytes("https://as"),
            payload(text("https://as")),
            true,
            "any issuer",
        ),
        (
            None,
            bytes("ABCDEFGH"),
            payload(number.clone()),
            false,
            "a number",
        ),
        (
            Some("ABCDEFGH"),
            bytes("ABCDEFGH"),
            payload(number),
            false,
            "a number like it",
        ),
        (
            Some("ABCDEFGH"),
            bytes("ABCDEFGH"),
            payload(text("ABCDEFGH")),
            true,
            "a text",
        ),
        (
            None,
            bytes("x"),
            payload(value(Kind::StructValue(map([])))),
            false,
            "a map",
        ),
        (None, none(), payload(text("")), false, "an empty text"),
        (None, none(), tokens(text("gho")), true, "a token"),
        (None, none(), tokens(text("")), false, "an empty token"),
        (
            None,
            none(),
            tokens(value(Kind::NullValue(0))),
            false,
            "a null",
        ),
        (
            None,
            none(),
            tokens(value(Kind::BoolValue(true))),
            false,
            "no text",
        ),
        (
            None,
            none(),
            metadata(map([("health_check", value(Kind::BoolValue(true)))])),
            false,
            "a health check",
        ),
    ] {
        let settings = IdentitySettings {
            issuer: issuer.map(str::to_owned),
            ..IdentitySettings::default()
        };
        let attributes = Table::of([(ISS, iss), ("metadata", whole)]);
        let identity = Identity::new(settings);
        assert_eq!(identity.is_identified(&attributes), expected, "{why}");
    }
}

#[test]
fn the_last_of_a_repeated_entry_counts_and_a_broken_one_elsewhere_is_no_matter() {
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let encoded = |token: &str| {
        let tokens = Kind::StructValue(map([("github", text(token))]));
        let fields = map([("upstream_tokens", value(tokens))]);
        let filter_metadata = [(NAMESPACE.to_owned(), fields)].into();
        Metadata { filter_metadata }.encode_to_vec()
    };
    let keys = ["upstream_tokens", "github"];
    let twice = [encoded("first"), encoded("second")].concat();
    let found = look_up(&twice, NAMESPACE, &keys);
    assert_eq!(found, Ok(Leaf::Text(b"second".to_vec())));
    // A namespace whose content is no Struct at all.
    let beside = [
        b"\x0a\x08\x0a\x01x\x12\x03\xff\xff\xff".to_vec(),
        encoded("token"),
    ]
    .concat();
    let found = look_up(&beside, NAMESPACE, &keys);
    assert_eq!(found, Ok(Leaf::Text(b"token".to_vec())));
    for broken in [
        &b"\x0a"[..],
        b"\x0a\x7f",
        b"\x0b",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let broken = [&encoded("token")[..], broken].concat();
        assert_eq!(look_up(&broken, NAMESPACE, &keys), Err(Malformed));
    }
}

/// Values as `ext_authz` may leave them, some levels deep.
fn values() -> impl Strategy<Value = prost_types::Value> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        any::<f64>().prop_map(Kind::NumberValue),
        ".{0,12}".prop_map(Kind::StringValue),
    ];
    leaf.prop_map(value).prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4)
                .prop_map(|values| value(Kind::ListValue(ListValue { values }))),
            btree_map("[a-c]", inner, 0..4)
                .prop_map(|fields| value(Kind::StructValue(Struct { fields }))),
        ]
    })
}

/// What stands at the end of a way.
#[derive(Debug, PartialEq)]
enum Leaf {
    Absent,
    Text(Vec<u8>),
    True,
    Other,
}

fn look_up(message: &[u8], namespace: &str, keys: &[&str]) -> Result<Leaf, Malformed> {
    let mut map = metadata::namespace(message, namespace)?;
    let mut found = None;
    for key in keys {
        found = match map {
            Some(map) => map.get(key)?,
            None => None,
        };
        map = match found {
            Some(Value::Map(map)) => Some(map),
            _ => None,
        };
    }
    Ok(match found {
        None => Leaf::Absent,
        Some(Value::Text(text)) => Leaf::Text(text.to_vec()),
        Some(Value::True) => Leaf::True,
        Some(_) => Leaf::Other,
    })
}

/// What stands under `keys`, found the obvious way.
fn obvious(fields: &Struct, keys: &[&str]) -> Leaf {
    let (first, rest) = keys.split_first().unwrap();
    let kind = fields
        .fields
        .get(*first)
        .and_then(|value| value.kind.as_ref());
    match (kind, rest) {
        (Some(Kind::StructValue(inner)), [_, ..]) => obvious(inner, rest),
        (None | Some(Kind::NullValue(_)), _) | (_, [_, ..]) => Leaf::Absent,
        (Some(Kind::StringValue(text)), []) => Leaf::Text(text.clone().into_bytes()),
        (Some(Kind::BoolValue(true)), []) => Leaf::True,
        (Some(_), []) => Leaf::Other,
    }
}

proptest! {
    #[test]
    fn a_look_up_agrees_with_the_encoder(
        namespaces in btree_map("[x-z]", btree_map("[a-c]", values(), 0..4), 0..4),
        namespace in "[x-z]",
        keys in vec("[a-c]", 1..4),
    ) {
        let filter_metadata: BTreeMap<String, Struct> = namespaces
            .into_iter()
            .map(|(name, fields)| (name, Struct { fields }))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let expected = match filter_metadata.get(&namespace) {
            Some(fields) => obvious(fields, &keys),
            None => Leaf::Absent,
        };
        let message = Metadata { filter_metadata }.encode_to_vec();
        prop_assert_eq!(look_up(&message, &namespace, &keys), Ok(expected));
    }

    #[test]
    fn no_bytes_at_all_make_a_look_up_fail_in_another_way(
        bytes in vec(any::<u8>(), 0..200),
        keys in vec("[a-c]{0,2}", 0..4),
    ) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let _ = look_up(&bytes, "x", &keys);
    }

    /// Bytes that are almost right get further in.
    #[test]
    fn nor_do_broken_messages(
        fields in btree_map("[a-c]", values(), 0..4),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let filter_metadata = [("x".to_owned(), Struct { fields })].into();
        let mut message = Metadata { filter_metadata }.encode_to_vec();
        let place = place.index(message.len());
        message[place] = byte;
        for keys in [&["a"][..], &["a", "b"], &["b", "a", "c"]] {
            let _ = look_up(&message, "x", keys);
            let _ = look_up(&message[..cut.index(message.len())], "x", keys);
        }
    }
}
