//! Tar archives without a time, an owner or anything else of the machine they are made on.

use anyhow::Result;

/// A file that anybody may read.
pub(super) const DATA: u32 = 0o644;
/// A program that anybody may run.
pub(super) const PROGRAM: u32 = 0o755;

/// An archive of these files (name, mode, content), in this order, each owned by root.
pub(super) fn tar<'a>(
    files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>,
) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len())?);
        archive.append_data(&mut header, name, content)?;
    }
    Ok(archive.into_inner()?)
}
