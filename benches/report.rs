//! The results, as an operator reads them, and where they are kept.

use std::fmt::Write as _;
use std::io::IsTerminal;

use serde_json::{Value, json};

use crate::exchange::ColdExchange;
use crate::latency::{Latency, RATE};
use crate::loading::Loading;
use crate::memory::Memory;
use crate::plot;
use crate::record;
use crate::requests::{Added, BARE, CACHED, CONTRACT, INJECT, INJECT_10000, LUA, NOTHING};
use crate::sharing::Sharing;
use crate::streams::Stream;

/// Everything that was measured.
pub struct Report {
    /// Cores and clock.
    pub machine: String,
    /// CPU time per request.
    pub added: Vec<Added>,
    /// Bodies.
    pub streams: Vec<Stream>,
    /// Latency at a fixed rate.
    pub latency: Vec<Latency>,
    /// Cold exchanges.
    pub exchange: ColdExchange,
    /// The VM's memory.
    pub memory: Memory,
    /// The start of Envoy.
    pub loading: Loading,
    /// Workers that share.
    pub sharing: Sharing,
    /// The size of the artifact, in bytes.
    pub artifact: u64,
}

/// One thing that has a target.
pub struct Row {
    /// In words.
    pub what: String,
    /// What was measured.
    pub reached: f64,
    /// What it should be.
    pub target: Target,
    /// Of both.
    pub unit: &'static str,
}

/// What a number should be.
#[derive(Clone, Copy)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Row {
    fn met(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.reached <= most,
            Target::AtLeast(least) => self.reached >= least,
        }
    }

    fn target(&self) -> String {
        match self.target {
            Target::AtMost(most) => format!("≤ {}", number(most, self.unit)),
            Target::AtLeast(least) => format!("≥ {}", number(least, self.unit)),
        }
    }
}

fn number(value: f64, unit: &str) -> String {
    match unit {
        "" => format!("{value:.3}"),
        unit => format!("{value:.0} {unit}"),
    }
}

impl Report {
    fn micros(&self, key: &str) -> f64 {
        micros(&self.added, key)
    }

