use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::artifact_tests::project;
use crate::build_info::BuildInfo;

/// A directory that is gone after the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("package-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Every file below it, by relative path.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut open = vec![self.0.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let name = path.strip_prefix(&self.0).unwrap().to_owned();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Packages an artifact that has nothing but a stamp.
fn packaged(name: &str) -> (Directory, Vec<u8>, String) {
    let mut module = walrus::Module::default();
    BuildInfo::new("c0ffee", "rustc 1.95.0 (59807616e 2026-04-14)")
        .add_to(&mut module)
        .unwrap();
    let wasm = module.emit_wasm();
    let directory = Directory::new(name);
    let file = directory.0.join("upstream_inject.wasm");
    fs::write(&file, &wasm).unwrap();
    let digest = package(project(), &file, "1700000000").unwrap();
    (directory, wasm, digest)
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn the_same_artifact_gives_the_same_bytes() {
    let (first, ..) = packaged("first");
    let (second, ..) = packaged("second");
    let files = first.files();
    assert_eq!(files, second.files());
    for name in [
        "oci/oci-layout",
        "oci/index.json",
        "upstream_inject.cdx.json",
    ] {
        assert!(files.contains_key(Path::new(name)), "{name}");
    }
}

#[test]
fn the_layout_names_the_image_that_is_pinned() {
    let (directory, _, digest) = packaged("named");
    let manifest = &json(&directory.0.join("oci/index.json"))["manifests"][0];
    assert_eq!(manifest["digest"], digest.as_str());
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.ref.name"],
        env!("CARGO_PKG_VERSION")
    );
    let written = fs::read_to_string(directory.0.join("upstream_inject.oci.digest")).unwrap();
    assert_eq!(written.trim_end(), digest);
    let manifest = json(&directory.0.join("oci/blobs").join(digest.replace(':', "/")));
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.revision"],
        "c0ffee"
    );
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.created"],
        "2023-11-14T22:13:20Z"
    );
}

#[test]
fn every_label_says_something() {
    let (directory, _, digest) = packaged("labels");
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().replace(':', "/");
        json(&directory.0.join("oci/blobs").join(digest))
    };
    let manifest = blob(&Value::from(digest));
    let config = blob(&manifest["config"]["digest"]);
    for labels in [&manifest["annotations"], &config["config"]["Labels"]] {
        let labels = labels.as_object().unwrap();
        assert!(labels.len() >= 6, "{labels:?}");
        for (name, value) in labels {
            assert!(
                value.as_str().is_some_and(|text| !text.is_empty()),
                "{name}"
            );
        }
    }
}

#[test]
fn the_archive_holds_the_same_layout() {
    let (directory, ..) = packaged("archive");
    let archive = fs::read(directory.0.join("upstream_inject.oci.tar")).unwrap();
    let unpacked = Directory::new("archive-unpacked");
    tar::Archive::new(archive.as_slice())
        .unpack(unpacked.0.join("oci"))
        .unwrap();
    let layout: BTreeMap<_, _> = directory
        .files()
        .into_iter()
        .filter(|(name, _)| name.starts_with("oci"))
        .collect();
    assert_eq!(unpacked.files(), layout);
}

#[test]
fn damage_to_any_file_of_the_layout_is_found() {
    let (directory, wasm, _) = packaged("damaged");
    let layout = directory.0.join("oci");
    verify::layout(&layout, &wasm).unwrap();
    assert!(verify::layout(&layout, b"another artifact").is_err());
    for name in directory
        .files()
        .into_keys()
        .filter(|name| name.starts_with("oci"))
    {
        let file = directory.0.join(&name);
        let sound = fs::read(&file).unwrap();
        fs::write(&file, &sound[..sound.len() - 1]).unwrap();
        assert!(
            verify::layout(&layout, &wasm).is_err(),
            "{}",
            name.display()
        );
        fs::write(&file, sound).unwrap();
    }
    verify::layout(&layout, &wasm).unwrap();
}

#[test]
fn the_sbom_describes_the_artifact_and_what_is_in_it() {
    let (directory, wasm, _) = packaged("sbom");
    let sbom = json(&directory.0.join("upstream_inject.cdx.json"));
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let filter = &sbom["metadata"]["component"];
    assert_eq!(filter["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(filter["hashes"][0]["content"], checksum::sha256_hex(&wasm));
    assert_eq!(sbom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");

    let components = sbom["components"].as_array().unwrap();
    let named = |name: &str| {
        components
            .iter()
            .find(|component| component["name"] == name)
    };
    assert_eq!(named("std").unwrap()["version"], "1.95.0");
    let sdk = named("proxy-wasm").unwrap();
    assert_eq!(sdk["hashes"][0]["alg"], "SHA-256");
    assert_eq!(sdk["licenses"][0]["expression"], "Apache-2.0");
    assert!(named("walrus").is_none());

    // Whatever is depended upon is described.
    let described: Vec<_> = components
        .iter()
        .map(|component| &component["bom-ref"])
        .collect();
    for dependency in sbom["dependencies"].as_array().unwrap() {
        for used in dependency["dependsOn"].as_array().into_iter().flatten() {
            assert!(described.contains(&used), "{used}");
        }
    }
}

#[test]
fn the_services_image_holds_the_program_and_what_it_trusts() {
    let directory = Directory::new("service");
    let (program, authorities) = (directory.0.join("program"), directory.0.join("ca.pem"));
    fs::write(&program, service::tests::program(1)).unwrap();
    fs::write(&authorities, "authorities").unwrap();
    let package =
        || package_service(&program, &authorities, &directory.0, "c0ffee", "1700000000").unwrap();
    let digest = package();
    let first = directory.files();
    assert_eq!(package(), digest);
    assert_eq!(directory.files(), first, "the same bytes");

    let blob = |digest: &str| {
        let path = format!("oci-identity/blobs/{}", digest.replace(':', "/"));
        directory.0.join(path)
    };
    let manifest = json(&blob(&digest));
    let config = json(&blob(manifest["config"]["digest"].as_str().unwrap()));
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["os"], "linux");
    assert_eq!(
        config["config"]["Entrypoint"],
        serde_json::json!(["/usr/local/bin/upstream-inject-identity"])
    );
    assert_eq!(config["config"]["User"], "65532:65532", "never root");
    let layer = blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let layer = flate2::read::GzDecoder::new(fs::File::open(layer).unwrap());
    let mut archive = tar::Archive::new(layer);
    let entries: Vec<(String, u32)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            (name, entry.header().mode().unwrap())
        })
        .collect();
    assert_eq!(
        entries,
        [
            ("etc/ssl/certs/ca-certificates.crt".to_owned(), 0o644),
            ("usr/local/bin/upstream-inject-identity".to_owned(), 0o755),
        ]
    );
}
