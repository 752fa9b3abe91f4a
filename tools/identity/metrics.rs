//! What is counted, for Prometheus. Labels are configured names and fixed words, never a user's.

use std::fmt;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DoorOutcome {
    door: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Door {
    door: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationOutcome {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderOutcome {
    provider: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderLabel {
    provider: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<DoorOutcome, Counter>,
    request_time: Family<Door, Histogram>,
    store: Family<OperationOutcome, Counter>,
    store_time: Family<Operation, Histogram>,
    store_up: Gauge<i64, AtomicI64>,
    refreshes: Family<ProviderOutcome, Counter>,
    refresh_time: Family<ProviderLabel, Histogram>,
    breaker: Family<ProviderLabel, Gauge>,
    unreadable: Family<ProviderLabel, Counter>,
    unknown_form: Counter,
    ended: Counter,
    key_fetches: Family<OutcomeLabel, Counter>,
    /// Each door's, and those of reading the store.
    usual_doors: [Usual; 2],
    usual_read: Usual,
}

/// What is counted for nearly every request: found once, since looking it up costs as much as
/// reading a row.
struct Usual {
    what: &'static str,
    ok: Counter,
    time: Histogram,
}

impl Usual {
    fn of_door(
        door: &'static str,
        requests: &Family<DoorOutcome, Counter>,
        times: &Family<Door, Histogram, fn() -> Histogram>,
    ) -> Self {
        let outcome = "ok";
        Self {
            what: door,
            ok: requests.get_or_create_owned(&DoorOutcome { door, outcome }),
            time: times.get_or_create_owned(&Door { door }),
        }
    }

    fn of_store(
        operation: &'static str,
        store: &Family<OperationOutcome, Counter>,
        times: &Family<Operation, Histogram, fn() -> Histogram>,
    ) -> Self {
        let outcome = "ok";
        Self {
            what: operation,
            ok: store.get_or_create_owned(&OperationOutcome { operation, outcome }),
            time: times.get_or_create_owned(&Operation { operation }),
        }
    }

    /// Whether this was it, and now is counted.
    fn counts(&self, what: &str, outcome: &str, took: Duration) -> bool {
        let is_it = self.what == what && outcome == "ok";
        if is_it {
            self.ok.inc();
            self.time.observe(took.as_secs_f64());
        }
        is_it
    }
}

fn request_buckets() -> Histogram {
    Histogram::new([
        0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    ])
}

fn refresh_buckets() -> Histogram {
    Histogram::new([0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("upstream_inject_identity");
        let requests = Family::default();
        let request_time = Family::new_with_constructor(request_buckets as fn() -> Histogram);
        let store = Family::default();
        let store_time = Family::new_with_constructor(request_buckets as fn() -> Histogram);
        let store_up = Gauge::default();
        let refreshes = Family::default();
        let refresh_time = Family::new_with_constructor(refresh_buckets as fn() -> Histogram);
        let breaker = Family::default();
        let unreadable = Family::default();
        let unknown_form = Counter::default();
        let ended = Counter::default();
        let key_fetches = Family::default();
        registry.register(
            "requests",
            "Requests by door (check: ext_authz, token: RFC 8693) and outcome",
            requests.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "Time of requests, waiting for refreshes included",
            request_time.clone(),
        );
        registry.register(
            "store_operations",
            "Questions to the session store by outcome",
            store.clone(),
        );
        registry.register(
            "store_duration_seconds",
            "Time of questions to the session store",
            store_time.clone(),
        );
        registry.register(
            "store_up",
            "1 if the session store answered last time",
            store_up.clone(),
        );
        registry.register(
            "refreshes",
            "Refreshes by provider and outcome",
            refreshes.clone(),
        );
        registry.register(
            "refresh_duration_seconds",
            "Time of refreshes that called the provider",
            refresh_time.clone(),
        );
        registry.register(
            "breaker_open",
            "1 if a provider is not called because it does not answer",
            breaker.clone(),
        );
        registry.register(
            "unreadable_rows",
            "Rows of sessions that could not be read",
            unreadable.clone(),
        );
        registry.register(
            "unknown_index_form",
            "Sessions in a form that this version cannot read",
            unknown_form.clone(),
        );
        registry.register(
            "ended_sessions",
            "Client refresh tokens taken out so that the client logs in again",
            ended.clone(),
        );
        registry.register(
            "jwks_fetches",
            "Fetches of the auth server's keys by outcome",
            key_fetches.clone(),
        );
        registry.register(
            "build",
            "The version that runs",
            Info::new(vec![
                ("version", env!("CARGO_PKG_VERSION")),
                ("commit", crate::COMMIT),
            ]),
        );
        Self {
            usual_doors: ["check", "token"]
                .map(|door| Usual::of_door(door, &requests, &request_time)),
            usual_read: Usual::of_store("read", &store, &store_time),
            registry,
            requests,
            request_time,
            store,
            store_time,
            store_up,
            refreshes,
            refresh_time,
            breaker,
            unreadable,
            unknown_form,
            ended,
            key_fetches,
        }
    }
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, door: &'static str, outcome: &'static str, took: Duration) {
        if self
            .usual_doors
            .iter()
            .any(|usual| usual.counts(door, outcome, took))
        {
            return;
        }
        self.requests
            .get_or_create(&DoorOutcome { door, outcome })
            .inc();
        self.request_time
            .get_or_create(&Door { door })
            .observe(took.as_secs_f64());
    }

    /// The store was asked.
    pub fn asked(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        if !self.usual_read.counts(operation, outcome, took) {
            self.store
                .get_or_create(&OperationOutcome { operation, outcome })
                .inc();
            self.store_time
                .get_or_create(&Operation { operation })
                .observe(took.as_secs_f64());
        }
        self.store_up.set(i64::from(outcome != "away"));
    }

    /// A refresh ended; `took` if it called the provider.
    pub fn refreshed(&self, provider: &str, outcome: &'static str, took: Option<Duration>) {
        let label = ProviderLabel {
            provider: provider.to_owned(),
        };
        if let Some(took) = took {
            self.refresh_time
                .get_or_create(&label)
                .observe(took.as_secs_f64());
        }
        self.refreshes
            .get_or_create(&ProviderOutcome {
                provider: label.provider,
                outcome,
            })
            .inc();
    }

    /// A provider's breaker is open or not.
    pub fn breaker(&self, provider: &str, open: bool) {
        self.breaker
            .get_or_create(&ProviderLabel {
                provider: provider.to_owned(),
            })
            .set(i64::from(open));
    }

    /// A row could not be read. Of a provider that is not configured, its name does not count:
    /// whoever writes rows could make as many as they like.
    pub fn unreadable(&self, provider: &str) {
        self.unreadable
            .get_or_create(&ProviderLabel {
                provider: provider.to_owned(),
            })
            .inc();
    }

    /// A session has a form that is not known.
    pub fn unknown_form(&self) {
        self.unknown_form.inc();
    }

    /// A client's refresh token was taken out.
    pub fn ended(&self) {
        self.ended.inc();
    }

    /// The keys were fetched, or not.
    pub fn fetched_keys(&self, outcome: &'static str) {
        self.key_fetches
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// All of it, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
