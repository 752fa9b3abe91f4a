//! The line that a finding is about, without what may be secret in it.
//!
//! Any value may be a secret, in the wrong place too: a key pasted where a header's name belongs, a
//! password in a URL. So only the key is shown, and its value only where it is one of those that are
//! names and nothing else.

use document::Position;

/// Keys whose values are shown. All else is an ellipsis.
const SHOWN: &[&str] = &[
    "actorProviderName",
    "actorTokenType",
    "apiVersion",
    "audience",
    "authorization_endpoint",
    "backendFrom",
    "cacheSkewSeconds",
    "clientAuthMethod",
    "cluster",
    "expirySkew",
    "fromBackends",
    "grantType",
    "groupRef",
    "idpCluster",
    "idpTokenUrl",
    "insecureTokenUrl",
    "issuer",
    "issuer_url",
    "kind",
    "maxAge",
    "maxEntries",
    "maxTtl",
    "name",
    "namespace",
    "negativeTtl",
    "providerName",
    "redirect_uri",
    "requestedTokenType",
    "required",
    "resource",
    "resourceMetadata",
    "source",
    "subjectProviderName",
    "subjectTokenProviderName",
    "subjectTokenType",
    "targetAudience",
    "targetCluster",
    "targetTokenUrl",
    "timeout",
    "tokenFrom",
    "tokenUrl",
    "transport",
    "type",
    "url",
];

const LONGEST: usize = 80;
/// A file may be one line of megabytes: so far the columns of the file are kept.
const WIDEST: usize = 120;
/// Beyond this many bytes, a line whose columns would have to be counted is not looked into.
const COUNTED: usize = 20_000;

/// A line of the source, and where in what is shown of it the finding is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// What can be shown.
    pub(super) text: String,
    /// The columns before the key.
    pub(super) indent: usize,
    /// How wide the key is.
    pub(super) width: usize,
}

/// A line, and whether a column is a byte of it.
pub(super) struct Line<'a> {
    text: &'a str,
    is_ascii: bool,
}

/// The lines of a source.
pub(super) fn lines(source: &str) -> Vec<Line<'_>> {
    source
        .lines()
        .map(|text| Line {
            text,
            is_ascii: text.is_ascii(),
        })
        .collect()
}

/// The line at `at`, of the source's `lines`.
pub(super) fn of(lines: &[Line<'_>], at: Position) -> Option<Excerpt> {
    let line = lines.get(at.line.checked_sub(1)?)?;
    let start = at.column.checked_sub(1)?;
    let begin = match line.is_ascii {
        true => start.min(line.text.len()),
        false if line.text.len() > COUNTED => line.text.len(),
        false => line
            .text
            .char_indices()
            .nth(start)
            .map_or(line.text.len(), |(index, _)| index),
    };
    let (before, rest) = line.text.split_at_checked(begin)?;
    let is_plain = |character: char| matches!(character, ' ' | '-');
    let mut text = match before.chars().all(is_plain) {
        _ if start > WIDEST => "… ".to_owned(),
        true => before.to_owned(),
        false => " ".repeat(start),
    };
    let indent = text.chars().count();
    let Some((written, key, value)) = entry(rest) else {
        text.push('…');
        let width = 1;
        return Some(Excerpt {
            text,
            indent,
            width,
        });
    };
    text.push_str(written);
    text.push(':');
    let value = value.trim();
    if !value.is_empty() {
        text.push(' ');
        let shown = plain_value(value).filter(|_| SHOWN.contains(&key));
        text.push_str(shown.unwrap_or("…"));
    }
    Some(Excerpt {
        text,
        indent,
        width: written.chars().count(),
    })
}

/// A key as written, the key itself, and what comes behind its colon.
fn entry(rest: &str) -> Option<(&str, &str, &str)> {
    let quote = rest.chars().next().filter(|first| "\"'".contains(*first));
    let (key, written_len) = match quote {
        Some(quote) => {
            let inner = rest.get(1..)?;
            let end = inner.find(quote)?;
            (inner.get(..end)?, end.checked_add(2)?)
        }
        None => {
            let end = rest.find(':')?;
            (rest.get(..end)?, end)
        }
    };
    let (written, behind) = rest.split_at_checked(written_len)?;
    let behind = behind.trim_start().strip_prefix(':')?;
    let is_name = !key.is_empty()
        && key.len() <= LONGEST
        && key
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_-./|".contains(character));
    let is_over = behind.is_empty() || behind.starts_with([' ', '\t']) || quote.is_some();
    (is_name && is_over).then_some((written, key, behind))
}

/// A value that is one word, or a quoted one; `None` for what is more, or may hold a password.
fn plain_value(value: &str) -> Option<&str> {
    let end = match value.chars().next()? {
        quote @ ('"' | '\'') => value
            .char_indices()
            .skip(1)
            .find(|(_, character)| *character == quote)
            .and_then(|(index, _)| index.checked_add(1))?,
        '[' | '{' | '|' | '>' | '&' | '*' | '!' => return None,
        _ => value.find([',', '}', ' ']).unwrap_or(value.len()),
    };
    let word = value.get(..end)?;
    let is_harmless = !word.contains(['@', '?', '#', '\\'])
        && word.chars().count() <= LONGEST
        && !word.chars().any(char::is_control);
    is_harmless.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(line: &str, column: usize) -> (String, usize) {
        let at = Position { line: 1, column };
        let excerpt = of(&lines(line), at).unwrap();
        (excerpt.text, excerpt.width)
    }

    #[test]
    fn names_are_shown_and_everything_else_is_not() {
        for (line, column, text, width) in [
            ("  providerName: github", 3, "  providerName: github", 12),
            ("  - name: \"a b\" # x", 5, "  - name: \"a b\"", 4),
            ("clientSecret: hunter2", 1, "clientSecret: …", 12),
            ("headerName: hunter2", 1, "headerName: …", 10),
            ("clientSecert: hunter2", 1, "clientSecert: …", 12),
            (
                "x: {headerValue: hunter2, type: y}",
                27,
                "                          type: y",
                4,
            ),
            ("- hunter2", 3, "- …", 1),
            ("hunter2", 1, "…", 1),
            ("tokenUrl: https://me:hunter2@a/", 1, "tokenUrl: …", 8),
            ("tokenUrl: https://a/t", 1, "tokenUrl: https://a/t", 8),
            (
                "\"tokenUrl\": \"https://a/t\",",
                1,
                "\"tokenUrl\": \"https://a/t\"",
                10,
            ),
            (
                "tokenExchange: {clientSecret: hunter2}",
                1,
                "tokenExchange: …",
                13,
            ),
            ("backends:", 1, "backends:", 8),
            ("name: hunter2", 9, "        …", 1),
        ] {
            assert_eq!(excerpt(line, column), (text.to_owned(), width), "{line}");
        }
    }

    #[test]
    fn a_line_of_megabytes_costs_no_megabytes_to_show() {
        let line = format!("{{{}type: x}}", "a: b, ".repeat(200_000));
        let column = line.len() - 7;
        assert_eq!(excerpt(&line, column), ("… type: x".to_owned(), 4));
    }

    #[test]
    fn there_is_none_beyond_the_source() {
        let at = Position { line: 2, column: 1 };
        assert_eq!(of(&lines("a"), at), None);
        assert_eq!(excerpt("a", 9), ("        …".to_owned(), 1));
    }
}
