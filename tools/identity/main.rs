//! upstream-inject-identity: the command. Everything is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use identity::options::{self, LogFormat, Options};
use identity::{log, run, setup};

/// musl's own allocator is slow.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration cannot be used.
const MISCONFIGURED: u8 = 2;
/// It can, but not here and now.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        // What was asked for (--help, --version).
        Err(said) if !said.use_stderr() => said.exit(),
        Err(wrong) => {
            let format = options::log_format_in(std::env::args_os());
            log::use_json(format == LogFormat::Json);
            log::error(&format!("config: {}", options::in_a_line(&wrong)), &[]);
            return ExitCode::from(MISCONFIGURED);
        }
    };
    log::use_json(options.log_format == LogFormat::Json);
    // One thread: a request costs some tens of microseconds, and several threads would cost it more.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error("no runtime", &[("error", &error)]);
            return ExitCode::from(FAILED);
        }
    };
    runtime.block_on(async {
        let service = match setup::service(&options) {
            Ok(service) => service,
            Err(problems) => {
                for line in problems.lines() {
                    log::error(&format!("config: {line}"), &[]);
                }
                return ExitCode::from(MISCONFIGURED);
            }
        };
        match run::run(service).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log::error(&error, &[]);
                ExitCode::from(FAILED)
            }
        }
    })
}
