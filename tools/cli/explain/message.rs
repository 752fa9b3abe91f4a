//! `envoy.config.core.v3.Metadata` as bytes, as the filter reads it (protobuf's wire format).

use upstream_inject::config::Node;

/// The message whose `filter_metadata` is `namespaces`.
pub(super) fn metadata(namespaces: &Node) -> Vec<u8> {
    entries(namespaces, structure)
}

/// A `google.protobuf.Struct`.
fn structure(node: &Node) -> Vec<u8> {
    entries(node, value)
}

/// A map field with the number 1.
fn entries(node: &Node, encode: fn(&Node) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, node) in document::entries(node) {
        let mut entry = Vec::new();
        field(&mut entry, 1, key.as_bytes());
        field(&mut entry, 2, &encode(node));
        field(&mut bytes, 1, &entry);
    }
    bytes
}

/// A `google.protobuf.Value`.
fn value(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    match node {
        Node::Null => bytes.extend([0x08, 0]),
        Node::Number(number) => {
            bytes.push(0x11);
            bytes.extend(number.to_le_bytes());
        }
        Node::String(text) => field(&mut bytes, 3, text.as_bytes()),
        Node::Bool(truth) => bytes.extend([0x20, u8::from(*truth)]),
        Node::Map(_) => field(&mut bytes, 5, &structure(node)),
        Node::List(items) => {
            let mut list = Vec::new();
            for item in items {
                field(&mut list, 1, &value(item));
            }
            field(&mut bytes, 6, &list);
        }
    }
    bytes
}

/// A field with a length.
fn field(bytes: &mut Vec<u8>, number: u8, content: &[u8]) {
    bytes.push(number.wrapping_shl(3) | 2);
    let mut length = content.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use upstream_inject::protobuf::metadata::{Value, namespace};

    #[test]
    fn the_filter_reads_what_is_written() {
        let text =
            "ns: {tokens: {github: gho, long: LONG}, list: [a, 1], yes: true, none: null, n: 1.5}";
        let text = text.replace("LONG", &"x".repeat(300));
        let node = document::parse(text.as_bytes()).unwrap().remove(0).root;
        let bytes = metadata(&node);
        let read = namespace(&bytes, "ns").unwrap().unwrap();
        let tokens = read.map("tokens").unwrap().unwrap();
        assert_eq!(tokens.text("github").unwrap(), Some(&b"gho"[..]));
        assert_eq!(tokens.text("long").unwrap().unwrap().len(), 300);
        assert_eq!(read.get("yes").unwrap(), Some(Value::True));
        assert!(matches!(read.get("list").unwrap(), Some(Value::List(_))));
        assert!(namespace(&bytes, "other").unwrap().is_none());
    }
}
