//! What is shown of values: tokens and secrets shortened, never whole.

use crate::secret_names::is_secret;
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

/// A URL, of whose query only the names are shown: some services want a key there.
pub(super) fn url(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let names: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}=…"),
            None => "…".to_owned(),
        })
        .collect();
    format!("{place}?{}", names.join("&"))
}

/// In the place of a value that the operator has chosen under the name of a secret.
const CONFIGURED: &str = "<as configured>";

/// The fields of a form, in order; of those that are `configured` and secret nothing is shown but the name.
pub(super) fn form(body: &[u8], configured: &[&str]) -> Vec<(String, String)> {
    let body = String::from_utf8_lossy(body);
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            let name = decoded(name);
            let value = decoded(value);
            let shown = match is_secret(&name) {
                true if configured.contains(&&*name) => CONFIGURED.to_owned(),
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
        let fields = form(b"grant_type=x&subject_token=hunter2&subject_token_type=y&client_secret=upstream-inject-explains%3A%24ENV&connection=github&X-Api-Key=hunter2&passphrase=hunter2&sig=hunter2", &["connection", "X-Api-Key", "passphrase", "sig"]);
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
                ("connection", "github"),
                ("X-Api-Key", "<as configured>"),
                ("passphrase", "<as configured>"),
                ("sig", "<as configured>"),
            ]
        );
    }

    #[test]
    fn of_a_query_the_names_are_shown() {
        for (whole, shown) in [
            ("https://sts.example/t", "https://sts.example/t"),
            (
                "https://sts.example/t?code=hunter2&v=1",
                "https://sts.example/t?code=…&v=…",
            ),
            ("https://sts.example/t?hunter2", "https://sts.example/t?…"),
            (
                "https://sts.example/t?a=b?hunter2=c",
                "https://sts.example/t?a=…",
            ),
        ] {
            assert_eq!(url(whole), shown);
        }
    }
}
