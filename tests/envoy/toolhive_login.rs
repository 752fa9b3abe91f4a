//! The official MCP SDKs log in through ToolHive's own auth server, at two identity providers, and
//! use backends of different strategies; tokens are refreshed meanwhile, and one is lost.
//!
//! Needs Go to build that auth server with; without it these tests say that they were left out,
//! unless REQUIRE_GO=1. What stands in for it in the demo then is tried in any case.

use std::collections::HashSet;

use bed::{LOGIN_BACKENDS, LoginScene, LoginServer, SHORT_LIVES, Sdk, credentials_seen};
use serde_json::json;

use crate::trial::trials;

trials!("toolhive_login":
    python_logs_in_through_toolhive_and_comes_back_when_a_token_is_lost,
    typescript_logs_in_through_toolhive_and_comes_back_when_a_token_is_lost,
    typescript_meets_the_same_at_the_stand_in,
);

async fn python_logs_in_through_toolhive_and_comes_back_when_a_token_is_lost() {
    if toolhive_can_be_built() {
        comes_back(LoginServer::ToolHive, Sdk::Python).await;
    }
}

async fn typescript_logs_in_through_toolhive_and_comes_back_when_a_token_is_lost() {
    if toolhive_can_be_built() {
        comes_back(LoginServer::ToolHive, Sdk::TypeScript).await;
    }
}

async fn typescript_meets_the_same_at_the_stand_in() {
    comes_back(LoginServer::StandIn, Sdk::TypeScript).await;
}

fn toolhive_can_be_built() -> bool {
    let can = LoginServer::here() == LoginServer::ToolHive;
    if !can {
        assert_ne!(
            std::env::var("REQUIRE_GO").as_deref(),
            Ok("1"),
            "REQUIRE_GO=1, and there is no go"
        );
        eprintln!("LEFT OUT: no go on the PATH, so nobody logs in through ToolHive's auth server");
    }
    can
}

async fn comes_back(whose: LoginServer, sdk: Sdk) {
    let scene = LoginScene::start(whose, &SHORT_LIVES, |_| {})
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let stay = scene
        .host(sdk, |_| {})
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(stay.visits.len(), 9, "{stay:?}");
    let mut logins = Vec::new();
    for visit in &stay.visits {
        assert_eq!(visit["ok"], true, "{stay:?}");
        assert_eq!(visit["tools"], json!(["add", "whoami"]), "{stay:?}");
        logins.push(visit["logins"].as_u64().expect("a number"));
    }
    let seen: Vec<_> = stay.visits.iter().map(credentials_seen).collect();
    for seen in seen.chunks(LOGIN_BACKENDS.len()) {
        let fields = |visit: &[(String, String)]| -> Vec<String> {
            visit.iter().map(|(field, _)| field.clone()).collect()
        };
        assert_eq!(fields(&seen[0]), ["authorization"], "github-tools");
        assert_eq!(fields(&seen[1]), ["authorization"], "corporate-api");
        assert_eq!(fields(&seen[2]), ["x-api-key"], "internal-api");
    }
    let github: HashSet<&String> = seen.iter().step_by(3).map(|seen| &seen[0].1).collect();
    assert_eq!(
        github.len(),
        3,
        "one of the login, one refreshed, one of the login after"
    );
    // Nobody logs in because a token was refreshed; for one that is lost, once.
    assert_eq!(logins, [1, 0, 0, 0, 0, 0, 1, 0, 0], "{stay:?}");
    assert_eq!(stay.ended, 1);
    let [sent, held] = &stay.subject;
    assert_eq!(sent, held, "the STS got that user's token of that provider");
    for counts in &stay.counts {
        assert!(counts["refresh_token:ok"].as_u64() >= Some(1), "{counts}");
        assert!(counts["refresh_token:error"].is_null(), "{counts}");
    }
    let [deleted, new] = &stay.rows;
    assert_ne!(deleted, new, "another session");
    let requests = stay.requests.to_string();
    for provider in [&scene.corporate, &scene.github] {
        assert!(requests.contains(&format!("{}/auth", provider.ready("issuer"))));
    }
}
