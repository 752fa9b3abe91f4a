//! The OCI image layout: an image as files, for tools to push.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::archive;
use super::image::{Descriptor, Image};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What `oci-layout` holds, in every layout of this version.
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: [Descriptor<'a>; 1],
}

/// Writes the layout of `image` to `directory`, in place of what was there, and returns the same
/// layout as a tar archive.
pub(super) fn write(image: &Image, directory: &Path) -> Result<Vec<u8>> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("removing {}", directory.display()))?;
    }
    let files = files(image)?;
    for (name, content) in &files {
        let file = directory.join(name);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
    }
    archive::tar(
        files
            .iter()
            .map(|(name, content)| (&**name, archive::DATA, &**content)),
    )
}

/// The layout's files by path, sorted.
fn files(image: &Image) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut manifest = image.manifest.descriptor();
    // By this annotation, tools find a tag in a layout.
    manifest
        .annotations
        .insert("org.opencontainers.image.ref.name", &image.tag);
    let index = Index {
        schema_version: 2,
        media_type: INDEX,
        manifests: [manifest],
    };
    let mut files = BTreeMap::from([
        ("oci-layout".to_owned(), OCI_LAYOUT.to_vec()),
        ("index.json".to_owned(), serde_json::to_vec(&index)?),
    ]);
    for blob in image.blobs() {
        files.insert(
            format!("blobs/{}", blob.digest().replace(':', "/")),
            blob.bytes.clone(),
        );
    }
    Ok(files)
}
