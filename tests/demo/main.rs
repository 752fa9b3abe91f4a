//! The main job, shown: a stock Envoy with `envoy/demo.yaml` gives six backends six different
//! credentials for the same user.
//!
//! Progress goes to standard error, the result to standard output. The exit code is 0 only if
//! everything that is shown is as it should be.

mod cast;
mod login;
mod performance;
mod sessions;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use bed::scene::{Neighbours, Scene};
use bed::{EnvoyOptions, artifact, envoy, run};
use tokio::signal::unix::{SignalKind, signal};

use crate::cast::Cast;
use crate::sessions::Sessions;
use crate::table::Style;

const USAGE: &str = "\
usage: demo [--stay] [--redis]
       demo --login

  --login  a real login instead: MCP's own clients, ToolHive's own auth server (built with Go; without
           Go, a stand-in for it), two identity providers, a real Redis, the identity service; two
           minutes
  --redis  the users' sessions are in a real Redis, as ToolHive keeps them, not in a file
  --stay   keep everything running after the table, with curl lines to try, until Ctrl-C
";

fn main() -> ExitCode {
    let (mut stay, mut login, mut redis) = (false, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--stay" => stay = true,
            "--login" => login = true,
            "--redis" => redis = true,
            "-h" | "--help" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprint!("error: unknown argument \"{other}\"\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if login && (stay || redis) {
        eprint!("error: --login goes with no other argument\n{USAGE}");
        return ExitCode::from(2);
    }
    // Whichever ends first: the scene is dropped in both cases, and Envoy ends with it.
    run(async {
        tokio::select! {
            code = login::show(), if login => code,
            code = show(stay, redis), if !login => code,
            code = interrupted() => code,
        }
    })
}

async fn show(stay: bool, redis: bool) -> ExitCode {
    let (scene, cast, _sessions) = match raise_curtain(redis).await {
        Ok(started) => started,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let style = Style::of_stdout();
    let performance = performance::perform(&scene, &cast).await;
    print!("{}", performance.render(&style));
    let flaws = performance.flaws();
    for flaw in &flaws {
        eprintln!("{}: {flaw}", style.bad("not as expected"));
    }
    if stay {
        print!("{}", invitation(&scene, &cast));
        std::future::pending::<()>().await;
    }
    if flaws.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn raise_curtain(redis: bool) -> Result<(Scene, Cast, Sessions), String> {
    let wasm = artifact();
    if !wasm.is_file() {
        return Err(format!(
            "{} is missing; ./build.sh makes it",
            wasm.display()
        ));
    }
    eprintln!("looking for Envoy …");
    let binary = envoy::binary()?;
    eprintln!("starting whoever signs users' tokens, four token endpoints and six backends …");
    let neighbours = Neighbours::start()
        .await
        .map_err(|error| error.to_string())?;
    let cast = Cast::introduce(&neighbours);
    let sessions = if redis {
        eprintln!("starting a Redis with two sessions, and the identity service on it …");
        Sessions::in_redis(&cast, &neighbours).await?
    } else {
        eprintln!("starting the identity service with two sessions …");
        Sessions::in_a_file(&cast, &neighbours).await?
    };
    eprintln!("starting {} with envoy/demo.yaml …", binary.display());
    let start = Instant::now();
    let configuration = neighbours.configuration("envoy/demo.yaml")?;
    let mut options = EnvoyOptions::new("demo.yaml", sessions.asked(&configuration, &neighbours));
    options.component_log_level = "main:warning".to_owned();
    options.environment = [
        ("STS_CLIENT_SECRET", cast.client_secret()),
        ("INTERNAL_API_KEY", cast.api_key()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let scene = Scene::with(options, neighbours).await?;
    eprintln!(
        "Envoy is ready after {:.1} s\n",
        start.elapsed().as_secs_f32()
    );
    Ok((scene, cast, sessions))
}

/// Ctrl-C or a polite kill.
async fn interrupted() -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    eprintln!("\nstopping Envoy");
    ExitCode::from(code)
}

/// What a reader can try while everything keeps running.
fn invitation(scene: &Scene, cast: &Cast) -> String {
    let address = scene.address();
    let mut text =
        String::from("\nEverything keeps running until Ctrl-C. In another terminal:\n\n");
    for user in cast.users() {
        text.push_str(&format!(
            "  export {}='{}'\n",
            user.name.to_uppercase(),
            user.identity_token
        ));
    }
    text.push('\n');
    for (user, backend) in [
        ("ALICE", "github-tools"),
        ("BOB", "github-tools"),
        ("BOB", "atlassian-tools"),
        ("ALICE", "corporate-api"),
        ("ALICE", "internal-api"),
        ("ALICE", "graph-api"),
        ("ALICE", "partner-app"),
    ] {
        text.push_str(&format!(
            "  curl -si http://{address}/{backend}/mcp -H \"authorization: Bearer ${user}\"\n"
        ));
    }
    text.push_str(&format!(
        "\n  curl -s 'http://{}/stats?filter=upstream_inject'    # the filter's counters\n  tail {}/stdout    # access log\n",
        scene.envoy.admin_address(),
        scene.envoy.directory().display(),
    ));
    text
}
