//! From the linker's output to the artifact.
//!
//! The work is done with `walrus`, the library under wasm-bindgen: it is maintained, it parses a
//! module into a graph of functions, tables and memories, and its garbage collection follows that
//! graph from the exports that are left. `wasm-metadce` of binaryen does the same, but is C++ to be
//! installed next to cargo, in whatever version a machine has, which would make the bytes depend on
//! the machine. The older `wasm-gc` is abandoned.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use walrus::{Module, ModuleConfig};
use wasmparser::{Validator, WasmFeatures};

use crate::build_info::BuildInfo;
use crate::numbering;
use upstream_inject::host::interface;

/// Strips `linked` to what Envoy calls and what that reaches, and stamps it.
///
/// Function names and the list of producers go too: names are a third of the size, and the
/// compiler is in the stamp.
///
/// # Errors
/// If `linked` is not a valid module, lacks an export that Envoy needs, or still needs an import that
/// [`interface::IMPORTS`] does not name; or if what was made of it is no module that Envoy could load.
pub(crate) fn finish(linked: &[u8], stamp: &BuildInfo) -> Result<Vec<u8>> {
    let mut module = ModuleConfig::new()
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(linked)?;
    select_exports(&mut module);
    require_all_exports(&module)?;
    drop_custom_sections(&mut module);
    walrus::passes::gc::run(&mut module);
    require_known_imports(&module)?;
    stamp.add_to(&mut module)?;
    let finished = numbering::by_calls(&module.emit_wasm())?;
    require_valid(&finished)?;
    Ok(finished)
}

/// The names of what `wasm` exports, sorted.
pub(crate) fn exports(wasm: &[u8]) -> Result<BTreeSet<String>> {
    Ok(exports_of(&Module::from_buffer(wasm)?))
}

/// What `wasm` imports, each as `module.name`, sorted.
pub(crate) fn imports(wasm: &[u8]) -> Result<BTreeSet<String>> {
    Ok(imports_of(&Module::from_buffer(wasm)?))
}

fn exports_of(module: &Module) -> BTreeSet<String> {
    module
        .exports
        .iter()
        .map(|export| export.name.clone())
        .collect()
}

fn imports_of(module: &Module) -> BTreeSet<String> {
    module
        .imports
        .iter()
        .map(|import| format!("{}.{}", import.module, import.name))
        .collect()
}

/// Drops what the artifact does not export, and gives the rest its name.
fn select_exports(module: &mut Module) {
    let linked: Vec<_> = module
        .exports
        .iter()
        .map(|export| (export.id(), interface::exported_name(&export.name)))
        .collect();
    for (export, name) in linked {
        match name {
            Some(name) => module.exports.get_mut(export).name = name.to_owned(),
            None => module.exports.delete(export),
        }
    }
}

fn require_all_exports(module: &Module) -> Result<()> {
    let present = exports_of(module);
    let missing: Vec<_> = interface::EXPORTS
        .iter()
        .filter(|wanted| !present.contains(wanted.name))
        .map(|wanted| format!("{} ({})", wanted.linked_as, wanted.why))
        .collect();
    ensure!(
        missing.is_empty(),
        "the linked module lacks {}",
        missing.join(", ")
    );
    Ok(())
}

fn require_known_imports(module: &Module) -> Result<()> {
    let unknown: Vec<_> = imports_of(module)
        .into_iter()
        .filter(|name| !interface::is_import(name))
        .collect();
    ensure!(
        unknown.is_empty(),
        "the filter now imports {}: add it to src/host/interface.rs with the reason, and to \
         the capabilities in envoy/",
        unknown.join(", ")
    );
    Ok(())
}

/// Whoever renumbers functions may make a call of something else than was meant.
fn require_valid(finished: &[u8]) -> Result<()> {
    // What every Envoy's VM knows.
    Validator::new_with_features(WasmFeatures::WASM2)
        .validate_all(finished)
        .context("what was made of it is no valid module")?;
    Ok(())
}

