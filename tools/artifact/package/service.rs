//! The identity service as it is shipped: one program that needs nothing beside it.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::release::rfc3339;

/// A static program, and what goes into its image with it.
pub(super) struct Service {
    pub program: Vec<u8>,
    /// The machine that it is for, by Go's name.
    pub architecture: &'static str,
    /// Certificates of authorities, as PEM: providers' token endpoints are verified with them.
    pub authorities: Vec<u8>,
    pub commit: String,
    /// The commit's time, as RFC 3339.
    pub created: String,
}

impl Service {
    /// Where the program is in the image.
    pub(super) const PROGRAM: &str = "usr/local/bin/upstream-inject-identity";
    /// Where programs look for authorities.
    pub(super) const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

    /// Reads program and authorities.
    ///
    /// # Errors
    /// If one cannot be read, or the program would not run in an image that has nothing else.
    pub(super) fn read(
        program: &Path,
        authorities: &Path,
        commit: &str,
        source_date_epoch: &str,
    ) -> Result<Self> {
        let read = |file: &Path| {
            std::fs::read(file).with_context(|| format!("reading {}", file.display()))
        };
        let bytes = read(program)?;
        Ok(Self {
            architecture: architecture_of_static(&bytes)
                .with_context(|| format!("{}", program.display()))?,
            program: bytes,
            authorities: read(authorities)?,
            commit: commit.to_owned(),
            created: rfc3339(source_date_epoch)?,
        })
    }
}

/// The architecture of a 64-bit ELF program that asks for no loader.
fn architecture_of_static(elf: &[u8]) -> Result<&'static str> {
    const LOADER: u32 = 3;
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "no 64-bit ELF program");
    let architecture = match number(elf, 18, 2)? {
        62 => "amd64",
        183 => "arm64",
        other => bail!("a program for machine {other}"),
    };
    let (table, size, count) = (
        number(elf, 32, 8)?,
        number(elf, 54, 2)?,
        number(elf, 56, 2)?,
    );
    for index in 0..count {
        let at = index
            .checked_mul(size)
            .and_then(|offset| offset.checked_add(table))
            .context("a header that is nowhere")?;
        let kind = number(elf, usize::try_from(at)?, 4)?;
        ensure!(
            kind != u64::from(LOADER),
            "not static: it asks for a loader, which its image does not have"
        );
    }
    Ok(architecture)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let end = at.checked_add(length).context("too far")?;
    let field = bytes.get(at..end).context("the file ends early")?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The head of a program for amd64 with one program header of this kind.
    pub(in crate::package) fn program(kind: u8) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = kind;
        elf
    }

    #[test]
    fn only_a_program_that_needs_no_loader_is_taken() {
        assert_eq!(architecture_of_static(&program(1)).unwrap(), "amd64");
        let error = architecture_of_static(&program(3)).unwrap_err();
        assert!(error.to_string().contains("not static"), "{error}");
        for broken in [&b""[..], b"#!/bin/sh", &program(1)[..40]] {
            assert!(architecture_of_static(broken).is_err());
        }
    }
}
