//! Writing a row, byte for byte as ToolHive's writer does.

use super::Row;

impl Row {
    /// The row as ToolHive writes it: compact, its members in its order, all of them always there;
    /// then those of others.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            256 + self.access_token.len() + self.refresh_token.len() + self.id_token.len(),
        );
        out.push(b'{');
        text_member(&mut out, "provider_id", &self.provider_id);
        text_member(&mut out, "access_token", &self.access_token);
        text_member(&mut out, "refresh_token", &self.refresh_token);
        text_member(&mut out, "id_token", &self.id_token);
        number_member(&mut out, "expires_at", self.expires_at);
        number_member(&mut out, "session_expires_at", self.session_expires_at);
        text_member(&mut out, "user_id", &self.user_id);
        text_member(&mut out, "upstream_subject", &self.upstream_subject);
        text_member(&mut out, "client_id", &self.client_id);
        for (name, value) in &self.others {
            member_name(&mut out, name);
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        out
    }
}

fn member_name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    text(out, name);
    out.push(b':');
}

fn text_member(out: &mut Vec<u8>, name: &str, value: &str) {
    member_name(out, name);
    text(out, value);
}

fn number_member(out: &mut Vec<u8>, name: &str, value: i64) {
    member_name(out, name);
    out.extend_from_slice(value.to_string().as_bytes());
}

/// A JSON text with the escapes that Go's encoder chooses: those that HTML wants, too, and the two
/// separators that JavaScript takes for line ends.
fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for character in value.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            '\u{2028}' => out.extend_from_slice(b"\\u2028"),
            '\u{2029}' => out.extend_from_slice(b"\\u2029"),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