/// Drops `target_features` and whatever else tools left behind.
fn drop_custom_sections(module: &mut Module) {
    let sections: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for section in sections {
        module.customs.delete(section);
    }
}

#[cfg(test)]
mod tests {
    use walrus::{FunctionBuilder, RawCustomSection};

    use super::*;

    /// A linked module as the SDK's: what is wanted, one callback more, and what only that reaches.
    fn linked(leave_out: &str) -> Module {
        let mut module = Module::default();
        let ty = module.types.add(&[], &[]);
        let (log, _) = module.add_import_func("env", "proxy_log", ty);
        let (grpc, _) = module.add_import_func("env", "proxy_grpc_call", ty);
        for (name, calls) in interface::EXPORTS
            .iter()
            .map(|export| (export.linked_as, log))
            .chain([("proxy_on_request_body", grpc)])
            .filter(|(name, _)| *name != leave_out)
        {
            let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
            builder.func_body().call(calls);
            let function = builder.finish(Vec::new(), &mut module.funcs);
            module.exports.add(name, function);
        }
        module.customs.add(RawCustomSection {
            name: "left-over".to_owned(),
            data: b"/builder/src".to_vec(),
        });
        module
    }

    fn stamp() -> BuildInfo {
        BuildInfo::new("c0ffee", "rustc 1.0.0")
    }

    #[test]
    fn what_envoy_does_not_need_is_gone_with_all_that_only_it_reached() {
        let finished = finish(&linked("").emit_wasm(), &stamp()).unwrap();
        let expected: BTreeSet<_> = interface::EXPORTS
            .iter()
            .map(|export| export.name.to_owned())
            .collect();
        assert_eq!(exports(&finished).unwrap(), expected);
        assert_eq!(
            imports(&finished).unwrap(),
            BTreeSet::from(["env.proxy_log".to_owned()])
        );
        assert!(!finished.windows(8).any(|bytes| bytes == b"/builder"));
    }

    #[test]
    fn the_stamp_can_be_read_back() {
        let finished = finish(&linked("").emit_wasm(), &stamp()).unwrap();
        assert_eq!(BuildInfo::of(&finished).unwrap(), stamp());
        assert!(BuildInfo::of(&linked("").emit_wasm()).is_err());
    }

    #[test]
    fn a_missing_export_is_an_error_that_names_it() {
        let error = finish(&linked("upstream_inject_on_delete").emit_wasm(), &stamp()).unwrap_err();
        assert!(
            error.to_string().contains("upstream_inject_on_delete"),
            "{error}"
        );
    }

    #[test]
    fn a_new_import_is_an_error_that_names_it() {
        let mut module = linked("");
        let grpc = module.imports.get_func("env", "proxy_grpc_call").unwrap();
        module.exports.remove("upstream_inject_on_tick").unwrap();
        module.exports.add("upstream_inject_on_tick", grpc);
        let error = finish(&module.emit_wasm(), &stamp()).unwrap_err();
        assert!(error.to_string().contains("env.proxy_grpc_call"), "{error}");
    }

    #[test]
    fn a_module_that_calls_what_is_not_there_is_refused_in_plain_words() {
        let mut broken = linked("").emit_wasm();
        // A body of no variables, `call 0`, and the end.
        let body = [4, 0, 0x10, 0, 0x0b];
        let at = broken.windows(body.len()).position(|code| code == body);
        broken[at.unwrap() + 3] = 100;
        // Whoever numbers functions passes by what it does not know.
        let numbered = numbering::by_calls(&broken).unwrap();
        let error = format!("{:#}", require_valid(&numbered).unwrap_err());
        let expected = "what was made of it is no valid module: unknown function 100";
        assert!(error.starts_with(expected), "{error}");
        assert!(finish(&broken, &stamp()).is_err());
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(finish(b"", &stamp()).is_err());
        assert!(finish(b"\0asm\x01\0\0\0\xff", &stamp()).is_err());
    }
}
