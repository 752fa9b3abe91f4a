//! How long an exchanged token is used: what the STS says, what the JWTs involved say, and what the
//! operator allows, whichever ends first, minus the skew.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bed::{Answer, Bed, canary};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, PROVIDER, lanes, patient_lanes};
use crate::exchange_timeline::Timeline;
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_lifetime":
    what_the_sts_says_of_the_lifetime_decides_on_caching,
    without_a_word_of_the_sts_the_issued_jwt_counts,
    the_subjects_own_end_bounds_the_lifetime,
    a_token_is_used_until_the_skew_before_its_end,
    no_token_outlives_the_operators_bound,
    no_token_outlives_its_subject,
);

static BED: SharedBed = SharedBed::new();

/// Skew of the shared bed.
const SKEW: Duration = Duration::from_secs(1);
/// `maxTtl` of the shared bed.
const MAX_TTL: Duration = Duration::from_secs(5);

async fn bed() -> &'static Bed {
    BED.get(|| {
        let mut names: Vec<String> = lifetimes()
            .iter()
            .map(|(name, ..)| (*name).into())
            .collect();
        names.extend(issued_jwts().into_iter().map(|(name, ..)| name.into()));
        names.extend(subjects().into_iter().map(|(name, ..)| name.into()));
        names.extend(["expires", "max-ttl", "subject-ends"].map(str::to_owned));
        let all = patient_lanes(names.iter().map(String::as_str));
        let cache = json!({"expirySkew": "1s", "maxTtl": "5s", "refreshAhead": false});
        lanes("exchange-lifetime", &all, json!({"tokenCache": cache})).start()
    })
    .await
}

/// `expires_in` (as JSON text), and whether the token may be used a second time.
fn lifetimes() -> Vec<(&'static str, Option<&'static str>, bool)> {
    vec![
        ("a-number", Some("3600"), true),
        ("a-text", Some("\"3600\""), true),
        ("a-fraction", Some("3600.75"), true),
        ("an-exponent", Some("3.6e3"), true),
        ("huge", Some("99999999999999999999"), true),
        ("absent", None, false),
        ("null", Some("null"), false),
        ("zero", Some("0"), false),
        ("negative", Some("-3600"), false),
        ("zero-as-a-text", Some("\"0\""), false),
        ("empty-text", Some("\"\""), false),
        ("words", Some("\"one hour\""), false),
        ("infinity", Some("\"inf\""), false),
        ("true", Some("true"), false),
        ("list", Some("[3600]"), false),
        ("beyond-numbers", Some("1e400"), false),
    ]
}

async fn what_the_sts_says_of_the_lifetime_decides_on_caching() {
    for (name, expires_in, cached) in lifetimes() {
        let lane = Lane::of(bed().await, name);
        let token = canary::token("sts_", name);
        let mut body = Answer::token_body(&token, json!("PLACE"));
        if expires_in.is_none() {
            body.as_object_mut()
                .expect("an object")
                .remove("expires_in");
        }
        let body = body
            .to_string()
            .replace("\"PLACE\"", expires_in.unwrap_or_default());
        lane.sts()
            .set_script(move |_| Answer::raw(200, body.clone()));
        assert_cached(lane, &lane.login("alice"), cached).await;
    }
}

/// An issued JWT's `exp`, in seconds from now, and what comes of it when the STS says nothing.
fn issued_jwts() -> Vec<(&'static str, Option<i64>, Value, bool)> {
    vec![
        ("issued-later", Some(3600), Value::Null, true),
        ("issued-over", Some(-10), Value::Null, false),
        ("issued-without-exp", None, Value::Null, false),
        // What the STS says counts, whatever the JWT says.
        ("issued-over-but-said", Some(-10), json!(3600), true),
        ("issued-later-but-zero", Some(3600), json!(0), false),
    ]
}

async fn without_a_word_of_the_sts_the_issued_jwt_counts() {
    for (name, exp, expires_in, cached) in issued_jwts() {
        let lane = Lane::of(bed().await, name);
        let token = lane.bed.embedded_as.issuer().sign(&claims(name, exp));
        let body = Answer::token_body(&token, expires_in);
        lane.sts().set_script(move |_| Answer::json(200, &body));
        assert_cached(lane, &lane.login("alice"), cached).await;
    }
}

