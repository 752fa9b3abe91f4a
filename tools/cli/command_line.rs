//! The command line.

use crate::check::Assume;
use crate::output::Color;
use crate::render;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Checks, converts and renders configurations of the upstream-inject filter.
///
/// Exit code 0: valid. 1: invalid. 2: not readable, or not called like this.
#[derive(Debug, Parser)]
#[command(name = "upstream-inject", version = version(), max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one of them
pub(crate) enum Verb {
    /// Say everything that is wrong with a configuration, where it stands
    ///
    /// Reads a plugin configuration or a whole vMCP file, as YAML or JSON, and applies the rules
    /// that the filter applies when Envoy loads it. A vMCP file is also checked for what its two
    /// halves must agree on: issuer (V-04), the auth server's structure (V-05), audience (V-07).
    Check(CheckArgs),
    /// Make a configuration of MCPExternalAuthConfig resources
    ///
    /// Reads resources of ToolHive's operator (v1alpha1 and v1beta1, several in one file, lists)
    /// and writes one backend for each. A secret reference becomes an environment variable; the
    /// container's env list that sets it is printed too. Nothing is written unless everything is
    /// valid.
    Convert(ConvertArgs),
    /// Write what Envoy, Envoy Gateway or Istio needs to load the filter with a configuration
    ///
    /// Reads a plugin configuration or a whole vMCP file. What neither says (addresses, the image)
    /// is given by options; what is still missing is filled with something that fails closed, and
    /// named. Secrets in plain text are not repeated: they become environment variables.
    Render(render::Options),
    /// Print the JSON Schema of the plugin configuration
    Schema,
}

/// With the commit, as the filter's first log line has it.
fn version() -> &'static str {
    let commit = option_env!("UPSTREAM_INJECT_COMMIT").unwrap_or("unknown");
    let version = format!("{} (commit {commit})", env!("CARGO_PKG_VERSION"));
    Box::leak(version.into_boxed_str()) // once per run
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The files to check; - is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,

    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,

    /// Require the environment variables that the configuration names to be set here
    ///
    /// Without this, any name will do: the variables belong into Envoy's environment.
    #[arg(long)]
    pub(crate) env: bool,

    /// What to take the files for
    #[arg(long = "as", value_enum, default_value_t, value_name = "KIND")]
    pub(crate) assume: Assume,

    /// When to print in colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The files with the resources; - is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,

    /// Take authServer, with which provider names are compared (V-02), from this file
    ///
    /// A configuration, a vMCP file, or a resource: MCPExternalAuthConfig of type
    /// embeddedAuthServer, or VirtualMCPServer. Such resources may also be among the files.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_server: Option<String>,

    /// Leave out resources of types that the filter cannot serve, instead of refusing them
    #[arg(long)]
    pub(crate) skip_unsupported: bool,

    /// What to print: the configuration with the rest in comments, everything as JSON, or the
    /// container's env list alone
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ConvertFormat,

    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// When to print in colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertFormat {
    #[default]
    Yaml,
    Json,
    Env,
}
