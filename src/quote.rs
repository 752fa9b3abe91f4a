//! Text in messages, quoted so that it cannot pass for anything else.

/// `text` as a JSON string, of one line whatever it holds.
///
/// Log lines use it too, rather than `{:?}`, whose tables of printable characters the artifact then
/// need not carry.
pub(crate) fn json_string(text: &str) -> String {
    // Writing a text to memory cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// [`json_string`] of a name or a value of a configuration, up to the first control character that is
/// no white space.
///
/// No name holds one. But what stands between a `Struct`'s keys and their values does: where the bytes
/// are damaged, what follows in `text` may be somebody's secret.
pub(crate) fn shown(text: &str) -> String {
    let is_between = |byte: u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    match text.bytes().position(is_between) {
        Some(end) => json_string(&format!("{}…", text.get(..end).unwrap_or_default())),
        None => json_string(text),
    }
}
