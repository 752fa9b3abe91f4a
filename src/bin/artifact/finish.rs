//! From the linker's output to the artifact.
//!
//! The work is done with `walrus`, the library under wasm-bindgen: it is maintained, it parses a
//! module into a graph of functions, tables and memories, and its garbage collection follows that
//! graph from the exports that are left. `wasm-metadce` of binaryen does the same, but is C++ to be
//! installed next to cargo, in whatever version a machine has, which would make the bytes depend on
//! the machine. The older `wasm-gc` is abandoned.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use walrus::{Module, ModuleConfig};

use crate::build_info::BuildInfo;
use crate::interface;

/// Strips `linked` to what Envoy calls and what that reaches, and stamps it.
///
/// Function names and the list of producers go too: names are a third of the size, and the
/// compiler is in the stamp.
///
/// # Errors
/// If `linked` is not a valid module, or lacks an export that the filter needs.
pub(crate) fn finish(linked: &[u8], stamp: &BuildInfo) -> Result<Vec<u8>> {
    let mut module = ModuleConfig::new()
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(linked)?;
    select_exports(&mut module);
    require_all_exports(&module)?;
    drop_custom_sections(&mut module);
    walrus::passes::gc::run(&mut module);
    stamp.add_to(&mut module)?;
    Ok(module.emit_wasm())
}

/// The names of what `wasm` exports, sorted.
pub(crate) fn exports(wasm: &[u8]) -> Result<BTreeSet<String>> {
    Ok(Module::from_buffer(wasm)?
        .exports
        .iter()
        .map(|export| export.name.clone())
        .collect())
}

/// What `wasm` imports, each as `module.name`, sorted.
pub(crate) fn imports(wasm: &[u8]) -> Result<BTreeSet<String>> {
    let module = Module::from_buffer(wasm)?;
    Ok(module
        .imports
        .iter()
        .map(|import| format!("{}.{}", import.module, import.name))
        .collect())
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
    let missing: Vec<_> = interface::EXPORTS
        .iter()
        .filter(|wanted| {
            !module
                .exports
                .iter()
                .any(|export| export.name == wanted.name)
        })
        .map(|wanted| format!("{} ({})", wanted.linked_as, wanted.why))
        .collect();
    if !missing.is_empty() {
        bail!("the linked module lacks {}", missing.join(", "));
    }
    Ok(())
}

/// Drops `target_features` and whatever else tools left behind.
fn drop_custom_sections(module: &mut Module) {
    let sections: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for section in sections {
        module.customs.delete(section);
    }
}
