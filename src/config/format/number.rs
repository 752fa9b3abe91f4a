//! Switches, numbers, and sizes such as `64MiB`.

use super::text::{Looks, TextFormat};
use crate::config::problem::{Reported, Wrong};
use crate::config::section::{At, Format, Shape};
use crate::config::tree::Node;
use std::borrow::Cow;

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boolean;

impl Format for Boolean {
    type Value<'n> = bool;

    fn allowed(&self) -> Cow<'static, str> {
        "true or false".into()
    }

    fn shape(&self) -> Shape {
        Shape::Boolean
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<bool, Reported> {
        match node {
            Node::Bool(value) => Ok(*value),
            other => Err(at.error(Wrong::kind(&self.allowed(), other))),
        }
    }

    fn usual<'n>(&self, written: &'static str) -> Option<Self::Value<'n>> {
        written.parse().ok()
    }
}

/// A whole number from 0 to [`Count::most`]. In a `Struct` every number is a double.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub most: u32,
}

impl Format for Count {
    type Value<'n> = usize;

    fn allowed(&self) -> Cow<'static, str> {
        format!("a whole number from 0 to {}", self.most).into()
    }

    fn shape(&self) -> Shape {
        Shape::Count(self.most)
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number was found whole and in range"
    )]
    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<usize, Reported> {
        let wrong = match node {
            Node::Number(number)
                if number.fract() == 0.0 && (0.0..=f64::from(self.most)).contains(number) =>
            {
                return Ok(*number as usize);
            }
            Node::Number(_) => Wrong::new(format!("must be {}", self.allowed())),
            other => Wrong::kind(&self.allowed(), other),
        };
        Err(at.error(wrong))
    }

    fn usual<'n>(&self, written: &'static str) -> Option<Self::Value<'n>> {
        written.parse().ok()
    }
}

/// A number and `KiB`, `MiB` or `GiB`, up to 1 GiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes;

const MOST: usize = 1 << 30;
const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl TextFormat for Bytes {
    type Value<'n> = usize;

    fn looks(&self) -> Looks {
        Looks::new(
            "a number and KiB, MiB or GiB, up to 1GiB",
            "^[0-9]+(KiB|MiB|GiB)$",
        )
    }

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
            .ok_or_else(|| self.looks().missed())
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
