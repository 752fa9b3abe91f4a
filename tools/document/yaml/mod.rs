//! YAML 1.2, from the parser's events to the tree: iteratively, within bounds, and with the keys
//! given twice kept, because that they are is for the validator to report.
//!
//! Merge keys (`<<`) are not part of YAML 1.2, but vMCP's own loader knows them, so they work here.

use super::located::{Document, Doubt, Located, Position};
use super::resolve::{self, ScalarTag};
use super::{MAX_DEPTH, SyntaxError};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use upstream_inject::config::Node;

/// How many values aliases may add to a document. A configuration with more is one of those that
/// were made to exhaust memory.
const MAX_ALIASED_VALUES: usize = 100_000;

/// How many doubts are kept.
const MAX_DOUBTS: usize = 10_000;

const MERGE_KEY: &str = "<<";

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

/// A finished value.
#[derive(Clone)]
struct Value {
    node: Node,
    located: Located,
    /// How many values it consists of.
    count: usize,
    /// How many levels it has; a scalar has none.
    depth: usize,
}

/// A map or list that is being read.
struct Frame {
    at: Position,
    anchor: usize,
    count: usize,
    depth: usize,
    inner: Vec<Located>,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        key: Option<Key>,
        merged: Option<(Position, Value)>,
    },
}

