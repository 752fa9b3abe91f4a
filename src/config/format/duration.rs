//! Durations such as `250ms` and `1.5s`.

use crate::config::problem::{Reported, Wrong};
use crate::config::section::{At, Format, Shape};
use crate::config::tree::Node;
use std::borrow::Cow;
use std::time::Duration;

/// A number and `ms`, `s`, `m` or `h`, within bounds. If the lower bound is zero, a plain `0` will
/// do, as text or as number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurationIn {
    pub least: Duration,
    pub most: Duration,
    /// Both in words, to follow "a duration".
    pub bounds: &'static str,
}

impl DurationIn {
    /// From so many seconds to so many, which are these bounds.
    pub(crate) const fn seconds(least: u64, most: u64, bounds: &'static str) -> Self {
        Self {
            least: Duration::from_secs(least),
            most: Duration::from_secs(most),
            bounds,
        }
    }

    fn take(&self, node: &Node) -> Result<Duration, Wrong> {
        let duration = match node {
            Node::Number(number) if *number == 0.0 => Some(Duration::ZERO),
            Node::String(text) if text == "0" => Some(Duration::ZERO),
            Node::String(text) => parse(text),
            other => return Err(Wrong::kind(&self.allowed(), other)),
        };
        duration
            .filter(|duration| (self.least..=self.most).contains(duration))
            .ok_or_else(|| Wrong::new(format!("must be {}", self.allowed())))
    }
}

impl Format for DurationIn {
    type Value<'n> = Duration;

    fn allowed(&self) -> Cow<'static, str> {
        format!("a duration {}, such as 250ms, 1.5s, 5m or 1h", self.bounds).into()
    }

    fn shape(&self) -> Shape {
        Shape::Duration(self.bounds, self.least.is_zero())
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Duration, Reported> {
        self.take(node).map_err(|wrong| at.error(wrong))
    }

    fn usual<'n>(&self, written: &'static str) -> Option<Self::Value<'n>> {
        parse(written)
    }
}

/// What a unit is in nanoseconds.
const UNITS: [(&str, u64); 4] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits, perhaps a fraction, and a unit; anything too long for a [`Duration`] is `None`, too.
fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, *nanos)))?;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (digits(whole)?, digits(fraction)?),
        None => (digits(number)?, ""),
    };
    let mut nanos = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place = place.checked_div(10)?;
        let digit = u64::from(digit.checked_sub(b'0')?);
        nanos = nanos.checked_add(digit.checked_mul(place)?)?;
    }
    Some(Duration::from_nanos(nanos))
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP_TO_A_DAY: DurationIn = DurationIn {
        least: Duration::ZERO,
        most: Duration::from_secs(24 * 3600),
        bounds: "up to 24h",
    };

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let millis = Duration::from_millis;
        for (text, duration) in [
            ("250ms", Some(millis(250))),
            ("1.5s", Some(millis(1500))),
            ("0.25ms", Some(Duration::from_micros(250))),
            ("90s", Some(millis(90_000))),
            ("1.5m", Some(millis(90_000))),
            ("24h", Some(millis(86_400_000))),
            ("0.1h", Some(millis(360_000))),
            ("007s", Some(millis(7000))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("0.0h", Some(Duration::ZERO)),
            ("1.000000000000000000000000000000s", Some(millis(1000))),
            ("24.1h", None),
            ("25h", None),
            ("1", None),
            ("00", None),
            ("", None),
            ("s", None),
            ("ms", None),
            (".5s", None),
            ("5.s", None),
            ("1.2.3s", None),
            ("5 s", None),
            (" 5s", None),
            ("5s ", None),
            ("5S", None),
            ("5d", None),
            ("1h30m", None),
            ("1e3s", None),
            ("+5s", None),
            ("-5s", None),
            ("٥s", None),
            ("99999999999999999999999999999999999999999999h", None),
        ] {
            let node = Node::String(text.to_owned());
            assert_eq!(UP_TO_A_DAY.take(&node).ok(), duration, "{text}");
        }
    }

    #[test]
    fn the_number_zero_needs_no_unit_where_zero_is_allowed() {
        let from_a_millisecond = DurationIn {
            least: Duration::from_millis(1),
            ..UP_TO_A_DAY
        };
        for (node, up_to_a_day) in [
            (Node::Number(0.0), true),
            (Node::Number(-0.0), true),
            (Node::String("0".to_owned()), true),
            (Node::Number(5.0), false),
            (Node::Number(f64::NAN), false),
        ] {
            assert_eq!(UP_TO_A_DAY.take(&node).is_ok(), up_to_a_day, "{node:?}");
            assert!(from_a_millisecond.take(&node).is_err(), "{node:?}");
        }
    }
}
