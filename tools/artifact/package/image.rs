//! OCI images: the one that Istio and Envoy Gateway fetch the filter from, and the identity
//! service's.
//!
//! The loaders of the filter read the "compat" variant of the Wasm image specification first: an ordinary OCI image whose
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
use super::service::Service;
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

/// What an image is made of.
struct Contents<'a> {
    tag: &'a str,
    created: &'a str,
    about: BTreeMap<&'static str, &'a str>,
    /// Architecture and operating system, by Go's names for them, as the specification asks.
    platform: (&'a str, &'a str),
    /// The layer's files: name, mode, content.
    files: Vec<(&'a str, u32, &'a [u8])>,
    /// What runs in it, and as whom.
    process: Option<(&'a str, &'static str)>,
}

impl Image {
    /// The filter's image. Neither loader looks at its platform.
    pub(super) fn of_the_filter(release: &Release) -> Result<Self> {
        Self::new(&Contents {
            tag: &release.stamp.version,
            created: &release.created,
            about: annotations(
                TITLE,
                &release.created,
                &release.stamp.version,
                &release.stamp.commit,
            ),
            platform: ("wasm", "wasip1"),
            files: vec![(PLUGIN, archive::DATA, &release.wasm)],
            process: None,
        })
    }

    /// The identity service's image: the program, the authorities that it trusts, and nothing else.
    pub(super) fn of_the_service(service: &Service) -> Result<Self> {
        Self::new(&Contents {
            tag: env!("CARGO_PKG_VERSION"),
            created: &service.created,
            about: annotations(
                "upstream-inject-identity",
                &service.created,
                env!("CARGO_PKG_VERSION"),
                &service.commit,
            ),
            platform: (service.architecture, "linux"),
            files: vec![
                (Service::AUTHORITIES, archive::DATA, &service.authorities),
                (Service::PROGRAM, archive::PROGRAM, &service.program),
            ],
            process: Some(("/usr/local/bin/upstream-inject-identity", "65532:65532")),
        })
    }

    fn new(contents: &Contents<'_>) -> Result<Self> {
        let tar = archive::tar(contents.files.iter().copied())?;
        let config = Config::new(contents, format!("sha256:{}", sha256_hex(&tar)));
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
            annotations: contents.about.clone(),
        };
        let manifest = Blob {
            media_type: MANIFEST,
            bytes: serde_json::to_vec(&manifest)?,
        };
        Ok(Self {
            tag: contents.tag.to_owned(),
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
#[serde(rename_all = "PascalCase")]
struct ContainerConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<[&'a str; 1]>,
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
    /// `diff_id` is the digest of the layer before compression.
    fn new(contents: &Contents<'a>, diff_id: String) -> Self {
        Self {
            created: contents.created,
            architecture: contents.platform.0,
            os: contents.platform.1,
            config: ContainerConfig {
                user: contents.process.map(|(_, user)| user),
                entrypoint: contents.process.map(|(program, _)| [program]),
                labels: contents.about.clone(),
            },
            rootfs: RootFs {
                r#type: "layers",
                diff_ids: [diff_id],
            },
            history: [History {
                created: contents.created,
                created_by: "./build.sh package",
            }],
        }
    }
}

/// The annotation keys that OCI defines, for registries and scanners to show, as far as there is
/// something to say.
fn annotations<'a>(
    title: &'a str,
    created: &'a str,
    version: &'a str,
    commit: &'a str,
) -> BTreeMap<&'static str, &'a str> {
    [
        ("org.opencontainers.image.created", created),
        ("org.opencontainers.image.description", DESCRIPTION),
        ("org.opencontainers.image.licenses", LICENSES),
        ("org.opencontainers.image.revision", commit),
        ("org.opencontainers.image.source", SOURCE),
        ("org.opencontainers.image.title", title),
        ("org.opencontainers.image.version", version),
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