struct Key {
    text: String,
    at: Position,
    is_merge: bool,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    open: Vec<Frame>,
    anchors: HashMap<usize, Value>,
    aliased: usize,
    /// Of the document under way: what Envoy's reader takes for something else.
    doubts: Vec<Doubt>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), SyntaxError> {
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.doubts.clear();
                self.aliased = 0;
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag, at),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::SequenceStart(anchor, tag) => {
                self.begin(at, anchor, tag, "seq", Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    key: None,
                    merged: None,
                };
                self.begin(at, anchor, tag, "map", content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        at: Position,
    ) -> Result<(), SyntaxError> {
        let is_plain = style == ScalarStyle::Plain;
        if self.awaits_key() {
            if anchor > 0 {
                self.anchors.insert(anchor, scalar(text_node(text), at));
            }
            let is_merge = is_plain && tag.is_none() && text == MERGE_KEY;
            if is_merge {
                let text = "Envoy's reader has no merge keys: << is an unknown key to it";
                self.doubt(at, text);
            }
            self.set_key(Key {
                text: text.to_owned(),
                at,
                is_merge,
            });
            return Ok(());
        }
        if tag.is_some() {
            self.doubt(at, "Envoy's reader ignores tags; quote the value");
        } else if is_plain && let Some(text) = resolve::read_otherwise(text) {
            self.doubt(at, text);
        }
        let node = match tag.as_deref() {
            None if is_plain => resolve::plain(text),
            None => text_node(text),
            Some(tag) => scalar_tag(tag)
                .ok_or_else(|| unsupported_tag(at))
                .and_then(|tag| {
                    resolve::tagged(tag, text)
                        .ok_or_else(|| SyntaxError::new(at, "the value does not fit its tag"))
                })?,
        };
        self.value(scalar(node, at), anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), SyntaxError> {
        let Some(value) = self.anchors.get(&anchor) else {
            return Err(SyntaxError::new(
                at,
                "an alias to the value that it is itself part of",
            ));
        };
        if self.awaits_key() {
            let Node::String(text) = &value.node else {
                return Err(key_not_scalar(at));
            };
            let text = text.clone();
            self.set_key(Key {
                text,
                at,
                is_merge: false,
            });
            return Ok(());
        }
        self.aliased = self.aliased.saturating_add(value.count);
        if self.aliased > MAX_ALIASED_VALUES {
            return Err(SyntaxError::new(
                at,
                format!("aliases expand to more than {MAX_ALIASED_VALUES} values"),
            ));
        }
        if self.open.len().saturating_add(value.depth) > MAX_DEPTH {
            return Err(too_deep(at));
        }
        let mut value = value.clone();
        value.located.at = at;
        self.value(value, 0)
    }

    fn begin(
        &mut self,
        at: Position,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        own_tag: &str,
        content: Content,
    ) -> Result<(), SyntaxError> {
        if self.awaits_key() {
            return Err(key_not_scalar(at));
        }
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own_tag)) {
            return Err(unsupported_tag(at));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.open.push(Frame {
            at,
            anchor,
            count: 1,
            depth: 1,
            inner: Vec::new(),
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        let anchor = frame.anchor;
        let value = frame.finish()?;
        self.value(value, anchor)
    }

    /// Puts a finished value where it belongs: into the innermost open frame, or it is a document.
    fn value(&mut self, value: Value, anchor: usize) -> Result<(), SyntaxError> {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            Some(frame) => frame.add(value),
            None => {
                // `---` with nothing behind it is no document of its own.
                if value.node != Node::Null {
                    let document = Document::new(value.node, value.located);
                    let doubts = std::mem::take(&mut self.doubts);
                    self.documents.push(document.doubted(doubts));
                }
                Ok(())
            }
        }
    }

    /// Where the value's key stands, if it has one.
    fn doubt(&mut self, at: Position, text: &'static str) {
        let at = match self.open.last().map(|frame| &frame.content) {
            Some(Content::Map { key: Some(key), .. }) => key.at,
            _ => at,
        };
        if self.doubts.len() < MAX_DOUBTS {
            self.doubts.push(Doubt { at, text });
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.open.last().map(|frame| &frame.content),
            Some(Content::Map { key: None, .. })
        )
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Frame {
            content: Content::Map { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(new);
        }
    }
}

impl Frame {
    fn add(&mut self, value: Value) -> Result<(), SyntaxError> {
        self.count = self.count.saturating_add(value.count);
        self.depth = self.depth.max(value.depth.saturating_add(1));
        match &mut self.content {
            Content::List(items) => {
                items.push(value.node);
                self.inner.push(value.located);
            }
            Content::Map {
                entries,
                key,
                merged,
            } => {
                let Some(key) = key.take() else {
                    return Ok(());
                };
                if key.is_merge {
                    if merged.is_some() {
                        return Err(SyntaxError::new(key.at, "the merge key << is given twice"));
                    }
                    *merged = Some((key.at, value));
                } else {
                    entries.push((key.text, value.node));
                    self.inner.push(value.located.at(key.at));
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Value, SyntaxError> {
        let node = match self.content {
            Content::List(items) => Node::List(items),
            Content::Map {
                mut entries,
                merged,
                ..
            } => {
                if let Some((at, value)) = merged {
                    merge(at, value, &mut entries, &mut self.inner)?;
                }
                Node::Map(entries)
            }
        };
        Ok(Value {
            node,
            located: Located::new(self.at, self.inner),
            count: self.count,
            depth: self.depth,
        })
    }
}

/// Adds what `<<` names: the map's own keys win, then the earlier map of a list.
fn merge(
    at: Position,
    value: Value,
    entries: &mut Vec<(String, Node)>,
    inner: &mut Vec<Located>,
) -> Result<(), SyntaxError> {
    let sources = match value.node {
        Node::List(items) => items.into_iter().zip(value.located.inner).collect(),
        node => vec![(node, value.located)],
    };
    let mut taken: std::collections::HashSet<String> =
        entries.iter().map(|(key, _)| key.clone()).collect();
    for (source, located) in sources {
        let Node::Map(source) = source else {
            return Err(SyntaxError::new(
                at,
                "the merge key << needs a map, or a list of maps",
            ));
        };
        for ((key, node), place) in source.into_iter().zip(located.inner) {
            if taken.insert(key.clone()) {
                entries.push((key, node));
                inner.push(place.at(at));
            }
        }
    }
    Ok(())
}

fn scalar(node: Node, at: Position) -> Value {
    Value {
        node,
        located: Located::leaf(at),
        count: 1,
        depth: 0,
    }
}

fn text_node(text: &str) -> Node {
    Node::String(text.to_owned())
}

fn scalar_tag(tag: &Tag) -> Option<ScalarTag> {
    if tag.handle.is_empty() && tag.suffix == "!" {
        return Some(ScalarTag::Text); // the non-specific tag
    }
    if !tag.is_yaml_core_schema() {
        return None;
    }
    match tag.suffix.as_str() {
        "str" => Some(ScalarTag::Text),
        "null" => Some(ScalarTag::Null),
        "bool" => Some(ScalarTag::Bool),
        "int" => Some(ScalarTag::Int),
        "float" => Some(ScalarTag::Float),
        _ => None,
    }
}

fn unsupported_tag(at: Position) -> SyntaxError {
    SyntaxError::new(
        at,
        "a tag that is not supported (!!str, !!int, !!float, !!bool, !!null, !!map and !!seq are)",
    )
}

fn key_not_scalar(at: Position) -> SyntaxError {
    SyntaxError::new(at, "a key that is not a text")
}

fn too_deep(at: Position) -> SyntaxError {
    SyntaxError::new(at, format!("nested deeper than {MAX_DEPTH} levels"))
}
