//! What is watched, and who watches it: two Envoys and the identity service under traffic, and a
//! Prometheus with the shipped rules.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bed::{Bed, Client, Prometheus, Request, eventually};
use serde_json::{Value, json};

use super::{dashboard, shipped};
use crate::exchange_lane::lanes;
use crate::exchange_reload::with_tripwire;
use crate::identity_service::{Door, User, World, row, world};

const PROVIDERS: [&str; 3] = ["github", "atlassian", "corporate-idp"];

/// Requests that go on until this is dropped.
pub struct Traffic(Vec<tokio::task::JoinHandle<()>>);

impl Traffic {
    /// Each of these requests again and again, whatever becomes of it; not all begin at once.
    pub fn of(address: SocketAddr, requests: Vec<Vec<Request>>, pause: Duration) -> Self {
        let tasks = requests.into_iter().zip(0..).map(|(requests, index)| {
            let client = Client::http1(address);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(450) * index).await;
                for request in requests.into_iter().cycle() {
                    let _ = client.try_send(request).await;
                    tokio::time::sleep(pause).await;
                }
            })
        });
        Self(tasks.collect())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// All that is watched.
pub struct Watched {
    pub world: World,
    /// An Envoy whose listener can be replaced, and whose VM can be made to trap. It has no
    /// `stats_tags`.
    pub other: Bed,
    pub prometheus: Prometheus,
    /// The expressions that have given no data yet.
    unseen: Mutex<Vec<String>>,
}

impl Watched {
    pub async fn start() -> Self {
        // Envoy gathers its histograms as often as it flushes.
        let admin = bed::free_port().expect("a free port");
        let store_is_slow = ["--store-timeout", "5s"];
        let world = world(Door::Exchange, &store_is_slow, |text| {
            let text = text.replacen("port_value: 0}", &format!("port_value: {admin}}}"), 1);
            with_stats_listener(&format!("stats_flush_interval: 1s\n{text}"), admin)
        });
        let other = lanes("watching", &[("trap", json!({}))], json!({}))
            .artifact(with_tripwire("watching"))
            .reloadable()
            .start();
        let (world, other) = (world.await, other.await);
        let envoys = [
            world.scene.envoy.listener("stats").await,
            other.envoy.admin_address(),
        ];
        let configuration = shipped("prometheus.yaml")
            .replace("15s", "1s")
            .replace(
                "localhost:9901",
                &envoys.map(|it| it.to_string()).join(", "),
            )
            .replace("localhost:9192", &world.service.admin_address().to_string());
        let rules = sixty_times_as_fast(&shipped("rules.yaml"));
        let prometheus = Prometheus::start(&configuration, &rules)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let rules = prometheus.rules().await;
        let mut unseen: Vec<String> = rules
            .iter()
            .map(|rule| rule["query"].as_str().expect("a query").to_owned())
            .chain(expressions_of(&dashboard()).iter().map(|it| as_sent(it)))
            .collect();
        unseen.sort();
        unseen.dedup();
        assert!(unseen.len() > 50, "{unseen:#?}");
        Self {
            world,
            other,
            prometheus,
            unseen: Mutex::new(unseen),
        }
    }

    /// Looks which of the expressions give data. A quantile of nothing is none.
    pub async fn look(&self) {
        for expression in self.unseen() {
            let samples = self.prometheus.query(&expression).await;
            if samples.iter().any(|(_, value)| !value.is_nan()) {
                let mut left = self.unseen.lock().expect("no panic in here");
                left.retain(|other| *other != expression);
            }
        }
    }

    /// The expressions that have given no data yet.
    pub fn unseen(&self) -> Vec<String> {
        self.unseen.lock().expect("no panic in here").clone()
    }

    /// The alerts in this state, or in any, each with what it is about.
    pub async fn alerts(&self, state: &str) -> Vec<String> {
        self.look().await;
        let query = format!("ALERTS{{alertname=~\"UpstreamInject.+\", alertstate=~\"{state}\"}}");
        let found = self.prometheus.query(&query).await;
        let mut found: Vec<String> = found.iter().map(|(labels, _)| told(labels)).collect();
        found.sort();
        found
    }

