//! The command line.

use crate::check::Assume;
use crate::output::Reporting;
use crate::render;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::slice::from_ref;

/// What names the standard input.
const STDIN: &str = "-";

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
    #[command(
        after_help = "Examples:\n  upstream-inject check vmcp.yaml\n  upstream-inject check --strict --format github deploy/"
    )]
    Check(CheckArgs),
    /// Make a configuration of MCPExternalAuthConfig resources
    ///
    /// Reads resources of ToolHive's operator (v1alpha1 and v1beta1, several in one file, lists)
    /// and writes one backend for each. With a VirtualMCPServer and the workloads of its group, it
    /// follows their references, names backends after the workloads, and carries over where they
    /// are and who may come in. A secret reference becomes an environment variable; the container's
    /// env list that sets it is printed too. Nothing is written unless everything is valid.
    #[command(
        after_help = "Examples:\n  kubectl get mcpexternalauthconfigs,virtualmcpservers -o yaml | upstream-inject convert - > plugin.yaml\n  upstream-inject convert resources.yaml --auth-server authserver-config.yaml --print env"
    )]
    Convert(ConvertArgs),
    /// Write what Envoy, Envoy Gateway or Istio needs to load the filter with a configuration
    ///
    /// Reads a plugin configuration or a whole vMCP file. What neither says (addresses, the image)
    /// is given by options; what is still missing is filled with something that fails closed, and
    /// named. Secrets in plain text are not repeated: they become environment variables.
    #[command(
        after_help = "Examples:\n  upstream-inject render --target envoy vmcp.yaml -o envoy.yaml\n  upstream-inject render --target istio --image registry.example.com/upstream-inject@sha256:… plugin.yaml"
    )]
    Render(render::Options),
    /// Say what the filter would do with a request to one backend
    ///
    /// By the filter's own code: the strategy and where it stands, what the backend would see, which
    /// token endpoint would be called with which form, or the refusal that the client would get.
    /// Nothing is called, nothing is verified, and tokens and secrets are shortened.
    #[command(
        after_help = "Examples:\n  upstream-inject explain vmcp.yaml --backend github-tools --metadata identity.yaml\n  upstream-inject explain plugin.yaml --backend corporate-api --bearer \"$TOKEN\" --format json"
    )]
    Explain(ExplainArgs),
    /// Print the JSON Schema of the plugin configuration
    #[command(
        after_help = "Examples:\n  upstream-inject schema -o upstream-inject.schema.json\n  upstream-inject schema | jq .properties"
    )]
    Schema(SchemaArgs),
}

impl Verb {
    /// What is wrong with who wants the standard input: it can be read once, and not for every file.
    pub(crate) fn misreads(&self) -> Option<String> {
        let (files, auth_server, metadata) = match self {
            Verb::Check(args) => (args.files.as_slice(), &args.auth_server, None),
            Verb::Convert(args) => (args.files.as_slice(), &args.auth_server, None),
            Verb::Render(options) => (from_ref(&options.file), &options.auth_server, None),
            Verb::Explain(args) => (
                from_ref(&args.file),
                &args.auth_server,
                args.metadata.as_deref(),
            ),
            Verb::Schema(_) => return None,
        };
        let auth_server = auth_server.as_deref().filter(|name| *name == STDIN);
        if auth_server.is_some() && !matches!(self, Verb::Convert(_)) {
            let text =
                "--auth-server -: name a file; of the standard input only FILE - is read here";
            return Some(text.to_owned());
        }
        let files = files.iter().filter(|name| *name == STDIN);
        let mut readers = files
            .map(|_| "FILE -")
            .chain(auth_server.map(|_| "--auth-server -"))
            .chain(
                metadata
                    .filter(|name| *name == STDIN)
                    .map(|_| "--metadata -"),
            );
        match (readers.next(), readers.next()) {
            (Some(first), Some(second)) => Some(format!(
                "{second} and {first}: the standard input is one of the two"
            )),
            _ => None,
        }
    }
}

/// `--cors A B` as `--cors A --cors B`: an option with any number of values would take the file behind
/// it for one of them. No file is an origin.
pub(crate) fn spread(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const CORS: &str = "--cors";
    let is_origin =
        |argument: &str| argument.starts_with("http://") || argument.starts_with("https://");
    let mut spread: Vec<OsString> = Vec::new();
    // Behind the option, and behind each of its values.
    let (mut is_value, mut is_behind) = (false, false);
    for argument in arguments {
        let text = argument.to_str().unwrap_or_default();
        if is_behind && is_origin(text) {
            spread.push(CORS.into());
        } else {
            is_behind = is_value || text.starts_with("--cors=");
        }
        is_value = text == CORS;
        spread.push(argument);
    }
    spread
}

/// With the commit, as the filter's first log line has it.
fn version() -> &'static str {
    let commit = option_env!("UPSTREAM_INJECT_COMMIT").unwrap_or("unknown");
    let version = format!("{} (commit {commit})", env!("CARGO_PKG_VERSION"));
    Box::leak(version.into_boxed_str()) // once per run
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The files and folders to check; - is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,

    /// The auth server's configuration, where it is neither in the file nor beside it
    ///
    /// vMCP keeps it in authserver-config.yaml beside its own file, where it is found without this.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_server: Option<String>,

    /// Require the environment variables that the configuration names to be set here
    ///
    /// Without this, any name will do: the variables belong into Envoy's environment.
    #[arg(long)]
    pub(crate) env: bool,

    /// What to take the files for
    #[arg(long = "as", value_enum, default_value_t, value_name = "KIND")]
    pub(crate) assume: Assume,

    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The configuration; - is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// The backend that the request goes to
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: String,

    /// The request's identity as ext_authz would answer it, JSON or YAML: upstream_tokens, …
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<String>,

    /// The bearer token that the client sends: the TH-JWT
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer: Option<String>,

    /// The auth server's configuration, where it is neither in the file nor beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_server: Option<String>,

    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The files with the resources; - is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,

    /// Take authServer, with which provider names are compared (V-02), from this file
    ///
    /// A configuration, a vMCP file, authserver-config.yaml, the operator's ConfigMap, or a
    /// resource: MCPExternalAuthConfig of type embeddedAuthServer, or VirtualMCPServer. Such
    /// resources may also be among the files.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_server: Option<String>,

    /// Convert this VirtualMCPServer of those in the files, and what is behind it
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) virtual_server: Option<String>,

    /// Leave out resources of types that the filter cannot serve, instead of refusing them
    #[arg(long)]
    pub(crate) skip_unsupported: bool,

    /// What to print: the configuration with the rest in comments, everything as JSON, or the
    /// container's env list alone
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) print: ConvertFormat,

    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertFormat {
    #[default]
    Yaml,
    Json,
    Env,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_behind_cors_is_one_of_its_values() {
        let (a, b, url) = ("http://a.example", "https://b.example", "https://i.example");
        for (given, expected) in [
            (
                vec!["--cors", a, b, "f.yaml"],
                vec!["--cors", a, "--cors", b, "f.yaml"],
            ),
            (
                vec!["--cors=http://a", b, "f"],
                vec!["--cors=http://a", "--cors", b, "f"],
            ),
            (vec!["--cors", a, "f", url], vec!["--cors", a, "f", url]),
            (
                vec!["--cors", a, "--issuer", url],
                vec!["--cors", a, "--issuer", url],
            ),
            (
                vec!["--issuer", url, b, "--cors"],
                vec!["--issuer", url, b, "--cors"],
            ),
        ] {
            assert_eq!(spread(given.into_iter().map(OsString::from)), expected);
        }
    }
}
