//! Canaries: every token and secret that the bed hands out is made here, so that a search can show
//! that none of them is where it must not be.
//!
//! A canary is recognisable twice: its text holds [`MARK`], and its whole value is remembered. What
//! is searched for is the mark, the mark in all three base64 alignments (a Basic credential, a JWT
//! payload), and for each JWT its signature, which no base64 search would find.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The text that every canary holds.
pub const MARK: &str = "cAnArYcAnArY";

static PLANTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static IDENTITY: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A token or secret with a readable `name` in it, such as `gho_cAnArYcAnArY-alice`.
#[must_use]
pub fn token(prefix: &str, name: &str) -> String {
    format!("{prefix}{MARK}-{name}")
}

/// Remembers a TH-JWT: it must be in no log, and must reach no backend.
pub(crate) fn remember_identity(jwt: &str) {
    remember(jwt);
    IDENTITY
        .lock()
        .expect("no panic in here")
        .insert(signature(jwt).to_owned());
}

/// Remembers a value that does not hold [`MARK`] in clear, such as a JWT.
pub fn remember(value: &str) {
    PLANTED
        .lock()
        .expect("no panic in here")
        .insert(signature(value).to_owned());
}

/// The last part of a JWT, or the value itself: the part that makes it usable.
fn signature(value: &str) -> &str {
    value.rsplit('.').next().unwrap_or(value)
}

/// Does `bytes` hold a TH-JWT that was issued in this process?
#[must_use]
pub fn holds_identity_token(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    IDENTITY
        .lock()
        .expect("no panic in here")
        .iter()
        .any(|jwt| text.contains(jwt.as_str()))
}

/// Finds the first canary in `text`; the answer is the surrounding text, for the developer's eyes.
#[must_use]
pub fn find(text: &str) -> Option<String> {
    let planted = PLANTED.lock().expect("no panic in here");
    let position = MARKS
        .iter()
        .map(String::as_str)
        .chain(planted.iter().map(String::as_str))
        .find_map(|mark| text.find(mark))?;
    Some(line_around(text, position))
}

/// [`find`] for many long texts: each is read once, however many canaries there are.
pub(crate) struct Search(AhoCorasick);

impl Search {
    /// A search for the canaries that there are so far.
    pub(crate) fn new() -> Self {
        let planted = PLANTED.lock().expect("no panic in here");
        let all = MARKS.iter().chain(planted.iter());
        Self(AhoCorasick::new(all).expect("few enough canaries"))
    }

    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let found = self.0.find(text)?;
        Some(line_around(text, found.start()))
    }
}

fn line_around(text: &str, position: usize) -> String {
    let line_start = text[..position].rfind('\n').map_or(0, |end| end + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    line.chars().take(400).collect()
}

/// The mark as it is and in base64, at each of the three positions it can have there.
static MARKS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut marks = vec![MARK.to_owned()];
    for shift in 0..3 {
        let shifted = format!("{}{MARK}", "\0".repeat(shift));
        let encoded = STANDARD_NO_PAD.encode(shifted);
        // The first and the last characters mix with the neighbours' bits: only the middle counts.
        marks.push(encoded[4..encoded.len() - 3].to_owned());
    }
    marks
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_canary_in_clear_and_in_base64_at_every_alignment() {
        let search = Search::new();
        assert_eq!(
            (find("nothing here"), search.find("nothing here")),
            (None, None)
        );
        assert!(find(&token("gho_", "x")).is_some());
        for shift in 0..3 {
            let basic = STANDARD_NO_PAD.encode(format!("{}:{}", "i".repeat(shift), token("", "s")));
            assert!(find(&basic).is_some(), "{basic}");
            assert_eq!(search.find(&basic), find(&basic));
        }
    }

    #[test]
    fn finds_the_signature_of_a_jwt_and_the_line_it_is_on() {
        remember("aaa.bbb.c1c2c3c4signature");
        assert_eq!(
            find("one\ntwo c1c2c3c4signature\nthree").as_deref(),
            Some("two c1c2c3c4signature")
        );
        assert_eq!(
            Search::new()
                .find("one\ntwo c1c2c3c4signature\nthree")
                .as_deref(),
            Some("two c1c2c3c4signature")
        );
    }
}
