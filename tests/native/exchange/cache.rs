//! Tokens in hand: how long, how many, and when they are forgotten.

use super::{
    ENTRIES, STS, assert_cached, assert_exchanges, assert_went_on_with, caching, configuration,
    obtain, of,
};
use crate::host::{Answer, worker};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A JWT that expires at `exp`, for `user`.
fn jwt(user: &str, exp: u64) -> String {
    let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let (header, claims) = (json!({"alg": "none"}), json!({"sub": user, "exp": exp}));
    format!("{}.{}.CANARY", encode(header), encode(claims))
}

/// An answer with whatever `expires_in`.
fn answer(token: &str, expires_in: Value) -> Answer {
    let mut body = json!({
        "access_token": token,
        "token_type": "bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    if !expires_in.is_null() {
        body["expires_in"] = expires_in;
    }
    Answer::json(200, &body)
}

#[test]
fn a_token_serves_to_the_skew_before_its_end_and_no_longer() {
    let now = worker(|envoy| envoy.now());
    let opaque = "CANARY-opaque".to_owned();
    // What the answer says, the token, the subject's own end, and the usable seconds.
    for (expires_in, token, subject, usable) in [
        (json!(300), opaque.clone(), None, 285),
        (json!("300"), opaque.clone(), None, 285),
        // The skew is at most a fifth of a life.
        (json!(50), opaque.clone(), None, 40),
        (json!(10), opaque.clone(), None, 8),
        (json!(7200), opaque.clone(), None, 3585),
        (json!(300), opaque.clone(), Some(now + 100), 85),
        (json!(300), opaque.clone(), Some(now + 1000), 285),
        (json!(300), jwt("t", now + 100), None, 85),
        (json!(300), jwt("t", now + 1000), None, 285),
        // Past already: clocks differ, and what the answer says counts.
        (json!(300), jwt("t", now - 100), None, 285),
        (Value::Null, jwt("t", now + 100), None, 85),
        (Value::Null, jwt("t", now + 100), Some(now + 50), 40),
        (Value::Null, jwt("t", now + 100_000), None, 3585),
    ] {
        worker(|envoy| {
            let about = format!("{expires_in} {token} {subject:?}");
            let mut configuration = caching(json!({"refreshAhead": false}));
            configuration["outgoingAuth"]["backends"]["api"] = super::strategy(&json!({}));
            let plugin = envoy.plugin(&configuration);
            let subject = match subject {
                Some(exp) => jwt("alice", exp),
                None => "CANARY-alice".to_owned(),
            };
            let request = crate::host::Request::to("api").tokens(&json!({"corp": subject}));
            let stream = plugin.request(&request);
            envoy.call().answer(&answer(&token, expires_in.clone()));
            assert_went_on_with(stream, &token);
            envoy.advance(seconds(usable) - Duration::from_millis(1));
            assert_went_on_with(plugin.request(&request), &token);
            assert!(envoy.calls().is_empty(), "{about}");
            envoy.advance(Duration::from_millis(1));
            plugin.request(&request);
            assert_eq!(envoy.calls().len(), 1, "{about}");
        });
    }
}

#[test]
fn a_token_whose_life_is_not_known_serves_one_request() {
    let now = worker(|envoy| envoy.now());
    for (expires_in, token) in [
        (Value::Null, "CANARY-opaque".to_owned()),
        (Value::Null, jwt("t", now - 100)),
        (json!(0), "CANARY-opaque".to_owned()),
        (json!(-5), "CANARY-opaque".to_owned()),
        (json!("soon"), "CANARY-opaque".to_owned()),
        // Nonsense is not the same as nothing: the token's own end does not count then.
        (json!("soon"), jwt("t", now + 1000)),
        (json!({}), "CANARY-opaque".to_owned()),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            for _ in 0..2 {
                let stream = plugin.request(&of("alice"));
                envoy.call().answer(&answer(&token, expires_in.clone()));
                assert_went_on_with(stream, &token);
                stream.end_with(401, "via_upstream");
            }
            plugin.tick();
            assert_eq!(envoy.metric(ENTRIES), 0);
        });
    }
}

#[test]
fn without_a_cache_each_request_is_exchanged() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"maxEntries": 0})));
        obtain(envoy, plugin, "alice", "CANARY-1", 300);
        obtain(envoy, plugin, "alice", "CANARY-2", 300);
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&Answer::error(400, "invalid_grant"));
        assert_eq!(stream.reply().status, 401);
        assert_exchanges(envoy, plugin, "alice");
    });
}

