//! Envoy Gateway's own translator at work: from resources to what Envoy is given.

use std::process::Command;

use bed::{Neighbours, static_bootstrap};
use serde_json::Value;

/// Whether there is Go to build it with.
///
/// # Panics
/// There is none, and `REQUIRE_GO=1`.
pub fn is_there() -> bool {
    let found = ["go", "/usr/local/go/bin/go"]
        .into_iter()
        .any(|go| Command::new(go).arg("version").output().is_ok());
    if !found {
        assert_ne!(
            std::env::var("REQUIRE_GO").as_deref(),
            Ok("1"),
            "REQUIRE_GO=1, and there is no go"
        );
        eprintln!(
            "LEFT OUT: no go on the PATH, so Envoy Gateway's own translator reads nothing here"
        );
    }
    found
}

/// What Envoy Gateway makes of these resources for the gateway `mcp/mcp-gateway`.
pub fn translate(resources: &str) -> Value {
    let dump = try_translate(resources).unwrap_or_else(|error| panic!("{error}"));
    let ours = dump.pointer("/xds/mcp~1mcp-gateway").cloned();
    ours.unwrap_or_else(|| panic!("there is no gateway: {dump}"))
}

fn try_translate(resources: &str) -> Result<Value, String> {
    let directory = bed::scratch("egctl").map_err(|error| error.to_string())?;
    let file = directory.join("resources.yaml");
    std::fs::write(&file, resources).map_err(|error| error.to_string())?;
    bed::gateway_dumps(&file)
}

/// The same as a bootstrap for an Envoy of ours.
pub fn bootstrap(resources: &str, neighbours: &Neighbours) -> String {
    static_bootstrap(&translate(resources), neighbours)
        .unwrap_or_else(|error| panic!("{error}"))
        .to_string()
}
