//! Whether what lies in `dist/` is of the source beside it: tests of yesterday's artifact would say
//! nothing about today's code.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use crate::process;
use crate::waiting::PATIENCE;

/// The custom section of the artifact that says what it was built from.
const STAMP: &[u8] = b"upstream-inject.build";
/// What all in `dist/` depends on; like what follows whole folders, of which none can be forgotten.
const COMMON_SOURCES: [&str; 5] = [
    "src",
    "build.sh",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];
/// What else the filter's bytes depend on.
const FILTER_SOURCES: &[&str] = &["tools/artifact"];
/// What else the command-line tool depends on.
const TOOL_SOURCES: &[&str] = &["tools/cli", "tools/document"];
/// What else the identity service depends on.
const IDENTITY_SOURCES: &[&str] = &["tools/document", "tools/identity"];
/// Folders of this name hold tests, on which nothing in `dist/` depends.
const TESTS: &str = "tests";

/// What speaks against testing this artifact of the source in `repository`.
pub(crate) fn artifact_is_stale(artifact: &Path, repository: &Path) -> Option<String> {
    let Ok(bytes) = std::fs::read(artifact) else {
        return Some("it is not there".to_owned());
    };
    let Some(commit) = stamped_commit(&bytes) else {
        return Some("it does not say what it was built from".to_owned());
    };
    if commit == "unknown" || commit.ends_with("-dirty") {
        return is_older(artifact, repository, FILTER_SOURCES);
    }
    let mut git = git_in(repository);
    git.args(["diff", "--quiet", &commit, "--"])
        .args(COMMON_SOURCES)
        .args(FILTER_SOURCES)
        .arg(format!(":(exclude,glob)**/{TESTS}/**"));
    let said = process::output("git diff", PATIENCE, git).ok()?;
    match said.status.code() {
        Some(0) => None,
        Some(1) => Some(format!(
            "the source has changed since {commit}, of which it is"
        )),
        _ => Some(format!("it is of {commit}, which git does not know here")),
    }
}

/// Git in that work tree, and not in the one whose hook has started this.
fn git_in(repository: &Path) -> Command {
    let mut git = Command::new("git");
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"GIT_") {
            git.env_remove(variable);
        }
    }
    git.current_dir(repository);
    git
}

/// What speaks against testing this command-line tool.
pub(crate) fn tool_is_stale(tool: &Path, repository: &Path) -> Option<String> {
    is_older(tool, repository, TOOL_SOURCES)
}

/// What speaks against testing this identity service.
pub(crate) fn identity_service_is_stale(service: &Path, repository: &Path) -> Option<String> {
    is_older(service, repository, IDENTITY_SOURCES)
}

fn is_older(built: &Path, repository: &Path, sources: &[&str]) -> Option<String> {
    let Ok(time) = std::fs::metadata(built).and_then(|it| it.modified()) else {
        return Some("it is not there".to_owned());
    };
    let newer = COMMON_SOURCES
        .iter()
        .chain(sources)
        .find_map(|source| newer_than(time, &repository.join(source)))?;
    Some(format!("{newer} has changed since"))
}

/// A file at or below `path`, but for tests, that has changed after `time`.
fn newer_than(time: SystemTime, path: &Path) -> Option<String> {
    if let Ok(entries) = std::fs::read_dir(path) {
        return entries
            .flatten()
            .filter(|entry| entry.file_name() != TESTS)
            .find_map(|entry| newer_than(time, &entry.path()));
    }
    let changed = std::fs::metadata(path).and_then(|it| it.modified()).ok()?;
    (changed > time).then(|| path.display().to_string())
}

fn stamped_commit(wasm: &[u8]) -> Option<String> {
    let start = wasm
        .windows(STAMP.len())
        .rposition(|window| window == STAMP)?;
    let json = wasm.get(start + STAMP.len()..)?;
    let stamp = serde_json::Deserializer::from_slice(json)
        .into_iter::<Value>()
        .next()?
        .ok()?;
    Some(stamp["commit"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::{repository as ours, scratch};

    fn git(repository: &Path, arguments: &[&str]) -> String {
        let mut command = git_in(repository);
        // No user's settings, who may have commits signed.
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments);
        let output = process::output("git", PATIENCE, command).unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[test]
    fn an_artifact_of_other_source_is_noticed() {
        let repository = scratch("freshness").unwrap();
        let artifact = repository.join("filter.wasm");
        let source = repository.join("src");
        let stamped = |commit: &str| {
            let stamp = format!("\0asm upstream-inject.build{{\"commit\":\"{commit}\"}} more");
            std::fs::write(&artifact, stamp).unwrap();
            artifact_is_stale(&artifact, &repository)
        };
        std::fs::create_dir_all(source.join("room/tests")).unwrap();
        std::fs::write(source.join("lib.rs"), "1").unwrap();
        std::fs::write(source.join("room/tests/mod.rs"), "1").unwrap();
        std::fs::write(repository.join("build.sh"), "1").unwrap();
        git(&repository, &["init", "--quiet"]);
        git(&repository, &["add", "src", "build.sh"]);
        git(&repository, &["commit", "--quiet", "--message=one"]);
        let first = git(&repository, &["rev-parse", "HEAD"]);

        assert!(artifact_is_stale(&artifact, &repository).is_some());
        assert_eq!(stamped(&first), None);
        git(
            &repository,
            &["commit", "--quiet", "--allow-empty", "--message=two"],
        );
        assert_eq!(stamped(&first), None, "the source is the same");
        std::fs::write(source.join("room/tests/mod.rs"), "2").unwrap();
        assert_eq!(stamped(&first), None, "it is tested otherwise");
        std::fs::write(repository.join("build.sh"), "2").unwrap();
        assert!(stamped(&first).is_some(), "it is built otherwise");
        std::fs::write(repository.join("build.sh"), "1").unwrap();
        assert_eq!(stamped(&first), None);
        std::fs::write(source.join("lib.rs"), "2").unwrap();
        assert!(stamped(&first).unwrap().contains("has changed since"));
        assert!(stamped(&"0".repeat(40)).unwrap().contains("does not know"));
        assert_eq!(stamped(&format!("{first}-dirty")), None, "it is newer");
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        let touch = |file: &str| {
            let file = std::fs::File::options().write(true).open(source.join(file));
            file.unwrap().set_modified(later).unwrap();
        };
        touch("room/tests/mod.rs");
        assert_eq!(
            stamped(&format!("{first}-dirty")),
            None,
            "only a test is newer"
        );
        touch("lib.rs");
        let found = stamped(&format!("{first}-dirty")).unwrap();
        assert!(found.contains("lib.rs has changed since"), "{found}");
        let _ = std::fs::remove_dir_all(&repository);
    }

    #[test]
    fn what_is_looked_at_is_there() {
        let all = [FILTER_SOURCES, TOOL_SOURCES, IDENTITY_SOURCES].concat();
        for source in COMMON_SOURCES.into_iter().chain(all) {
            assert!(ours().join(source).exists(), "{source}");
        }
    }
}