#[test]
fn the_least_recently_used_token_makes_room() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"maxEntries": 3, "share": false})));
        for user in ["a", "b", "c"] {
            obtain(envoy, plugin, user, &format!("CANARY-{user}"), 300);
        }
        assert_cached(envoy, plugin, "a", "CANARY-a");
        obtain(envoy, plugin, "d", "CANARY-d", 300);
        plugin.tick();
        assert_eq!(envoy.metric(ENTRIES), 3);
        for user in ["a", "c", "d"] {
            assert_cached(envoy, plugin, user, &format!("CANARY-{user}"));
        }
        assert_exchanges(envoy, plugin, "b");
    });
}

#[test]
fn the_bytes_of_keys_and_tokens_are_bounded_too() {
    let large = |user: &str| format!("CANARY-{user}{}", "x".repeat(3000));
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"maxBytes": "16KiB"})));
        for n in 0..10 {
            let user = format!("user-{n}");
            obtain(envoy, plugin, &user, &large(&user), 300);
        }
        plugin.tick();
        assert_eq!(envoy.metric(ENTRIES), 5);
        for n in 5..10 {
            let user = format!("user-{n}");
            assert_cached(envoy, plugin, &user, &large(&user));
        }
    });
}

#[test]
fn a_token_that_is_too_large_to_be_kept_serves_its_request_and_displaces_nobody() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"maxBytes": "8KiB"})));
        obtain(envoy, plugin, "alice", "CANARY-alice", 300);
        let large = "CANARY".repeat(2000);
        for _ in 0..2 {
            obtain(envoy, plugin, "bob", &large, 300);
        }
        assert_cached(envoy, plugin, "alice", "CANARY-alice");
    });
}

#[test]
fn the_gauge_counts_the_tokens_of_all_plugins_and_follows_them_down() {
    worker(|envoy| {
        let first = envoy.plugin(&configuration());
        let other = super::strategy(&json!({"audience": "other"}));
        let mut configuration = configuration();
        configuration["outgoingAuth"]["backends"]["api"] = other;
        let second = envoy.plugin(&configuration);
        obtain(envoy, first, "a", "CANARY-a", 100);
        obtain(envoy, first, "b", "CANARY-b", 100);
        obtain(envoy, second, "a", "CANARY-c", 300);
        first.tick();
        assert_eq!(envoy.metric(ENTRIES), 2);
        second.tick();
        first.tick();
        assert_eq!(envoy.metric(ENTRIES), 3);
        envoy.advance(seconds(90));
        first.tick();
        assert_eq!(envoy.metric(ENTRIES), 1);
        second.end();
        assert_eq!(envoy.metric(ENTRIES), 0);
    });
}

#[test]
fn a_refused_subject_is_remembered_for_a_while() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&Answer::error(400, "invalid_grant"));
        let first = stream.reply();
        envoy.advance(Duration::from_millis(9999));
        let second = plugin.request(&of("alice")).reply();
        assert_eq!(first, second, "the same answer, without a call");
        assert!(envoy.calls().is_empty());
        obtain(envoy, plugin, "bob", "CANARY-bob", 300);
        envoy.advance(Duration::from_millis(1));
        assert_exchanges(envoy, plugin, "alice");
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STS}rejected")), 1);
        assert_eq!(envoy.metric(&format!("{STS}negative_hit")), 1);
        assert_eq!(envoy.metric(ENTRIES), 1, "refusals are no tokens");
    });
}

#[test]
fn nothing_but_a_refused_subject_is_remembered() {
    for answer in [
        Answer::error(400, "invalid_scope"),
        Answer::error(400, "invalid_target"),
        Answer::error(400, "invalid_client"),
        Answer::new(404, ""),
        Answer::new(503, ""),
        Answer::new(200, ""),
        Answer::reset(),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let (_, call) = assert_exchanges(envoy, plugin, "alice");
            call.answer(&answer);
            assert_exchanges(envoy, plugin, "alice");
        });
    }
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"negativeTtl": "0"})));
        let (_, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&Answer::error(400, "invalid_grant"));
        assert_exchanges(envoy, plugin, "alice");
    });
}

