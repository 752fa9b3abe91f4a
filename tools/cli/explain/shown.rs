//! What is shown of values: tokens and secrets shortened, never whole.

use percent_encoding::percent_decode_str;

/// What begins so are words of ours in the place of a value that nobody knows here. No token and no
/// secret begins so by chance.
const WORDS: &str = "upstream-inject-explains:";

/// Words in the place of a value.
pub(super) fn words(text: &str) -> String {
    format!("{WORDS}{text}")
}

/// A secret value, shortened, or the words that stand for it.
pub(super) fn secret(value: &str) -> String {
    match value.strip_prefix(WORDS) {
        Some(words) => words.to_owned(),
        None => shortened(value),
    }
}

/// A token or a secret, of which too little is left to use it.
pub(super) fn shortened(text: &str) -> String {
    let length = text.chars().count();
    let beginning: String = match length {
        24.. => text.chars().take(6).collect(),
        _ => String::new(),
    };
    format!(
        "{}… ({length} characters)",
        crate::report::printable(&beginning)
    )
}

/// Form fields whose values are nobody's to see.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_about = ["token", "secret", "assertion", "password", "key", "code"]
        .iter()
        .any(|word| name.contains(word));
    is_about && !name.ends_with("_type") && !name.ends_with("_use") && !name.ends_with("_hash")
}

/// In the place of a value that only the operator knows the meaning of: it may be one that is not for
/// everybody's eyes.
const CONFIGURED: &str = "<as configured>";

/// The fields of a form, in order. Of those that are `configured` only the names are shown.
pub(super) fn form(body: &[u8], configured: &[&str]) -> Vec<(String, String)> {
    let body = String::from_utf8_lossy(body);
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            let name = decoded(name);
            let value = decoded(value);
            let shown = match is_secret(&name) {
                _ if configured.contains(&&*name) => CONFIGURED.to_owned(),
                true => secret(&value),
                false => value,
            };
            (name, shown)
        })
        .collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_be_used_is_shown() {
        assert_eq!(shortened("hunter2"), "… (7 characters)");
        assert_eq!(shortened(&"a".repeat(40)), "aaaaaa… (40 characters)");
        let fields = form(b"grant_type=x&subject_token=hunter2&subject_token_type=y&client_secret=upstream-inject-explains%3A%24ENV&login_hint=alice", &["login_hint"]);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("grant_type", "x"),
                ("subject_token", "… (7 characters)"),
                ("subject_token_type", "y"),
                ("client_secret", "$ENV"),
                ("login_hint", "<as configured>"),
            ]
        );
    }
}
