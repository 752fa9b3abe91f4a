//! A new configuration takes over from an old one in the same VM.

use crate::host::{Answer, Envoy, Outcome, Plugin, Request, worker};
use crate::scene;
use serde_json::{Value, json};
use std::time::Duration;

fn configuration(settings: Value) -> Value {
    let mut configuration = scene::configuration(&settings);
    configuration["outgoingAuth"]["backends"]["before"] = json!({"type": "unauthenticated"});
    configuration
}

/// The same of a worker on its own, where what is held can only be its own.
fn alone(settings: Value) -> Value {
    let mut configuration = configuration(settings);
    configuration["tokenCache"] = json!({"share": false});
    configuration
}

fn of(user: &str) -> Request {
    Request::to("api").tokens(&json!({"corp": format!("CANARY-{user}")}))
}

fn obtain(envoy: &Envoy, plugin: Plugin, token: &str) {
    let stream = plugin.request(&of("alice"));
    envoy.call().answer(&Answer::token(token, 300));
    assert_eq!(
        stream.received("authorization"),
        [format!("Bearer {token}")]
    );
    stream.end();
}

/// What a request goes on with without a call, if it does.
fn cached(envoy: &Envoy, plugin: Plugin, user: &str) -> Option<String> {
    let stream = plugin.request(&of(user));
    let token = match stream.outcome() {
        Outcome::WentOn => Some(stream.received("authorization").remove(0)),
        _ => None,
    };
    stream.end();
    assert_eq!(envoy.calls().len(), usize::from(token.is_none()));
    token
}

#[test]
fn tokens_of_the_same_exchange_are_taken_over() {
    worker(|envoy| {
        let old = envoy.plugin(&configuration(json!({})));
        obtain(envoy, old, "CANARY-1");
        let mut changed = configuration(json!({}));
        // Other backends, before it and after, and another challenge: the exchange is the same.
        let other = configuration(json!({"audience": "other"}));
        let other = other["outgoingAuth"]["backends"]["api"].clone();
        changed["outgoingAuth"]["backends"]["aaa"] = other.clone();
        changed["outgoingAuth"]["backends"]["zzz"] = other;
        changed["challenge"] = json!({"realm": "new"});
        let new = envoy.plugin(&changed);
        assert_eq!(cached(envoy, new, "alice").unwrap(), "Bearer CANARY-1");
        old.end();
        assert_eq!(cached(envoy, new, "alice").unwrap(), "Bearer CANARY-1");
        assert_eq!(cached(envoy, new, "bob"), None);
        new.tick();
        assert_eq!(envoy.metric("upstream_inject.cache.entries"), 1);
        // It lives no longer for that.
        envoy.advance(Duration::from_secs(285));
        assert_eq!(cached(envoy, new, "alice"), None);
    });
}

#[test]
fn a_token_of_any_other_exchange_is_not() {
    for change in [
        json!({"clientSecret": "CANARY-rotated"}),
        json!({"clientId": "other"}),
        json!({"clientAuthMethod": "client_secret_post"}),
        json!({"audience": "other"}),
        json!({"audience": ["api", "other"]}),
        json!({"resource": "urn:x"}),
        json!({"scopes": ["x"]}),
        json!({"tokenUrl": "https://sts.example.com/other"}),
        json!({"tokenUrl": "https://other.example.com/token"}),
        json!({"cluster": "other-sts"}),
        json!({"subjectTokenType": "jwt"}),
        json!({"requestedTokenType": ""}),
    ] {
        worker(|envoy| {
            let old = envoy.plugin(&configuration(json!({})));
            obtain(envoy, old, "CANARY-1");
            let new = envoy.plugin(&configuration(change.clone()));
            assert_eq!(cached(envoy, new, "alice"), None, "{change}");
            assert_eq!(cached(envoy, old, "alice").unwrap(), "Bearer CANARY-1");
        });
    }
}

#[test]
fn the_new_bounds_hold_for_what_is_taken_over() {
    for (policy, after, kept) in [
        (json!({}), 100, true),
        (json!({"maxTtl": "2m"}), 100, true),
        (json!({"maxTtl": "2m"}), 105, false),
        (json!({"expirySkew": "40s"}), 258, true),
        (json!({"expirySkew": "40s"}), 262, false),
        // Never more than a fifth of the life.
        (json!({"expirySkew": "200s"}), 238, true),
        (json!({"expirySkew": "200s"}), 242, false),
        (json!({"maxEntries": 0}), 1, false),
        (json!({"maxEntries": 1}), 1, true),
    ] {
        worker(|envoy| {
            let old = envoy.plugin(&configuration(json!({})));
            let first = old.request(&of("bob"));
            envoy.call().answer(&Answer::token("CANARY-bob", 300));
            first.end();
            obtain(envoy, old, "CANARY-1");
            envoy.advance(Duration::from_secs(after));
            let mut changed = configuration(json!({}));
            changed["tokenCache"] = policy.clone();
            changed["tokenCache"]["refreshAhead"] = json!(false);
            let new = envoy.plugin(&changed);
            assert_eq!(
                cached(envoy, new, "alice").is_some(),
                kept,
                "{policy} {after}"
            );
            if policy["maxEntries"] == 1 {
                assert_eq!(
                    cached(envoy, new, "bob"),
                    None,
                    "the most recently used stays"
                );
            }
        });
    }
}

