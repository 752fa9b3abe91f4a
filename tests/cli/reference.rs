//! The README's reference of keys, which is made of the filter's own table.

use crate::golden;
use crate::tool::repository;
use document::keys::{self, keys_of};
use std::collections::HashMap;
use std::fmt::Write as _;
use upstream_inject::config::{self, Described, Shape};
use upstream_inject::strategy::REGISTRY;

#[test]
fn the_readmes_tables_say_what_the_table_of_keys_says() {
    let written = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (keys, blocks) = (config::keys(), keys::blocks(REGISTRY));
    let of_exchange = blocks.iter().find(|key| key.name == "tokenExchange");
    let mut known = Known::default();
    known.learn("tokenExchange", &keys_of(&of_exchange.unwrap().shape));
    let made = with_table(&written, "keys", &table(&keys, &mut known));
    let made = with_table(&made, "blocks", &table(&blocks, &mut known));
    golden::compare("README.md", &made);
}

#[test]
fn a_row_says_what_is_written_by_default() {
    let rows = table(&config::keys(), &mut Known::default());
    for row in [
        "| `tokenCache.maxTtl` | `1h` | The longest a token is kept. From 0 to 24h. |",
        "| `outgoingAuth` | required | How requests to each backend are authenticated. |",
        "| `challenge.backends.NAME.realm`, `resourceMetadata`, `scope`, `authorizationUri` | | As in \
         `challenge`. |",
    ] {
        assert!(rows.contains(row), "{row}\n{rows}");
    }
    assert!(rows.contains("| `authServer.runConfig.upstreams[].name` | `default` |"));
}

/// The text with another table between the marks `name`.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let by = "`UPDATE_GOLDEN=1 cargo test -p upstream-inject-cli reference`";
    let begin = format!("<!-- {name}: made by {by} -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}\n{table}\n{end}{after}")
}

fn table(keys: &[Described], known: &mut Known) -> String {
    let mut table = "| key | default | meaning |\n| --- | --- | --- |\n".to_owned();
    rows("", keys, known, &mut table);
    table
}

/// A row for each key of one map, and the rows of the maps below it. Keys of which the same is to be
/// said share a row, and so do those that another map has, too.
fn rows(map: &str, keys: &[Described], known: &mut Known, table: &mut String) {
    let mut groups: Vec<(Vec<&Described>, String)> = Vec::new();
    for key in keys {
        let said = match known.maps.get(&Known::of(key)) {
            Some(other) if other != map => format!(" | | As in `{other}`. |"),
            _ => cells(key),
        };
        match groups.iter_mut().find(|(_, group)| *group == said) {
            Some((keys, _)) => keys.push(key),
            None => groups.push((vec![key], said)),
        }
    }
    known.learn(map, keys);
    for (keys, said) in groups {
        let names = keys.iter().enumerate().map(|(index, key)| match index {
            0 => format!("`{}`", within(map, key.name)),
            _ => format!("`{}`", key.name),
        });
        let names: Vec<_> = names.collect();
        writeln!(table, "| {}{said}", names.join(", ")).unwrap();
        for key in keys {
            let step = match key.shape {
                Shape::Map(..) => ".NAME",
                Shape::List(..) => "[]",
                _ => "",
            };
            let map = format!("{}{step}", within(map, key.name));
            rows(&map, &keys_of(&key.shape), known, table);
        }
    }
}

fn within(map: &str, name: &str) -> String {
    match map {
        "" => name.to_owned(),
        map => format!("{map}.{name}"),
    }
}

fn cells(key: &Described) -> String {
    let default = match (keys::default(key), key.required) {
        (Some(default), _) => format!(" {default} "),
        (None, true) => " required ".to_owned(),
        (None, false) => " ".to_owned(),
    };
    format!(" |{default}| {} |", keys::text(key))
}

/// Which map a key was first shown in.
#[derive(Default)]
struct Known {
    maps: HashMap<(&'static str, String), String>,
}

impl Known {
    fn of(key: &Described) -> (&'static str, String) {
        (key.name, cells(key))
    }

    fn learn(&mut self, map: &str, keys: &[Described]) {
        for key in keys {
            let maps = self.maps.entry(Self::of(key));
            maps.or_insert_with(|| map.to_owned());
        }
    }
}
