//! Sizes such as `64MiB`.

use super::{TextFormat, must_be};
use crate::config::problem::Wrong;
use crate::config::section::{Format, WithDefault};

/// A number and `KiB`, `MiB` or `GiB`, up to 1 GiB.
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

const MOST: usize = 1 << 30;
const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl TextFormat for Bytes {
    type Value<'n> = usize;
    const ALLOWED: &'static str = "a number and KiB, MiB or GiB, up to 1GiB";
    const PATTERN: &'static str = "^[0-9]+(KiB|MiB|GiB)$";

    fn parse(&self, text: &str) -> Result<usize, Wrong> {
        UNITS
            .iter()
            .find_map(|(unit, bytes)| {
                let number = text.strip_suffix(unit)?;
                // What the standard library reads may have a sign.
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                let number: usize = number.parse().ok().filter(|_| digits)?;
                number.checked_mul(*bytes).filter(|bytes| *bytes <= MOST)
            })
            .ok_or_else(|| must_be(self))
    }
}

impl WithDefault for Bytes {
    type Default = usize;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        let mut units = UNITS.iter().rev();
        let unit = units.find(|(_, bytes)| default.is_multiple_of(*bytes));
        let text =
            unit.and_then(|(unit, bytes)| Some(format!("{}{unit}", default.checked_div(*bytes)?)));
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, bytes) in [
            ("64MiB", Some(64 << 20)),
            ("1KiB", Some(1024)),
            ("1GiB", Some(1 << 30)),
            ("1048576KiB", Some(1 << 30)),
            ("0KiB", Some(0)),
            ("2GiB", None),
            ("99999999999999999999MiB", None),
            ("64MB", None),
            ("64 MiB", None),
            ("64mib", None),
            ("+1MiB", None),
            ("1.5MiB", None),
            ("MiB", None),
            ("64", None),
            ("", None),
        ] {
            assert_eq!(Bytes.parse(text).ok(), bytes, "{text}");
        }
    }
}
