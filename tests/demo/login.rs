//! A real login, shown: MCP's own clients, ToolHive's own auth server (or what stands in for it), two
//! identity providers.

use std::process::ExitCode;

use bed::{LOGIN_BACKENDS, LoginScene, LoginServer, SHORT_LIVES, Sdk, credentials_seen};
use serde_json::Value;

use crate::performance::shorten;

/// The backends, as `LOGIN_BACKENDS` has them, and what `envoy/demo.yaml` says how they are
/// authenticated.
const BACKENDS: [(&str, &str); LOGIN_BACKENDS.len()] = [
    (LOGIN_BACKENDS[0], "upstream_inject"),
    (LOGIN_BACKENDS[1], "token_exchange"),
    (LOGIN_BACKENDS[2], "header_injection"),
];

/// What each round of visits is about.
const ROUNDS: [&str; 3] = [
    "uses each backend; this is what they saw of the user",
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
        println!("MCP's {sdk:?} client logs in through {}", whose.name());
        for (round, visits) in ROUNDS.iter().zip(stay.visits.chunks(LOGIN_BACKENDS.len())) {
            println!("  {round}");
            for ((backend, strategy), visit) in BACKENDS.iter().zip(visits) {
                good &= visit["ok"] == true;
                println!("    {backend:<14} {strategy:<17} {}", outcome(visit));
            }
        }
        println!(
            "  tokens issued before that: {}\n  sessions that the identity service ended then: {}\n",
            ["corporate-idp", "github"]
                .iter()
                .zip(&stay.counts)
                .map(|(provider, counts)| issued(provider, counts))
                .collect::<Vec<_>>()
                .join("; "),
            stay.ended
        );
    }
    Ok(good)
}

/// What came of a visit: what the backend saw of the user, or what went wrong.
fn outcome(visit: &Value) -> String {
    if visit["ok"] != true {
        return format!("NOT AS EXPECTED: {}", visit["error"]);
    }
    let seen: Vec<String> = credentials_seen(visit)
        .iter()
        .map(|(field, value)| format!("{field}: {}", shorten(value)))
        .collect();
    let login = match visit["logins"].as_u64() {
        Some(0) | None => "",
        Some(_) => "   after a login",
    };
    format!("{:<44}{login}", seen.join(", "))
        .trim_end()
        .to_owned()
}

/// For what a provider has issued tokens.
fn issued(provider: &str, counts: &Value) -> String {
    let times = |grant: &str| counts[format!("{grant}:ok")].as_u64().unwrap_or_default();
    let (logins, refreshes) = (times("authorization_code"), times("refresh_token"));
    format!("{provider} {logins} for a login, {refreshes} for a refresh")
}
