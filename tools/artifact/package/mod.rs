//! What is shipped next to the `.wasm`: a software bill of materials and an OCI image layout.
//!
//! All of it is made from the artifact, its stamp and the lock file, with the commit's time as the
//! only time, so the same commit gives the same bytes.

mod archive;
mod closure;
mod image;
mod layout;
mod release;
mod sbom;
mod service;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;

use anyhow::{Context, Result};

use crate::checksum;
use closure::Closure;
use image::Image;
use release::Release;
use service::Service;

/// Packages the finished artifact `wasm_file` of the source in `project` into its own directory. Returns the digest of the image's
/// manifest, by which operators pin it.
///
/// # Errors
/// If the artifact is not stamped, `cargo tree` fails, a file cannot be written, or the written
/// layout does not hold what a loader would look for.
pub(crate) fn package(project: &Path, wasm_file: &Path, source_date_epoch: &str) -> Result<String> {
    let release = Release::read(wasm_file, source_date_epoch)?;
    let directory = wasm_file.parent().unwrap_or(Path::new("."));

    let sbom = sbom::write(&release, &Closure::of_the_filter(project)?)?;
    write(&directory.join("upstream_inject.cdx.json"), &sbom)?;

    let image = Image::of_the_filter(&release)?;
    let archive = layout::write(&image, &directory.join("oci"))?;
    verify::layout(&directory.join("oci"), &release.wasm)
        .context("verifying the OCI image layout")?;
    write_image(&image, &archive, directory, "upstream_inject")
}

/// Packages the identity service: the static `program` and `authorities`, into an image layout in
/// `directory`. Returns the digest of the image's manifest.
///
/// # Errors
/// If a file cannot be read or written, or the program is not static.
pub(crate) fn package_service(
    program: &Path,
    authorities: &Path,
    directory: &Path,
    commit: &str,
    source_date_epoch: &str,
) -> Result<String> {
    let service = Service::read(program, authorities, commit, source_date_epoch)?;
    let image = Image::of_the_service(&service)?;
    let archive = layout::write(&image, &directory.join("oci-identity"))?;
    write_image(&image, &archive, directory, "upstream-inject-identity")
}

/// Writes the layout as one file, its checksum, and the digest of the image's manifest.
fn write_image(image: &Image, archive: &[u8], directory: &Path, name: &str) -> Result<String> {
    let file = directory.join(format!("{name}.oci.tar"));
    write(&file, archive)?;
    checksum::write_beside(&file, archive)?;
    let digest = image.manifest.digest();
    let file = directory.join(format!("{name}.oci.digest"));
    write(&file, format!("{digest}\n").as_bytes())?;
    Ok(digest)
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}
