//! One exchange for the whole Envoy: what the workers' VMs tell each other, and what they do not.

use crate::host::{Answer, Envoy, Outcome, Plugin, SharedData, status, worker, worker_of};
use crate::scene::{self, assert_cached, assert_went_on_with, of};
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

const STS: &str = "upstream_inject.sts.api.";

fn configuration(settings: &Value, cache: &Value) -> Value {
    let mut configuration = scene::configuration(settings);
    configuration["tokenCache"] = cache.clone();
    configuration
}

fn usual() -> Value {
    configuration(&json!({}), &json!({}))
}

/// Has `user` hold `token` from now on.
fn obtain(envoy: &Envoy, plugin: Plugin, user: &str, token: &str) {
    scene::obtain(envoy, plugin, user, token, 300);
}

/// Asserts that `user` needs a call, and leaves it unanswered.
#[track_caller]
fn assert_exchanges(envoy: &Envoy, plugin: Plugin, user: &str) {
    let stream = plugin.request(&of(user));
    assert_eq!(stream.outcome(), Outcome::Waits);
    assert_eq!(envoy.calls().len(), 1);
    stream.end();
}

/// Another worker of the same Envoy, step by step beside the first.
struct Other<'s> {
    go: Sender<()>,
    done: Receiver<()>,
    thread: Option<thread::ScopedJoinHandle<'s, ()>>,
}

impl<'s> Other<'s> {
    /// Starts it; `steps` calls what it is given where it waits for the first worker.
    fn start<'e>(
        scope: &'s thread::Scope<'s, 'e>,
        shared: &SharedData,
        steps: impl FnOnce(&Envoy, &dyn Fn()) + Send + 's,
    ) -> Self {
        let (go, gone) = channel();
        let (does, done) = channel();
        let shared = shared.clone();
        let thread = scope.spawn(move || {
            worker_of(&shared, move |envoy| {
                steps(envoy, &|| {
                    does.send(()).unwrap();
                    gone.recv().unwrap();
                });
            });
        });
        let thread = Some(thread);
        Self { go, done, thread }
    }

    /// Waits until it waits.
    #[track_caller]
    fn waits(&mut self) {
        if self.done.recv_timeout(Duration::from_secs(60)).is_err() {
            self.join();
            panic!("the other worker is over");
        }
    }

    /// Lets it go on, to its end.
    fn end(mut self) {
        self.go.send(()).unwrap();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && let Err(reason) = thread.join()
        {
            std::panic::resume_unwind(reason);
        }
    }
}

#[test]
fn what_one_worker_obtained_serves_all() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        obtain(envoy, plugin, "alice", "CANARY-1");
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            assert_cached(other, plugin, "alice", "CANARY-1");
            // Now it is its own: no host call more than ever.
            other.host_calls();
            assert_cached(other, plugin, "alice", "CANARY-1");
            let calls = other.host_calls();
            assert!(
                !calls.iter().any(|call| call.contains("shared")),
                "{calls:?}"
            );
            assert_exchanges(other, plugin, "bob");
            plugin.tick();
            assert_eq!(other.metric(&format!("{STS}shared")), 1);
            assert_eq!(other.metric(&format!("{STS}cache_hit")), 1);
            assert_eq!(other.metric(&format!("{STS}ok")), 0);
        });
    });
}

#[test]
fn an_endpoint_that_wants_to_be_left_alone_is_so_by_all_workers() {
    let shared = SharedData::default();
    let unavailable = (503, "token_exchange_unavailable".to_owned());
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        let streams = ["alice", "bob"].map(|user| plugin.request(&of(user)));
        for (call, seconds) in envoy.calls().into_iter().zip(["30", "2"]) {
            let mut answer = Answer::new(429, "");
            let field = ("retry-after".to_owned(), seconds.into());
            answer.headers.push(field);
            call.answer(&answer);
        }
        for stream in streams {
            assert_eq!(stream.refusal(), unavailable);
            stream.end();
        }
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            other.advance(Duration::from_secs(10));
            let stream = plugin.request(&of("carol"));
            assert_eq!(stream.refusal(), unavailable);
            assert_eq!(stream.reply().headers["retry-after"], "20");
            assert!(other.calls().is_empty());
            stream.end();
            // The endpoint is meant, not the server that it is at.
            let another = json!({"tokenUrl": "https://sts.example.com/other"});
            let another = other.plugin(&configuration(&another, &json!({})));
            assert_exchanges(other, another, "carol");
            other.advance(Duration::from_secs(20));
            assert_exchanges(other, plugin, "carol");
        });
    });
}

