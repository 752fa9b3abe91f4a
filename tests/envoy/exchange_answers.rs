//! What the STS answers and what the client gets for it, row by row of the table. After every row the same user's next request, which the STS answers well, goes
//! through.

use bed::Bed;
use serde_json::{Value, json};

use crate::exchange_answer_table::{Expected, Row, statuses, unusable, usable, words};
use crate::exchange_lane::{Lane, exchanged, lanes, overlay, patient, refused};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_answers":
    a_usable_answer_gets_the_request_through,
    an_unusable_answer_is_no_success,
    a_refusal_of_the_sts_has_its_status_challenge_and_code,
    an_answer_without_a_known_word_is_judged_by_its_status,
);

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    BED.get(|| {
        let names = [usable(), unusable(), words(), statuses()].concat();
        let all: Vec<(&str, Value)> = names
            .iter()
            .map(|row| {
                let mut settings = patient();
                overlay(&mut settings, &row.settings);
                (row.lane, settings)
            })
            .collect();
        // What is remembered of a refusal is tested elsewhere.
        lanes(
            "exchange-answers",
            &all,
            json!({"tokenCache": {"negativeTtl": "0"}}),
        )
        .start()
    })
    .await
}

async fn a_usable_answer_gets_the_request_through() {
    for row in usable() {
        check(row).await;
    }
}

async fn an_unusable_answer_is_no_success() {
    for row in unusable() {
        check(row).await;
    }
}

async fn a_refusal_of_the_sts_has_its_status_challenge_and_code() {
    for row in words() {
        check(row).await;
    }
}

async fn an_answer_without_a_known_word_is_judged_by_its_status() {
    for row in statuses() {
        check(row).await;
    }
}

async fn check(row: Row) {
    let name = row.lane;
    let lane = Lane::of(bed().await, name);
    lane.sts().answer_next(row.answer);
    let jwt = lane.login("alice");
    let reply = lane.get(&jwt, "first").await;
    let (status, challenge, code, counted, word) = match row.expected {
        Expected::Token(token) => {
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
            assert_eq!(exchanged(&reply), token, "{name}");
            lane.expect_sts("ok", 1).await;
            return lane.expect_outcome("exchanged", 1).await;
        }
        Expected::Refusal {
            status,
            challenge,
            code,
            counted,
            word,
        } => (status, challenge, code, counted, word),
    };
    let seen = refused(&reply);
    assert_eq!((seen.status, &*seen.code), (status, code), "{name}");
    assert_eq!(seen.challenge, challenge, "{name}");
    assert_eq!(reply.json()["backend"], name);
    assert!(lane.backend().requests().is_empty(), "{name}: forwarded");

    let next = lane.get_ok(&jwt, "second").await;
    assert!(next.starts_with("sts_"), "{name}");
    assert_eq!(lane.sts().calls(), 2, "{name}");
    observed(lane, code, counted, word).await;
}

/// What operators see of one refusal and one success.
async fn observed(lane: Lane<'_>, code: &str, counted: &str, word: Option<&str>) {
    let name = lane.name;
    lane.expect_sts(counted, 1).await;
    lane.expect_sts("ok", 1).await;
    lane.expect_outcome(code, 1).await;
    lane.expect_outcome("exchanged", 1).await;
    let access = lane.bed.access_log_of(&format!("/{name}/first")).await;
    assert_eq!(access["outcome"], code, "{name}");
    assert_eq!(access["backend"], name);
    let access = lane.bed.access_log_of(&format!("/{name}/second")).await;
    assert_eq!(access["outcome"], Value::Null, "{name}");

    let log = lane.bed.envoy.log();
    let start = format!("{code}: backend \"{name}\", provider \"corp\"");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&start)).collect();
    let [line] = lines[..] else {
        panic!("{name}: not one line {start:?} but {}", lines.len());
    };
    assert!(line.contains("[warning]"), "{line}");
    assert!(
        line.contains(&format!("STS cluster \"sts-{name}\"")),
        "{line}"
    );
    match word {
        Some(word) => assert!(line.contains(&format!("the STS said {word}:")), "{line}"),
        None => assert!(!line.contains("the STS said"), "{line}"),
    }
    if code == "token_exchange_rejected" {
        assert!(line.contains("clientAuthMethod"), "{line}");
    }
}
