//! The command-line tool, as an operator uses it: the real binary, real files, exit codes, and what
//! it prints.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod bad_input;
mod check;
mod convert;
mod documentation;
mod envoy_config;
mod envoy_forms;
mod envoy_goes_by;
mod explain;
mod formats;
mod golden;
mod operator;
mod providers;
mod reference;
mod render;
mod render_addresses;
mod render_callers;
mod render_control_planes;
mod render_istio;
mod render_options;
mod render_paths;
mod reread;
mod tool;
mod toolhive;
