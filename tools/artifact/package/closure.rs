//! Which crates are compiled into the filter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// `cargo tree`, asked for what ends up in the artifact: the features that building the filter
/// selects, its target's dependencies, neither build nor development ones, and no procedural macros,
/// which run in the compiler.
const CARGO_TREE: &[&str] = &[
    "tree",
    "--quiet",
    "--locked",
    "--package=upstream-inject",
    "--target=wasm32-wasip1",
    "--edges=normal,no-proc-macro",
    "--prefix=depth",
    "--no-dedupe",
    "--charset=ascii",
    "--format= {p}|{l}|{r}",
];

/// A crate, by name and version. The filter itself is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CrateId {
    pub name: String,
    pub version: String,
}

/// What the manifests and the lock file say about a crate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CrateFacts {
    /// An SPDX expression; empty if the manifest has none.
    pub license: String,
    /// Empty if the manifest has none.
    pub repository: String,
    /// SHA-256 of the published `.crate` file, in hex; none for the filter itself.
    pub checksum: Option<String>,
    /// The crates it uses directly.
    pub uses: BTreeSet<CrateId>,
}

/// The crates in the artifact, and who uses whom.
#[derive(Debug)]
pub(super) struct Closure {
    pub root: CrateId,
    pub crates: BTreeMap<CrateId, CrateFacts>,
}

impl Closure {
    /// Asks cargo about the filter in the directory `project`.
    pub(super) fn of_the_filter(project: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(CARGO_TREE)
            .current_dir(project)
            .output()
            .context("running cargo tree")?;
        if !output.status.success() {
            bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        }
        let lock =
            std::fs::read_to_string(project.join("Cargo.lock")).context("reading Cargo.lock")?;
        Self::parse(&String::from_utf8(output.stdout)?, &lock)
    }

    fn parse(tree: &str, lock: &str) -> Result<Self> {
        let checksums = checksums(lock);
        let mut crates: BTreeMap<CrateId, CrateFacts> = BTreeMap::new();
        // The crates from the root down to the current line's.
        let mut way_here: Vec<CrateId> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let (depth, id, mut facts) =
                parse_line(line).with_context(|| format!("line of cargo tree: {line}"))?;
            ensure!(
                depth <= way_here.len(),
                "cargo tree skipped a level: {line}"
            );
            way_here.truncate(depth);
            if let Some(user) = way_here.last().and_then(|user| crates.get_mut(user)) {
                user.uses.insert(id.clone());
            }
            facts.checksum = checksums.get(&id).cloned();
            crates.entry(id.clone()).or_insert(facts);
            way_here.push(id);
        }
        let root = way_here
            .into_iter()
            .next()
            .context("cargo tree printed nothing")?;
        Ok(Self { root, crates })
    }
}

/// Reads `2 serde_core v1.0.229 (…)|MIT OR Apache-2.0|https://…`.
fn parse_line(line: &str) -> Option<(usize, CrateId, CrateFacts)> {
    let (depth, line) = line.split_once(' ')?;
    let mut columns = line.split('|');
    let mut package = columns.next()?.split(' ');
    let id = CrateId {
        name: package.next()?.to_owned(),
        version: package.next()?.strip_prefix('v')?.to_owned(),
    };
    // Older manifests write "MIT/Apache-2.0", which is no SPDX expression.
    let license = columns.next()?.replace('/', " OR ");
    let repository = columns.next()?.to_owned();
    Some((
        depth.parse().ok()?,
        id,
        CrateFacts {
            license,
            repository,
            ..CrateFacts::default()
        },
    ))
}

/// The checksums in a lock file, which is a list of `[[package]]` tables with one key a line.
fn checksums(lock: &str) -> BTreeMap<CrateId, String> {
    lock.split("[[package]]")
        .filter_map(|table| {
            let value = |key: &str| {
                let line = table.lines().find_map(|line| line.strip_prefix(key))?;
                Some(line.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned())
            };
            let id = CrateId {
                name: value("name")?,
                version: value("version")?,
            };
            Some((id, value("checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> CrateId {
        CrateId {
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn a_tree_and_a_lock_file_become_a_graph() {
        let tree = "\
0 filter v0.1.0 (/somewhere)|Apache-2.0|https://example.com/filter
1 a v1.0.0|MIT/Apache-2.0|https://example.com/a
2 shared v2.0.0|MIT|
1 b v1.1.0|MIT|https://example.com/b
2 shared v2.0.0|MIT|
";
        let lock = "\
version = 4

[[package]]
name = \"a\"
version = \"1.0.0\"
source = \"registry\"
checksum = \"aa\"

[[package]]
name = \"filter\"
version = \"0.1.0\"
";
        let closure = Closure::parse(tree, lock).unwrap();
        assert_eq!(closure.root, id("filter", "0.1.0"));
        assert_eq!(closure.crates.len(), 4);
        let filter = &closure.crates[&closure.root];
        assert_eq!(
            filter.uses,
            BTreeSet::from([id("a", "1.0.0"), id("b", "1.1.0")])
        );
        assert_eq!(filter.checksum, None);
        let a = &closure.crates[&id("a", "1.0.0")];
        assert_eq!(a.license, "MIT OR Apache-2.0");
        assert_eq!(a.checksum.as_deref(), Some("aa"));
        assert_eq!(a.uses, BTreeSet::from([id("shared", "2.0.0")]));
        assert!(closure.crates[&id("shared", "2.0.0")].uses.is_empty());
    }

    #[test]
    fn output_of_another_form_is_an_error() {
        for tree in [
            "",
            "upstream-inject v0.1.0",
            "0 filter|MIT|",
            "0 f v1.0.0|MIT|\n2 g v1.0.0|MIT|",
        ] {
            assert!(Closure::parse(tree, "").is_err(), "{tree:?}");
        }
    }

    #[test]
    fn the_filter_contains_the_sdk_but_none_of_the_tools_libraries() {
        let closure = Closure::of_the_filter(crate::artifact_tests::project()).unwrap();
        let names: BTreeSet<_> = closure.crates.keys().map(|id| id.name.as_str()).collect();
        for present in ["upstream-inject", "proxy-wasm", "serde_json", "log"] {
            assert!(names.contains(present), "{present} is missing");
        }
        for absent in ["anyhow", "walrus", "cyclonedx-bom", "clap", "serde_derive"] {
            assert!(!names.contains(absent), "{absent} is not in the filter");
        }
        for (id, facts) in &closure.crates {
            assert!(!facts.license.is_empty(), "{id:?} has no licence");
            assert_eq!(facts.checksum.is_none(), *id == closure.root, "{id:?}");
        }
    }
}
