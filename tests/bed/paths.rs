//! Where things are in the repository.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::freshness::{artifact_is_stale, identity_service_is_stale, tool_is_stale};

/// The repository's root directory.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is a directory of the repository")
}

/// The filter under test: `UPSTREAM_INJECT_WASM`, else `dist/upstream_inject.wasm`.
///
/// # Panics
/// The latter is not of the source that lies here.
#[must_use]
pub fn artifact() -> PathBuf {
    static ARTIFACT: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let built = "dist/upstream_inject.wasm";
        under_test("UPSTREAM_INJECT_WASM", built, artifact_is_stale)
    });
    ARTIFACT.clone().unwrap_or_else(|error| panic!("{error}"))
}

/// The command-line tool under test: `UPSTREAM_INJECT_TOOL`, else `dist/upstream-inject`.
///
/// # Panics
/// The latter is not of the source that lies here.
#[must_use]
pub fn tool() -> PathBuf {
    static TOOL: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let built = "dist/upstream-inject";
        under_test("UPSTREAM_INJECT_TOOL", built, tool_is_stale)
    });
    TOOL.clone().unwrap_or_else(|error| panic!("{error}"))
}

/// The identity service under test: `UPSTREAM_INJECT_IDENTITY`, else
/// `dist/upstream-inject-identity`.
///
/// # Panics
/// The latter is not of the source that lies here.
#[must_use]
pub fn identity_service() -> PathBuf {
    static SERVICE: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let built = "dist/upstream-inject-identity";
        let variable = "UPSTREAM_INJECT_IDENTITY";
        under_test(variable, built, identity_service_is_stale)
    });
    SERVICE.clone().unwrap_or_else(|error| panic!("{error}"))
}

fn under_test(
    variable: &str,
    built: &str,
    is_stale: fn(&Path, &Path) -> Option<String>,
) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let path = repository().join(built);
    match is_stale(&path, repository()) {
        None => Ok(path),
        Some(reason) => Err(format!(
            "{built} cannot be tested: {reason}; run ./build.sh, or set {variable}"
        )),
    }
}

/// A fresh directory under `target/bed`, named after this process. Directories of processes that
/// are gone are removed on the way.
///
/// # Errors
/// It cannot be made.
pub fn scratch(name: &str) -> std::io::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let base = target
        .unwrap_or_else(|| repository().join("target"))
        .join("bed");
    std::fs::create_dir_all(&base)?;
    for entry in std::fs::read_dir(&base)?.flatten() {
        let pid = entry
            .file_name()
            .to_string_lossy()
            .split('-')
            .next()
            .map(str::to_owned);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another process may be tidying up the same directory at this moment.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = base.join(format!("{}-{count}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
