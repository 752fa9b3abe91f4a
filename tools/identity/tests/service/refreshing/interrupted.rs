//! Refreshes under which the store goes: nobody loses a session, and nobody is locked out.

use std::time::{Duration, Instant};

use crate::bed::provider::Script;
use crate::bed::service::{Bed, Service};
use crate::bed::session::{expired, get, put, run};

/// Asks every few milliseconds until there is a token; meanwhile nobody is sent to log in.
async fn until_there_without_a_login(service: &Service, token: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = service.ask(token, "github", &[]).await;
        if answer.status == 200 {
            return;
        }
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(Instant::now() < deadline, "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn a_store_that_restarts_under_a_refresh_costs_no_session() {
    let mut bed = Bed::with_redis(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    put(
        &mut bed.redis.connect().await,
        "T",
        "github",
        &expired("github", "rt2"),
    )
    .await;
    bed.provider.script("rt2", [Script::Held(3600, true)]);
    let service = bed.service(&[]).await;
    let token = bed.token("T");
    // The provider has been asked, and has not answered.
    tokio::select! {
        answer = service.ask(&token, "github", &[]) => panic!("too early: {answer:?}"),
        () = bed.provider.until_asked("rt2") => {}
    }
    bed.redis.kill();
    bed.provider.release();
    let restart = async {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        bed.redis.begin();
        bed.redis.wait().await;
    };
    tokio::join!(restart, until_there_without_a_login(&service, &token));
    assert_eq!(bed.provider.times("rt2"), 1);
    let row = get(&mut bed.redis.connect().await, "T", "github")
        .await
        .unwrap();
    assert!(
        row["refresh_token"]
            .as_str()
            .unwrap()
            .starts_with("issued-rt-")
    );
}

#[tokio::test]
async fn a_store_that_only_reads_under_a_refresh_costs_no_session() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    bed.provider.script("rt", [Script::Held(3600, true)]);
    let service = bed.service(&["--refresh-wait", "300ms"]).await;
    let token = bed.token("S");
    let failover = async {
        bed.provider.until_asked("rt").await;
        run(&mut redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
        bed.provider.release();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !service
            .log()
            .contains("refreshed tokens could not be written")
        {
            assert!(Instant::now() < deadline, "{}", service.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The new token is in hand, and many ask for it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        run(&mut redis, &["REPLICAOF", "NO", "ONE"]).await;
    };
    tokio::join!(failover, until_there_without_a_login(&service, &token));
    assert_eq!(bed.provider.times("rt"), 1);
    let row = get(&mut redis, "S", "github").await.unwrap();
    assert_eq!(row["refresh_token"], "issued-rt-1");
}

#[tokio::test]
async fn a_lock_whose_claim_was_answered_too_late_is_given_back() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    let service = bed.service(&["--store-timeout", "1s"]).await;
    let token = bed.token("S");
    // It reads at once, and runs scripts when nobody waits for them any more.
    run(&mut redis, &["CLIENT", "PAUSE", "4000", "WRITE"]).await;
    let answer = service.ask(&token, "github", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    assert_eq!(bed.provider.times("rt"), 0);
    let began = Instant::now();
    until_there_without_a_login(&service, &token).await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "long before the lock ends by itself: {:?}",
        began.elapsed()
    );
    assert_eq!(bed.provider.times("rt"), 1);
}
