//! A real login, shown: MCP's own clients, ToolHive's own auth server (or what stands in for it), two
//! identity providers.

use std::process::ExitCode;

use bed::{LOGIN_BACKENDS, LoginScene, LoginServer, SHORT_LIVES, Sdk};

/// What each round of visits is about.
const ROUNDS: [&str; 3] = [
    "logs in, and uses each backend",
    "goes on after its upstream tokens were refreshed",
    "comes back after the token of github was lost",
];

pub(crate) async fn show() -> ExitCode {
    match play().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play() -> Result<bool, String> {
    let whose = LoginServer::here();
    let mut good = true;
    for sdk in [Sdk::Python, Sdk::TypeScript] {
        let scene =
            LoginScene::start(whose, &SHORT_LIVES, |what| eprintln!("starting {what} …")).await?;
        eprintln!(
            "everything is ready; the client knows {} alone\n",
            scene.url
        );
        let stay = scene
            .host(sdk, |what| eprintln!("{sdk:?}: {what} …"))
            .await?;
        println!("MCP's {sdk:?} client, at {}", whose.name());
        for (round, visits) in ROUNDS.iter().zip(stay.visits.chunks(LOGIN_BACKENDS.len())) {
            println!("  {round}");
            for (backend, visit) in LOGIN_BACKENDS.iter().zip(visits) {
                good &= visit["ok"] == true;
                let logins = visit["logins"].as_u64().unwrap_or_default();
                let login = if logins > 0 { ", after a login" } else { "" };
                let outcome = if visit["ok"] == true {
                    format!("tools {}{login}", visit["tools"])
                } else {
                    format!("NOT AS EXPECTED: {}", visit["error"])
                };
                println!("    {backend:<14} {outcome}");
            }
        }
        let [corporate, github] = &stay.counts;
        println!("  the providers' token endpoints: corporate-idp {corporate}, github {github}\n");
    }
    Ok(good)
}
