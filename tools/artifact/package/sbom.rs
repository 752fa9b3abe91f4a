//! The software bill of materials, CycloneDX 1.5, written with the library of the CycloneDX project.
//!
//! Its own `cargo-cyclonedx` would do the same for an installation of some minutes, and lists what
//! the lock file could use; this one lists what is in the artifact.

use anyhow::{Result, anyhow, ensure};
use cyclonedx_bom::external_models::uri::{Purl, Uri};
use cyclonedx_bom::models::bom::{Bom, SpecVersion, UrnUuid};
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::external_reference::{
    ExternalReference, ExternalReferenceType, ExternalReferences,
};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::models::property::{Properties, Property};
use cyclonedx_bom::prelude::{DateTime, SpdxExpression, Validate};

use super::closure::{Closure, CrateFacts, CrateId};
use super::release::Release;
use crate::checksum::sha256_hex;

/// Rust's standard library is linked in too, but is no crate of the registry.
const STANDARD_LIBRARY: &str = "pkg:github/rust-lang/rust";

/// The bill of materials, as JSON.
pub(super) fn write(release: &Release, closure: &Closure) -> Result<Vec<u8>> {
    let bom = bill(release, closure)?;
    let validation = bom.validate_version(SpecVersion::V1_5);
    ensure!(
        validation.passed(),
        "the SBOM is not valid CycloneDX: {validation:?}"
    );
    let mut json = Vec::new();
    bom.output_as_json_v1_5(&mut json)?;
    json.push(b'\n');
    Ok(json)
}

fn bill(release: &Release, closure: &Closure) -> Result<Bom> {
    let mut components = vec![standard_library(release)?];
    let mut dependencies = Vec::new();
    for (id, facts) in &closure.crates {
        let mut uses: Vec<_> = facts.uses.iter().map(reference).collect();
        if *id == closure.root {
            uses.push(standard_library_reference(release));
        } else {
            components.push(library(id, facts)?);
        }
        dependencies.push(Dependency {
            dependency_ref: reference(id),
            dependencies: uses,
        });
    }
    Ok(Bom {
        serial_number: Some(serial_number(&release.wasm)),
        metadata: Some(metadata(release, closure)?),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(dependencies)),
        spec_version: SpecVersion::V1_5,
        ..Bom::default()
    })
}

fn metadata(release: &Release, closure: &Closure) -> Result<Metadata> {
    let mut filter = Component::new(
        Classification::Application,
        "upstream_inject.wasm",
        &release.stamp.version,
        Some(reference(&closure.root)),
    );
    filter.hashes = Some(sha256(&sha256_hex(&release.wasm)));
    if let Some(facts) = closure.crates.get(&closure.root) {
        describe(&mut filter, facts);
    }
    filter.properties = Some(Properties(vec![
        Property::new("upstream-inject:commit", &release.stamp.commit),
        Property::new("upstream-inject:rustc", &release.stamp.rustc),
    ]));
    Ok(Metadata {
        timestamp: Some(DateTime::try_from(release.created.clone())?),
        component: Some(filter),
        ..Metadata::default()
    })
}

fn library(id: &CrateId, facts: &CrateFacts) -> Result<Component> {
    let mut library = Component::new(
        Classification::Library,
        &id.name,
        &id.version,
        Some(reference(id)),
    );
    library.purl = Some(Purl::new("cargo", &id.name, &id.version)?);
    library.hashes = facts.checksum.as_deref().map(sha256);
    describe(&mut library, facts);
    Ok(library)
}

fn describe(component: &mut Component, facts: &CrateFacts) {
    if !facts.license.is_empty() {
        let expression = SpdxExpression::new(&facts.license);
        component.licenses = Some(Licenses(vec![LicenseChoice::Expression(expression)]));
    }
    if !facts.repository.is_empty() {
        component.external_references = Some(ExternalReferences(vec![ExternalReference::new(
            ExternalReferenceType::Vcs,
            Uri::new(&facts.repository),
        )]));
    }
}

fn standard_library(release: &Release) -> Result<Component> {
    let purl = standard_library_reference(release);
    let version = rustc_version(release);
    let mut library = Component::new(Classification::Library, "std", version, Some(purl.clone()));
    library.purl = Some(
        purl.parse()
            .map_err(|()| anyhow!("not a package URL: {purl}"))?,
    );
    describe(
        &mut library,
        &CrateFacts {
            license: "MIT OR Apache-2.0".to_owned(),
            repository: "https://github.com/rust-lang/rust".to_owned(),
            ..CrateFacts::default()
        },
    );
    Ok(library)
}

fn standard_library_reference(release: &Release) -> String {
    format!("{STANDARD_LIBRARY}@{}", rustc_version(release))
}

/// `1.95.0` of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn rustc_version(release: &Release) -> &str {
    release.stamp.rustc.split(' ').nth(1).unwrap_or("unknown")
}

fn reference(id: &CrateId) -> String {
    format!("pkg:cargo/{}@{}", id.name, id.version)
}

fn sha256(hex: &str) -> Hashes {
    Hashes(vec![Hash {
        alg: HashAlgorithm::SHA_256,
        content: HashValue(hex.to_owned()),
    }])
}

/// A UUID made of the artifact's checksum (version 8 of RFC 9562), since a random one would differ
/// from build to build.
fn serial_number(wasm: &[u8]) -> UrnUuid {
    let hex = sha256_hex(wasm);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let uuid = format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30),
    );
    UrnUuid(uuid)
}
