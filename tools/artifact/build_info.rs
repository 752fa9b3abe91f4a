//! The stamp in the artifact: which version it is, from which commit, by which compiler.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use walrus::{Module, RawCustomSection};

/// The custom section that holds the stamp, as JSON.
pub(crate) const SECTION: &str = "upstream-inject.build";

/// What a stamped artifact says about itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildInfo {
    /// The version of the package, as in `Cargo.toml`.
    pub version: String,
    /// The full commit hash; `-dirty` behind it if the work tree differed; `unknown` without git.
    pub commit: String,
    /// What `rustc --version` printed.
    pub rustc: String,
}

impl BuildInfo {
    /// The stamp of this package's version.
    pub(crate) fn new(commit: &str, rustc: &str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.to_owned(),
            rustc: rustc.to_owned(),
        }
    }

    /// Puts the stamp into `module`.
    pub(crate) fn add_to(&self, module: &mut Module) -> Result<()> {
        let data = self.to_json()?.into_bytes();
        module.customs.add(RawCustomSection {
            name: SECTION.to_owned(),
            data,
        });
        Ok(())
    }

    /// Reads the stamp of the artifact `wasm`.
    ///
    /// # Errors
    /// If `wasm` is no wasm module or has no stamp.
    pub(crate) fn of(wasm: &[u8]) -> Result<Self> {
        let module = Module::from_buffer(wasm)?;
        let (_, section) = module
            .customs
            .iter()
            .find(|(_, section)| section.name() == SECTION)
            .with_context(|| format!("no custom section {SECTION}"))?;
        Ok(serde_json::from_slice(&section.data(&Default::default()))?)
    }

    /// The stamp as it stands in the section.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}
