//! The plots: plain SVG, in colours that stand out from a light and from a dark page.

use std::fmt::Write as _;

use crate::latency::Latency;
use crate::requests::{Added, NOTHING};
use crate::sharing::Steady;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 330.0;
const BAR: f64 = 18.0;
const STEP: f64 = 28.0;
const HEAD: f64 = 44.0;
const TEXT: &str = "#7d8590";
const OURS: &str = "#2f81f7";
const OTHERS: &str = "#9a8c5f";

/// What each filter adds to a request.
pub fn cost(added: &[Added]) -> String {
    let bars: Vec<Bar> = added
        .iter()
        .filter(|one| one.key != NOTHING)
        .map(|one| Bar {
            label: one.what.clone(),
            value: one.micros,
            text: format!("{:.2} µs", one.micros),
            ours: is_ours(&one.what),
        })
        .collect();
    bar_chart("CPU time that a filter adds to a request", &bars)
}

/// Percentiles of the latency.
pub fn latency(all: &[Latency]) -> String {
    let names = ["50 %", "90 %", "99 %"];
    let bars: Vec<Bar> = names
        .iter()
        .enumerate()
        .flat_map(|(place, name)| {
            all.iter().map(move |one| Bar {
                label: format!("{name}, {}", one.what),
                value: one.micros[place],
                text: format!("{:.0} µs", one.micros[place]),
                ours: is_ours(one.what),
            })
        })
        .collect();
    bar_chart(
        "Latency of a request, through Envoy to a backend and back",
        &bars,
    )
}

/// What sharing saves, and what it costs.
pub fn sharing(steady: &[Steady]) -> String {
    let bars = |value: fn(&Steady) -> [f64; 2], text: fn(f64) -> String| -> Vec<Bar> {
        let pairs = steady.iter().flat_map(|one| {
            let workers = match one.workers {
                1 => "1 worker".to_owned(),
                many => format!("{many} workers"),
            };
            let [with, without] = value(one);
            [
                (workers.clone(), with, true),
                (workers + ", share: false", without, false),
            ]
        });
        let bar = |(label, value, ours)| Bar {
            label,
            value,
            text: text(value),
            ours,
        };
        pairs.map(bar).collect()
    };
    let calls = bars(|one| one.calls, |calls| format!("{calls:.2}"));
    let micros = bars(|one| one.micros, |micros| format!("{micros:.1} µs"));
    bar_charts(
        "What sharing saves, and what it costs",
        &[
            ("Calls to the STS for a user", &calls),
            ("CPU time of a request, all of Envoy", &micros),
        ],
    )
}

fn is_ours(what: &str) -> bool {
    ["upstream_inject", "token_exchange", "header_injection"]
        .iter()
        .any(|strategy| what.starts_with(strategy))
}

/// One bar.
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// Its length, next to the others'.
    pub value: f64,
    /// What stands beside it.
    pub text: String,
    /// Whether it is of something of ours.
    pub ours: bool,
}

/// A plot of bars.
pub fn bar_chart(title: &str, bars: &[Bar]) -> String {
    bar_charts(title, &[(title, bars)])
}

/// Charts below each other, each with a scale of its own.
fn bar_charts(title: &str, charts: &[(&str, &[Bar])]) -> String {
    let height: f64 = charts.iter().map(|(_, bars)| tall(bars)).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>{title}</title>\n"
    );
    let mut top = 0.0;
    for (title, bars) in charts {
        chart(&mut svg, top, title, bars);
        top += tall(bars);
    }
    svg + "</svg>\n"
}

fn tall(bars: &[Bar]) -> f64 {
    HEAD + STEP * bars.len() as f64 + 8.0
}

fn chart(svg: &mut String, above: f64, title: &str, bars: &[Bar]) {
    let longest = bars
        .iter()
        .map(|bar| bar.value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let head = above + 22.0;
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{head:.0}\" font-size=\"15\" font-weight=\"bold\" fill=\"{TEXT}\">{title}</text>"
    );
    for (place, bar) in bars.iter().enumerate() {
        let top = above + HEAD + STEP * place as f64;
        let width = (bar.value.max(0.0) / longest * (WIDTH - LABELS - 90.0)).max(1.0);
        let colour = if bar.ours { OURS } else { OTHERS };
        let middle = top + BAR - 5.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{middle:.0}\" text-anchor=\"end\" fill=\"{TEXT}\">{}</text>\
             <rect x=\"{LABELS:.0}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{BAR:.0}\" rx=\"2\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{middle:.0}\" fill=\"{TEXT}\">{}</text>",
            LABELS - 8.0,
            bar.label,
            LABELS + width + 6.0,
            bar.text,
        );
    }
}
