//! Envoy's metrics, each defined once.

use super::abi::{self, Metric};
use crate::table::Table;
use std::cell::RefCell;

/// The most metrics whose ids are remembered.
const MAX_KNOWN: usize = 100_000;

thread_local! {
    /// By name, for all plugins of this VM: Envoy gives out a new id at every definition, and
    /// forgets none of them.
    static IDS: RefCell<Table<String, u32>> =
        const { RefCell::new(Table::new(0)) };
}

/// Adds `count` to the counter `name`.
pub(super) fn count(name: &str, count: u64) {
    add(
        Metric::Counter,
        name,
        i64::try_from(count).unwrap_or(i64::MAX),
    );
}

/// Moves the gauge `name`. Only differences are recorded: the workers share the gauge.
pub(super) fn shift(name: &str, difference: i64) {
    add(Metric::Gauge, name, difference);
}

/// Records `value` in the histogram `name`.
pub(super) fn record(name: &str, value: u64) {
    if let Some(id) = id(Metric::Histogram, name) {
        ignore(abi::record_metric(id, value));
    }
}

fn add(kind: Metric, name: &str, offset: i64) {
    if let Some(id) = id(kind, name) {
        ignore(abi::increment_metric(id, offset));
    }
}

fn id(kind: Metric, name: &str) -> Option<u32> {
    IDS.with_borrow_mut(|ids| {
        if let Some(id) = ids.get(name) {
            return Some(*id);
        }
        let id = abi::define_metric(kind, name).ok()?;
        // Names of backends come and go with configurations; what is needed again is defined again.
        if ids.len() >= MAX_KNOWN {
            ids.clear();
        }
        ids.insert(name.to_owned(), id);
        Some(id)
    })
}

/// A metric that Envoy does not take must not stop the request that it counts.
fn ignore(_: Result<(), abi::Status>) {}
