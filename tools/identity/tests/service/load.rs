//! Many users at once, at both doors of two replicas, while the store dies and comes back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{expired, get, put, row};

/// So many sessions; every other one has expired, at a provider that rotates.
const SESSIONS: usize = 30;

/// As patient as it is by itself, so that some requests meet the store while it is away.
const IMPATIENT: [&str; 6] = [
    "--refresh-timeout",
    "20s",
    "--refresh-wait",
    "2s",
    "--store-timeout",
    "1s",
];

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
    let replicas = [bed.service(&IMPATIENT).await, bed.service(&IMPATIENT).await];
    let mut doors = Vec::new();
    for replica in &replicas {
        doors.push((replica, client(replica.check_port).await));
    }
    let doors = &doors;
    let question = |number| {
        let session = name(number);
        (bed.token(&session), Check::of(bed.claims(&session, 600)))
    };
    let questions: Vec<_> = (0..SESSIONS).map(question).collect();
    let stop = AtomicBool::new(false);

    let asking = futures_util::future::join_all((0..SESSIONS).map(async |number| {
        let (token, request) = &questions[number];
        let (mut seen, mut refused) = (HashSet::new(), [0_u32; 2]);
        // In a row: every door of both must serve it in the end.
        let mut good = 0;
        for turn in number.. {
            if stop.load(Ordering::Relaxed) && good >= 2 * doors.len() {
                break;
            }
            let (replica, client) = &doors[turn / 2 % doors.len()];
            let told = if turn % 2 == 0 {
                let answer = replica.ask(token, "github", &[]).await;
                match (answer.status, answer.error()) {
                    (200, _) => Some(answer.token().to_owned()),
                    (503, "temporarily_unavailable" | "upstream_token_unavailable") => None,
                    _ => panic!("session {number}: {answer:?}"),
                }
            } else {
                match check(&mut client.clone(), request).await {
                    Verdict::Failed(tonic::Code::Unavailable, _) => None,
                    Verdict::Goes(metadata) => {
                        let token = metadata["upstream_tokens"]["github"].as_str();
                        let whole = match token {
                            Some(token) => json!({"upstream_tokens": {"github": token}}),
                            // Its refresh takes longer than a request waits.
                            None => json!({"upstream_unavailable": {"github": true}}),
                        };
                        assert_eq!(metadata, whole, "session {number}");
                        token.map(str::to_owned)
                    }
                    denied => panic!("session {number}: {denied:?}"),
                }
            };
            match told {
                Some(token) => {
                    good += 1;
                    seen.insert(token);
                }
                None => {
                    good = 0;
                    refused[turn % 2] += 1;
                }
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
        let logs = replicas.each_ref().map(|replica| replica.log());
        panic!("a session did not come back: {}", logs.join("----\n"));
    });

    let mut redis = bed.redis.connect().await;
    let mut everything = HashSet::new();
    let mut refused = [0; 2];
    for (number, (seen, refusals)) in answers.into_iter().enumerate() {
        let row = get(&mut redis, &name(number), "github").await.unwrap();
        let token = row["access_token"].as_str().unwrap();
        assert_eq!(seen, HashSet::from([token.to_owned()]), "session {number}");
        let redeemed = bed.provider.times(&format!("rt-{number}"));
        assert_eq!(redeemed, (number + 1) % 2, "session {number}");
        everything.extend(seen);
        for (all, some) in refused.iter_mut().zip(refusals) {
            *all += some;
        }
    }
    assert_eq!(everything.len(), SESSIONS, "each has its own");
    for (door, refused) in ["/token", "ext_authz"].into_iter().zip(refused) {
        assert!(
            refused > 0,
            "{door} never missed it, in {:?}",
            began.elapsed()
        );
    }
}
