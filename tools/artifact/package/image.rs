//! The OCI image that Istio and Envoy Gateway fetch the filter from.
//!
//! Both read the "compat" variant of the Wasm image specification first: an ordinary OCI image whose
//! last layer has the media type `application/vnd.oci.image.layer.v1.tar+gzip` and holds a file
//! `plugin.wasm`. The other variant, with media types of its own, needs a second layer and is refused
//! by registries that admit only known types.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde::Serialize;

use super::archive;
use super::release::Release;
use crate::checksum::sha256_hex;

/// The layer's only file; the loaders look for this name.
pub(super) const PLUGIN: &str = "plugin.wasm";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const TITLE: &str = "upstream-inject";
const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
const LICENSES: &str = env!("CARGO_PKG_LICENSE");
const SOURCE: &str = env!("CARGO_PKG_REPOSITORY");

/// An image: what its blobs hold.
pub(super) struct Image {
    /// The tag it has in a layout.
    pub tag: String,
    pub manifest: Blob,
    pub config: Blob,
    pub layer: Blob,
}

/// Content with the media type that descriptors give it.
pub(super) struct Blob {
    media_type: &'static str,
    pub bytes: Vec<u8>,
}

/// OCI's reference to a blob.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, &'a str>,
}

impl Image {
    pub(super) fn new(release: &Release) -> Result<Self> {
        let tar = archive::tar([(PLUGIN, &*release.wasm)])?;
        let config = Config::new(release, format!("sha256:{}", sha256_hex(&tar)));
        let config = Blob {
            media_type: CONFIG,
            bytes: serde_json::to_vec(&config)?,
        };
        let layer = Blob {
            media_type: LAYER,
            bytes: gzip(&tar)?,
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: config.descriptor(),
            layers: [layer.descriptor()],
            annotations: annotations(release),
        };
        let manifest = Blob {
            media_type: MANIFEST,
            bytes: serde_json::to_vec(&manifest)?,
        };
        Ok(Self {
            tag: release.stamp.version.clone(),
            manifest,
            config,
            layer,
        })
    }

    pub(super) fn blobs(&self) -> [&Blob; 3] {
        [&self.manifest, &self.config, &self.layer]
    }
}

impl Blob {
    pub(super) fn digest(&self) -> String {
        format!("sha256:{}", sha256_hex(&self.bytes))
    }

    pub(super) fn descriptor(&self) -> Descriptor<'static> {
        Descriptor {
            media_type: self.media_type,
            digest: self.digest(),
            size: self.bytes.len(),
            annotations: BTreeMap::new(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
    annotations: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: ContainerConfig<'a>,
    rootfs: RootFs,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
struct ContainerConfig<'a> {
    #[serde(rename = "Labels")]
    labels: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [String; 1],
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'static str,
}

impl<'a> Config<'a> {
    /// `diff_id` is the digest of the layer before compression. The platform is Go's name for the
    /// target, as the specification asks; neither loader looks at it.
    fn new(release: &'a Release, diff_id: String) -> Self {
        Self {
            created: &release.created,
            architecture: "wasm",
            os: "wasip1",
            config: ContainerConfig {
                labels: annotations(release),
            },
            rootfs: RootFs {
                r#type: "layers",
                diff_ids: [diff_id],
            },
            history: [History {
                created: &release.created,
                created_by: "./build.sh package",
            }],
        }
    }
}

/// The annotation keys that OCI defines, for registries and scanners to show, as far as there is
/// something to say.
fn annotations(release: &Release) -> BTreeMap<&'static str, &str> {
    [
        ("org.opencontainers.image.created", release.created.as_str()),
        ("org.opencontainers.image.description", DESCRIPTION),
        ("org.opencontainers.image.licenses", LICENSES),
        (
            "org.opencontainers.image.revision",
            release.stamp.commit.as_str(),
        ),
        ("org.opencontainers.image.source", SOURCE),
        ("org.opencontainers.image.title", TITLE),
        (
            "org.opencontainers.image.version",
            release.stamp.version.as_str(),
        ),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect()
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    /// "Unknown" (RFC 1952): the default is the machine's.
    const OPERATING_SYSTEM: u8 = 255;
    let mut encoder = GzBuilder::new()
        .operating_system(OPERATING_SYSTEM)
        .write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
