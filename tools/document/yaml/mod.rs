//! YAML 1.2, from the parser's events to the tree: iteratively, within bounds, and with the keys
//! given twice kept, because that they are is for the validator to report.

mod builder;
mod frame;

use super::SyntaxError;
use super::located::{Document, Located, Position};
use builder::Builder;
use saphyr_parser::{Parser, ScanError, Span};
use std::borrow::Cow;
use upstream_inject::config::Node;

/// How many lines are put right for the parser's sake. A configuration has a handful.
const MAX_REPAIRS: usize = 500;

/// The parser refuses what YAML allows and Envoy, kubectl and Go's reader take: a closing bracket, or
/// the continuation of a quoted text, in the column of its key. Such a line is moved in by a space.
pub(super) fn parse(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut repaired: Option<Vec<Cow<'_, str>>> = None;
    for _ in 0..MAX_REPAIRS {
        let joined = repaired.as_ref().map(|lines| lines.concat());
        let error = match parse_strictly(joined.as_deref().unwrap_or(text)) {
            Ok(documents) => return Ok(documents),
            Err(error) => error,
        };
        let is_indentation = error.text.contains("invalid indentation");
        let Some(at) = error.at.filter(|_| is_indentation) else {
            return Err(error);
        };
        let lines =
            repaired.get_or_insert_with(|| text.split_inclusive('\n').map(Cow::Borrowed).collect());
        let is_quoted = error.text.contains("quoted");
        // Of a quoted text the parser names the line before.
        let candidates = [at.line.saturating_sub(1), at.line];
        let line = candidates
            .into_iter()
            .filter_map(|index| Some((index, lines.get(index)?)))
            .find(|(_, line)| is_quoted || line.trim_start().starts_with([']', '}']))
            .map(|(index, _)| index);
        match line.and_then(|index| lines.get_mut(index)) {
            Some(line) if line.len() < 4096 => {
                *line = Cow::Owned(format!(" {line}"));
            }
            _ => return Err(error),
        }
    }
    parse_strictly(text)
}

fn parse_strictly(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| in_words(&error))?;
        builder.take(event, position(span))?;
    }
    if builder.documents.is_empty() {
        builder
            .documents
            .push(Document::new(Node::Null, Located::leaf(Position::START)));
    }
    Ok(builder.documents)
}

fn position(span: Span) -> Position {
    Position {
        line: span.start.line().max(1),
        column: span.start.col().saturating_add(1),
    }
}

fn in_words(error: &ScanError) -> SyntaxError {
    let at = Position {
        line: error.marker().line().max(1),
        column: error.marker().col().saturating_add(1),
    };
    SyntaxError::new(at, format!("broken YAML: {}", error.info()))
}
