//! What exchanges cost: one call per user and backend, and never a token of another user, backend
//! or parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bed::{Answer, Bed, Request};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, assert_refused, exchanged, lanes, patient, patient_lanes};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_cache":
    a_thousand_requests_of_ten_users_cost_ten_calls,
    users_share_nothing,
    backends_that_differ_in_one_parameter_share_nothing,
    a_bounded_cache_drops_the_least_recently_used,
    without_a_cache_every_request_exchanges,
    a_refused_subject_is_remembered_for_a_while,
    only_a_refused_subject_is_remembered,
    a_401_of_the_backend_costs_an_exchange_every_ten_seconds_at_most,
    other_errors_of_the_backend_cost_no_exchange,
);

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    BED.get(|| {
        let mut all = different();
        all.extend(patient_lanes([
            "thousand",
            "users",
            "remembered",
            "forbidden",
            "unauthorized",
            "not-401",
        ]));
        let cache = json!({"tokenCache": {"negativeTtl": "5s"}});
        lanes("exchange-cache", &all, cache)
            .environment("FIRST", "first cAnArYcAnArY")
            .environment("SECOND", "second cAnArYcAnArY")
            .start()
    })
    .await
}

/// Exchanges at one STS that differ from each other in one thing.
fn different() -> Vec<(&'static str, Value)> {
    let at = |url: &str, mut settings: Value| {
        settings["timeout"] = patient()["timeout"].take();
        settings["cluster"] = json!("sts-same");
        settings["tokenUrl"] = json!(url);
        settings
    };
    let with = |settings| at("http://localhost/same", settings);
    let secret = |id: &str, name: &str| json!({"clientId": id, "clientSecretEnv": name});
    let mut post = secret("envoy", "FIRST");
    post["clientAuthMethod"] = json!("client_secret_post");
    vec![
        ("same", with(json!({}))),
        ("audience", with(json!({"audience": "a"}))),
        ("other-audience", with(json!({"audience": "b"}))),
        ("two-audiences", with(json!({"audience": ["a", "b"]}))),
        ("resource", with(json!({"resource": "urn:a"}))),
        ("scope", with(json!({"scopes": ["a"]}))),
        ("two-scopes", with(json!({"scopes": ["a", "b"]}))),
        ("subject-type", with(json!({"subjectTokenType": "jwt"}))),
        ("requested-type", with(json!({"requestedTokenType": ""}))),
        ("client", with(json!({"clientId": "envoy"}))),
        ("secret", with(secret("envoy", "FIRST"))),
        ("other-secret", with(secret("envoy", "SECOND"))),
        ("method", with(post)),
        ("other-id", with(secret("other", "FIRST"))),
        ("path", at("http://localhost/other", json!({}))),
        ("query", at("http://localhost/same?x", json!({}))),
        ("host", at("http://127.0.0.1/same", json!({}))),
    ]
}

async fn a_thousand_requests_of_ten_users_cost_ten_calls() {
    let lane = Lane::of(bed().await, "thousand");
    let users: Vec<String> = (0..10).map(|user| lane.login(&user.to_string())).collect();
    let client = lane.bed.http1();
    let mut tokens: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for round in 0..25 {
        let requests = (0..40)
            .map(|n| lane.request(&users[n % 10], &format!("{round}-{n}")))
            .collect();
        for (n, reply) in lane.all_with(&client, requests).await.iter().enumerate() {
            tokens.entry(n % 10).or_default().insert(exchanged(reply));
        }
    }
    assert_eq!(lane.sts().calls(), 10);
    assert_eq!(lane.backend().requests().len(), 1000);
    assert!(tokens.values().all(|of_user| of_user.len() == 1));
    let all: BTreeSet<_> = tokens.values().flatten().collect();
    assert_eq!(all.len(), 10, "each user has a token of their own");

    lane.expect_outcome("exchanged", 1000).await;
    lane.expect_sts("ok", 10).await;
    let shared = lane.sts_count("joined").await + lane.sts_count("cache_hit").await;
    assert_eq!(shared, 990);
}

