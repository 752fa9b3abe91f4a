//! From the parser's events to the tree.

use super::frame::{Content, Frame, Key, Value, scalar};
use crate::located::{Document, Doubt, Located, Position};
use crate::resolve::{self, ScalarTag};
use crate::{MAX_DEPTH, SyntaxError};
use saphyr_parser::{Event, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use upstream_inject::config::Node;

/// How many values aliases may add to a document. A configuration with more is one of those that
/// were made to exhaust memory.
const MAX_ALIASED_VALUES: usize = 100_000;

/// How many doubts are kept.
const MAX_DOUBTS: usize = 10_000;

const MERGE_KEY: &str = "<<";

#[derive(Default)]
pub(super) struct Builder {
    pub documents: Vec<Document>,
    open: Vec<Frame>,
    anchors: HashMap<usize, Value>,
    aliased: usize,
    /// Of the document under way: what Envoy's reader takes for something else.
    doubts: Vec<Doubt>,
}

impl Builder {
    pub(super) fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), SyntaxError> {
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
        let mut value = scalar(node, at);
        if is_plain && tag.is_none() {
            value.located = Located::plain(at, &value.node, text);
        }
        self.value(value, anchor)
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
