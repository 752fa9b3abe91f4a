//! SHA-256, as `sha256sum` writes and checks it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Writes `FILE.sha256` beside `file`, whose content is `bytes`. It names the file without a
/// directory, so `sha256sum -c` works wherever the two are copied together.
pub(crate) fn write_beside(file: &Path, bytes: &[u8]) -> Result<()> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("a file name in UTF-8")?;
    let beside = file.with_file_name(format!("{name}.sha256"));
    std::fs::write(&beside, format!("{}  {name}\n", sha256_hex(bytes)))
        .with_context(|| format!("writing {}", beside.display()))
}