async fn users_share_nothing() {
    let lane = Lane::of(bed().await, "users");
    // Alike at both ends, and one the beginning of another.
    let subjects = ["x", "xx", "xxx", "X", "x.", ".x", "x=", "0", "00"];
    let mut tokens = BTreeMap::new();
    for _ in 0..3 {
        for subject in subjects {
            let token = lane.get_ok(&lane.login_with(subject), "x").await;
            let first = tokens.entry(subject).or_insert_with(|| token.clone());
            assert_eq!(*first, token, "{subject}");
        }
    }
    let distinct: BTreeSet<_> = tokens.values().collect();
    assert_eq!(distinct.len(), subjects.len());
    assert_eq!(lane.sts().calls(), subjects.len());
}

async fn backends_that_differ_in_one_parameter_share_nothing() {
    let sts = Lane::of(bed().await, "same").sts();
    let mut tokens = BTreeMap::new();
    for _ in 0..2 {
        for (name, _) in different() {
            let lane = Lane::of(bed().await, name);
            let token = lane.get_ok(&lane.login_with("one-user"), "x").await;
            let first = tokens.entry(name).or_insert_with(|| token.clone());
            assert_eq!(*first, token, "{name}");
        }
    }
    assert_eq!(sts.calls(), different().len());
    // The host is in no hash of the scripted STS, every other difference is.
    let distinct: BTreeSet<_> = tokens.values().collect();
    assert_eq!(distinct.len(), different().len() - 1);
}

async fn a_bounded_cache_drops_the_least_recently_used() {
    // Of a worker on its own: what all workers share is bounded for itself.
    let cache = json!({"tokenCache": {"maxEntries": 3, "share": false}});
    let bed = lanes("exchange-bound", &patient_lanes(["bound"]), cache)
        .start()
        .await;
    let lane = Lane::of(&bed, "bound");
    let jwts: BTreeMap<char, String> = ('a'..='z')
        .map(|user| (user, lane.login(&user.to_string())))
        .collect();
    let mut calls = 0;
    for (users, expected) in [
        ("abc", 3),
        ("aaa", 0),
        ("d", 1),
        ("acd", 0),
        ("b", 1),
        ("d", 0),
    ] {
        for user in users.chars() {
            lane.get_ok(&jwts[&user], "x").await;
        }
        calls += expected;
        assert_eq!(lane.sts().calls(), calls, "{users}");
    }
    for jwt in jwts.values() {
        lane.get_ok(jwt, "x").await;
    }
    let gauge = "wasmcustom.upstream_inject.cache.entries";
    lane.expect_outcome("exchanged", 12 + 26).await;
    bed.envoy.expect_stat(gauge, 3).await;

    // A refusal never takes a token's place.
    lane.sts().answer_next(Answer::error(400, "invalid_grant"));
    let refused = lane.get(&lane.login("refused"), "x").await;
    assert_refused(&refused, 401, "token_exchange_rejected");
    let calls = lane.sts().calls();
    for user in 'x'..='z' {
        lane.get_ok(&jwts[&user], "x").await;
    }
    assert_eq!(lane.sts().calls(), calls);
}

async fn without_a_cache_every_request_exchanges() {
    let cache = json!({"tokenCache": {"maxEntries": 0}});
    let bed = lanes("exchange-no-cache", &patient_lanes(["no-cache"]), cache)
        .start()
        .await;
    let lane = Lane::of(&bed, "no-cache");
    let jwt = lane.login("alice");
    for calls in 1..=3 {
        lane.get_ok(&jwt, "x").await;
        assert_eq!(lane.sts().calls(), calls);
    }
    // Neither is a refusal remembered.
    lane.sts().answer_next(Answer::error(400, "invalid_grant"));
    assert_refused(&lane.get(&jwt, "x").await, 401, "token_exchange_rejected");
    lane.get_ok(&jwt, "x").await;
    lane.expect_outcome("exchanged", 4).await;
    assert_eq!(
        bed.envoy
            .stat("wasmcustom.upstream_inject.cache.entries")
            .await,
        0
    );
}

