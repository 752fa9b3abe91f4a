//! What somebody may have meant by a word that is unknown.

/// The word among `known` that `written` is a slip for: the same but for case and separators, or at
/// most two letters away (one, in a short word).
#[must_use]
pub fn meant<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = plain(written);
    let most = match written.chars().count() {
        0..=1 => 0,
        2..=4 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .map(|word| (distance(&plain(word), &written), word))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// A name without what tells snake_case from camelCase.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|character| !matches!(character, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many characters two names differ by (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, character) in left.chars().enumerate() {
        let mut before = index;
        let mut last = index.saturating_add(1);
        let mut next = vec![last];
        for (other, above) in right.iter().zip(row.iter().skip(1)) {
            let replaced = before.saturating_add(usize::from(character != *other));
            last = replaced
                .min(above.saturating_add(1))
                .min(last.saturating_add(1));
            before = *above;
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        for (written, known, expected) in [
            ("token_url", &["tokenUrl", "cluster"][..], Some("tokenUrl")),
            ("wki", &["fetch", "wiki"], Some("wiki")),
            ("githib", &["github", "gitlab"], Some("github")),
            ("ab", &["cd"], None),
            ("a", &["b"], None),
            ("something", &["else"], None),
        ] {
            assert_eq!(meant(written, known.iter().copied()), expected, "{written}");
        }
    }
}
