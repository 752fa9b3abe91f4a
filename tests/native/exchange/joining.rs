//! One call for many: who waits, who leaves, and what each gets.

use super::{
    CODES, STS, assert_cached, assert_went_on_with, caching, configuration, obtain, of, strategy,
    to,
};
use crate::host::{Answer, Outcome, Plugin, Stream, worker};
use serde_json::{Value, json};
use std::time::Duration;

/// Lets the timer go off for as long as it is a fast one: somebody still waits for their turn.
fn all_turns(plugin: Plugin) {
    // More than the requests that can wait in one worker.
    for _ in 0..10_000 {
        // Who holds tokens listens for what other workers say of them.
        if plugin.tick_period() >= Some(Duration::from_millis(100)) {
            return;
        }
        plugin.tick();
    }
    panic!("the timer stays fast although nobody can be waiting any more");
}

#[test]
fn requests_of_one_user_wait_for_one_call() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let streams: Vec<Stream> = (0..200).map(|_| plugin.request(&of("alice"))).collect();
        let call = envoy.call();
        assert!(streams.iter().all(|s| s.outcome() == Outcome::Waits));
        call.answer(&Answer::token("CANARY-exchanged", 300));
        all_turns(plugin);
        for stream in streams {
            assert_went_on_with(stream, "CANARY-exchanged");
        }
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STS}ok")), 1);
        assert_eq!(envoy.metric(&format!("{STS}joined")), 199);
        assert_eq!(envoy.metric(&format!("{CODES}exchanged")), 200);
    });
}

/// Envoy refuses streams on top of each other, so that too many in one callback overflow the stack.
#[test]
fn requests_that_wait_are_served_a_few_at_a_time() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let usual = plugin.tick_period();
        let streams: Vec<Stream> = (0..200).map(|_| plugin.request(&of("alice"))).collect();
        let still_waiting = || {
            let waits = |stream: &&Stream| stream.outcome() == Outcome::Waits;
            streams[..199].iter().filter(waits).count()
        };
        envoy.call().answer(&Answer::new(503, ""));
        for left in [135, 71, 7] {
            assert_eq!(still_waiting(), left);
            assert_eq!(plugin.tick_period(), Some(Duration::from_millis(1)));
            if left == 71 {
                streams[199].end();
            }
            // Who comes now is not part of it.
            assert_eq!(plugin.request(&of("bob")).outcome(), Outcome::Waits);
            plugin.tick();
        }
        assert_eq!(still_waiting(), 0);
        assert_eq!(plugin.tick_period(), usual);
        assert_eq!(
            envoy.metric(&format!("{CODES}token_exchange_unavailable")),
            192
        );
        plugin.tick();
        assert_eq!(
            envoy.metric(&format!("{CODES}token_exchange_unavailable")),
            199
        );
    });
}

/// A machine that stands still for a while (SIGSTOP, a migration) finds all calls overdue at once.
#[test]
fn calls_that_are_overdue_together_are_served_a_few_at_a_time() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with_backends(8));
        let request = |n: usize| {
            let backend = format!("b{}", n % 8);
            plugin.request(&to(&backend, &format!("user-{}", n % 650)))
        };
        let streams: Vec<Stream> = (0..1300).map(request).collect();
        let calls = envoy.calls();
        envoy.advance(Duration::from_secs(8));
        plugin.tick();
        let waiting = || {
            let waits = |stream: &&Stream| stream.outcome() == Outcome::Waits;
            streams.iter().filter(waits).count()
        };
        assert_eq!(waiting(), 1300 - 64);
        // An answer that comes after all is nobody's any more, and serves the next ones.
        calls[0].answer(&Answer::token("CANARY-late", 300));
        assert_eq!(waiting(), 1300 - 128);
        all_turns(plugin);
        for stream in &streams {
            assert_eq!(stream.refusal().1, "token_exchange_timeout");
        }
    });
}

