//! The README's reference names every key that there is.

use serde_json::Value;
use std::collections::BTreeSet;
use upstream_inject::config;
use upstream_inject::strategy::REGISTRY;

#[test]
fn the_readmes_tables_name_every_key() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("\n## Configuration\n").unwrap();
    let (reference, _) = rest.split_once("\n## ").unwrap();
    let words: BTreeSet<&str> = reference
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| … `"))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    let mut keys = BTreeSet::new();
    find_keys(&config::json_schema(REGISTRY), &mut keys);
    assert!(keys.contains("targetClientKeyEnv"), "{keys:?}");
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn find_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                keys.extend(properties.keys().cloned());
            }
            fields.values().for_each(|field| find_keys(field, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| find_keys(item, keys)),
        _ => {}
    }
}
