//! Tests of the artifact itself, which `./build.sh test` builds first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::build_info::BuildInfo;
use crate::{checksum, finish};
use upstream_inject::host::interface;

/// The project's directory.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

fn artifact() -> (PathBuf, Vec<u8>) {
    let file =
        std::env::var_os("UPSTREAM_INJECT_WASM").expect("UPSTREAM_INJECT_WASM names the artifact");
    let bytes = std::fs::read(&file).unwrap();
    (file.into(), bytes)
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_artifact_exports_what_envoy_must_call_and_nothing_else() {
    assert_eq!(
        finish::exports(&artifact().1).unwrap(),
        interface::EXPORTS
            .iter()
            .map(|export| export.name.to_owned())
            .collect()
    );
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_artifact_imports_what_the_filter_uses_and_nothing_else() {
    assert_eq!(
        finish::imports(&artifact().1).unwrap(),
        interface::IMPORTS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect()
    );
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_artifact_says_what_it_was_built_from() {
    let stamp = BuildInfo::of(&artifact().1).unwrap();
    assert_eq!(stamp.version, env!("CARGO_PKG_VERSION"));
    assert!(stamp.rustc.starts_with("rustc "), "{stamp:?}");
    let commit = stamp.commit.trim_end_matches("-dirty");
    let is_hash = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hash || commit == "unknown", "{stamp:?}");
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_filter_logs_the_commit_it_is_stamped_with() {
    let (_, bytes) = artifact();
    let commit = BuildInfo::of(&bytes).unwrap().commit;
    let count = bytes
        .windows(commit.len())
        .filter(|bytes| *bytes == commit.as_bytes())
        .count();
    assert!(
        count >= 2,
        "the commit is only in the stamp, so the code does not know it"
    );
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_artifact_names_no_directory_of_the_machine_it_was_built_on() {
    let (_, bytes) = artifact();
    let text = String::from_utf8_lossy(&bytes);
    let home = std::env::var("HOME").unwrap_or_default();
    // A folder such as /src may be a part of what paths are mapped to.
    let own = [project().to_str().unwrap(), &home].map(|directory| format!("{directory}/"));
    let telling = own.iter().filter(|it| it.matches('/').count() > 2);
    for directory in
        telling
            .map(String::as_str)
            .chain(["/registry/src/", ".cargo", ".rustup", "/home/"])
    {
        let found = text
            .find(directory)
            .map(|at| text[at..].chars().take(80).collect::<String>());
        assert_eq!(found, None, "{directory}");
    }
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_checksum_file_is_the_artifacts() {
    let (file, bytes) = artifact();
    let written = std::fs::read_to_string(file.with_extension("wasm.sha256")).unwrap();
    let expected = format!("{}  upstream_inject.wasm\n", checksum::sha256_hex(&bytes));
    assert_eq!(written, expected);
}

#[test]
#[ignore = "needs the artifact: ./build.sh test"]
fn the_artifact_has_not_grown() {
    /// A little above what it is, so that whoever adds a tenth notices: 40 KiB more than token exchange
    /// alone took once.
    const CEILING: usize = 353 * 1024;
    let size = artifact().1.len();
    assert!(size <= CEILING, "{size} bytes");
}

/// The capabilities that a configuration allows, if it restricts them: the keys below
/// `allowed_capabilities:`.
fn allowed_capabilities(yaml: &str) -> Vec<BTreeSet<String>> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let lines: Vec<&str> = yaml.lines().filter(is_content).collect();
    let starts = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.trim() == "allowed_capabilities:");
    starts
        .map(|(start, key)| {
            lines[start + 1..]
                .iter()
                .take_while(|line| indent(line) > indent(key))
                .filter_map(|line| Some(line.trim().split_once(':')?.0.to_owned()))
                .collect()
        })
        .collect()
}

#[test]
fn allowed_capabilities_are_found_in_a_configuration() {
    let yaml = "\
a:
  allowed_capabilities:
    # what it may call
    proxy_log: {}

    fd_write: {}
  other: 1
";
    let expected = BTreeSet::from(["proxy_log".to_owned(), "fd_write".to_owned()]);
    assert_eq!(allowed_capabilities(yaml), [expected]);
    assert!(allowed_capabilities("a: 1").is_empty());
}

#[test]
fn the_configurations_allow_exactly_the_capabilities_that_the_filter_needs() {
    let expected: BTreeSet<String> = interface::capabilities()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let directory = project().join("envoy");
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let yaml = std::fs::read_to_string(&file).unwrap();
            let filters = yaml.matches("extensions.filters.http.wasm.v3.Wasm").count();
            let lists = allowed_capabilities(&yaml);
            assert_eq!(
                lists.len(),
                filters,
                "{}: a filter without a list",
                file.display()
            );
            for list in lists {
                assert_eq!(list, expected, "{}", file.display());
            }
        }
    }
}