/// Subjects are the clients' to choose: dead ones must not make good users exchange again.
#[test]
fn refusals_never_displace_a_token() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(
            json!({"maxEntries": 40, "negativeTtl": "5m", "share": false}),
        ));
        let refuse = |user: &str| {
            let (_, call) = assert_exchanges(envoy, plugin, user);
            call.answer(&Answer::error(400, "invalid_grant"));
        };
        let users: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
        for user in &users[..36] {
            obtain(envoy, plugin, user, "CANARY-good", 300);
        }
        for n in 0..250 {
            refuse(&format!("dead-{n}"));
        }
        for user in &users[..36] {
            assert_cached(envoy, plugin, user, "CANARY-good");
        }
        plugin.tick();
        assert_eq!(envoy.metric(ENTRIES), 36);
        // A tenth of the entries, the last ones.
        for n in 246..250 {
            let refused = plugin.request(&of(&format!("dead-{n}")));
            assert_eq!(refused.reply().status, 401);
        }
        assert!(envoy.calls().is_empty());
        refuse("dead-245");
        // Tokens come before refusals.
        for user in &users[36..] {
            obtain(envoy, plugin, user, "CANARY-good", 300);
        }
        for user in &users {
            assert_cached(envoy, plugin, user, "CANARY-good");
        }
        // And where tokens fill the cache, no refusal is remembered.
        refuse("dead-245");
        refuse("dead-245");
        plugin.tick();
        assert_eq!(envoy.metric(ENTRIES), 40);
    });
}

#[test]
fn a_backends_own_401_makes_the_next_request_exchange_anew() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", 300);
        for code in [400, 402, 403, 200, 500, 4010, 1401] {
            let stream = plugin.request(&of("alice"));
            stream.end_with(code, "via_upstream");
            assert_cached(envoy, plugin, "alice", "CANARY-1");
        }
        let stream = plugin.request(&of("alice"));
        stream.end_with(401, "via_upstream");
        obtain(envoy, plugin, "alice", "CANARY-2", 300);
    });
}

/// Downstream, the filter sees what other filters and Envoy itself answer.
#[test]
fn downstream_a_401_that_no_backend_gave_costs_no_token() {
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", 300);
        for details in [
            "upstream_inject:token_exchange_rejected",
            "ext_authz_denied",
            "jwt_authn_access_denied{}",
            "",
        ] {
            let stream = plugin.request(&of("alice"));
            stream.end_with(401, details);
            assert_cached(envoy, plugin, "alice", "CANARY-1");
        }
        let stream = plugin.request(&of("alice"));
        stream.end_with(401, "via_upstream");
        obtain(envoy, plugin, "alice", "CANARY-2", 300);
    });
}

#[test]
fn a_backend_that_always_says_401_costs_one_call_in_ten_seconds() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let mut calls = 0;
        // Ten requests a second for a minute.
        for _ in 0..600 {
            let stream = plugin.request(&of("alice"));
            for call in envoy.calls() {
                call.answer(&Answer::token("CANARY-1", 3600));
                calls += 1;
            }
            stream.end_with(401, "via_upstream");
            envoy.advance(Duration::from_millis(100));
        }
        // The first, one right after it, and one in each ten seconds that follow.
        assert_eq!(calls, 7);
    });
}

#[test]
fn a_401_for_an_older_token_does_not_cost_the_newer_one() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", 300);
        let with_old: Vec<_> = (0..5).map(|_| plugin.request(&of("alice"))).collect();
        with_old[0].end_with(401, "via_upstream");
        obtain(envoy, plugin, "alice", "CANARY-2", 300);
        envoy.advance(seconds(11));
        with_old[1..]
            .iter()
            .for_each(|stream| stream.end_with(401, "via_upstream"));
        assert_cached(envoy, plugin, "alice", "CANARY-2");
    });
}

#[test]
fn the_request_that_brought_a_token_can_lose_it_too() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let streams: Vec<_> = (0..3).map(|_| plugin.request(&of("alice"))).collect();
        envoy.call().answer(&Answer::token("CANARY-1", 300));
        streams[2].end_with(401, "via_upstream");
        assert_exchanges(envoy, plugin, "alice");
    });
}

#[test]
fn a_clock_set_back_costs_a_call_and_never_lengthens_a_life_or_a_pause() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"refreshAhead": false})));
        obtain(envoy, plugin, "alice", "CANARY-1", 300);
        let (_, call) = assert_exchanges(envoy, plugin, "refused");
        call.answer(&Answer::error(400, "invalid_grant"));
        envoy.set_back(seconds(3600));
        obtain(envoy, plugin, "alice", "CANARY-2", 300);
        // A refusal is remembered for its ten seconds, not for an hour more.
        assert_eq!(plugin.request(&of("refused")).reply().status, 401);
        envoy.advance(seconds(10));
        obtain(envoy, plugin, "refused", "CANARY-3", 300);
        assert_cached(envoy, plugin, "alice", "CANARY-2");
        envoy.advance(seconds(274));
        assert_cached(envoy, plugin, "alice", "CANARY-2");
        plugin.tick();
        envoy.advance(seconds(1));
        assert_exchanges(envoy, plugin, "alice");
    });
}
