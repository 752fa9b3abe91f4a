//! The command line.

use crate::check::Assume;
use crate::output::Color;
use crate::render::Target;
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
    Render(RenderArgs),
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

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// The configuration; - is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// Where the filter is to run
    #[arg(short, long, value_enum)]
    pub(crate) target: Target,

    /// Where a backend is; give it once for each
    ///
    /// envoy: host:port, or a URL. envoy-gateway: NAMESPACE/HTTPROUTE[/RULE], or a cluster name.
    /// istio: HOST:PORT of the service, or a cluster name.
    #[arg(long = "backend", value_name = "NAME=ADDRESS", value_parser = backend)]
    pub(crate) backends: Vec<(String, String)>,

    /// Where the embedded auth server answers ext_authz over gRPC: host:port, or an https URL
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ext_authz: Option<String>,

    /// Who issues the tokens that clients present [default: the auth server's issuer]
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,

    /// Where the issuer publishes its keys [default: ISSUER/.well-known/jwks.json]
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_url: Option<String>,

    /// What tokens must be issued for, one or more [default: as the file says]
    #[arg(long = "audience", value_name = "AUDIENCE")]
    pub(crate) audiences: Vec<String>,

    /// envoy: the address to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) listen: String,

    /// envoy: the address of Envoy's admin interface
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    pub(crate) admin: String,

    /// envoy: the filter, as Envoy finds it
    #[arg(long, value_name = "PATH", default_value = "dist/upstream_inject.wasm")]
    pub(crate) wasm: String,

    /// envoy-gateway, istio: the filter's image, NAME@sha256:DIGEST
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    /// envoy-gateway, istio: the namespace of the gateway
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default", value_parser = label)]
    pub(crate) namespace: String,

    /// envoy-gateway, istio: the name of the gateway
    #[arg(long, value_name = "NAME", default_value = "gateway", value_parser = label)]
    pub(crate) gateway: String,

    /// envoy, envoy-gateway: the certificates that Envoy trusts, as it finds them
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    pub(crate) ca_file: String,

    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// When to print in colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
}

fn backend(text: &str) -> Result<(String, String), String> {
    // A cluster name may hold "=", an address does not.
    match text.rsplit_once('=') {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => {
            Ok((name.to_owned(), address.to_owned()))
        }
        _ => Err("must be NAME=ADDRESS".to_owned()),
    }
}

/// A name of Kubernetes: nothing else may stand where it goes.
fn label(text: &str) -> Result<String, String> {
    let fits = text.len() <= 253
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
        });
    if fits && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("must be a name of Kubernetes: lower-case letters, digits, - and .".to_owned())
    }
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
