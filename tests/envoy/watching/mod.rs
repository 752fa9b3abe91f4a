//! `envoy/prometheus/`: a real Prometheus watches real Envoys and the identity service, finds data for
//! every expression of rules and dashboard, and calls when something is wrong, and only then.
//!
//! The time logic of the rules as shipped is `tests/prometheus/rules_test.yaml`'s. Here a minute is a
//! second, so that what takes a quarter of an hour takes a quarter of a minute.

mod watched;

use std::collections::BTreeMap;
use std::time::Duration;

use bed::{Answer, PluginConfig, Request, eventually, promtool, repository};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, configuration};
use crate::exchange_reload::tripping;
use crate::identity_service::{User, row};
use crate::trial::trials;
use watched::{Traffic, Watched};

trials!("watching":
    promtool_accepts_what_is_shipped,
    the_dashboard_is_whole,
    each_alert_fires_when_its_fault_is_made_and_rests_when_it_is_not,
);

const BACKENDS: [&str; 4] = [
    "github-tools",
    "atlassian-tools",
    "corporate-api",
    "internal-api",
];

fn shipped(file: &str) -> String {
    let path = repository().join("envoy/prometheus").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&shipped("dashboard.json")).expect("JSON")
}

async fn promtool_accepts_what_is_shipped() {
    for arguments in [
        ["check", "config", "envoy/prometheus/prometheus.yaml"],
        ["check", "rules", "envoy/prometheus/rules.yaml"],
        ["test", "rules", "tests/prometheus/rules_test.yaml"],
    ] {
        let said = promtool(&arguments).unwrap_or_else(|error| panic!("{error}"));
        assert!(said.contains("SUCCESS"), "{said}");
    }
    // Each alert has a section that it names, and tests of when it fires.
    let page = std::fs::read_to_string(repository().join("docs/watching.md")).expect("the page");
    let tests = repository().join("tests/prometheus/rules_test.yaml");
    let tests = std::fs::read_to_string(tests).expect("the tests");
    for alert in alerts() {
        let heading = format!("\n### {alert}\n");
        assert!(page.contains(&heading), "the page says nothing of {alert}");
        let anchor = format!("runbook: docs/watching.md#{}\n", alert.to_lowercase());
        assert!(shipped("rules.yaml").contains(&anchor), "{anchor}");
        let tested = format!("alertname: {alert}\n    exp_alerts:");
        assert!(tests.contains(&tested), "{alert} is not seen to fire");
    }
}

/// The names of the alerts.
fn alerts() -> Vec<String> {
    let rules = shipped("rules.yaml");
    let mut names: Vec<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect();
    names.dedup();
    assert!(names.len() >= 10, "{names:?}");
    names
}

/// What Grafana needs to import it, and an operator to read it.
async fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    // Grafana 10 has 38; later ones migrate what is older.
    assert_eq!(dashboard["schemaVersion"], 38);
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut taken = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        let id = panel["id"].as_u64().expect("an id");
        assert_eq!(ids.insert(id, title), None, "{title}");
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24);
                assert_eq!(taken.insert((x, y), title), None, "{title} covers it");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        assert!(
            !panel["description"].as_str().unwrap_or_default().is_empty(),
            "{title}"
        );
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty());
        for target in targets {
            assert!(
                !target["legendFormat"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty(),
                "{title}"
            );
        }
    }
    assert!(ids.len() > 25);
}

fn requests(users: &[User], backends: &[&str]) -> Vec<Vec<Request>> {
    let of = |user: &User| {
        let get = |backend: &&str| Request::get(&format!("/{backend}/x")).bearer(&user.token);
        backends.iter().map(get).collect()
    };
    users.iter().map(of).collect()
}

/// What a filter asks the identity service for.
fn asking(user: &User) -> Request {
    let form = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("subject_token", &user.token),
        ("audience", "github"),
        ("client_id", bed::IDENTITY_CLIENT.1),
        ("client_secret", &bed::canary::token("", "identity-client")),
    ];
    let form: Vec<String> = form
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Request::post("/token", form.join("&"))
        .header("content-type", "application/x-www-form-urlencoded")
}

/// A token of two seconds, so that there is always a call.
fn short_lived(request: &bed::StsRequest) -> Answer {
    let token = bed::canary::token(
        "sts_",
        &request.parameter("subject_token").len().to_string(),
    );
    Answer::json(200, &Answer::token_body(&token, json!(2)))
}

