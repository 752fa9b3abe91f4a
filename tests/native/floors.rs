//! The floors of `src/`: a room uses what is below it, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

/// Every room of `src/`, from the ground up. Rooms of one floor do not know each other.
const FLOORS: [&[&str]; 9] = [
    &[
        "attributes",
        "challenge",
        "metadata",
        "quote",
        "secret",
        "time",
        "token",
    ],
    &["identity", "refusal"],
    &["exchange", "observe"],
    &["decision"],
    &["backend"],
    &["plan"],
    // The list of strategies is handed to it.
    &["config"],
    &["strategy"],
    &["host"],
];

/// What each package of `tools/` may take from this workspace.
const TOOLS: [(&str, &[&str]); 4] = [
    ("artifact", &["../.."]),
    ("cli", &["../..", "../document"]),
    ("document", &["../.."]),
    ("identity", &["../..", "../document"]),
];

#[test]
fn no_arrow_in_src_runs_upwards_or_sideways() {
    let arrows = arrows();
    assert!(arrows.contains(&("host".to_owned(), "config".to_owned())));
    let forbidden: Vec<_> = arrows
        .iter()
        .filter(|(from, to)| floor(from) <= floor(to))
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

#[test]
fn every_room_of_src_has_its_floor() {
    let mut rooms: Vec<String> = sources().iter().map(|(module, _)| room(module)).collect();
    rooms.sort();
    rooms.dedup();
    let mut floors: Vec<&str> = FLOORS.concat();
    floors.sort_unstable();
    assert_eq!(rooms, floors);
}

#[test]
fn tools_stand_on_src_and_not_the_other_way_round() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below: [&str; 0] = [];
    assert_eq!(path_dependencies(&root.join("Cargo.toml")), below);
    for (tool, below) in TOOLS {
        let manifest = root.join("tools").join(tool).join("Cargo.toml");
        assert_eq!(path_dependencies(&manifest), below, "{tool}");
    }
    let mut tools: Vec<_> = fs::read_dir(root.join("tools"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    tools.sort();
    assert_eq!(tools, TOOLS.map(|(tool, _)| tool));
}

#[test]
fn arrows_are_found_however_they_are_written() {
    let module = vec!["a".to_owned(), "b".to_owned()];
    for (code, to) in [
        ("use crate::c::D;", &["c"][..]),
        ("use crate::a::D;", &[]),
        ("let d = crate::c::d();", &["c"]),
        ("use super::D;", &[]),
        ("use super::super::c;", &["c"]),
        ("use super::super::a::D;", &[]),
        ("pub use crate::{c::D, e};", &["{"]),
        (
            "/// See [`crate::c`].\nuse crate::e::F; // crate::g",
            &["e"],
        ),
        ("#[cfg(test)]\nmod tests {\n    use crate::c;\n}", &[]),
        ("#[cfg(test)]\nmod tests;\nuse crate::c;", &["c"]),
    ] {
        assert_eq!(targets(&module, &code_of(code)), to, "{code}");
    }
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("{room} has no floor: name one room at a time, see FLOORS"))
}

/// Which room uses which.
fn arrows() -> Vec<(String, String)> {
    let mut arrows: Vec<_> = sources()
        .iter()
        .flat_map(|(module, code)| {
            let from = room(module);
            targets(module, code)
                .into_iter()
                .map(move |to| (from.clone(), to))
        })
        .collect();
    arrows.sort();
    arrows.dedup();
    arrows
}

fn room(module: &[String]) -> String {
    module[0].clone()
}

/// Every file below `src/` that is neither a test nor the crate's root: its module, and its code.
fn sources() -> Vec<(Vec<String>, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find(&src, &mut files);
    files
        .into_iter()
        .map(|file| {
            let module = file.strip_prefix(&src).unwrap().with_extension("");
            let mut module: Vec<String> = module
                .iter()
                .map(|step| step.to_str().unwrap().to_owned())
                .collect();
            module.pop_if(|last| last == "mod");
            (module, code_of(&fs::read_to_string(&file).unwrap()))
        })
        .filter(|(module, _)| !module.iter().any(|step| is_test(step)) && module != &["lib"])
        .collect()
}

fn is_test(step: &str) -> bool {
    step == "tests" || step == "testing" || step.ends_with("_tests")
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The text without comments, and without the tests at its end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(|line| match line.split_once("//") {
        Some((code, _)) => code,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms that the code of `module` names, its own left out.
fn targets(module: &[String], code: &str) -> Vec<String> {
    let up = "super::".repeat(module.len());
    let mut targets: Vec<String> = ["crate::", &up]
        .iter()
        .flat_map(|to_root| code.split(to_root).skip(1))
        .map(|rest| {
            let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            match words.next().unwrap() {
                "" => rest.chars().take(1).collect(),
                word => word.to_owned(),
            }
        })
        .filter(|target| *target != module[0])
        .collect();
    targets.sort();
    targets.dedup();
    targets
}

/// What a manifest takes from this workspace.
fn path_dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let dependencies = text.lines().filter(|line| line.contains("{ path = \""));
    dependencies
        .map(|line| line.split('"').nth(1).unwrap().to_owned())
        .collect()
}
