//! The filter's own table of keys, as it is shown to people.

mod schema;

pub use schema::json_schema;

use upstream_inject::config::{self, Described, Shape, StrategyType};

/// The block of each strategy that has one.
pub fn blocks(registry: &'static [StrategyType]) -> Vec<Described> {
    let strategies = config::strategies(registry).into_iter();
    strategies.filter_map(|(_, block)| block).collect()
}

/// The keys of the map that a value is, or of the maps that it holds, if they are declared.
pub fn keys_of(shape: &Shape) -> Vec<Described> {
    match shape {
        Shape::Object(object) => object.described(),
        Shape::List(item, _) | Shape::OneOrMany(item) | Shape::Map(_, item) => keys_of(item),
        _ => Vec::new(),
    }
}

/// What a key is for, and within which bounds, as Markdown.
pub fn text(key: &Described) -> String {
    let text = key.doc.text.trim_start();
    match bounds(&key.shape, text) {
        Some(bounds) => format!("{text} {bounds}."),
        None => text.to_owned(),
    }
}

/// What a key is, or what takes its place, when it is absent, as Markdown.
pub fn default(key: &Described) -> Option<String> {
    let value = key.default.map(|value| format!("`{value}`"));
    value.or_else(|| key.doc.absent.map(str::to_owned))
}

/// In words, as a sentence without its full stop, if there is more to say than `text` does.
fn bounds(shape: &Shape, text: &str) -> Option<String> {
    match shape {
        Shape::Count(most) => Some(format!("From 0 to {most}")),
        Shape::Duration(bounds, _) => Some(bounds.replacen('f', "F", 1)),
        Shape::OneOf(words) => {
            let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            let (last, others) = quoted.split_last()?;
            if quoted.iter().all(|word| text.contains(word)) {
                return None;
            }
            Some(match others {
                [] => format!("Nothing but {last}"),
                others => format!("{} or {last}", others.join(", ")),
            })
        }
        _ => None,
    }
}
