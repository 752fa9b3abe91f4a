//! The values that are compared with.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// How far a value may be from the recorded one, in percent. What else moves it than the source:
/// the compiler, and which of its copying loops the C library picks for the processor.
const TOLERANCE: f64 = 3.0;

/// Values by scenario.
pub struct Recorded(Vec<(String, u64)>);

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recorded.tsv")
}

impl Recorded {
    pub fn read() -> Self {
        let text = fs::read_to_string(path()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| {
            let (name, value) = line.split_once('\t').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(values.collect())
    }

    pub fn write(counted: &[(&str, u64)]) {
        let mut text = String::from(
            "# Instructions per request of the native build; RECORD=1 writes them anew.\n",
        );
        for (name, value) in counted {
            writeln!(text, "{name}\t{value}").unwrap();
            println!("recorded {name}: {value}");
        }
        fs::write(path(), text).unwrap();
    }

    /// Prints both, and says whether each is within the tolerance: one that has become better is
    /// to be recorded too, or the next loss would go unnoticed.
    pub fn compare(&self, counted: &[(&str, u64)]) -> bool {
        println!(
            "{:<36} {:>9} {:>9} {:>8}",
            "instructions per request", "recorded", "counted", ""
        );
        let mut good = counted.len() == self.0.len();
        for (name, value) in counted {
            let recorded = self.0.iter().find(|(known, _)| known == name);
            let Some((_, recorded)) = recorded else {
                println!("{name:<36} {:>9} {value:>9}  not recorded", "");
                good = false;
                continue;
            };
            let change = (*value as f64 / *recorded as f64 - 1.0) * 100.0;
            let verdict = match change {
                change if change > TOLERANCE => "  DEARER than recorded",
                change if change < -TOLERANCE => "  cheaper: record it",
                _ => "",
            };
            println!("{name:<36} {recorded:>9} {value:>9} {change:>+7.1}%{verdict}");
            good &= verdict.is_empty();
        }
        if !good {
            println!(
                "If the change is meant: RECORD=1 cargo test --release -p upstream-inject-instructions"
            );
        }
        good
    }
}