#[test]
fn who_comes_and_goes_while_another_worker_calls_costs_no_more_than_who_waits() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        let stream = plugin.request(&of("alice"));
        let call = envoy.call();
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            let looks = || {
                other.host_calls();
                plugin.tick();
                let calls = other.host_calls();
                let reads = |call: &&String| call.contains("get_shared_data");
                calls.iter().filter(reads).count()
            };
            let waiting = plugin.request(&of("alice"));
            let usual = looks();
            waiting.end();
            for _ in 0..200 {
                plugin.request(&of("alice")).end();
            }
            let waiting = plugin.request(&of("alice"));
            assert!(looks() <= usual);
            waiting.end();
            plugin.tick();
            plugin.tick();
            assert!(plugin.tick_period().unwrap() >= Duration::from_millis(100));
            assert!(other.calls().is_empty());
        });
        call.answer(&Answer::token("CANARY-1", 300));
        assert_went_on_with(stream, "CANARY-1");
    });
}

#[test]
fn requests_wait_for_another_workers_call() {
    for (answer, token) in [
        (Answer::token("CANARY-1", 300), Ok("CANARY-1")),
        // Not to be kept, but for those who wait.
        (Answer::token("CANARY-1", 0), Ok("CANARY-1")),
        (
            Answer::error(400, "invalid_grant"),
            Err("status 400, the STS said invalid_grant"),
        ),
        (
            Answer::error(400, "invalid_client"),
            Err("status 400, the STS said invalid_client"),
        ),
        (Answer::error(503, "x"), Err("status 503")),
        (
            Answer::json(200, &json!({})),
            Err("what is wrong: token_type"),
        ),
    ] {
        let shared = SharedData::default();
        thread::scope(|scope| {
            worker_of(&shared, |envoy| {
                let plugin = envoy.plugin(&usual());
                let stream = plugin.request(&of("alice"));
                let call = envoy.call();
                let mut other = Other::start(scope, &shared, move |envoy, first| {
                    let plugin = envoy.plugin(&usual());
                    let streams = [plugin.request(&of("alice")), plugin.request(&of("alice"))];
                    plugin.tick();
                    assert!(plugin.tick_period().unwrap() <= Duration::from_millis(5));
                    for stream in streams {
                        assert_eq!(stream.outcome(), Outcome::Waits);
                    }
                    first();
                    plugin.tick();
                    for stream in streams {
                        match token {
                            Ok(token) => assert_went_on_with(stream, token),
                            Err(_) => assert!(stream.reply().status >= 400),
                        }
                    }
                    let lines = envoy.warnings().concat();
                    assert!(lines.contains(token.err().unwrap_or("")), "{lines}");
                    assert!(envoy.calls().is_empty());
                    plugin.tick();
                    assert_eq!(envoy.metric(&format!("{STS}shared")), 2);
                    assert!(plugin.tick_period().unwrap() >= Duration::from_millis(100));
                });
                other.waits();
                call.answer(&answer);
                // A broken connection is tried once more.
                for call in envoy.calls() {
                    call.answer(&answer);
                }
                other.end();
                stream.end();
            });
        });
    }
}

