//! The floors of `src/`: a room uses what is below it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use upstream_inject::config;
use upstream_inject::strategy::REGISTRY;

/// Every room of `src/`, from the ground up. Rooms of one floor do not know each other.
const FLOORS: [&[&str]; 10] = [
    &["table"],
    &[
        "attributes",
        "challenge",
        "protobuf",
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
    let mut rooms: Vec<String> = of_the_filter()
        .iter()
        .map(|(module, _)| room(module))
        .collect();
    rooms.sort();
    rooms.dedup();
    let mut floors: Vec<&str> = FLOORS.concat();
    floors.sort_unstable();
    assert_eq!(rooms, floors);
}

#[test]
fn the_page_on_the_design_draws_the_same_floors() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DESIGN.md");
    let page = fs::read_to_string(page).unwrap();
    for (number, rooms) in (1..).zip(FLOORS) {
        let begin = format!("    {number}  ");
        let mut drawn = page.lines().filter_map(|line| line.strip_prefix(&begin));
        let drawn = drawn.next().unwrap_or_else(|| panic!("floor {number}"));
        let drawn: Vec<&str> = drawn
            .split_whitespace()
            .map_while(|room| room.strip_suffix('/').or(room.strip_suffix(".rs")))
            .collect();
        assert_eq!(drawn, *rooms, "floor {number}");
    }
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
fn a_strategy_is_one_file_and_one_line_of_the_registry() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let registry = fs::read_to_string(src.join("strategy/registry.rs")).unwrap();
    let files = of_the_filter();
    let holding = |text: &str| -> Vec<String> {
        let files = files.iter().filter(|(_, code)| code.contains(text));
        files.map(|(module, _)| module.join("::")).collect()
    };
    let declared = holding("const TYPE: StrategyType");
    let listed: BTreeSet<_> = declared
        .iter()
        .map(|module| format!("    super::{}::TYPE,", module.rsplit("::").next().unwrap()))
        .collect();
    let lines = registry.lines().filter(|line| line.contains("super::"));
    assert_eq!(lines.map(str::to_owned).collect::<BTreeSet<_>>(), listed);
    for (name, block) in config::strategies(REGISTRY) {
        let Some(block) = block else {
            continue;
        };
        assert_eq!(
            holding(&format!("\"{}\"", block.name)),
            [format!("strategy::{name}")]
        );
    }
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

#[test]
fn no_files_of_one_folder_run_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = TOOLS.map(|(tool, _)| root.join("tools").join(tool));
    for package in tools.iter().chain([&root.join("src")]) {
        let circles = circles(&sources(package));
        assert!(circles.is_empty(), "{}: {circles:?}", package.display());
    }
}

#[test]
fn circles_are_found_however_they_are_closed() {
    let files = |files: &[(&str, &str)]| -> Vec<(Vec<String>, String)> {
        let module = |path: &str| path.split('/').map(str::to_owned).collect();
        let files = files.iter();
        files
            .map(|(path, code)| (module(path), (*code).to_owned()))
            .collect()
    };
    for (code, is_circle) in [
        (["use super::b::B;", "", ""], false),
        (["use super::b::B;", "use super::a::A;", ""], true),
        (
            [
                "use super::b::B;",
                "use super::c::C;",
                "use crate::r::a::A;",
            ],
            true,
        ),
        (
            [
                "use super::b::B;",
                "use super::c::C;",
                "use crate::other::a;",
            ],
            false,
        ),
        (
            [
                "use super::{\n    b::B,\n    c::{C, D},\n};",
                "",
                "fn a() -> super::a::A {",
            ],
            true,
        ),
        (
            [
                "use super::{Shown, b::{self, B}};",
                "use crate::{r::{a, x}};",
                "",
            ],
            true,
        ),
    ] {
        let [a, b, c] = code;
        let files = files(&[("r/a", a), ("r/b", b), ("r/c", c), ("other", "")]);
        assert_eq!(!circles(&files).is_empty(), is_circle, "{code:?}");
    }
}

