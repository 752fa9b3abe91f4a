//! Cuts the SDK's convenience methods out of the virtual tables.
//!
//! The SDK keeps contexts as trait objects, and its traits have, next to the callbacks (`on_…`), a
//! hundred methods for the filter's own use (`get_shared_data`, `open_grpc_stream`, …). Each of them
//! has an entry in each virtual table, so the linker must keep them all, and with them imports of
//! host functions that nothing here ever calls. The entries are pointed at a function that traps;
//! what the filter calls by name stays, since a direct call needs no table.
//!
//! This is right as long as nobody calls such a method through a trait object: the SDK's dispatcher
//! calls nothing but callbacks, and the filter has no trait objects of the SDK.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use walrus::{ElementItems, Function, FunctionBuilder, FunctionId, Module};

/// Points the table entries of convenience methods at a trap.
///
/// # Errors
/// If the linker may have merged functions with equal bodies. One name could then stand for another
/// function too, which may well be called through a table.
pub(crate) fn cut_from_tables(module: &mut Module) -> Result<()> {
    let cut: BTreeSet<FunctionId> = module
        .funcs
        .iter()
        .filter(|function| sdk_method(function).is_some_and(|method| !is_callback(method)))
        .map(Function::id)
        .collect();
    if cut.is_empty() {
        return Ok(());
    }
    require_unmerged(module)?;

    let mut trap = FunctionBuilder::new(&mut module.types, &[], &[]);
    trap.func_body().unreachable();
    let trap = trap.finish(Vec::new(), &mut module.funcs);
    for element in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut element.items {
            for function in functions
                .iter_mut()
                .filter(|function| cut.contains(function))
            {
                *function = trap;
            }
        }
    }
    Ok(())
}

/// Two callbacks of the SDK's traits take the same and do nothing: if the linker merged functions,
/// one of their names would be gone.
fn require_unmerged(module: &Module) -> Result<()> {
    for callback in [
        "on_grpc_stream_initial_metadata",
        "on_grpc_stream_trailing_metadata",
    ] {
        ensure!(
            module
                .funcs
                .iter()
                .any(|function| sdk_method(function) == Some(callback)),
            "{callback} is not there: either the SDK changed, or the linker merges equal functions, \
             and the SDK's methods cannot be told from others"
        );
    }
    Ok(())
}

/// Whether the SDK's dispatcher calls the method.
fn is_callback(method: &str) -> bool {
    method.starts_with("on_") || method.starts_with("create_") || method == "get_type"
}

/// The name of the method, if the function is the default body of a method of the SDK's traits. An
/// implementation of the filter's own has another form of symbol.
fn sdk_method(function: &Function) -> Option<&str> {
    sdk_method_of_symbol(function.name.as_deref()?)
}

/// `_ZN10proxy_wasm6traits7Context4done17h831423cc6c03ff03E` gives `done`.
fn sdk_method_of_symbol(symbol: &str) -> Option<&str> {
    let (_, path) = symbol.split_once("10proxy_wasm6traits")?;
    let (_trait, path) = path_segment(path)?;
    let (method, _) = path_segment(path)?;
    Some(method)
}

/// Splits `7Context4done…` into `Context` and `4done…`.
fn path_segment(path: &str) -> Option<(&str, &str)> {
    let digits = path.find(|character: char| !character.is_ascii_digit())?;
    let (length, path) = path.split_at_checked(digits)?;
    path.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use walrus::{ConstExpr, ElementKind, RefType, ir::Value};

    use super::*;

    #[test]
    fn the_sdks_methods_are_told_from_the_filters_own() {
        let table = [
            (
                "_ZN10proxy_wasm6traits7Context4done17h831423cc6c03ff03E",
                Some("done"),
            ),
            (
                "_ZN10proxy_wasm6traits11RootContext19create_http_context17h8cE",
                Some("create_http_context"),
            ),
            (
                "_ZN70_$LT$filter..Root$u20$as$u20$proxy_wasm..traits..Context$GT$4done17h66E",
                None,
            ),
            ("_ZN10proxy_wasm9hostcalls12get_property17h00E", None),
            ("_ZN10proxy_wasm6traits99Short", None),
            ("", None),
        ];
        for (symbol, expected) in table {
            assert_eq!(sdk_method_of_symbol(symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn callbacks_are_told_from_convenience_methods() {
        for callback in [
            "on_done",
            "on_http_request_headers",
            "create_http_context",
            "get_type",
        ] {
            assert!(is_callback(callback), "{callback}");
        }
        for method in [
            "done",
            "get_property",
            "dispatch_http_call",
            "set_tick_period",
        ] {
            assert!(!is_callback(method), "{method}");
        }
    }

    const INITIAL: &str = "_ZN10proxy_wasm6traits7Context31on_grpc_stream_initial_metadata17h01E";
    const TRAILING: &str = "_ZN10proxy_wasm6traits7Context32on_grpc_stream_trailing_metadata17h02E";
    const DONE: &str = "_ZN10proxy_wasm6traits7Context4done17h03E";
    const OWN: &str = "_ZN6filter3runE";

    /// A module whose table holds one function under each of the names.
    fn module_with_table(names: &[&str]) -> Module {
        let mut module = Module::default();
        let functions = names
            .iter()
            .map(|name| {
                let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
                builder
                    .name((*name).to_owned())
                    .func_body()
                    .i32_const(1)
                    .drop();
                builder.finish(Vec::new(), &mut module.funcs)
            })
            .collect();
        let table = module.tables.add_local(false, 10, None, RefType::FUNCREF);
        module.exports.add("table", table);
        let offset = ConstExpr::Value(Value::I32(0));
        let segment = module.elements.add(
            ElementKind::Active { table, offset },
            ElementItems::Functions(functions),
        );
        module.tables.get_mut(table).elem_segments.insert(segment);
        module
    }

    #[test]
    fn only_convenience_methods_leave_the_table() {
        let mut module = module_with_table(&[INITIAL, TRAILING, DONE, OWN]);
        cut_from_tables(&mut module).unwrap();
        walrus::passes::gc::run(&mut module);
        let left: BTreeSet<_> = module
            .funcs
            .iter()
            .map(|function| function.name.as_deref())
            .collect();
        let trap = None;
        assert_eq!(
            left,
            BTreeSet::from([trap, Some(INITIAL), Some(TRAILING), Some(OWN)])
        );
    }

    #[test]
    fn merged_functions_are_refused() {
        for left in [INITIAL, TRAILING] {
            assert!(cut_from_tables(&mut module_with_table(&[left, DONE])).is_err());
        }
    }
}
