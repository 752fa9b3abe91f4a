//! JSON with positions. Whether it is JSON is for `serde_json` to say; the walk that follows can
//! rely on it.

use super::located::{Document, Located, Position};
use super::{MAX_DEPTH, SyntaxError};
use serde::de::IgnoredAny;
use upstream_inject::config::Node;

/// The values of `text`, of which there is more than one where somebody wrote one behind the other.
pub(super) fn parse(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut walk = Walk {
        rest: text,
        at: Position::START,
        depth: 0,
    };
    let mut documents = Vec::new();
    walk.skip_space();
    while documents.is_empty() || !walk.rest.is_empty() {
        if !walk.rest.starts_with(['{', '[']) {
            return Err(SyntaxError::new(
                walk.at,
                "broken JSON: trailing characters",
            ));
        }
        let mut values = serde_json::Deserializer::from_str(walk.rest).into_iter::<IgnoredAny>();
        if let Some(Err(error)) = values.next() {
            return Err(in_words(&error, walk.at));
        }
        let (root, located) = walk.value()?;
        documents.push(Document::new(root, located));
        walk.skip_space();
    }
    Ok(documents)
}

/// `serde_json` puts the position at the end of its message, and never quotes what it skips. It counts
/// from `start`.
fn in_words(error: &serde_json::Error, start: Position) -> SyntaxError {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    let (line, column) = (error.line().max(1), error.column().max(1));
    let at = Position {
        line: line.saturating_add(start.line).saturating_sub(1),
        column: match line {
            1 => column.saturating_add(start.column).saturating_sub(1),
            _ => column,
        },
    };
    SyntaxError::new(at, format!("broken JSON: {reason}"))
}

/// A map or a list, and where its values stand.
type Nested = Result<(Node, Vec<Located>), SyntaxError>;

struct Walk<'a> {
    rest: &'a str,
    at: Position,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self) -> Result<(Node, Located), SyntaxError> {
        match self.rest.chars().next() {
            Some('{') => self.nested(Self::map),
            Some('[') => self.nested(Self::list),
            Some('"') => {
                let at = self.at;
                Ok((Node::String(self.string()?), Located::leaf(at)))
            }
            _ => {
                let at = self.at;
                let end = self
                    .rest
                    .find([',', '}', ']', ' ', '\t', '\r', '\n'])
                    .unwrap_or(self.rest.len());
                let word = self.take(end);
                let node = literal(word);
                let located = Located::plain(at, &node, word);
                Ok((node, located))
            }
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Nested) -> Result<(Node, Located), SyntaxError> {
        let at = self.at;
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(SyntaxError::new(
                at,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.take(1);
        let (node, inner) = read(self)?;
        self.take(1);
        self.depth = self.depth.saturating_sub(1);
        Ok((node, Located::new(at, inner)))
    }

    fn map(&mut self) -> Nested {
        let (mut entries, mut inner) = (Vec::new(), Vec::new());
        while self.more('}') {
            let at = self.at;
            let key = self.string()?;
            self.skip_space();
            self.take(1); // the colon
            self.skip_space();
            let (node, located) = self.value()?;
            entries.push((key, node));
            inner.push(located.at(at));
        }
        Ok((Node::Map(entries), inner))
    }

    fn list(&mut self) -> Nested {
        let (mut items, mut inner) = (Vec::new(), Vec::new());
        while self.more(']') {
            let (node, located) = self.value()?;
            items.push(node);
            inner.push(located);
        }
        Ok((Node::List(items), inner))
    }

    /// Steps over space and a comma to the next entry; false at `end`, or at the end of the text,
    /// which valid JSON does not reach here.
    fn more(&mut self, end: char) -> bool {
        self.skip_space();
        if self.rest.starts_with(',') {
            self.take(1);
            self.skip_space();
        }
        !self.rest.is_empty() && !self.rest.starts_with(end)
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let at = self.at;
        let mut escaped = true; // the opening quote does not close
        let end = self
            .rest
            .char_indices()
            .find(|(_, character)| {
                let closes = *character == '"' && !escaped;
                escaped = *character == '\\' && !escaped;
                closes
            })
            .map_or(self.rest.len(), |(index, _)| index.saturating_add(1));
        let quoted = self.take(end);
        serde_json::from_str(quoted)
            .map_err(|_| SyntaxError::new(at, "broken JSON: a string that cannot be read"))
    }

    fn skip_space(&mut self) {
        let end = self
            .rest
            .find(|character: char| !matches!(character, ' ' | '\t' | '\r' | '\n'))
            .unwrap_or(self.rest.len());
        self.take(end);
    }

    /// Takes `length` bytes, which end between two characters.
    fn take(&mut self, length: usize) -> &'a str {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            self.rest = "";
            return "";
        };
        for character in taken.chars() {
            if character == '\n' {
                self.at.line = self.at.line.saturating_add(1);
                self.at.column = 1;
            } else {
                self.at.column = self.at.column.saturating_add(1);
            }
        }
        self.rest = rest;
        taken
    }
}

fn literal(word: &str) -> Node {
    match word {
        "null" => Node::Null,
        "true" => Node::Bool(true),
        "false" => Node::Bool(false),
        number => Node::Number(number.parse().unwrap_or(f64::NAN)),
    }
}
