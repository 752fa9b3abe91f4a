//! What a request costs the store.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::service::Bed;
use crate::bed::session::{put, row, run};

/// The numbers that `INFO` has, all of one moment, by what their lines begin with.
async fn info(redis: &mut MultiplexedConnection) -> BTreeMap<String, u64> {
    let info: String = redis::cmd("INFO")
        .arg("all")
        .query_async(redis)
        .await
        .unwrap();
    let number = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let value = value.strip_prefix("calls=").unwrap_or(value);
        let value = value.split(',').next()?.parse().ok()?;
        Some((name.to_owned(), value))
    };
    info.lines().filter_map(number).collect()
}

#[tokio::test]
async fn each_request_is_one_round_trip() {
    const EACH: u64 = 20;
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "corp", &row("corp", |_| {})).await;
    put(&mut redis, "S", "github", &row("github", |_| {})).await;
    let service = bed.service(&[]).await;
    let mut client = client(service.check_port).await;
    let token = bed.token("S");
    let request = Check::of(bed.claims("S", 600));
    let stranger = Check::of(bed.claims("NOBODY", 600));
    // The connection is there, and scripts and keys are known.
    assert_eq!(service.ask(&token, "github", &[]).await.status, 200);

    run(&mut redis, &["CONFIG", "RESETSTAT"]).await;
    for _ in 0..EACH {
        assert_eq!(
            service.ask(&token, "github", &[]).await.token(),
            "github-at"
        );
        let both = json!({"upstream_tokens": {"corp": "corp-at", "github": "github-at"}});
        assert_eq!(check(&mut client, &request).await, Verdict::Goes(both));
        assert_eq!(
            check(&mut client, &stranger).await,
            Verdict::Goes(json!({}))
        );
    }
    let calls = info(&mut redis).await;
    let trips = calls["total_reads_processed"];

    let called = |name: &str| calls.get(name).copied().unwrap_or_default();
    assert_eq!(called("cmdstat_smembers"), 3 * EACH);
    assert_eq!(called("cmdstat_mget"), 3 * EACH);
    // Whether it is there is asked every two seconds; the rest is this test's own.
    let looks = called("cmdstat_exists");
    let others: Vec<_> = calls
        .keys()
        .filter(|name| name.starts_with("cmdstat_"))
        .filter(|name| {
            !["smembers", "mget", "exists", "info", "config|resetstat"]
                .map(|known| format!("cmdstat_{known}"))
                .contains(name)
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    // Such a look may arrive together with a request.
    let own = trips.saturating_sub(3 * EACH + looks);
    assert!(own <= 3, "{own} of {trips} are not accounted for");
}