#[test]
fn who_waits_for_a_worker_that_dies_makes_the_call() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        // A VM that traps withdraws nothing: what it left there stays.
        let stream = plugin.request(&of("alice"));
        envoy.call();
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            let stream = plugin.request(&of("alice"));
            other.advance(Duration::from_millis(6900));
            plugin.tick();
            assert_eq!(stream.outcome(), Outcome::Waits);
            assert!(other.calls().is_empty(), "before timeout and 2 s are over");
            other.advance(Duration::from_millis(200));
            plugin.tick();
            other.call().answer(&Answer::token("CANARY-2", 300));
            assert_went_on_with(stream, "CANARY-2");
        });
        stream.end();
    });
}

#[test]
fn a_configuration_that_ends_keeps_nobody_waiting_for_its_calls() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        plugin.request(&of("alice")).end();
        envoy.call();
        plugin.end();
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            assert_exchanges(other, plugin, "alice");
        });
    });
}

#[test]
fn what_a_backend_did_not_accept_no_worker_uses_any_more() {
    let shared = SharedData::default();
    thread::scope(|scope| {
        worker_of(&shared, |envoy| {
            let plugin = envoy.plugin(&usual());
            obtain(envoy, plugin, "alice", "CANARY-1");
            obtain(envoy, plugin, "bob", "CANARY-b");
            let mut other = Other::start(scope, &shared, |envoy, first| {
                let plugin = envoy.plugin(&usual());
                assert_cached(envoy, plugin, "alice", "CANARY-1");
                assert_cached(envoy, plugin, "bob", "CANARY-b");
                plugin.tick();
                assert!(plugin.tick_period().unwrap() <= Duration::from_millis(100));
                first();
                plugin.tick();
                assert_cached(envoy, plugin, "bob", "CANARY-b");
                obtain(envoy, plugin, "alice", "CANARY-2");
                // Another 401 within ten seconds costs no other exchange, whoever sees it.
                let stream = plugin.request(&of("alice"));
                stream.end_with(401, "via_upstream");
                assert_cached(envoy, plugin, "alice", "CANARY-2");
            });
            other.waits();
            let stream = plugin.request(&of("alice"));
            stream.end_with(401, "via_upstream");
            other.end();
        });
    });
}

#[test]
fn what_was_dropped_just_before_a_configuration_came_does_not_come_along() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        obtain(envoy, plugin, "alice", "CANARY-1");
        obtain(envoy, plugin, "bob", "CANARY-b");
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            let stream = plugin.request(&of("alice"));
            assert_went_on_with(stream, "CANARY-1");
            stream.end_with(401, "via_upstream");
        });
        // Before the timer of the one that holds it has gone off.
        let new = envoy.plugin(&usual());
        assert_exchanges(envoy, new, "alice");
        assert_cached(envoy, new, "bob", "CANARY-b");
    });
}

#[test]
fn a_configuration_that_drains_still_says_what_a_backend_did_not_accept() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let old = envoy.plugin(&usual());
        obtain(envoy, old, "alice", "CANARY-1");
        let streams = [old.request(&of("alice")), old.request(&of("alice"))];
        let new = envoy.plugin(&usual());
        assert_cached(envoy, new, "alice", "CANARY-1");
        streams[0].end_with(401, "via_upstream");
        new.tick();
        obtain(envoy, new, "alice", "CANARY-2");
        // It is that token that was not accepted, and not the one that has come since.
        streams[1].end_with(401, "via_upstream");
        new.tick();
        assert_cached(envoy, new, "alice", "CANARY-2");
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            assert_cached(other, plugin, "alice", "CANARY-2");
        });
    });
}

#[test]
fn what_the_sts_refuses_is_refused_by_all() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        let stream = plugin.request(&of("alice"));
        envoy.call().answer(&Answer::error(400, "invalid_grant"));
        stream.end();
        worker_of(&shared, |other| {
            let plugin = other.plugin(&usual());
            let stream = plugin.request(&of("alice"));
            assert_eq!(
                stream.refusal(),
                (401, "token_exchange_rejected".to_owned())
            );
            assert!(other.calls().is_empty());
            stream.end();
            plugin.tick();
            assert_eq!(other.metric(&format!("{STS}negative_hit")), 1);
            other.advance(Duration::from_secs(10));
            assert_exchanges(other, plugin, "alice");
        });
    });
}

