//! Tar archives without a time, an owner or anything else of the machine they are made on.

use anyhow::Result;

/// An archive of these files, in this order, each readable and owned by root.
pub(super) fn tar<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(u64::try_from(content.len())?);
        archive.append_data(&mut header, name, content)?;
    }
    Ok(archive.into_inner()?)
}
