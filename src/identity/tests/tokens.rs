//! Which upstream token is found, and why none is.

use super::*;
use prost_types::ListValue;

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
