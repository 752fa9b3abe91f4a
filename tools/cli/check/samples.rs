//! Values for variables whose values nobody knows here: a key must look like a key.

use super::AnyVariable;
use crate::keys;
use document::{get, get_text};
use std::collections::HashSet;
use upstream_inject::config::described::Role;
use upstream_inject::config::{Environment, Node};

/// A key and its certificate, made for this file: they open nothing.
const KEY: &str = include_str!("sample-key.pem");
const CERTIFICATE: &str = include_str!("sample-certificate.pem");

/// Which variables of a configuration hold a key or a certificate.
pub(crate) struct Samples<'a> {
    keys: HashSet<&'a str>,
    certificates: HashSet<&'a str>,
}

impl<'a> Samples<'a> {
    pub(crate) fn of(root: &'a Node) -> Self {
        let mut samples = Self {
            keys: HashSet::new(),
            certificates: HashSet::new(),
        };
        let call = get(root, "identity").and_then(|identity| get(identity, "exchange"));
        for (key, held) in keys::variables_of_identity() {
            samples.add(key, held, call);
        }
        for (_, strategy) in super::strategies(root) {
            for (block, key, held) in keys::variables() {
                samples.add(key, held, get(strategy, block));
            }
        }
        samples
    }

    fn add(&mut self, key: &str, held: Role, block: Option<&'a Node>) {
        let of_kind = match held {
            Role::KeyVariable => &mut self.keys,
            Role::CertificateVariable => &mut self.certificates,
            _ => return,
        };
        of_kind.extend(block.and_then(|block| get_text(block, key)));
    }

    /// A key or a certificate, if `name` is a variable for one.
    pub(crate) fn of_key(&self, name: &str) -> Option<String> {
        if self.keys.contains(name) {
            return Some(KEY.to_owned());
        }
        let is_certificate = self.certificates.contains(name);
        is_certificate.then(|| CERTIFICATE.to_owned())
    }
}

/// An environment in which variables for keys hold a key, where nobody knows what they hold.
pub(crate) struct Sampled<'a> {
    pub(crate) inner: &'a dyn Environment,
    pub(crate) samples: Samples<'a>,
}

impl Environment for Sampled<'_> {
    fn var(&self, name: &str) -> Option<String> {
        let value = self.inner.var(name)?;
        let is_unknown = value == AnyVariable::VALUE;
        let sample = self.samples.of_key(name).filter(|_| is_unknown);
        Some(sample.unwrap_or(value))
    }
}