    fn rows(&self) -> Vec<Row> {
        let at_most = |what: &str, reached: f64, most: f64, unit: &'static str| Row {
            what: what.to_owned(),
            reached,
            target: Target::AtMost(most),
            unit,
        };
        let ratio = |one: &str, other: &str| self.micros(one) / self.micros(other);
        let mut rows = vec![
            at_most(
                "`upstream_inject` against the Lua filter",
                ratio(INJECT, LUA),
                1.0,
                "",
            ),
            at_most(
                "`upstream_inject` against the bare floor",
                ratio(INJECT, BARE),
                1.1,
                "",
            ),
            at_most(
                "`upstream_inject` against the floor with everything that the contract demands",
                ratio(INJECT, CONTRACT),
                1.1,
                "",
            ),
            at_most(
                "10,000 backends against one",
                ratio(INJECT_10000, INJECT),
                1.3,
                "",
            ),
            at_most(
                "cached exchange against `upstream_inject`",
                ratio(CACHED, INJECT),
                1.3,
                "",
            ),
        ];
        rows.extend(self.streams.iter().map(|stream| Row {
            what: format!("throughput, {}, with against without", stream.what),
            reached: stream.throughput[1] / stream.throughput[0],
            target: Target::AtLeast(0.98),
            unit: "",
        }));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        rows.extend([
            at_most(
                "cold exchange against a round trip to the STS",
                self.exchange.cold / self.exchange.bare,
                1.1,
                "",
            ),
            at_most("artifact", self.artifact as f64 / 1024.0, 200.0, "KiB"),
            at_most(
                "VM memory at rest",
                mib(self.memory.at_rest.size),
                2.0,
                "MiB",
            ),
            at_most(
                "VM memory, 4,096 cached tokens",
                mib(self.memory.full.size),
                16.0,
                "MiB",
            ),
        ]);
        rows
    }

    /// Prints the results to standard output.
    pub fn print(&self) {
        println!("Machine: {}\n\n{}", self.machine, cost_table(&self.added));
        println!("{}", self.other_table());
        println!("{}", self.sharing.text());
        print_rows(&self.rows());
    }

    /// Everything else, as Markdown.
    fn other_table(&self) -> String {
        let mut table = "| bodies | without | with | CPU without | CPU with |\n\
                         | --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        for stream in &self.streams {
            let (scale, unit, per) = match stream.what.contains("MB") {
                true => (1e6, "MB/s", "ns/KB"),
                false => (1.0, "events/s", "ns/event"),
            };
            let by = if unit == "MB/s" { 1e3 } else { 1.0 };
            let [[without, with], [cpu_without, cpu_with]] = [
                stream.throughput.map(|value| value / scale),
                stream.cpu_nanos.map(|value| value * by),
            ];
            let _ = writeln!(
                table,
                "| {} | {without:.0} {unit} | {with:.0} {unit} | {cpu_without:.0} {per} | \
                 {cpu_with:.0} {per} |",
                stream.what
            );
        }
        let _ = write!(
            table,
            "\n| latency at {RATE} requests/s | 50 % | 90 % | 99 % |\n\
             | --- | ---: | ---: | ---: |\n"
        );
        for latency in &self.latency {
            let [a, b, c] = latency.micros;
            let _ = writeln!(
                table,
                "| {} | {a:.0} µs | {b:.0} µs | {c:.0} µs |",
                latency.what
            );
        }
        let _ = write!(table, "\n{}", self.sentences());
        table
    }

    fn sentences(&self) -> String {
        let Loading { one, many } = self.loading;
        let ColdExchange { bare, cold } = self.exchange;
        let kib = |bytes: u64| bytes / 1024;
        format!(
            "- A request whose token must be exchanged first takes {:.2} ms, a round trip to the \
             same STS through the same Envoy {:.2} ms (medians; the STS takes 5 ms).\n\
             - The worker's VM has {} KiB of memory at rest, {} KiB of it touched; with 4,096 \
             tokens of 1 KB under subject tokens of 1 KB, {} KiB, {} KiB of it touched.\n\
             - Envoy with one worker uses {one:.0} ms of CPU time to start with one backend, \
             {many:.0} ms with 10,000.\n",
            cold / 1e3,
            bare / 1e3,
            kib(self.memory.at_rest.size),
            kib(self.memory.at_rest.resident),
            kib(self.memory.full.size),
            kib(self.memory.full.resident),
        )
    }

    fn json(&self) -> Value {
        let added: Vec<Value> = self
            .added
            .iter()
            .map(|one| {
                json!({"key": one.key, "what": one.what, "micros": round(one.micros),
                       "uncertainty": round(one.uncertainty)})
            })
            .collect();
        let streams: Vec<Value> = self
            .streams
            .iter()
            .map(|stream| {
                json!({"what": stream.what, "per_second": stream.throughput.map(round),
                       "cpu_nanos": stream.cpu_nanos.map(round)})
            })
            .collect();
        let latency: Vec<Value> = self
            .latency
            .iter()
            .map(|one| json!({"what": one.what, "micros": one.micros.map(round)}))
            .collect();
        let targets: Vec<Value> = self
            .rows()
            .iter()
            .map(|row| {
                json!({"what": row.what, "reached": round(row.reached), "unit": row.unit,
                       "target": row.target(), "met": row.met()})
            })
            .collect();
        json!({
            "machine": self.machine,
            "targets": targets,
            "added_cpu_per_request": added,
            "bodies_without_and_with": streams,
            "latency": latency,
            "exchange_micros": {"bare": round(self.exchange.bare), "cold": round(self.exchange.cold)},
            "memory_bytes": {
                "at_rest": self.memory.at_rest.size, "at_rest_touched": self.memory.at_rest.resident,
                "full": self.memory.full.size, "full_touched": self.memory.full.resident,
            },
            "start_cpu_millis": {"one": round(self.loading.one), "ten_thousand": round(self.loading.many)},
            "artifact_bytes": self.artifact,
        })
    }

    /// Writes the results into `docs/`.
    pub fn record(&self) {
        record::file(
            "result.json",
            &(serde_json::to_string_pretty(&self.json()).expect("JSON") + "\n"),
        );
        record::file("cost.svg", &plot::cost(&self.added));
        record::file("latency.svg", &plot::latency(&self.latency));
        let machine = format!("Machine: {}.\n", self.machine);
        record::parts(
            "docs/PERFORMANCE.md",
            &[
                ("machine", machine.as_str()),
                ("targets", &target_rows(&self.rows())),
                ("cost", &cost_table(&self.added)),
                ("rest", &self.other_table()),
            ],
        );
        self.sharing.record();
    }
}

/// Prints what has a target.
pub fn print_rows(rows: &[Row]) {
    let (green, red, plain) = match std::io::stdout().is_terminal() {
        true => ("\x1b[32m", "\x1b[31m", "\x1b[0m"),
        false => ("", "", ""),
    };
    for row in rows {
        let (colour, word) = if row.met() {
            (green, "met")
        } else {
            (red, "missed")
        };
        let reached = number(row.reached, row.unit);
        println!(
            "{colour}{word:<6}{plain} {reached:>9}  {:<10} {}",
            row.target(),
            row.what
        );
    }
}

/// What has a target, as Markdown.
pub fn target_rows(rows: &[Row]) -> String {
    let mut table = "| what | reached | target | |\n| --- | ---: | ---: | --- |\n".to_owned();
    for row in rows {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            row.what,
            number(row.reached, row.unit),
            row.target(),
            if row.met() { "met" } else { "missed" }
        );
    }
    table
}

/// CPU time per request, as Markdown.
pub fn cost_table(added: &[Added]) -> String {
    let mut table = "| filter | added CPU time per request |\n| --- | ---: |\n".to_owned();
    for one in added.iter().filter(|one| one.key != NOTHING) {
        let _ = writeln!(
            table,
            "| {} | {:.2} µs ± {:.2} |",
            one.what, one.micros, one.uncertainty
        );
    }
    let _ = writeln!(
        table,
        "\nA request without any of them costs {:.1} µs.",
        micros(added, NOTHING)
    );
    table
}

fn micros(added: &[Added], key: &str) -> f64 {
    added
        .iter()
        .find(|one| one.key == key)
        .map_or(f64::NAN, |one| one.micros)
}

/// To three digits after the point.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
