//! A look into the whole message, against what the encoder put there.

use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost_types::ListValue;

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
