//! What the parts of the package are made from.

use std::path::Path;

use anyhow::{Context, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::build_info::BuildInfo;

/// A finished artifact, and when it was committed.
pub(super) struct Release {
    /// The artifact.
    pub wasm: Vec<u8>,
    pub stamp: BuildInfo,
    /// The commit's time, as RFC 3339.
    pub created: String,
}

impl Release {
    /// Reads the artifact `wasm_file`.
    ///
    /// # Errors
    /// If it cannot be read or is not stamped, or the time is not in seconds since 1970.
    pub(super) fn read(wasm_file: &Path, source_date_epoch: &str) -> Result<Self> {
        let wasm =
            std::fs::read(wasm_file).with_context(|| format!("reading {}", wasm_file.display()))?;
        Ok(Self {
            stamp: BuildInfo::of(&wasm)?,
            wasm,
            created: rfc3339(source_date_epoch)?,
        })
    }
}

pub(super) fn rfc3339(source_date_epoch: &str) -> Result<String> {
    let seconds = source_date_epoch
        .parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is \"{source_date_epoch}\", not a number"))?;
    Ok(OffsetDateTime::from_unix_timestamp(seconds)?.format(&Rfc3339)?)
}
