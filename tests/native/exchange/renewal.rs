//! Renewal ahead of expiry.

use super::{
    STS, assert_cached, assert_exchanges, assert_went_on_with, caching, configuration,
    identity_by_exchange, obtain, of,
};
use crate::host::{Answer, Outcome, Request, worker};
use serde_json::json;
use std::time::Duration;

/// A token of 1,015 s is usable for 1,000 s, and its last fifth begins after 800 s, or up to 50 s
/// later.
const LIFE: u64 = 1015;
const NOT_YET: Duration = Duration::from_secs(799);
const IN_THE_LAST_FIFTH: Duration = Duration::from_secs(850);

#[test]
fn a_token_in_use_is_renewed_in_the_last_fifth_of_its_life() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
        envoy.advance(NOT_YET);
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        envoy.advance(IN_THE_LAST_FIFTH - NOT_YET);
        // Whoever starts it goes on at once, with the token in hand.
        let first = plugin.request(&of("alice"));
        assert_went_on_with(first, "CANARY-1");
        let renewal = envoy.call();
        // One at a time.
        let under_way = Duration::from_millis(1500);
        envoy.advance(under_way);
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        first.end();
        renewal.answer(&Answer::token("CANARY-2", LIFE));
        assert_cached(envoy, plugin, "alice", "CANARY-2");
        // Its life began when it was asked for.
        envoy.advance(NOT_YET - under_way);
        assert_cached(envoy, plugin, "alice", "CANARY-2");
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STS}ok")), 1);
        assert_eq!(envoy.metric(&format!("{STS}refreshed")), 1);
        assert_eq!(envoy.metric(&format!("{STS}cache_hit")), 5);
    });
}

/// A hit needs no second look at who asks; a call does, and this is one.
#[test]
fn the_identity_service_is_asked_ahead_only_for_whom_it_would_be_asked_at_all() {
    worker(|envoy| {
        let plugin = envoy.plugin(&identity_by_exchange());
        let unchecked = || Request::to("tools").through_the_door();
        let payload = json!({"th_jwt": {"iss": "https://as"}});
        let checked = || unchecked().metadata(json!({"envoy.filters.http.jwt_authn": payload}));
        let probe = || {
            unchecked().metadata(json!({
                "envoy.filters.http.jwt_authn": payload,
                "envoy.filters.http.ext_authz": {"health_check": true},
            }))
        };
        let stream = plugin.request(&checked());
        envoy.call().answer(&Answer::token("CANARY-1", LIFE));
        assert_went_on_with(stream, "CANARY-1");
        envoy.advance(IN_THE_LAST_FIFTH);
        for request in [unchecked(), probe(), unchecked()] {
            let stream = plugin.request(&request);
            assert_went_on_with(stream, "CANARY-1");
            assert!(envoy.calls().is_empty());
        }
        // None of them has kept this one from it.
        let stream = plugin.request(&checked());
        assert_went_on_with(stream, "CANARY-1");
        envoy.call().answer(&Answer::token("CANARY-2", LIFE));
        assert_went_on_with(plugin.request(&unchecked()), "CANARY-2");
    });
}

#[test]
fn renewals_of_tokens_obtained_together_are_spread() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let users: Vec<String> = (0..100).map(|n| format!("user-{n}")).collect();
        for user in &users {
            obtain(envoy, plugin, user, "CANARY-1", LIFE);
        }
        envoy.advance(NOT_YET);
        let mut begun = Vec::new();
        for _ in 799..=850 {
            for user in &users {
                plugin.request(&of(user)).end();
            }
            let calls = envoy.calls();
            begun.push(calls.len());
            for call in calls {
                call.answer(&Answer::token("CANARY-2", LIFE));
            }
            envoy.advance(Duration::from_secs(1));
        }
        assert_eq!(begun[0], 0, "not before the last fifth");
        assert_eq!(begun.iter().sum::<usize>(), 100, "all within a twentieth");
        assert!(begun.iter().all(|n| *n <= 20), "not together: {begun:?}");
    });
}

#[test]
fn a_token_that_nobody_uses_is_not_renewed() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
        for _ in 0..1100 {
            envoy.advance(Duration::from_secs(1));
            plugin.tick();
        }
        assert!(envoy.calls().is_empty());
    });
}

#[test]
fn renewal_can_be_turned_off() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"refreshAhead": false})));
        obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
        envoy.advance(Duration::from_secs(999));
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        envoy.advance(Duration::from_secs(1));
        assert_exchanges(envoy, plugin, "alice");
    });
}

#[test]
fn while_the_sts_is_down_the_token_serves_to_its_end_with_a_try_a_second() {
    for broken in [
        Answer::new(503, ""),
        Answer::reset(),
        Answer::new(200, "nonsense"),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
            envoy.advance(IN_THE_LAST_FIFTH);
            let mut tries = 0;
            // Ten requests a second, to the end of its usable life.
            for _ in 0..1500 {
                let stream = plugin.request(&of("alice"));
                assert_went_on_with(stream, "CANARY-1");
                stream.end_with(200, "via_upstream");
                for call in envoy.calls() {
                    call.answer(&broken);
                    tries += 1;
                }
                envoy.advance(Duration::from_millis(100));
            }
            assert!((1..=150).contains(&tries), "{tries} tries in 150 s");
            let stream = plugin.request(&of("alice"));
            assert_ne!(stream.outcome(), Outcome::WentOn, "no longer than that");
            for call in envoy.calls() {
                call.answer(&broken);
            }
            assert!(matches!(stream.reply().status, 502 | 503));
        });
    }
}

#[test]
fn a_renewal_that_cannot_be_sent_does_not_hold_up_the_request() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
        envoy.advance(IN_THE_LAST_FIFTH);
        envoy.next_call_returns(crate::host::status::INTERNAL_FAILURE);
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        envoy.advance(Duration::from_secs(1));
        plugin.request(&of("alice"));
        envoy.call().answer(&Answer::token("CANARY-2", LIFE));
        assert_cached(envoy, plugin, "alice", "CANARY-2");
    });
}

#[test]
fn when_the_sts_denies_the_renewal_the_token_is_dropped() {
    for (answer, status) in [
        (Answer::error(400, "invalid_grant"), Some(401)),
        (Answer::error(400, "access_denied"), None),
        (Answer::error(400, "invalid_scope"), None),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
            envoy.advance(IN_THE_LAST_FIFTH);
            let stream = plugin.request(&of("alice"));
            assert_went_on_with(stream, "CANARY-1");
            envoy.call().answer(&answer);
            let next = plugin.request(&of("alice"));
            match status {
                Some(status) => assert_eq!(next.reply().status, status),
                None => assert_eq!(envoy.calls().len(), 1, "asked anew"),
            }
        });
    }
}

#[test]
fn requests_that_come_after_the_end_wait_for_the_renewal_under_way() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-1", LIFE);
        envoy.advance(Duration::from_millis(999_500));
        assert_went_on_with(plugin.request(&of("alice")), "CANARY-1");
        let renewal = envoy.call();
        envoy.advance(Duration::from_secs(1));
        let waiting = plugin.request(&of("alice"));
        assert_eq!(waiting.outcome(), Outcome::Waits);
        assert!(envoy.calls().is_empty());
        renewal.answer(&Answer::token("CANARY-2", LIFE));
        assert_went_on_with(waiting, "CANARY-2");
    });
}
