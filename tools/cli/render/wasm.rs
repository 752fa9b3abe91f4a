//! The filter in Envoy's own words: its code, its configuration, and what it may ask of Envoy.

use super::options::EnvoyVersion;
use super::parts::FILTER;
use super::template::{block, fill};
use crate::emit;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use upstream_inject::config::Node;
use upstream_inject::host::interface;

/// The filter as Envoy loads it.
pub(super) struct Wasm<'a> {
    /// The content of `code`.
    pub(super) code: String,
    /// The environment variables that it may read.
    pub(super) variables: &'a BTreeSet<String>,
    pub(super) plugin: &'a Node,
    pub(super) version: Option<EnvoyVersion>,
}

impl Wasm<'_> {
    /// Its `typed_config`.
    pub(super) fn typed_config(&self) -> String {
        let in_vm = self
            .version
            .is_some_and(|version| version >= EnvoyVersion::RESTRICTS_THE_VM);
        let capabilities = capabilities();
        let (vm, plugin) = if in_vm {
            (capabilities, String::new())
        } else {
            let comment = "# From Envoy 1.40 on it belongs into vm_config, where older ones \
                           refuse\n# it (--envoy-version 1.40).\n";
            (String::new(), format!("{comment}{capabilities}"))
        };
        fill(
            include_str!("templates/parts/wasm.yaml"),
            &[
                ("code", block(self.code.clone())),
                ("environment", block(self.environment())),
                ("vm_capabilities", block(vm)),
                ("plugin_capabilities", block(plugin)),
                ("plugin", block(emit::block(self.plugin))),
            ],
        )
    }

    /// As the value of the router's `upstream_http_filters`, the codec included.
    pub(super) fn upstream_http_filters(&self) -> String {
        let mut filters = format!("- name: {FILTER}\n  typed_config:\n");
        for line in self.typed_config().lines() {
            let _ = writeln!(filters, "    {line}");
        }
        filters.push_str(include_str!("templates/parts/upstream-codec.yaml"));
        filters
    }

    fn environment(&self) -> String {
        if self.variables.is_empty() {
            return String::new();
        }
        let mut text = "# Read from Envoy's own environment; without them it does not start.\n\
                        environment_variables:\n  host_env_keys:\n"
            .to_owned();
        for variable in self.variables {
            let _ = writeln!(text, "    - {}", emit::scalar(variable));
        }
        text
    }
}

/// All that the filter may ask of Envoy, as `capability_restriction_config`.
fn capabilities() -> String {
    let mut text = "# All that this version of the filter may ask of Envoy, and nothing else.\n\
                    capability_restriction_config:\n  allowed_capabilities:\n"
        .to_owned();
    for capability in interface::capabilities() {
        let _ = writeln!(text, "    {capability}: {{}}");
    }
    text
}