/// What still drains with the old configuration would otherwise hold each token once more.
#[test]
fn tokens_move_to_the_new_configuration() {
    worker(|envoy| {
        let entries = "upstream_inject.cache.entries";
        let old = envoy.plugin(&alone(json!({})));
        obtain(envoy, old, "CANARY-1");
        old.tick();
        assert_eq!(envoy.metric(entries), 1);
        let mut plugins = vec![old];
        for _ in 0..20 {
            let new = envoy.plugin(&alone(json!({})));
            plugins.iter().for_each(|plugin| plugin.tick());
            new.tick();
            assert_eq!(envoy.metric(entries), 1, "each counts once");
            assert_eq!(cached(envoy, new, "alice").unwrap(), "Bearer CANARY-1");
            plugins.push(new);
        }
        // The old one asks anew, if anybody still comes to it.
        assert_eq!(cached(envoy, old, "alice"), None);
    });
}

#[test]
fn tokens_come_from_the_newest_plugin_of_the_same_root_id_and_from_no_other() {
    worker(|envoy| {
        let other = envoy.plugin_of("other", &alone(json!({})));
        obtain(envoy, other, "CANARY-other");
        let oldest = envoy.plugin(&alone(json!({})));
        let newer = envoy.plugin(&alone(json!({"audience": "other"})));
        // It has none of the other's.
        obtain(envoy, oldest, "CANARY-oldest");
        obtain(envoy, newer, "CANARY-newer");
        let same_as_oldest = envoy.plugin(&alone(json!({})));
        assert_eq!(cached(envoy, same_as_oldest, "alice"), None);
        assert_eq!(
            cached(envoy, oldest, "alice").unwrap(),
            "Bearer CANARY-oldest"
        );
        assert_eq!(
            cached(envoy, other, "alice").unwrap(),
            "Bearer CANARY-other"
        );
    });
}

/// Envoy would let it go off for ever.
#[test]
fn a_plugin_that_ends_takes_its_timer_with_it() {
    worker(|envoy| {
        let mut last = envoy.plugin(&configuration(json!({})));
        for _ in 0..100 {
            let next = envoy.plugin(&configuration(json!({})));
            last.end();
            assert_eq!(last.tick_period(), None);
            last = next;
        }
        assert!(last.tick_period() > Some(Duration::ZERO));
    });
}

/// Also where it ends while requests wait for their turn, and its timer is a fast one.
#[test]
fn a_plugin_that_ends_in_a_hurry_takes_its_timer_with_it() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(json!({})));
        let streams: Vec<_> = (0..100).map(|_| plugin.request(&of("alice"))).collect();
        envoy.call().answer(&Answer::new(503, ""));
        assert_eq!(plugin.tick_period(), Some(Duration::from_millis(1)));
        plugin.end();
        assert_eq!(plugin.tick_period(), None);
        streams.iter().for_each(|stream| stream.end());
    });
}

#[test]
fn two_plugins_in_one_vm_do_not_disturb_each_other() {
    worker(|envoy| {
        let one = envoy.plugin(&configuration(json!({})));
        let two = envoy.plugin(&configuration(json!({"clientSecret": "CANARY-2"})));
        let first = one.request(&of("alice"));
        let second = two.request(&of("alice"));
        let calls = envoy.calls();
        assert_eq!(calls.len(), 2, "they do not join");
        calls[1].answer(&Answer::error(400, "invalid_grant"));
        assert_eq!(second.reply().status, 401);
        assert_eq!(first.outcome(), Outcome::Waits);
        calls[0].answer(&Answer::token("CANARY-1", 300));
        assert_eq!(first.received("authorization"), ["Bearer CANARY-1"]);
        assert_eq!(two.request(&of("alice")).reply().status, 401);
        two.end();
        assert_eq!(cached(envoy, one, "alice").unwrap(), "Bearer CANARY-1");
    });
}

#[test]
fn requests_that_wait_when_a_plugin_is_configured_anew_are_not_forwarded_without_a_token() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(json!({})));
        let stream = plugin.request(&of("alice").authenticated());
        let call = envoy.call();
        assert!(
            plugin.configure(
                configuration(json!({"audience": "other"}))
                    .to_string()
                    .as_bytes()
            )
        );
        call.answer(&Answer::token("CANARY-1", 300));
        assert_ne!(stream.outcome(), Outcome::WentOn);
    });
}
