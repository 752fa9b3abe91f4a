//! Whether a request is a health check's, or somebody's.

use super::*;

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
