//! What sharing saves and costs, in words, and where that is kept.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::plot;
use crate::record;
use crate::report::round;
use crate::sharing::{REQUESTS, Sharing, Waiting};

impl Sharing {
    /// Tables, as Markdown.
    pub fn text(&self) -> String {
        let mut text = format!(
            "| each user sends {REQUESTS} requests | STS calls for a user | without | CPU time of a \
             request | without |\n| --- | ---: | ---: | ---: | ---: |\n"
        );
        for one in &self.steady {
            let [[calls, alone], [micros, micros_alone]] = [one.calls, one.micros];
            let workers = if one.workers == 1 {
                "worker"
            } else {
                "workers"
            };
            let _ = writeln!(
                text,
                "| {} {workers} | {calls:.2} | {alone:.2} | {micros:.1} µs | {micros_alone:.1} µs |",
                one.workers
            );
        }
        let [with, without] = self.cold;
        let _ = write!(
            text,
            "\n| cold start of 4 workers, {} users | STS calls | until all are served |\n\
             | --- | ---: | ---: |\n\
             | shared | {} | {:.1} s |\n| `share: false` | {} | {:.1} s |\n",
            self.cold_users, with.calls, with.seconds, without.calls, without.seconds
        );
        text + "\n" + &self.waiting.text()
    }

    /// Writes the results into `docs/`.
    pub fn record(&self) {
        let path = bed::repository().join("docs/bench/result.json");
        let before = std::fs::read(&path).expect("docs/bench/result.json");
        let mut all: Value = serde_json::from_slice(&before).expect("JSON");
        all["sharing"] = self.json();
        let text = serde_json::to_string_pretty(&all).expect("JSON") + "\n";
        record::file("result.json", &text);
        record::file("sharing.svg", &plot::sharing(&self.steady));
        record::parts("docs/PERFORMANCE.md", &[("sharing", &self.text())]);
        record::parts("docs/SHARING.md", &[("waiting", &self.waiting.text())]);
    }

    fn json(&self) -> Value {
        let steady = self.steady.iter().map(|one| {
            json!({"workers": one.workers, "sts_calls_per_user": one.calls.map(round),
                   "micros_per_request": one.micros.map(round)})
        });
        let cold = self
            .cold
            .map(|one| json!({"sts_calls": one.calls, "seconds": round(one.seconds)}));
        let Waiting {
            owner,
            joined,
            shared,
        } = &self.waiting;
        json!({
            "with_and_without": steady.collect::<Vec<_>>(),
            "cold_start_with_and_without": {"users": self.cold_users, "of": cold},
            "answered_after_micros_50_and_99": {
                "owner": owner.map(round), "joined": joined.map(round), "shared": shared.map(round),
            },
        })
    }
}

impl Waiting {
    /// Percentiles, as Markdown.
    fn text(&self) -> String {
        let mut text = "| a request, since the call began | half are answered within | against the \
                        owner's | 99 % | against the owner's |\n| --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        for (who, [half, most]) in [
            ("whose worker makes the call", self.owner),
            ("that waits in the same worker", self.joined),
            ("that waits in another worker", self.shared),
        ] {
            let _ = writeln!(
                text,
                "| {who} | {:.2} ms | {:.2} | {:.2} ms | {:.2} |",
                half / 1e3,
                half / self.owner[0],
                most / 1e3,
                most / self.owner[1]
            );
        }
        text
    }
}