async fn a_refused_subject_is_remembered_for_a_while() {
    let lane = Lane::of(bed().await, "remembered");
    let calls = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let arrivals = std::sync::Arc::clone(&calls);
    lane.sts().set_script(move |_| {
        arrivals
            .lock()
            .expect("no panic in here")
            .push(Instant::now());
        Answer::error(400, "invalid_grant")
    });
    let jwt = lane.login("alice");
    let mut hits = 0;
    while lane.sts().calls() < 2 {
        let reply = lane.get(&jwt, "x").await;
        assert_refused(&reply, 401, "token_exchange_rejected");
        hits += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let calls = calls.lock().expect("no panic in here").clone();
    assert!(
        calls[1] - calls[0] >= Duration::from_secs(5),
        "called again too soon"
    );
    lane.expect_sts("rejected", 2).await;
    lane.expect_sts("negative_hit", hits - 2).await;
    lane.expect_outcome("token_exchange_rejected", hits).await;

    // Another user is not concerned.
    lane.sts().set_script(Answer::token_for);
    lane.get_ok(&lane.login("bob"), "x").await;
}

async fn only_a_refused_subject_is_remembered() {
    let lane = Lane::of(bed().await, "forbidden");
    let jwt = lane.login("alice");
    for (answer, status, code) in [
        (
            Answer::error(400, "invalid_target"),
            403,
            "token_exchange_forbidden",
        ),
        (
            Answer::error(400, "invalid_scope"),
            403,
            "token_exchange_forbidden",
        ),
        (
            Answer::error(401, "invalid_client"),
            502,
            "token_exchange_misconfigured",
        ),
        (
            Answer::raw(200, "{}"),
            502,
            "token_exchange_invalid_response",
        ),
        (Answer::raw(503, ""), 503, "token_exchange_unavailable"),
    ] {
        for _ in 0..2 {
            let before = lane.sts().calls();
            lane.sts().answer_next(answer.clone());
            assert_refused(&lane.get(&jwt, "x").await, status, code);
            assert_eq!(lane.sts().calls(), before + 1);
        }
    }
    lane.get_ok(&jwt, "x").await;
}

async fn a_401_of_the_backend_costs_an_exchange_every_ten_seconds_at_most() {
    let lane = Lane::of(bed().await, "unauthorized");
    let jwt = lane.login("alice");
    let start = Instant::now();
    let mut replies = 0;
    while lane.sts().calls() < 3 {
        let reply = lane.get(&jwt, "status/401").await;
        assert_eq!((reply.status, reply.text().as_str()), (401, "as asked for"));
        assert!(reply.is_from_backend());
        replies += 1;
        if replies == 2 {
            assert_eq!(
                lane.sts().calls(),
                2,
                "the first 401 makes the next request exchange"
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_secs(10),
        "a third exchange after {elapsed:?}"
    );
    assert!(replies > 10, "only {replies} requests in {elapsed:?}");
    lane.expect_outcome("exchanged", replies).await;
    lane.expect_sts("ok", 3).await;
    lane.expect_sts("cache_hit", replies - 3).await;
}

async fn other_errors_of_the_backend_cost_no_exchange() {
    let lane = Lane::of(bed().await, "not-401");
    let jwt = lane.login("alice");
    for status in [403, 400, 500, 407] {
        let reply = lane.get(&jwt, &format!("status/{status}")).await;
        assert_eq!(reply.status, status);
    }
    // A 401 that the filter gives itself says nothing about the token either.
    let missing = lane.bed.login("alice", json!({}));
    let reply = lane
        .bed
        .http1()
        .send(Request::get("/not-401/x").bearer(&missing))
        .await;
    assert_refused(&reply, 401, "upstream_token_not_found");
    lane.get_ok(&jwt, "x").await;
    assert_eq!(lane.sts().calls(), 1);
}
