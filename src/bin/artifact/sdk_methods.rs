//! Cuts the SDK's convenience methods out of the virtual tables.
//!
//! The SDK keeps contexts as trait objects, and its traits have, next to the callbacks (`on_…`), a
//! hundred methods for the filter's own use (`get_shared_data`, `open_grpc_stream`, …). Each of them
//! has an entry in each virtual table, so the linker must keep them all, and with them imports of
//! host functions that nothing here ever calls. The entries are pointed at a function that traps;
//! what the filter calls by name stays, since a direct call needs no table.
//!
//! This is right as long as nobody calls such a method through a trait object: the SDK's dispatcher
//! calls nothing but callbacks, and the filter calls the host itself. A symbol's name alone would not
//! be enough, since the linker merges functions with equal bodies under one of their names: only
//! what also calls the host is cut, which no callback that the SDK defines does.

use std::collections::BTreeSet;

use walrus::ir::{Visitor, dfs_in_order};
use walrus::{ElementItems, Function, FunctionBuilder, FunctionId, FunctionKind, Module};

/// Points the table entries of convenience methods at a trap.
pub(crate) fn cut_from_tables(module: &mut Module) {
    let cut: BTreeSet<FunctionId> = module
        .funcs
        .iter()
        .filter(|function| sdk_method(function).is_some_and(|method| !is_callback(method)))
        .filter(|function| calls_host(module, function))
        .map(Function::id)
        .collect();
    if cut.is_empty() {
        return;
    }

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
}

/// Whether the function calls a host function, or the SDK's wrapper of one, by name.
fn calls_host(module: &Module, function: &Function) -> bool {
    let FunctionKind::Local(local) = &function.kind else {
        return false;
    };
    let mut callees = Callees(Vec::new());
    dfs_in_order(&mut callees, local, local.entry_block());
    callees
        .0
        .into_iter()
        .map(|callee| module.funcs.get(callee))
        .any(|callee| {
            let wraps = |symbol: &str| symbol.contains("10proxy_wasm9hostcalls");
            matches!(callee.kind, FunctionKind::Import(_))
                || callee.name.as_deref().is_some_and(wraps)
        })
}

/// The functions that a function calls by name.
struct Callees(Vec<FunctionId>);

impl<'a> Visitor<'a> for Callees {
    fn visit_function_id(&mut self, function: &FunctionId) {
        self.0.push(*function);
    }
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

    /// A module whose table holds functions of these names, each of which calls `callee`, of an
    /// import, or nothing.
    fn module_with_table(functions: &[(&str, Option<&str>)]) -> Module {
        let mut module = Module::default();
        let ty = module.types.add(&[], &[]);
        let mut table_entries = Vec::new();
        for (name, callee) in functions {
            let callee = callee.map(|callee| module.add_import_func("env", callee, ty).0);
            let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
            builder.name((*name).to_owned());
            if let Some(callee) = callee {
                builder.func_body().call(callee);
            }
            table_entries.push(builder.finish(Vec::new(), &mut module.funcs));
        }
        let table = module.tables.add_local(false, 10, None, RefType::FUNCREF);
        module.exports.add("table", table);
        let offset = ConstExpr::Value(Value::I32(0));
        let segment = module.elements.add(
            ElementKind::Active { table, offset },
            ElementItems::Functions(table_entries),
        );
        module.tables.get_mut(table).elem_segments.insert(segment);
        module
    }

    #[test]
    fn only_convenience_methods_that_call_the_host_leave_the_table() {
        const DONE: &str = "_ZN10proxy_wasm6traits7Context4done17h03E";
        const MERGED: &str = "_ZN10proxy_wasm6traits7Context16cancel_grpc_call17h04E";
        const CALLBACK: &str = "_ZN10proxy_wasm6traits7Context7on_done17h01E";
        const OWN: &str = "_ZN6filter3runE";
        let mut module = module_with_table(&[
            (DONE, Some("proxy_done")),
            (MERGED, None),
            (CALLBACK, None),
            (OWN, Some("proxy_log")),
        ]);
        cut_from_tables(&mut module);
        walrus::passes::gc::run(&mut module);
        let left: BTreeSet<_> = module
            .funcs
            .iter()
            .filter(|function| matches!(function.kind, FunctionKind::Local(_)))
            .map(|function| function.name.as_deref())
            .collect();
        let trap = None;
        assert_eq!(
            left,
            BTreeSet::from([trap, Some(MERGED), Some(CALLBACK), Some(OWN)])
        );
        let imports: Vec<_> = module
            .imports
            .iter()
            .map(|import| import.name.as_str())
            .collect();
        assert_eq!(imports, ["proxy_log"]);
    }
}
