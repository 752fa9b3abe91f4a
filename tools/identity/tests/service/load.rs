//! Many users at once, while the store dies and comes back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{expired, get, put, row};

/// So many sessions; every other one has expired, at a provider that rotates.
const SESSIONS: usize = 30;

#[tokio::test]
async fn a_store_that_is_killed_under_load_costs_no_session_and_gives_no_wrong_answer() {
    let mut bed = Bed::with_redis(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut redis = bed.redis.connect().await;
    let name = |number: usize| format!("S{number}");
    for number in 0..SESSIONS {
        let refresh_token = format!("rt-{number}");
        let row = if number % 2 == 0 {
            expired("github", &refresh_token)
        } else {
            row("github", |row| {
                row["access_token"] = json!(format!("at-{number}"));
                row["refresh_token"] = json!(refresh_token);
                row["user_id"] = json!(format!("user-{number}"));
            })
        };
        put(&mut redis, &name(number), "github", &row).await;
        // Refreshes are under way when it dies.
        let slow = Script::Slow(Duration::from_millis(50 * number as u64), 3600, true);
        bed.provider.script(&refresh_token, [slow]);
    }
    let service = bed.service(&["--refresh-timeout", "20s"]).await;
    let tokens: Vec<String> = (0..SESSIONS)
        .map(|number| bed.token(&name(number)))
        .collect();
    let stop = AtomicBool::new(false);

    let asking = futures_util::future::join_all(tokens.iter().map(async |token| {
        let (mut seen, mut refused) = (HashSet::new(), 0_u32);
        let mut good_at_last = false;
        while !stop.load(Ordering::Relaxed) || !good_at_last {
            let answer = service.ask(token, "github", &[]).await;
            good_at_last = answer.status == 200;
            match (answer.status, answer.error()) {
                (200, _) => {
                    seen.insert(answer.token().to_owned());
                }
                (503, "temporarily_unavailable" | "upstream_token_unavailable") => refused += 1,
                _ => panic!("{answer:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (seen, refused)
    }));
    let killing = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            bed.redis.kill();
            tokio::time::sleep(Duration::from_millis(300)).await;
            bed.redis.begin();
            bed.redis.wait().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let began = Instant::now();
    let both = tokio::time::timeout(Duration::from_secs(90), async {
        tokio::join!(asking, killing).0
    });
    let answers = both.await.unwrap_or_else(|_| {
        panic!("a session did not come back: {}", service.log());
    });

    let mut redis = bed.redis.connect().await;
    let mut everything = HashSet::new();
    let mut refused = 0;
    for (number, (seen, refusals)) in answers.into_iter().enumerate() {
        let row = get(&mut redis, &name(number), "github").await.unwrap();
        let token = row["access_token"].as_str().unwrap();
        assert_eq!(seen, HashSet::from([token.to_owned()]), "session {number}");
        let redeemed = bed.provider.times(&format!("rt-{number}"));
        assert_eq!(redeemed, (number + 1) % 2, "session {number}");
        everything.extend(seen);
        refused += refusals;
    }
    assert_eq!(everything.len(), SESSIONS, "each has its own");
    assert!(refused > 0, "it was never away, in {:?}", began.elapsed());
}
