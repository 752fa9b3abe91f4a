//! Text in messages, quoted so that it cannot pass for anything else.

/// `text` as a JSON string, of one line whatever it holds.
///
/// Log lines use it too, rather than `{:?}`, whose tables of printable characters the artifact then
/// need not carry.
pub(crate) fn json_string(text: &str) -> String {
    // Writing a text to memory cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}