#[test]
fn nothing_that_differs_in_a_parameter_is_shared() {
    for change in [
        json!({"clientSecret": "CANARY-rotated"}),
        json!({"clientId": "other"}),
        json!({"clientAuthMethod": "client_secret_post"}),
        json!({"audience": "other"}),
        json!({"audience": ["api", "other"]}),
        json!({"resource": "urn:x"}),
        json!({"scopes": ["x"]}),
        json!({"parameters": {"x": "y"}}),
        json!({"tokenUrl": "https://sts.example.com/other"}),
        json!({"tokenUrl": "https://other.example.com/token"}),
        json!({"cluster": "other-sts"}),
        json!({"subjectTokenType": "jwt"}),
        json!({"requestedTokenType": ""}),
    ] {
        let shared = SharedData::default();
        worker_of(&shared, |envoy| {
            let plugin = envoy.plugin(&usual());
            obtain(envoy, plugin, "alice", "CANARY-1");
            worker_of(&shared, |other| {
                let plugin = other.plugin(&configuration(&change, &json!({})));
                assert_exchanges(other, plugin, "alice");
            });
        });
    }
}

#[test]
fn tokens_outlive_a_crash_and_a_configuration() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        obtain(envoy, plugin, "alice", "CANARY-1");
        plugin.end();
    });
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&configuration(&json!({}), &json!({"negativeTtl": "1s"})));
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        plugin.tick();
        assert_eq!(envoy.metric("upstream_inject.cache.entries"), 1);
        // It lives no longer for that.
        envoy.advance(Duration::from_secs(285));
        assert_exchanges(envoy, plugin, "alice");
    });
}

#[test]
fn a_renewal_serves_all() {
    let shared = SharedData::default();
    thread::scope(|scope| {
        worker_of(&shared, |envoy| {
            let plugin = envoy.plugin(&usual());
            obtain(envoy, plugin, "alice", "CANARY-1");
            let mut other = Other::start(scope, &shared, |envoy, first| {
                let plugin = envoy.plugin(&usual());
                assert_cached(envoy, plugin, "alice", "CANARY-1");
                envoy.advance(Duration::from_secs(280));
                // The other worker's renewal is under way.
                first();
                assert_cached(envoy, plugin, "alice", "CANARY-1");
                first();
                envoy.advance(Duration::from_secs(1));
                assert_cached(envoy, plugin, "alice", "CANARY-2");
            });
            other.waits();
            envoy.advance(Duration::from_secs(280));
            let stream = plugin.request(&of("alice"));
            assert_went_on_with(stream, "CANARY-1");
            let renewal = envoy.call();
            other.go.send(()).unwrap();
            other.waits();
            renewal.answer(&Answer::token("CANARY-2", 300));
            other.end();
            stream.end();
        });
    });
}

/// Host calls that concern the store, since last asked: what is read, and what is set.
fn store_calls(envoy: &Envoy) -> (usize, usize) {
    let calls = envoy.host_calls();
    let count = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
    (count("get_shared_data"), count("set_shared_data"))
}

#[test]
fn what_sharing_costs() {
    worker(|envoy| {
        let plugin = envoy.plugin(&usual());
        envoy.host_calls();
        let stream = plugin.request(&of("alice"));
        assert_eq!(
            store_calls(envoy),
            (4, 1),
            "a look, another, what the endpoint asks for, and a claim"
        );
        let joins = plugin.request(&of("alice"));
        assert_eq!(store_calls(envoy), (0, 0));
        envoy.call().answer(&Answer::token("CANARY-1", 300));
        assert_eq!(store_calls(envoy), (1, 1), "the answer");
        stream.end_with(200, "via_upstream");
        joins.end_with(200, "via_upstream");
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        assert_eq!(store_calls(envoy), (0, 0));
        plugin.tick();
        assert_eq!(
            store_calls(envoy),
            (9, 0),
            "what was dropped, and a few buckets"
        );
        envoy.advance(Duration::from_millis(100));
        plugin.tick();
        assert_eq!(store_calls(envoy), (1, 0), "what was dropped");
        let stream = plugin.request(&of("alice"));
        stream.end_with(401, "via_upstream");
        assert_eq!(store_calls(envoy), (2, 2), "a 401");
    });
}