    /// Waits until all of these fire.
    pub async fn called(&self, alerts: &[String]) {
        let waits_for = Mutex::new(alerts.to_vec());
        let all = async {
            loop {
                let firing = self.alerts("firing").await;
                let left = {
                    let mut waits_for = waits_for.lock().expect("no panic in here");
                    waits_for.retain(|alert| !firing.contains(alert));
                    waits_for.len()
                };
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let all = bed::within(Duration::from_secs(90), "alerts", all).await;
        if let Err(error) = all {
            let firing = self.alerts("firing").await;
            panic!("{error}: {waits_for:#?}; these fire: {firing:#?}");
        }
    }

    pub async fn silence(&self, what: &str) {
        eventually(&format!("silence {what}"), || async {
            self.alerts(".*").await.is_empty().then_some(())
        })
        .await;
    }

    pub fn rows_of(&self, users: &[User]) {
        for (index, user) in users.iter().enumerate() {
            for provider in PROVIDERS {
                let row = row(&format!("user-{index}"), provider, 3600);
                self.world.redis.put(&user.session, &row);
            }
        }
    }
}

/// An alert in one line: its name, and what it is about.
fn told(labels: &Value) -> String {
    let about = [
        "backend", "outcome", "provider", "door", "source", "seen_by", "instance",
    ];
    let about = about.iter().filter_map(|label| labels[label].as_str());
    let name = labels["alertname"].as_str().unwrap_or_default();
    [name]
        .into_iter()
        .chain(about)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The configuration with the listener of `stats-listener.yaml` added, as that file says.
fn with_stats_listener(text: &str, admin: u16) -> String {
    let added = shipped("stats-listener.yaml")
        .replace("0.0.0.0, port_value: 9902", "127.0.0.1, port_value: 0")
        .replace("port_value: 9901", &format!("port_value: {admin}"));
    let (_, added) = added.split_once("listeners:\n").expect("listeners");
    let (listeners, clusters) = added.split_once("clusters:\n").expect("clusters");
    let indented =
        |block: &str| -> String { block.lines().map(|line| format!("  {line}\n")).collect() };
    [("  listeners:\n", listeners), ("  clusters:\n", clusters)]
        .iter()
        .fold(text.to_owned(), |text, (head, block)| {
            assert_eq!(text.matches(head).count(), 1, "{head}");
            text.replace(head, &format!("{head}{}", indented(block)))
        })
}

/// Every expression in the dashboard: of panels, of annotations, and what its variables list.
fn expressions_of(dashboard: &Value) -> Vec<String> {
    match dashboard {
        Value::Object(members) => {
            let own = ["expr", "definition"]
                .iter()
                .filter_map(|key| members.get(*key)?.as_str().map(str::to_owned));
            own.chain(members.values().flat_map(expressions_of))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(expressions_of).collect(),
        _ => Vec::new(),
    }
}

/// An expression as Grafana sends it to Prometheus, with every job and backend chosen.
fn as_sent(expression: &str) -> String {
    let listed = expression.strip_prefix("label_values(");
    let expression = listed.map_or(expression, |inner| {
        inner.rsplit_once(", ").expect("a metric and a label").0
    });
    expression
        .replace("$__rate_interval", "5s")
        .replace("$job", ".*")
        .replace("$backend", ".*")
}

/// Minutes become seconds, and hours minutes.
fn sixty_times_as_fast(rules: &str) -> String {
    let mut fast = rules.replace("[1h]", "[1m]");
    for minutes in [2, 5, 10, 15] {
        for place in ["[", "for: "] {
            fast = fast.replace(&format!("{place}{minutes}m"), &format!("{place}{minutes}s"));
        }
    }
    let slow = |line: &&str| line.contains("h]") || line.contains("m]") && !line.contains("[1m]");
    let left: Vec<&str> = fast.lines().filter(slow).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert!(
        fast.lines()
            .filter_map(|line| line.trim().strip_prefix("for: "))
            .all(|it| it.ends_with('s'))
    );
    fast
}
