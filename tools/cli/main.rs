//! `upstream-inject`: checks configurations of the filter before traffic does, converts what
//! ToolHive's operator has, and renders what Envoy, Envoy Gateway and Istio load.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod check;
mod codes;
mod command_line;
mod convert;
mod emit;
mod endpoint;
mod explain;
mod input;
mod keys;
mod kubernetes;
mod output;
mod render;
mod report;
mod secret_names;

use check::{AnyVariable, ThisProcess};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use command_line::{
    CheckArgs, CommandLine, ConvertArgs, ConvertFormat, ExplainArgs, SchemaArgs, Verb,
};
use output::ReportFormat;
use report::{FileReport, Finding, Severity, Verdict};
use std::process::ExitCode;
use upstream_inject::config::Environment;

fn main() -> ExitCode {
    let arguments = command_line::spread(std::env::args_os());
    let verb = CommandLine::parse_from(arguments).verb;
    if let Some(text) = verb.misreads() {
        let kind = ErrorKind::ArgumentConflict;
        CommandLine::command().error(kind, text).exit();
    }
    let verdict = match verb {
        Verb::Check(args) => check(&args),
        Verb::Convert(args) => convert(&args),
        Verb::Render(options) => render(&options),
        Verb::Explain(args) => explain(&args),
        Verb::Schema(args) => schema(&args),
    };
    ExitCode::from(verdict.exit_code())
}

fn check(args: &CheckArgs) -> Verdict {
    let environment: &dyn Environment = if args.env { &ThisProcess } else { &AnyVariable };
    let options = check::Options {
        assume: args.assume,
        environment,
        auth_server: args.auth_server.as_deref(),
    };
    let mut files: Vec<FileReport> = Vec::new();
    for name in check::expand(&args.files) {
        match name {
            Ok(name) => {
                // An auth server that belongs to a configuration is told of once.
                if !files.iter().any(|file| file.name == name) {
                    report::join(&mut files, check::check(&name, &options));
                }
            }
            Err(folder) => {
                let text = "nothing in this folder is a configuration";
                let finding = Finding::about_file(Severity::Error, None, text);
                let finding = finding.coded(&codes::NO_CONFIGURATION);
                files.push(FileReport::unreadable(&folder, finding));
            }
        }
    }
    let verdict = args.reporting.judge(&mut files, &codes::CONFIGURATION);
    args.reporting.report(&files).max(verdict)
}

fn convert(args: &ConvertArgs) -> Verdict {
    let options = convert::Options {
        auth_server: args.auth_server.clone(),
        virtual_server: args.virtual_server.clone(),
        skip_unsupported: args.skip_unsupported,
    };
    let (mut files, conversion) = convert::convert(&args.files, &options);
    let verdict = args.reporting.judge(&mut files, &codes::CONVERSION);
    args.reporting.aside(&files);
    let Some(conversion) = conversion.filter(|_| verdict == Verdict::Valid) else {
        return verdict.max(Verdict::Invalid);
    };
    let text = match args.print {
        ConvertFormat::Yaml => convert::yaml(&conversion),
        ConvertFormat::Json => convert::json(&conversion),
        ConvertFormat::Env => convert::env(&conversion),
    };
    let inputs = args.files.iter().chain(&args.auth_server);
    let inputs: Vec<&str> = inputs.map(String::as_str).collect();
    output::product(&text, args.output.as_deref(), &inputs)
}

fn render(options: &render::Options) -> Verdict {
    let (mut files, text) = render::render(options);
    let verdict = options.reporting.judge(&mut files, &codes::RENDERING);
    options.reporting.aside(&files);
    let names = files.iter().map(|file| &file.name);
    let inputs: Vec<&str> = names
        .chain(&options.discovery)
        .map(String::as_str)
        .collect();
    match text.filter(|_| verdict == Verdict::Valid) {
        Some(text) => output::product(&text, options.output.as_deref(), &inputs),
        None => verdict.max(Verdict::Invalid),
    }
}

fn explain(args: &ExplainArgs) -> Verdict {
    let options = explain::Options {
        file: &args.file,
        auth_server: args.auth_server.as_deref(),
        backend: &args.backend,
        metadata: args.metadata.as_deref(),
        bearer: args.bearer.as_deref(),
    };
    let (mut files, explanation) = explain::explain(&options);
    let verdict = args.reporting.judge(&mut files, &codes::CONFIGURATION);
    args.reporting.aside(&files);
    let Some(explanation) = explanation.filter(|_| verdict == Verdict::Valid) else {
        return verdict.max(Verdict::Invalid);
    };
    let text = match args.reporting.format {
        ReportFormat::Json => explain::json(&explanation),
        ReportFormat::Text | ReportFormat::Github | ReportFormat::Sarif => {
            explain::text(&explanation)
        }
    };
    output::product(&text, None, &[])
}

/// Nothing can be found here; the options for findings are taken, so that a script can give them to
/// every verb.
fn schema(args: &SchemaArgs) -> Verdict {
    let schema = document::keys::json_schema(upstream_inject::strategy::REGISTRY);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    args.reporting.aside(&[]);
    output::product(&text, args.output.as_deref(), &[])
}