#[test]
fn each_waiting_request_gets_its_own_refusal() {
    for (answer, code) in [
        (
            Answer::error(400, "invalid_grant"),
            "token_exchange_rejected",
        ),
        (Answer::new(503, ""), "token_exchange_unavailable"),
        (Answer::reset(), "token_exchange_unavailable"),
        (Answer::new(200, "{}"), "token_exchange_invalid_response"),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let grpc = of("alice").field("content-type", "application/grpc");
            let streams: Vec<Stream> = (0..5).map(|_| plugin.request(&of("alice"))).collect();
            let grpc = plugin.request(&grpc);
            envoy.call().answer(&answer);
            for stream in streams {
                assert_eq!(stream.refusal().1, code);
                assert_eq!(stream.filter_state()["upstream_inject.outcome"], code);
            }
            assert!(!grpc.reply().body.starts_with('{'));
            plugin.tick();
            assert_eq!(envoy.metric(&format!("{CODES}{code}")), 6);
            assert_eq!(envoy.warnings().len(), 1, "one line a second");
        });
    }
}

#[test]
fn whoever_leaves_does_not_hurt_the_others() {
    for leaving in [vec![0], vec![2], vec![0, 1, 3], vec![4, 0]] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let streams: Vec<Stream> = (0..5).map(|_| plugin.request(&of("alice"))).collect();
            let call = envoy.call();
            leaving.iter().for_each(|place| streams[*place].end());
            call.answer(&Answer::token("CANARY-exchanged", 300));
            for (place, stream) in streams.iter().enumerate() {
                if !leaving.contains(&place) {
                    assert_went_on_with(*stream, "CANARY-exchanged");
                }
            }
        });
    }
}

#[test]
fn when_all_have_left_the_answer_is_kept_for_the_next() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let streams: Vec<Stream> = (0..3).map(|_| plugin.request(&of("alice"))).collect();
        let call = envoy.call();
        streams.iter().for_each(|stream| stream.end());
        // A late comer still joins the call that is under way.
        let late = plugin.request(&of("alice"));
        assert!(envoy.calls().is_empty());
        late.end();
        call.answer(&Answer::token("CANARY-exchanged", 300));
        assert_cached(envoy, plugin, "alice", "CANARY-exchanged");
    });
}

#[test]
fn users_and_backends_never_share_an_answer() {
    let one = strategy(&json!({"clientId": "c", "clientSecret": "CANARY-1"}));
    let mut configuration = configuration();
    let backends = &mut configuration["outgoingAuth"]["backends"];
    let differing = [
        json!({"clientId": "c", "clientSecret": "CANARY-2"}),
        json!({"clientId": "d", "clientSecret": "CANARY-1"}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "clientAuthMethod": "client_secret_post"}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "audience": "a"}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "audience": ["a", "b"]}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "audience": ["a b"]}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "resource": "urn:a"}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "scopes": ["a"]}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "scopes": ["a", "b"]}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "subjectTokenType": "jwt"}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "requestedTokenType": ""}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "cluster": "other-sts"}),
        json!({"clientId": "c", "clientSecret": "CANARY-1", "tokenUrl": "https://sts.example.com/t"}),
    ];
    backends["same"] = one.clone();
    backends["api"] = one;
    for (n, settings) in differing.iter().enumerate() {
        backends[format!("b{n}")] = strategy(settings);
    }
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        let names = (0..differing.len()).map(|n| format!("b{n}"));
        let names: Vec<String> = names.chain(["api".to_owned()]).collect();
        let mut waiting = Vec::new();
        for user in ["alice", "bob", "alice1"] {
            for name in &names {
                let stream = plugin.request(&to(name, user));
                let call = envoy.call();
                waiting.push((user, name, stream, call));
            }
        }
        for (user, name, stream, call) in waiting.iter().rev() {
            let token = format!("CANARY-{user}-{name}");
            let mut answer = Answer::token(&token, 300);
            if call
                .sent
                .body
                .contains("requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt")
            {
                answer = Answer::error(400, "invalid_request");
            }
            call.answer(&answer);
            assert_went_on_with(*stream, &token);
        }
        for (user, name, ..) in &waiting {
            let stream = plugin.request(&to(name, user));
            assert_went_on_with(stream, &format!("CANARY-{user}-{name}"));
        }
        // What is the same in every parameter is the same exchange.
        let shared = plugin.request(&to("same", "alice"));
        assert_went_on_with(shared, "CANARY-alice-api");
        assert!(envoy.calls().is_empty());
    });
}

/// The configuration with backends `b0`, `b1` and so on, all of one exchange.
fn with_backends(count: usize) -> Value {
    let mut configuration = caching(json!({"maxEntries": 0}));
    for n in 0..count {
        let backend = configuration["outgoingAuth"]["backends"]["api"].clone();
        configuration["outgoingAuth"]["backends"][format!("b{n}")] = backend;
    }
    configuration
}

