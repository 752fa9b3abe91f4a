//! What weighs how much in a linked module: its functions, by the names that the linker gives them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// The rooms of `wasm` and the bytes of their functions, the heaviest first: those of the filter by
/// themselves, and what libraries bring along by library.
///
/// A function is whose name it bears: a library's that was compiled for a type of the filter's counts as
/// the filter's, and what was inlined counts where it is.
///
/// # Errors
/// If `wasm` is no module.
pub(crate) fn by_room(wasm: &[u8]) -> Result<Vec<(String, usize)>> {
    let mut rooms: BTreeMap<String, usize> = BTreeMap::new();
    for (name, size) in functions(wasm)? {
        let room = rooms.entry(room(&name)).or_default();
        *room = room.saturating_add(size);
    }
    let mut rooms: Vec<_> = rooms.into_iter().collect();
    rooms.sort_by_key(|(_, size)| Reverse(*size));
    Ok(rooms)
}

/// The name and the size of each function.
fn functions(wasm: &[u8]) -> Result<Vec<(String, usize)>> {
    let mut imported = 0_u32;
    let mut sizes = Vec::new();
    let mut names = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_)) {
                        imported = imported.saturating_add(1);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => sizes.push(body.range().len()),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(subsections) = section.as_known() else {
                    continue;
                };
                for subsection in subsections {
                    if let Name::Function(functions) = subsection? {
                        for naming in functions {
                            let naming = naming?;
                            names.insert(naming.index, naming.name.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let named = (imported..).zip(sizes);
    Ok(named
        .map(|(number, size)| (names.remove(&number).unwrap_or_default(), size))
        .collect())
}

/// Where a function belongs: `config` for `<upstream_inject::config::path::Path as Display>::fmt`,
/// `serde_json` for `serde_json::de::from_slice`.
fn room(name: &str) -> String {
    // Only what was compiled with Rust itself has names of the newer form.
    if name.starts_with("_R") {
        return "the standard library, as it comes".to_owned();
    }
    let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let ours = name.split_once("upstream_inject::").map(|(_, path)| path);
    let path =
        ours.unwrap_or_else(|| name.trim_start_matches(|first: char| !first.is_alphabetic()));
    let first = path.split(|letter| !is_of_name(letter)).next();
    let first = first.unwrap_or_default();
    match ours {
        Some(_) => format!("src/{first}"),
        None if name.starts_with("upstream_inject") => "src/host".to_owned(),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrus::{FunctionBuilder, Module};

    #[test]
    fn a_function_weighs_where_its_name_says() {
        let mut module = Module::default();
        for name in [
            "upstream_inject::config::plan::h0",
            "<upstream_inject::config::path::Path as core::fmt::Display>::fmt::h1",
            "serde_json::de::from_slice::h2",
        ] {
            let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
            builder.name(name.to_owned()).func_body().unreachable();
            let function = builder.finish(Vec::new(), &mut module.funcs);
            module.exports.add(name, function);
        }
        let rooms = by_room(&module.emit_wasm()).unwrap();
        let names: Vec<_> = rooms.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["src/config", "serde_json"]);
        assert_eq!(rooms[0].1, 2 * rooms[1].1);
    }

    #[test]
    fn rooms_are_told_from_names() {
        for (name, expected) in [
            ("upstream_inject_on_tick", "src/host"),
            (
                "core::ptr::drop_in_place<upstream_inject::plan::Plan>::h0",
                "src/plan",
            ),
            ("alloc::raw_vec::RawVec<T,A>::grow_one::h0", "alloc"),
            ("<&T as core::fmt::Debug>::fmt::h0", "T"),
            (
                "_RNvNtCs_4core3fmt5write",
                "the standard library, as it comes",
            ),
            ("dlmalloc", "dlmalloc"),
            ("", ""),
        ] {
            assert_eq!(room(name), expected, "{name}");
        }
    }
}
