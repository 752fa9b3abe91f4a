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
mod command_line;
mod convert;
mod emit;
mod input;
mod output;
mod render;
mod report;

use check::{AnyVariable, ThisProcess};
use clap::Parser;
use command_line::{CheckArgs, CommandLine, ConvertArgs, Verb};
use report::Verdict;
use std::process::ExitCode;
use upstream_inject::config::Environment;

fn main() -> ExitCode {
    let verdict = match CommandLine::parse().verb {
        Verb::Check(args) => check(&args),
        Verb::Convert(args) => convert(&args),
        Verb::Render(options) => render(&options),
        Verb::Schema => output::product(&schema(), None),
    };
    ExitCode::from(verdict.exit_code())
}

fn check(args: &CheckArgs) -> Verdict {
    let environment: &dyn Environment = if args.env { &ThisProcess } else { &AnyVariable };
    let files: Vec<_> = args
        .files
        .iter()
        .map(|file| check::check(file, args.assume, environment))
        .collect();
    let text = match args.format {
        command_line::ReportFormat::Text => {
            report::text(&files, args.color.on(output::Stream::Out))
        }
        command_line::ReportFormat::Json => report::json(&files),
    };
    output::product(&text, None).max(report::worst(&files))
}

fn convert(args: &ConvertArgs) -> Verdict {
    let options = convert::Options {
        auth_server: args.auth_server.clone(),
        skip_unsupported: args.skip_unsupported,
    };
    let (files, conversion) = convert::convert(&args.files, &options);
    output::findings(&files, args.color);
    let Some(conversion) = conversion else {
        return report::worst(&files).max(Verdict::Invalid);
    };
    let text = match args.format {
        command_line::ConvertFormat::Yaml => convert::yaml(&conversion),
        command_line::ConvertFormat::Json => convert::json(&conversion),
        command_line::ConvertFormat::Env => convert::env(&conversion),
    };
    output::product(&text, args.output.as_deref())
}

fn render(options: &render::Options) -> Verdict {
    let (file, text) = render::render(options);
    let verdict = file.verdict;
    output::findings(&[file], options.color);
    match text {
        Some(text) => output::product(&text, options.output.as_deref()),
        None => verdict.max(Verdict::Invalid),
    }
}

fn schema() -> String {
    let schema = upstream_inject::config::json_schema();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
