//! The numbers of the artifact's functions: those that are called most have the smallest.
//!
//! A call names its function by number, in one byte if that is below 128 and in two or three if not.
//! `walrus` numbers functions by their size, which gives the short names to the largest: they are called
//! once, if at all, and what is called a thousand times (freeing memory, say) is among the smallest.

use std::cmp::Reverse;
use std::convert::Infallible;

use anyhow::Result;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{CodeSectionReader, FunctionSectionReader, Operator, Parser, Payload, TypeRef};

/// Numbers the functions of `wasm` anew. It does the same as before.
///
/// # Errors
/// If `wasm` is no module.
pub(crate) fn by_calls(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut numbering = Numbering::of(wasm)?;
    let mut module = Module::new();
    numbering.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

/// Which function comes when.
struct Numbering {
    /// The functions by their new numbers: their places among those that are not imported.
    order: Vec<usize>,
    /// The new numbers of all functions, the imported ones among them, by their old ones.
    numbers: Vec<u32>,
}

impl Numbering {
    fn of(wasm: &[u8]) -> Result<Self> {
        let mut imported = 0_usize;
        let mut calls: Vec<u64> = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                            imported = imported.saturating_add(1);
                        }
                    }
                }
                Payload::FunctionSection(functions) => {
                    let all = imported.saturating_add(usize::try_from(functions.count())?);
                    calls.resize(all, 0);
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()? {
                        if let Operator::Call { function_index } = operator?
                            && let Some(calls) = calls.get_mut(usize::try_from(function_index)?)
                        {
                            *calls = calls.saturating_add(1);
                        }
                    }
                }
                _ => {}
            }
        }
        let own = calls.get(imported..).unwrap_or_default();
        let mut order: Vec<usize> = (0..own.len()).collect();
        // Stable: what is called as often stays in the order it was in.
        order.sort_by_key(|place| Reverse(own.get(*place).copied()));
        let mut numbers = (0..u32::try_from(calls.len())?).collect::<Vec<u32>>();
        for (number, place) in (imported..).zip(&order) {
            if let Some(known) = numbers.get_mut(imported.saturating_add(*place)) {
                *known = u32::try_from(number)?;
            }
        }
        Ok(Self { order, numbers })
    }

    /// `of_functions`, one for each function that is not imported, in the new order.
    fn in_order<'a, T>(&'a self, of_functions: &'a [T]) -> impl Iterator<Item = &'a T> {
        self.order
            .iter()
            .filter_map(|place| of_functions.get(*place))
    }
}

impl Reencode for Numbering {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let place = usize::try_from(function).unwrap_or(usize::MAX);
        Ok(self.numbers.get(place).copied().unwrap_or(function))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for ty in self.in_order(&types) {
            functions.function(*ty);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        let bodies: Vec<_> = self.in_order(&bodies).cloned().collect();
        for body in bodies {
            self.parse_function_body(code, body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use walrus::{FunctionBuilder, FunctionId, Module as Walrus};

    use super::*;

    fn function(module: &mut Walrus, calls: &[FunctionId]) -> FunctionId {
        let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
        let mut body = builder.func_body();
        for callee in calls {
            body.call(*callee);
        }
        builder.finish(Vec::new(), &mut module.funcs)
    }

    /// What each function calls, and how many are imported, by numbers.
    fn calls(wasm: &[u8]) -> Vec<Vec<u32>> {
        let mut calls = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                let operators = body.get_operators_reader().unwrap();
                let called = operators.into_iter().filter_map(|operator| match operator {
                    Ok(Operator::Call { function_index }) => Some(function_index),
                    _ => None,
                });
                calls.push(called.collect());
            }
        }
        calls
    }

    #[test]
    fn what_is_called_most_comes_first_and_everything_still_names_the_same() {
        let mut module = Walrus::default();
        let ty = module.types.add(&[], &[]);
        let (log, _) = module.add_import_func("env", "proxy_log", ty);
        let often = function(&mut module, &[log]);
        let once = function(&mut module, &[often, often]);
        let start = function(&mut module, &[often, log, once, often]);
        module.exports.add("start", start);
        let numbered = by_calls(&module.emit_wasm()).unwrap();
        // 0 is the import.
        assert_eq!(calls(&numbered), [vec![0], vec![1, 1], vec![1, 0, 2, 1]]);
        let exported = Walrus::from_buffer(&numbered).unwrap();
        let start = exported.exports.get_func("start").unwrap();
        assert_eq!(start.index(), 3);
        assert_eq!(by_calls(&numbered).unwrap(), numbered);
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(by_calls(b"").is_err());
        assert!(by_calls(b"\0asm\x01\0\0\0\xff").is_err());
    }
}
