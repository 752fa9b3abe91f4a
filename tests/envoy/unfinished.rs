//! What the compiler leaves is not yet the filter: `./build.sh` has to finish it, and Envoy must
//! refuse what it has not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bed::{Envoy, PluginConfig, bootstrap, repository, scratch};
use serde_json::json;
use walrus::Module;

use crate::plugin;
use crate::trial::trials;

trials!("unfinished": what_cargo_builds_is_refused_and_says_what_to_run);

const SAYS: &str = "this .wasm is unfinished: run ./build.sh, and load dist/upstream_inject.wasm";

/// What `cargo build` makes of the filter, without any of the options of `./build.sh`.
fn built() -> PathBuf {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => repository().join("target"),
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package=upstream-inject"])
        .args(["--lib", "--target=wasm32-wasip1"])
        .current_dir(repository())
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_DIR", &target)
        .stdin(Stdio::null())
        .status()
        .expect("cargo");
    assert!(status.success(), "cargo build: {status}");
    target.join("wasm32-wasip1/debug/upstream_inject.wasm")
}

/// The same without the SDK's callbacks, as the linker of `./build.sh` leaves it.
fn linked(built: &Path) -> PathBuf {
    let mut module = Module::from_file(built).expect("a module");
    let callbacks: Vec<_> = module
        .exports
        .iter()
        .filter(|export| export.name.starts_with("proxy_on_"))
        .map(|export| export.id())
        .collect();
    assert!(!callbacks.is_empty());
    for callback in callbacks {
        module.exports.delete(callback);
    }
    let file = scratch("unfinished")
        .expect("a directory")
        .join("linked.wasm");
    module.emit_wasm_file(&file).expect("a writable directory");
    file
}

async fn what_cargo_builds_is_refused_and_says_what_to_run() {
    let built = built();
    for wasm in [linked(&built), built] {
        let config = plugin::config(&["github"], json!({"one": plugin::open()}));
        let mut filter = bootstrap::wasm_filter(&PluginConfig::Json(config), &[]);
        let code = &mut filter["typed_config"]["config"]["vm_config"]["code"];
        code["local"]["filename"] = json!(wasm);
        let config = bootstrap::bootstrap(&[filter, bootstrap::router()], &[], &[]);
        let verdict = Envoy::validate("unfinished", &config.to_string(), &[]).expect("Envoy runs");
        assert!(!verdict.accepted, "{}: {}", wasm.display(), verdict.output);
        let said = verdict.output.matches(SAYS).count();
        assert_eq!(said, 1, "{}: {}", wasm.display(), verdict.output);
    }
}