async fn each_alert_fires_when_its_fault_is_made_and_rests_when_it_is_not() {
    let watched = Watched::start().await;
    let (world, other) = (&watched.world, &watched.other);
    let address = world.scene.address();
    let pause = Duration::from_millis(120);
    let sts = &world.scene.neighbours.sts;
    sts.set_script(short_lived);
    let users: Vec<User> = (0..6).map(|n| world.login(&format!("user-{n}"))).collect();
    watched.rows_of(&users);
    let _users = Traffic::of(address, requests(&users, &BACKENDS), pause);
    let lane = Lane::of(other, "trap");
    let jwt = lane.login("alice");
    let _elsewhere = Traffic::of(other.address(), vec![vec![lane.request(&jwt, "x")]], pause);

    // All is well.
    eventually("some seconds of traffic to be told", || async {
        let told =
            "min(count_over_time(upstream_inject:requests:rate5m{outcome!=\"injected\"}[8s]))";
        watched.look().await;
        let found = watched.prometheus.query(told).await;
        found
            .iter()
            .any(|(_, samples)| *samples >= 5.0)
            .then_some(())
    })
    .await;
    let backends = "count by (backend, outcome) (upstream_inject:requests:total)";
    let mut served: Vec<String> = Vec::new();
    for (labels, _) in watched.prometheus.query(backends).await {
        served.push(format!("{} {}", labels["backend"], labels["outcome"]).replace('"', ""));
    }
    served.sort();
    let expected = [
        "atlassian-tools injected",
        "corporate-api exchanged",
        "github-tools injected",
        "internal-api header_injected",
        "trap exchanged",
    ];
    // On a machine that stood still, a request may have ended in another way, too.
    let is_there = |one: &&str| served.iter().any(|other| other == one);
    assert!(expected.iter().all(is_there), "{served:?}");
    watched.silence("while all is well").await;

    // Nearly everything goes wrong.
    sts.set_script(|_| Answer::error(500, "server_error"));
    // Of this one no breaker keeps.
    lane.sts().set_script(|_| Answer::json(200, &json!({})));
    world
        .provider
        .set_script(|_| Answer::error(401, "invalid_client"));
    let stale: Vec<User> = (0..12)
        .map(|n| world.login(&format!("stale-{n}")))
        .collect();
    for (index, user) in stale.iter().enumerate() {
        let row = row(&format!("stale-{index}"), "atlassian", -5);
        world.redis.put(&user.session, &row);
    }
    // Nobody can read what somebody has written over this one.
    let key = bed::Redis::row_key(&stale[0].session, "atlassian");
    world.redis.run(&["SET", &key, "no row"]);
    let strangers: Vec<User> = (0..2)
        .map(|n| world.login_with(&format!("stranger-{n}"), &["corporate-idp"]))
        .collect();
    let strangers = [
        Traffic::of(address, requests(&strangers, &["github-tools"]), pause / 4),
        Traffic::of(address, requests(&stale, &["atlassian-tools"]), pause),
    ];
    let nobody = other.embedded_as.login("nobody", json!({}));
    let bob = lane.login("bob");
    let others = [&nobody, &bob].map(|jwt| vec![lane.request(jwt, "x")]);
    let others = Traffic::of(other.address(), others.to_vec(), pause / 4);
    let mut bad = configuration(&[("trap", json!({}))], json!({}));
    bad["outgoingAuth"]["backends"]["two"] = crate::plugin::inject("gitlab");
    assert!(!other.reconfigure(PluginConfig::Json(bad), &[]).await);
    let instance = other.envoy.admin_address();
    // Whoever asks the store meanwhile waits.
    let slow_store = async {
        loop {
            world.redis.run(&["CLIENT", "PAUSE", "900"]);
            tokio::time::sleep(Duration::from_millis(950)).await;
        }
    };
    let expected = [
        "UpstreamInjectRequestsFailing corporate-api".to_owned(),
        "UpstreamInjectRequestsFailing trap".to_owned(),
        "UpstreamInjectStsFailing trap".to_owned(),
        "UpstreamInjectBreakerOpen corporate-api".to_owned(),
        "UpstreamInjectRequestsRefused github-tools upstream_token_not_found".to_owned(),
        "UpstreamInjectRequestsRefused trap upstream_token_not_found".to_owned(),
        "UpstreamInjectRefreshFailing atlassian".to_owned(),
        "UpstreamInjectIdentitySlow token".to_owned(),
        format!("UpstreamInjectConfigRejected listener_manager_lds {instance}"),
    ];
    tokio::select! {
        () = watched.called(&expected) => {}
        () = slow_store => {}
    }
    let firing = watched.alerts("firing").await;
    for rests in [
        "internal-api",
        "IdentityDown",
        "token service",
        "BreakerOpen trap",
    ] {
        assert!(
            !firing.iter().any(|alert| alert.contains(rests)),
            "{rests}: {firing:#?}"
        );
    }

    // The STS comes back, and the store goes. The filter soon leaves the service alone, and somebody else does
    // not. VMs crash only now, since who waits for an STS when one does is kept waiting, and fails no more.
    sts.set_script(short_lived);
    world.redis.kill();
    let service = world.service.admin_address();
    let crash = tripping(lane.request(&jwt, "trip"));
    let crashes = Traffic::of(other.address(), vec![vec![crash]], Duration::from_secs(3));
    let asks = [asking(&users[0]), asking(&users[1])].map(|request| vec![request]);
    let somebody = Traffic::of(world.service.token_address(), asks.to_vec(), pause);
    let expected = [
        format!("UpstreamInjectIdentityDown {service}"),
        "UpstreamInjectIdentityFailing token service".to_owned(),
        "UpstreamInjectIdentityFailing envoy".to_owned(),
        format!("UpstreamInjectVmCrashed {instance}"),
    ];
    watched.called(&expected).await;

    // All is well again.
    drop((crashes, others, strangers, somebody));
    world.redis.begin().await.expect("it starts again");
    watched.rows_of(&users);
    watched.silence("after all is well again").await;
    assert_eq!(
        watched.unseen(),
        Vec::<String>::new(),
        "these have given no data"
    );
}