/// Each that waits holds a place among the backend's own requests, and users who have their token
/// must find one.
#[test]
fn the_number_of_waiting_requests_is_bounded_per_backend() {
    worker(|envoy| {
        let mut configuration = with_backends(1);
        configuration["tokenCache"] = json!({});
        let plugin = envoy.plugin(&configuration);
        obtain(envoy, plugin, "served", "CANARY-served", 300);
        let waiting: Vec<Stream> = (0..512)
            .map(|n| plugin.request(&of(&format!("user-{}", n % 4))))
            .collect();
        let calls = envoy.calls();
        assert_eq!(calls.len(), 4);
        for user in ["user-0", "somebody-else"] {
            let refused = plugin.request(&of(user));
            assert_eq!(
                refused.refusal(),
                (503, "token_exchange_unavailable".to_owned())
            );
            assert_eq!(refused.reply().headers["retry-after"], "1");
        }
        assert!(envoy.calls().is_empty(), "nor is a call made for nobody");
        assert_cached(envoy, plugin, "served", "CANARY-served");
        let other = plugin.request(&to("b0", "user-0"));
        assert_eq!(other.outcome(), Outcome::Waits, "other backends have room");
        // Whoever leaves makes room.
        waiting[500].end();
        let next = plugin.request(&of("user-1"));
        assert_eq!(next.outcome(), Outcome::Waits);
        assert_eq!(plugin.request(&of("user-1")).reply().status, 503);
        for call in calls {
            call.answer(&Answer::token("CANARY-exchanged", 300));
        }
        all_turns(plugin);
        for stream in [other, next, waiting[0], waiting[511]] {
            assert_went_on_with(stream, "CANARY-exchanged");
        }
        let new = plugin.request(&of("somebody-else"));
        assert_eq!(new.outcome(), Outcome::Waits, "all have left");
    });
}

#[test]
fn the_number_of_waiting_requests_is_bounded_per_key() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with_backends(3));
        let request = |n: usize| plugin.request(&to(&format!("b{}", n % 3), "alice"));
        let waiting: Vec<Stream> = (0..1024).map(request).collect();
        let call = envoy.call();
        assert_eq!(request(0).refusal().0, 503);
        let other = plugin.request(&to("b0", "bob"));
        assert_eq!(other.outcome(), Outcome::Waits, "other keys have room");
        waiting[500].end();
        let next = request(0);
        assert_eq!(next.outcome(), Outcome::Waits);
        call.answer(&Answer::token("CANARY-exchanged", 300));
        all_turns(plugin);
        assert_went_on_with(next, "CANARY-exchanged");
        assert_went_on_with(waiting[1023], "CANARY-exchanged");
    });
}

#[test]
fn the_number_of_waiting_requests_is_bounded_per_worker() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with_backends(17));
        let request = |n: usize| {
            let backend = format!("b{}", n % 16);
            plugin.request(&to(&backend, &format!("user-{}", n % 16)))
        };
        let streams: Vec<Stream> = (0..8192).map(request).collect();
        let calls = envoy.calls();
        assert_eq!(calls.len(), 16);
        for user in ["user-0", "somebody-else"] {
            let refused = plugin.request(&to("b16", user));
            assert_eq!(refused.reply().status, 503);
        }
        streams[0].end();
        assert_eq!(request(0).outcome(), Outcome::Waits);
        for call in calls {
            call.answer(&Answer::token("CANARY-exchanged", 300));
        }
        all_turns(plugin);
        for stream in &streams[1..] {
            assert_eq!(stream.outcome(), Outcome::WentOn);
        }
        assert_eq!(request(0).outcome(), Outcome::Waits);
    });
}

#[test]
fn a_plugin_that_ends_takes_its_waiting_requests_with_it() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let stream = plugin.request(&of("alice"));
        let call = envoy.call();
        let used = plugin.request(&of("bob"));
        envoy.call().answer(&Answer::token("CANARY-bob", 300));
        assert_went_on_with(used, "CANARY-bob");
        plugin.end();
        call.answer(&Answer::token("CANARY-exchanged", 300));
        assert_eq!(stream.outcome(), Outcome::Waits);
        stream.end();
        used.end_with(401, "via_upstream");
        let orphan = plugin.request(&of("carol"));
        assert_eq!(orphan.outcome(), Outcome::Waits, "not forwarded");
    });
}
