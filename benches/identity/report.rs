//! The identity service's results, and where they are kept.

use std::fmt::Write as _;

use serde_json::json;

use super::Measured;
use super::load::{CONNECTIONS, STREAMS};
use crate::plot::{Bar, bar_chart};
use crate::process;
use crate::record;
use crate::report::{Row, Target, print_rows, round, target_rows};

/// What was measured, and where.
pub struct Report {
    machine: String,
    measured: Measured,
}

impl Report {
    /// Of this machine.
    pub fn of(measured: Measured) -> Self {
        Self {
            machine: process::machine(),
            measured,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let Measured {
            cpu: [constant, check, token, first],
            es256,
            latency,
            ..
        } = self.measured;
        let at_most = |what: &str, reached: f64, most: f64| Row {
            what: what.to_owned(),
            reached,
            target: Target::AtMost(most),
            unit: "",
        };
        vec![
            at_most("a check against the constant", check / constant, 1.4),
            at_most(
                "99th percentile at half of what the service can do, against the constant's",
                latency[0].of[1][1] / latency[0].of[0][1],
                1.5,
            ),
            at_most(
                "the same at 10,000 checks a second, half of what it must do",
                latency[1].of[1][1] / latency[1].of[0][1],
                1.5,
            ),
            at_most(
                "`/token` against a check and one ES256 signature",
                token / (check + es256),
                1.0,
            ),
            at_most(
                "the same with a TH-JWT that it has not seen before",
                first / (check + es256),
                1.0,
            ),
            Row {
                what: "checks a second on one core".to_owned(),
                reached: 1e6 / check,
                target: Target::AtLeast(20_000.0),
                unit: "/s",
            },
        ]
    }

    fn bars(&self) -> [(&'static str, f64); 5] {
        let [constant, check, token, first] = self.measured.cpu;
        [
            ("ext_authz that answers a constant", constant),
            ("the service's ext_authz", check),
            ("the service's /token, a TH-JWT seen before", token),
            ("the service's /token, a new one", first),
            ("one ES256 signature checked (ring)", self.measured.es256),
        ]
    }

    fn table(&self) -> String {
        let mut table = "| what | CPU time |\n| --- | ---: |\n".to_owned();
        for (what, micros) in self.bars() {
            let _ = writeln!(table, "| {what} | {micros:.1} µs |");
        }
        for latency in self.measured.latency {
            let _ = write!(
                table,
                "\n| latency at {:.0} checks a second | 50 % | 99 % |\n| --- | ---: | ---: |\n",
                latency.rate
            );
            let names = ["the constant", "the service"];
            for (what, [half, most]) in names.iter().zip(latency.of) {
                let _ = writeln!(table, "| {what} | {half:.0} µs | {most:.0} µs |");
            }
        }
        table
    }

    /// Prints the results to standard output.
    pub fn print(&self) {
        println!(
            "Machine: {}; {CONNECTIONS} connections with {STREAMS} streams each\n\n{}",
            self.machine,
            self.table()
        );
        print_rows(&self.rows());
    }

    /// Writes the results into `docs/`.
    pub fn record(&self) {
        let added: Vec<_> = self
            .bars()
            .iter()
            .map(|(what, micros)| json!({"what": what, "cpu_micros": round(*micros)}))
            .collect();
        let latency = self.measured.latency.map(|latency| {
            json!({
                "rate": round(latency.rate),
                "micros_constant_and_service": latency.of.map(|shares| shares.map(round)),
            })
        });
        let text = json!({
            "machine": self.machine,
            "cpu": added,
            "latency": latency,
        });
        let text = serde_json::to_string_pretty(&text).expect("JSON") + "\n";
        record::file("identity.json", &text);
        let bars: Vec<Bar> = self
            .bars()
            .map(|(what, micros)| Bar {
                label: what.to_owned(),
                value: micros,
                text: format!("{micros:.1} µs"),
                ours: what.starts_with("the service"),
            })
            .into();
        let plot = bar_chart("CPU time of an answer of the identity service", &bars);
        record::file("identity.svg", &plot);
        let text = format!(
            "Machine: {}.\n\n{}\n\
             ![CPU time of an answer of the identity service](bench/identity.svg)\n\n{}",
            self.machine,
            target_rows(&self.rows()),
            self.table()
        );
        record::parts("docs/PERFORMANCE.md", &[("identity", &text)]);
    }
}
