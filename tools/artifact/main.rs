//! Makes the shippable artifact of the `.wasm` that the linker wrote, and says what is in it.
//!
//! `./build.sh` calls this; see [`USAGE`]. What it keeps and drops is in the filter's own source: see
//! [`interface`].
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(test)]
mod artifact_tests;
mod build_info;
mod checksum;
mod finish;
mod numbering;
#[cfg(feature = "package")]
mod package;
mod weigh;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use build_info::BuildInfo;
use upstream_inject::host::interface;

const USAGE: &str = "\
usage: artifact finish LINKED FINISHED COMMIT RUSTC
                             strip LINKED to what Envoy calls, stamp it with the version, COMMIT and
                             the compiler's version RUSTC, write FINISHED and FINISHED's .sha256
       artifact exports FILE print what FILE exports, one name a line
       artifact imports FILE print what FILE imports, one name a line
       artifact info FILE    print FILE's stamp, as JSON
       artifact weigh LINKED print the bytes of LINKED's functions, by whose they are
       artifact capabilities print the names that capability_restriction_config must allow
       artifact package FILE EPOCH
                             write an SBOM and an OCI image layout of the finished FILE beside it, dated
                             EPOCH (seconds since 1970), and print the image's digest; only in the
                             project's directory, and in a build with feature package
       artifact service PROGRAM AUTHORITIES DIRECTORY COMMIT EPOCH
                             write an OCI image layout of the static PROGRAM, with the authorities that
                             it trusts, to DIRECTORY, and print the image's digest; the same build";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the arguments were understood.
fn run(arguments: &[&str]) -> Result<bool> {
    match *arguments {
        ["finish", linked, finished, commit, rustc] => {
            finish_file(
                Path::new(linked),
                Path::new(finished),
                &BuildInfo::new(commit, rustc),
            )?;
        }
        ["exports", file] => print_lines(finish::exports(&read(file)?)?),
        ["imports", file] => print_lines(finish::imports(&read(file)?)?),
        ["info", file] => println!("{}", BuildInfo::of(&read(file)?)?.to_json()?),
        ["weigh", file] => print_lines(
            weigh::by_room(&read(file)?)?
                .into_iter()
                .map(|(room, size)| format!("{size:>7}  {room}")),
        ),
        ["capabilities"] => print_lines(interface::capabilities()),
        #[cfg(feature = "package")]
        ["package", file, epoch] => println!(
            "{}",
            package::package(Path::new("."), Path::new(file), epoch)?
        ),
        #[cfg(feature = "package")]
        ["service", program, authorities, directory, commit, epoch] => println!(
            "{}",
            package::package_service(
                Path::new(program),
                Path::new(authorities),
                Path::new(directory),
                commit,
                epoch,
            )?
        ),
        _ => return Ok(false),
    }
    Ok(true)
}

fn finish_file(linked: &Path, finished: &Path, stamp: &BuildInfo) -> Result<()> {
    let before = std::fs::read(linked).with_context(|| format!("reading {}", linked.display()))?;
    let after = finish::finish(&before, stamp)
        .with_context(|| format!("finishing {}", linked.display()))?;
    if let Some(directory) = finished.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(finished, &after).with_context(|| format!("writing {}", finished.display()))?;
    checksum::write_beside(finished, &after)
}

fn read(file: &str) -> Result<Vec<u8>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(bytes),
        Err(error) => bail!("reading {file}: {error}"),
    }
}

fn print_lines(lines: impl IntoIterator<Item = impl std::fmt::Display>) {
    for line in lines {
        println!("{line}");
    }
}