#[test]
fn without_the_capabilities_each_worker_is_on_its_own_and_says_so_once() {
    for function in ["get_shared_data", "set_shared_data", "clock_time_get"] {
        let shared = SharedData::default();
        worker_of(&shared, |envoy| {
            envoy.fails(function, Some(status::INTERNAL_FAILURE));
            let plugin = envoy.plugin(&usual());
            let warnings = envoy.warnings();
            assert_eq!(warnings.len(), 1, "{warnings:#?}");
            assert!(
                warnings[0].contains("allowed_capabilities"),
                "{warnings:#?}"
            );
            obtain(envoy, plugin, "alice", "CANARY-1");
            assert_cached(envoy, plugin, "alice", "CANARY-1");
            plugin.tick();
            assert_eq!(envoy.warnings(), [""; 0]);
        });
    }
}

#[test]
fn who_does_not_want_to_share_does_not() {
    for cache in [json!({"share": false}), json!({"maxEntries": 0})] {
        let shared = SharedData::default();
        worker_of(&shared, |envoy| {
            let plugin = envoy.plugin(&configuration(&json!({}), &cache));
            let stream = plugin.request(&of("alice"));
            envoy.call().answer(&Answer::token("CANARY-1", 300));
            stream.end();
            plugin.tick();
            assert_eq!(shared.names(), [""; 0]);
            assert_eq!(envoy.warnings(), [""; 0]);
        });
    }
}

#[test]
fn a_store_that_fails_later_costs_no_request() {
    worker(|envoy| {
        let plugin = envoy.plugin(&usual());
        for function in ["get_shared_data", "set_shared_data"] {
            envoy.fails(function, Some(status::INTERNAL_FAILURE));
            obtain(envoy, plugin, function, "CANARY-1");
            assert_cached(envoy, plugin, function, "CANARY-1");
            plugin.tick();
            envoy.fails(function, None);
        }
    });
}

#[test]
fn whatever_others_leave_under_our_names_is_taken_for_nothing() {
    let shared = SharedData::default();
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&usual());
        obtain(envoy, plugin, "alice", "CANARY-1");
    });
    for name in shared.names() {
        for rubbish in [&b""[..], b"\xff", &[0; 40], &[0xff; 400]] {
            let version = shared.get(&name).unwrap().1;
            shared.set(name.clone(), rubbish.to_vec(), version).unwrap();
            worker_of(&shared, |envoy| {
                let plugin = envoy.plugin(&usual());
                obtain(envoy, plugin, &format!("bob-{}", rubbish.len()), "CANARY-2");
                plugin.tick();
            });
        }
    }
}

#[test]
fn what_is_stored_stays_within_its_bounds_and_goes_at_its_end() {
    let shared = SharedData::default();
    let cache = json!({"maxEntries": 40, "maxBytes": "256KiB"});
    worker_of(&shared, |envoy| {
        let plugin = envoy.plugin(&configuration(&json!({}), &cache));
        for user in 0..200 {
            obtain(
                envoy,
                plugin,
                &format!("{user}-{}", "x".repeat(3000)),
                "CANARY-1",
            );
        }
        let sizes = shared.sizes();
        assert!(sizes.values().sum::<usize>() <= (256 << 10) + 4096);
        assert!(sizes.len() <= 4 + 2, "{:?}", sizes.keys());
        assert!(shared.bytes().windows(8).any(|part| part == b"CANARY-1"));
        envoy.advance(Duration::from_secs(301));
        // Some minutes of its timer.
        for _ in 0..600 {
            envoy.advance(Duration::from_millis(500));
            plugin.tick();
        }
        assert!(!shared.bytes().windows(6).any(|part| part == b"CANARY"));
    });
}
