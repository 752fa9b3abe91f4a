//! Reads a written layout as a loader would, with a parser that had no part in writing it.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{
    Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout,
};

use super::image::PLUGIN;
use crate::checksum::sha256_hex;

/// Checks that the layout in `directory` has one image, that every descriptor tells the truth about
/// its blob, and that the image's only layer yields `wasm`.
///
/// # Errors
/// Says what a loader, or a registry, would refuse.
pub(super) fn layout(directory: &Path, wasm: &[u8]) -> Result<()> {
    OciLayout::from_file(directory.join("oci-layout"))?;
    let index = ImageIndex::from_file(directory.join("index.json"))?;
    let manifest = blob(
        directory,
        only(index.manifests())?,
        MediaType::ImageManifest,
    )?;
    let manifest = ImageManifest::from_reader(manifest.as_slice())?;
    let config = blob(directory, manifest.config(), MediaType::ImageConfig)?;
    let config = ImageConfiguration::from_reader(config.as_slice())?;
    let layer = blob(
        directory,
        only(manifest.layers())?,
        MediaType::ImageLayerGzip,
    )?;

    let mut tar = Vec::new();
    GzDecoder::new(layer.as_slice()).read_to_end(&mut tar)?;
    let diff_id = format!("sha256:{}", sha256_hex(&tar));
    ensure!(
        *only(config.rootfs().diff_ids())? == diff_id,
        "the configuration's diff_id is wrong"
    );
    ensure!(plugin(&tar)? == wasm, "{PLUGIN} is not the artifact");
    Ok(())
}

/// The blob that `descriptor` refers to.
fn blob(directory: &Path, descriptor: &Descriptor, expected: MediaType) -> Result<Vec<u8>> {
    let digest = descriptor.digest().to_string();
    let found = descriptor.media_type();
    ensure!(
        *found == expected,
        "{digest} is of media type {found}, not {expected}"
    );
    let file = directory.join("blobs").join(digest.replace(':', "/"));
    let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(
        digest == format!("sha256:{}", sha256_hex(&bytes)),
        "{digest}: other content"
    );
    ensure!(
        u64::try_from(bytes.len())? == descriptor.size(),
        "{digest}: other size"
    );
    Ok(bytes)
}

fn only<T>(items: &[T]) -> Result<&T> {
    match items {
        [item] => Ok(item),
        _ => bail!("{} items where one is expected", items.len()),
    }
}

/// The content of the plugin in a layer.
fn plugin(tar: &[u8]) -> Result<Vec<u8>> {
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        if entry.path()?.file_name().is_some_and(|name| name == PLUGIN) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    bail!("no {PLUGIN} in the layer")
}