/// The folders in which the entries use one another in a circle, each with who is in it. A folder's own
/// file, its `mod.rs`, shows what its entries are, and is none of them.
fn circles(sources: &[(Vec<String>, String)]) -> Vec<(String, Vec<String>)> {
    let mut arrows: BTreeMap<Vec<String>, BTreeSet<(String, String)>> = BTreeMap::new();
    let modules: BTreeSet<&[String]> = sources
        .iter()
        .flat_map(|(module, _)| (1..=module.len()).map(|length| &module[..length]))
        .collect();
    for (module, code) in sources {
        for target in named(module, code) {
            let shared = module.iter().zip(&target).take_while(|(a, b)| a == b);
            let shared = shared.count();
            if let (Some(from), Some(to)) = (module.get(shared), target.get(shared))
                && modules.contains(&target[..=shared])
            {
                let folder = arrows.entry(module[..shared].to_vec()).or_default();
                folder.insert((from.clone(), to.clone()));
            }
        }
    }
    let circles = arrows.into_iter().filter_map(|(folder, mut arrows)| {
        // Whoever uses nobody is in no circle, and neither is whom nobody uses; without them, it is
        // others' turn.
        loop {
            let users: BTreeSet<String> = arrows.iter().map(|(from, _)| from.clone()).collect();
            let used: BTreeSet<String> = arrows.iter().map(|(_, to)| to.clone()).collect();
            let before = arrows.len();
            arrows.retain(|(from, to)| used.contains(from) && users.contains(to));
            if arrows.len() == before {
                break;
            }
        }
        let left = arrows
            .into_iter()
            .map(|(from, to)| format!("{from} -> {to}"));
        let left: Vec<_> = left.collect();
        (!left.is_empty()).then(|| (folder.join("/"), left))
    });
    circles.collect()
}

/// Every path that the code of `module` writes out, from the root of its package.
fn named(module: &[String], code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let (before, path) = code.split_at(at);
            let before = before.chars().next_back();
            if before
                .is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
            {
                spell_out(path, &mut Vec::new(), &mut paths);
            }
        }
    }
    let absolute = paths.into_iter().filter_map(|path| {
        let mut place = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            _ => module.to_vec(),
        };
        for step in &path[1..] {
            match step.as_str() {
                "super" => drop(place.pop()?),
                "self" => {}
                step => place.push(step.to_owned()),
            }
        }
        Some(place)
    });
    absolute.collect()
}

/// The paths that `code` begins with, `begun` being before them: one, or as many as braces hold. What
/// follows them.
fn spell_out<'c>(code: &'c str, begun: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = spell_out(rest, begun, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (word, mut rest) = code.split_at(end.unwrap_or(code.len()));
    begun.push(word.to_owned());
    match rest.strip_prefix("::") {
        Some(more) => rest = spell_out(more, begun, paths),
        None => {
            paths.push(begun.clone());
            // `as` another name.
            let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
            if rest.starts_with(" as ") {
                rest = rest.split_at(end).1;
            }
        }
    }
    begun.pop();
    rest
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("{room} has no floor: name one room at a time, see FLOORS"))
}

/// Which room uses which.
fn arrows() -> Vec<(String, String)> {
    let mut arrows: Vec<_> = of_the_filter()
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

/// Every file of the filter.
fn of_the_filter() -> Vec<(Vec<String>, String)> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// Every file below `src` that is neither a test nor a crate's root: its module, and its code.
fn sources(src: &Path) -> Vec<(Vec<String>, String)> {
    let mut files = Vec::new();
    find(src, &mut files);
    files
        .into_iter()
        .map(|file| {
            let module = file.strip_prefix(src).unwrap().with_extension("");
            let mut module: Vec<String> = module
                .iter()
                .map(|step| step.to_str().unwrap().to_owned())
                .collect();
            module.pop_if(|last| last == "mod");
            (module, code_of(&fs::read_to_string(&file).unwrap()))
        })
        .filter(|(module, _)| {
            !module.iter().any(|step| is_test(step)) && module != &["lib"] && module != &["main"]
        })
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