/// The subject's `exp`, in seconds from now; the STS promises an hour.
fn subjects() -> Vec<(&'static str, Option<i64>, bool)> {
    vec![
        ("subject-later", Some(3600), true),
        ("subject-without-exp", None, true),
        ("subject-over", Some(-10), false),
        ("subject-within-the-skew", Some(0), false),
    ]
}

async fn the_subjects_own_end_bounds_the_lifetime() {
    for (name, exp, cached) in subjects() {
        let lane = Lane::of(bed().await, name);
        let subject = lane.bed.embedded_as.issuer().sign(&claims(name, exp));
        assert_cached(lane, &lane.login_with(&subject), cached).await;
    }
}

fn claims(subject: &str, exp: Option<i64>) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("before the end of time");
    match exp {
        Some(seconds) => json!({"sub": subject, "exp": now + seconds}),
        None => json!({"sub": subject}),
    }
}

/// Two requests that are both served; the second costs a call, or not. Should the machine have
/// slept for as long as a cached token lives at most, they are sent again, until the first of them
/// costs a call, so that the token's age is known.
async fn assert_cached(lane: Lane<'_>, jwt: &str, cached: bool) {
    loop {
        let (start, before) = (Instant::now(), lane.sts().calls());
        lane.get_ok(jwt, "warm").await;
        let calls = lane.sts().calls();
        lane.get_ok(jwt, "x").await;
        let more = lane.sts().calls() - calls;
        let is_young = calls > before && start.elapsed() < MAX_TTL - 2 * SKEW;
        if !cached || is_young {
            assert_eq!(more, usize::from(!cached), "{}", lane.name);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_token_is_used_until_the_skew_before_its_end() {
    let lane = Lane::of(bed().await, "expires");
    follow(lane, json!(5), Duration::from_secs(5) - SKEW).await;
}

async fn no_token_outlives_the_operators_bound() {
    let lane = Lane::of(bed().await, "max-ttl");
    follow(lane, json!(3600), MAX_TTL - SKEW).await;
}

/// Uses tokens of this life one after the other until the third.
async fn follow(lane: Lane<'_>, expires_in: Value, usable: Duration) {
    let mut timeline = Timeline::of(lane, expires_in);
    let jwt = lane.login("alice");
    while timeline.calls() < 3 {
        assert_eq!(timeline.send(lane, &jwt).await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let repeated = timeline.assert_never_used_after(usable);
    assert!(repeated > 0, "no token was used twice");
    timeline.assert_not_called_before(1, usable);
    timeline.assert_not_called_before(2, usable);
}

async fn no_token_outlives_its_subject() {
    let lane = Lane::of(bed().await, "subject-ends");
    let mut timeline = Timeline::of(lane, json!(3600));
    let claims = claims("alice", Some(4));
    let exp = Duration::from_secs(claims["exp"].as_u64().expect("a number"));
    // The last second, or a fifth of what is left if that is less, stays unused.
    let (earliest, end) = (UNIX_EPOCH + exp - SKEW, UNIX_EPOCH + exp);
    let subject = lane.bed.embedded_as.issuer().sign(&claims);
    let jwt = lane.bed.login("alice", json!({PROVIDER: subject}));
    while timeline.calls() < 2 {
        assert_eq!(timeline.send(lane, &jwt).await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        timeline.called(1).wall >= earliest,
        "called again before the subject's end"
    );
    // The first use is no later than the call, which is made for any subject.
    let again = timeline.uses().iter().skip(1);
    let late = again.filter(|one| one.token == 0 && one.sent.wall > end);
    assert_eq!(late.count(), 0, "used after the subject's end");
    // What is issued for a subject that is over serves one request.
    while SystemTime::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let calls = timeline.calls();
    for more in 1..=2 {
        assert_eq!(timeline.send(lane, &jwt).await.status, 200);
        assert_eq!(timeline.calls(), calls + more);
    }
}
