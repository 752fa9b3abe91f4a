//! What Prometheus is told of in `envoy/prometheus/` is what the filter and the service count: whoever
//! renames a counter learns here who reads it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use identity::metrics::Metrics;
use upstream_inject::observe::counters::{
    CACHE_ENTRIES, Counter, IDENTITY_DURATION, MISROUTED, Outcome, StsResult, sts_duration,
};
use upstream_inject::refusal::Code;

/// A backend of this name is cut out of the names, as `stats_tags` do.
const BACKEND: &str = "BACKEND";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy/prometheus");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// As Prometheus sees a stat of Envoy's.
fn in_prometheus(stat: &str) -> String {
    stat.replace(&format!(".{BACKEND}"), "").replace('.', "_")
}

fn outcomes() -> Vec<Outcome> {
    let refused = Code::ALL.map(Outcome::Refused);
    Outcome::SERVED.into_iter().chain(refused).collect()
}

/// Every series of the filter.
fn of_the_filter() -> BTreeSet<String> {
    let counters = outcomes()
        .into_iter()
        .map(Counter::Backend)
        .chain(StsResult::ALL.map(Counter::Sts))
        .chain(StsResult::ALL.map(Counter::Identity))
        .chain([Counter::IdentityAbsent])
        .map(|counter| counter.name(BACKEND));
    let mut series: BTreeSet<String> = counters
        .chain([CACHE_ENTRIES, MISROUTED].map(str::to_owned))
        .map(|name| in_prometheus(&name))
        .collect();
    for histogram in [IDENTITY_DURATION, &sts_duration(BACKEND)] {
        for part in ["bucket", "count", "sum"] {
            series.insert(format!("{}_{part}", in_prometheus(histogram)));
        }
    }
    series
}

/// Every series of the service: all that can be counted is counted once.
fn of_the_service() -> BTreeSet<String> {
    let metrics = Metrics::default();
    let took = Duration::from_millis(1);
    metrics.answered("check", "ok", took);
    metrics.asked("read", "ok", took);
    metrics.refreshed("github", "refreshed", Some(took));
    metrics.breaker("github", true);
    metrics.unreadable("github");
    metrics.unknown_form();
    metrics.ended();
    metrics.fetched_keys("ok");
    metrics
        .render()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

/// Names in rules and dashboard, those within regular expressions too.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)))
        .filter(|word| word.starts_with("upstream_inject_") || word.starts_with("upstream_inject:"))
        .collect()
}

/// The words that a label is compared with.
fn compared<'a>(text: &'a str, label: &str) -> BTreeSet<&'a str> {
    let mut words = BTreeSet::new();
    for operator in ["=~", "!~", "="] {
        // As it stands in YAML, and in JSON.
        for quote in ["\"", "\\\""] {
            let begin = format!("{label}{operator}{quote}");
            for piece in text.split(&begin).skip(1) {
                words.extend(piece.split(quote).next().unwrap().split('|'));
            }
        }
    }
    words
}

#[test]
fn every_name_in_rules_and_dashboard_is_counted_by_somebody() {
    let rules = file("rules.yaml");
    let recorded: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .collect();
    assert!(recorded.len() > 10, "{recorded:?}");
    let counted: BTreeSet<String> = of_the_filter()
        .into_iter()
        .chain(of_the_service())
        .collect();
    // The label that `stats_tags` make.
    let label = "upstream_inject_backend";
    let is_known = |name: &str| {
        // The beginning of a name, which a regular expression goes on with.
        let begins = |known: &String| name.ends_with('_') && known.starts_with(name);
        name == label
            || recorded.contains(name)
            || counted.contains(name)
            || counted.iter().any(begins)
    };
    for text in [&rules, &file("dashboard.json"), &file("prometheus.yaml")] {
        let unknown: Vec<_> = names(text)
            .into_iter()
            .filter(|name| !is_known(name))
            .collect();
        assert!(unknown.is_empty(), "nobody counts {unknown:#?}");
    }
    for name in [
        "upstream_inject_cache_entries",
        "upstream_inject_identity_requests_total",
    ] {
        assert!(counted.contains(name), "{counted:#?}");
        assert!(names(&file("dashboard.json")).contains(name));
    }
}

#[test]
fn rules_know_every_outcome_and_every_result() {
    let rules = file("rules.yaml");
    let outcomes: BTreeSet<&str> = outcomes().into_iter().map(Outcome::as_str).collect();
    let results: BTreeSet<&str> = StsResult::ALL.into_iter().map(StsResult::as_str).collect();
    let mut lists = 0;
    for group in rules.split('(').skip(1) {
        let group = group.split(')').next().unwrap().trim_start_matches("?:");
        let words: BTreeSet<&str> = group.split('|').collect();
        if words.len() < 10 {
            continue;
        }
        lists += 1;
        assert!(
            words == outcomes || words == results,
            "not all of them: {words:#?}"
        );
    }
    assert_eq!(lists, 5, "requests and exchanges twice, and identities");

    for text in [&rules, &file("dashboard.json")] {
        let unknown: Vec<_> = compared(text, "result")
            .difference(&results)
            .copied()
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} is no result");
        let of_the_service: BTreeSet<&str> =
            ["unavailable", "temporarily_unavailable", "unknown_form"].into();
        let known: BTreeSet<&str> = outcomes.union(&of_the_service).copied().collect();
        let unknown: Vec<_> = compared(text, "outcome")
            .difference(&known)
            .copied()
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} is no outcome");
    }
}

/// Each refusal calls somebody, and whom depends on the status.
#[test]
fn each_refusal_belongs_to_one_alert() {
    let rules = file("rules.yaml");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let of_alert = |name: &str| {
        let (_, rest) = rules.split_once(&format!("- alert: {name}\n")).unwrap();
        compared(rest.split("- alert:").next().unwrap(), "outcome")
    };
    let failing = of_alert("UpstreamInjectRequestsFailing");
    let refused = of_alert("UpstreamInjectRequestsRefused");
    assert!(failing.is_disjoint(&refused));
    assert_eq!(failing.len() + refused.len(), Code::ALL.len());
    for code in Code::ALL.map(Code::as_str) {
        // | when | status | challenge | `code` |
        let row = readme
            .lines()
            .find(|line| line.starts_with("| ") && line.ends_with(&format!("| `{code}` |")))
            .unwrap_or_else(|| panic!("the README has no row of {code}"));
        let status = row.rsplit('|').nth(3).unwrap().trim();
        let expected = if status.starts_with('5') {
            &failing
        } else {
            &refused
        };
        assert!(expected.contains(code), "{code}: {status}");
    }
}
