//! When something around the tests breaks, they fail soon and say what it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bed::bootstrap::PluginConfig;
use bed::envoy::search_canaries;
use bed::{Bed, Client, Counterpart, Envoy, Placement, Plan, Program, Request, eventually};
use serde_json::json;
use tokio::net::TcpListener;

use crate::trial::{Body, outcome_within, trials};

trials!("mishaps":
    a_stopped_envoy_is_named,
    an_envoy_that_dies_is_named,
    whoever_has_the_port_of_an_ended_envoy_is_not_asked,
    a_killed_counterpart_is_named,
    a_server_that_never_answers_is_named,
    what_other_tests_do_to_their_processes_is_not_said,
);

/// An Envoy without the filter, for one test alone.
fn plan(name: &str) -> Plan {
    let nothing = PluginConfig::Json(json!({}));
    Bed::with(name, nothing)
        .placed(Placement::Nowhere)
        .backend("plain")
}

/// What is said of a test that must fail; its limit is short.
async fn failure(body: impl FnOnce() -> Body + Send + 'static) -> String {
    let limit = Duration::from_secs(5);
    let started = Instant::now();
    // On a thread of its own, as libtest-mimic does it.
    let test = std::thread::spawn(move || outcome_within(limit, "the failing test", body));
    eventually("the failing test to end", || async {
        test.is_finished().then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(50));
    let outcome = test.join().expect("no panic gets out of a test");
    let failed = outcome.expect_err("it must fail");
    failed.message().unwrap_or_default().to_owned()
}

/// What is said of a test that asks for something at this address.
async fn failure_of_a_request(client: Client, path: &'static str) -> String {
    failure(move || {
        Box::pin(async move {
            client.send(Request::get(path)).await;
        })
    })
    .await
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "not said: {part}\n--- said:\n{said}");
    }
}

fn signal(envoy: &Envoy, signal: i32) {
    let pid = libc::pid_t::try_from(envoy.pid()).expect("a process id");
    // SAFETY: plain system call; the process is a child of this one and not yet waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

async fn a_stopped_envoy_is_named() {
    let bed = plan("mishap-stopped").start().await;
    signal(&bed.envoy, libc::SIGSTOP);
    let said = failure_of_a_request(bed.http1(), "/plain/stopped").await;
    let address = bed.address();
    let waits = format!("waiting for: the answer to GET /plain/stopped at {address}");
    let pid = bed.envoy.pid();
    let names = format!("Envoy mishap-stopped (process {pid}) stands still");
    assert_says(&said, &["not done after 5s", &waits, &names]);
}

async fn an_envoy_that_dies_is_named() {
    let bed = plan("mishap-dead").start().await;
    signal(&bed.envoy, libc::SIGKILL);
    let pid = bed.envoy.pid();
    let names = format!("Envoy mishap-dead (process {pid}) has ended by itself: signal: 9");
    // Its ports are closed a moment before that.
    eventually("Envoy to have ended", || async {
        let mishaps = bed::mishaps();
        mishaps
            .iter()
            .any(|it| it.starts_with(&names))
            .then_some(())
    })
    .await;
    let said = failure_of_a_request(bed.http1(), "/plain/dead").await;
    assert_says(&said, &["/plain/dead", &names]);
    let (_, findings) = search_canaries(|envoy| envoy == "mishap-dead").await;
    assert_says(&findings.join("\n"), &[&names]);
    // It was on purpose: the search at the end of the run need not say so.
    bed.envoy.kill();
}

async fn whoever_has_the_port_of_an_ended_envoy_is_not_asked() {
    // Somebody else may take the port first.
    let mut attempts = 0;
    let (bed, successor) = loop {
        let bed = plan("mishap-succeeded").start().await;
        bed.envoy.kill();
        match TcpListener::bind(bed.envoy.admin_address()).await {
            Ok(successor) => break (bed, successor),
            Err(error) => assert!(attempts < 3, "it is not free: {error}"),
        }
        attempts += 1;
    };
    let bed = Arc::new(bed);
    let ended = format!(
        "Envoy mishap-succeeded (process {}) has ended",
        bed.envoy.pid()
    );
    let said = failure({
        let bed = Arc::clone(&bed);
        move || {
            Box::pin(async move {
                bed.envoy.stat("server.live").await;
            })
        }
    })
    .await;
    assert_says(&said, &[&ended]);
    // The end of its bed, and the search at the end of the run.
    drop(bed);
    let (searched, findings) = search_canaries(|envoy| envoy == "mishap-succeeded").await;
    assert_eq!(
        (searched > 0, findings.as_slice()),
        (true, &[] as &[String])
    );
    let asked = tokio::time::timeout(Duration::from_millis(100), successor.accept()).await;
    assert!(asked.is_err(), "somebody asked a stranger");
}

async fn a_killed_counterpart_is_named() {
    let configuration = crate::real_sts::sts_configuration("secret", 300);
    let sts = Counterpart::start(Program::Jmondi, &configuration)
        .unwrap_or_else(|error| panic!("{error}"));
    sts.kill();
    let said =
        failure(move || Box::pin(async move { drop(sts.subject_token("alice", "envoy").await) }))
            .await;
    assert_says(
        &said,
        &["/test/subjects", "Jmondi (process ", "has ended: signal: 9"],
    );
}

async fn a_server_that_never_answers_is_named() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let said = failure_of_a_request(Client::http1(address), "/silence").await;
    let waits = format!("waiting for: the answer to GET /silence at {address}");
    assert_says(&said, &["not done after 5s", &waits]);
}

async fn what_other_tests_do_to_their_processes_is_not_said() {
    // This test's own, and not the failing one's.
    let bed = plan("mishap-elsewhere").start().await;
    signal(&bed.envoy, libc::SIGSTOP);
    let pid = bed.envoy.pid();
    let names = format!("Envoy mishap-elsewhere (process {pid}) stands still (SIGSTOP?)");
    eventually("Envoy to stand still", || async {
        (bed::mishaps() == [names.clone()]).then_some(())
    })
    .await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let said = failure_of_a_request(Client::http1(address), "/silence").await;
    assert_says(&said, &["not done after 5s", "/silence"]);
    assert!(!said.contains("mishap-elsewhere"), "{said}");
}
