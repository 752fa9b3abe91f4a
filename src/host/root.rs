//! A plugin from Envoy's side: its configuration, its timer, its end.

use super::abi;
use super::effective::OnPlugin;
use super::plugin::Plugin;
use super::plugins;
use super::second_pass;
use super::sign;
use super::turns::TICK;
use crate::config::{self, Environment};
use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use crate::strategy::REGISTRY;
use log::{LevelFilter, error, info, warn};
use proxy_wasm::types::LogLevel;
use std::time::Duration;

/// The plugin `root` is configured anew. False refuses the configuration: Envoy then does not
/// start, or keeps the one that it has.
pub(super) fn configure(root: u32, size: usize) -> bool {
    follow_log_level();
    let Ok(bytes) = abi::plugin_configuration(size) else {
        error!("config: (root): Envoy did not hand over the plugin configuration");
        return false;
    };
    let outcome = match config::parse(&bytes) {
        Ok(document) => config::plan(&document, REGISTRY, &VmEnvironment),
        Err(problem) => {
            error!("config: {problem}");
            return false;
        }
    };
    for problem in &outcome.errors {
        error!("config: {problem}");
    }
    let Some(plan) = outcome.plan else {
        return false;
    };
    for warning in &outcome.warnings {
        warn!("config: {warning}");
    }
    info!(
        "upstream-inject {} (commit {}) serves {} backends{}",
        env!("CARGO_PKG_VERSION"),
        option_env!("UPSTREAM_INJECT_COMMIT").unwrap_or("unknown"),
        plan.backends.len(),
        if plan.default.is_some() {
            " and a default"
        } else {
            ""
        },
    );
    let plugin = Plugin::new(plan);
    if plugin.exchanges_identity_token {
        second_pass::prepare();
    }
    plugins::install(root, plugin);
    abi::set_tick_period(TICK).is_ok()
}

/// Some time has passed.
pub(super) fn tick(on: &mut OnPlugin) {
    follow_log_level();
    if let Some(plugin) = plugins::find(on.root()) {
        plugin.tick(on);
    }
}

/// The root context `root` ends, and its timer with it: Envoy would let it go off for ever.
pub(super) fn end(root: u32) {
    // A context that ends has no more use for the answer.
    let _ = abi::set_tick_period(Duration::ZERO);
    plugins::remove(root);
}

/// What the log level lets through is formatted in the VM and handed over, so it is asked for here
/// rather than for every line. Operators change it at run time.
fn follow_log_level() {
    log::set_max_level(let_through(proxy_wasm::hostcalls::get_log_level().ok()));
}

/// What an Envoy of that level lets through; one that does not say gets warnings.
fn let_through(level: Option<LogLevel>) -> LevelFilter {
    match level {
        Some(LogLevel::Trace) => LevelFilter::Trace,
        Some(LogLevel::Debug) => LevelFilter::Debug,
        Some(LogLevel::Info) => LevelFilter::Info,
        Some(LogLevel::Warn) | None => LevelFilter::Warn,
        Some(LogLevel::Error) => LevelFilter::Error,
        Some(LogLevel::Critical) => LevelFilter::Off,
    }
}

/// The variables that Envoy's `environment_variables` let into the VM.
struct VmEnvironment;

impl Environment for VmEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn can_sign(&self, key: &SigningKey) -> Result<(), String> {
        sign::can_sign(key).map_err(|cannot| cannot.to_string())
    }

    fn owns(&self, key: &SigningKey, certificate: &Certificate) -> Option<bool> {
        sign::owns(key, certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_made_that_envoy_would_drop_and_every_one_that_it_takes() {
        use LogLevel::*;
        for (level, made) in [
            (Some(Trace), LevelFilter::Trace),
            (Some(Debug), LevelFilter::Debug),
            (Some(Info), LevelFilter::Info),
            (Some(Warn), LevelFilter::Warn),
            (Some(Error), LevelFilter::Error),
            // The filter has no line of that level.
            (Some(Critical), LevelFilter::Off),
            (None, LevelFilter::Warn),
        ] {
            assert_eq!(let_through(level), made, "{level:?}");
        }
    }
}
