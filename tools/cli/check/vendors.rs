//! Settings that cannot work at the token endpoints of vendors whose hosts are known: data, from
//! `vendors.json`, and the few words that its conditions are made of.

use super::said::Notes;
use crate::codes;
use crate::keys::{self, Of};
use document::{get, get_text};
use serde_json::Value;
use std::sync::OnceLock;
use upstream_inject::config::{Node, Path};

const TABLE: &str = include_str!("vendors.json");

/// The rows: `hosts` (`*.` at the beginning stands for any labels), `block`, and what must hold for
/// the hint to be given: `has` and `lacks` (keys, `KEY=VALUE` too), `path_has` and `path_lacks` (of
/// the URL). `at` is the key that the hint is about, `page` its section in docs/providers.md.
fn rows() -> &'static [Value] {
    static ROWS: OnceLock<Vec<Value>> = OnceLock::new();
    ROWS.get_or_init(|| serde_json::from_str(TABLE).unwrap_or_default())
}

/// Warns of what a vendor's endpoint is documented not to take.
pub(super) fn on(path: &Path, strategy: &Node, notes: &mut Notes) {
    for (block, url_key, _) in keys::token_endpoints(Of::Strategy) {
        let Some(settings) = get(strategy, block) else {
            continue;
        };
        let Some((host, rest)) = get_text(settings, url_key).and_then(host_and_path) else {
            continue;
        };
        for row in rows() {
            let is_row = text(row, "block") == block
                && row.get("url").is_none_or(|url| url == url_key)
                && texts(row, "hosts").any(|pattern| is_host(&host, pattern))
                && texts(row, "has").all(|condition| holds(settings, condition))
                && !texts(row, "lacks").any(|condition| holds(settings, condition))
                && texts(row, "path_has").all(|part| rest.contains(part))
                && !texts(row, "path_lacks").any(|part| rest.contains(part));
            if is_row {
                let said = format!(
                    "{} (docs/providers.md#{})",
                    text(row, "text"),
                    text(row, "page")
                );
                notes.warn(&codes::VENDOR, path.key(block).key(text(row, "at")), said);
            }
        }
    }
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'a>(row: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let list = row.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// `KEY`: it is there and not empty. `KEY=VALUE`: it is just that.
fn holds(settings: &Node, condition: &str) -> bool {
    match condition.split_once('=') {
        Some((key, value)) => get_text(settings, key).is_some_and(|text| text == value),
        None => match get(settings, condition) {
            Some(Node::List(items)) => !items.is_empty(),
            Some(Node::String(text)) => !text.is_empty(),
            other => other.is_some(),
        },
    }
}

fn is_host(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == pattern,
    }
}

fn host_and_path(url: &str) -> Option<(String, &str)> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default();
    Some((host.to_ascii_lowercase(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row that is misspelt would never be seen again.
    #[test]
    fn the_table_is_read_and_every_row_leads_to_a_section() {
        let page = include_str!("../../../docs/providers.md");
        let sections: Vec<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(|title| {
                let title = title.to_lowercase().replace(['(', ')'], "");
                title.replace(' ', "-")
            })
            .collect();
        const KNOWN: [&str; 10] = [
            "hosts",
            "block",
            "url",
            "has",
            "lacks",
            "path_has",
            "path_lacks",
            "at",
            "text",
            "page",
        ];
        assert!(rows().len() >= 10);
        for row in rows() {
            assert!(
                sections.iter().any(|section| section == text(row, "page")),
                "{row}"
            );
            for (key, _) in row.as_object().unwrap() {
                assert!(KNOWN.contains(&key.as_str()), "{key} in {row}");
            }
            for key in ["block", "at", "text"] {
                assert!(!text(row, key).is_empty(), "{key} in {row}");
            }
        }
    }
}
