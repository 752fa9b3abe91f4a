//! What a YAML scalar means: the core schema of YAML 1.2, in which `yes` is a text.

use upstream_inject::config::Node;

/// The kinds of scalar that a tag can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarTag {
    Text,
    Null,
    Bool,
    Int,
    Float,
}

/// The value of a scalar that is neither quoted nor tagged (YAML 1.2.2 §10.3.2).
pub(super) fn plain(text: &str) -> Node {
    null(text)
        .or_else(|| boolean(text))
        .or_else(|| integer(text))
        .or_else(|| float(text))
        .unwrap_or_else(|| Node::String(text.to_owned()))
}

/// What Envoy's reader, which follows YAML 1.1 in this, takes a plain scalar for, if for something else.
pub(super) fn read_otherwise(text: &str) -> Option<&'static str> {
    let is_switch = ["y", "n", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if is_switch {
        return Some("Envoy's reader takes it for a boolean; quote it");
    }
    let is_plain = is_digits(text.strip_prefix('-').unwrap_or(text)) && !has_leading_zero(text);
    match plain(text) {
        Node::Number(_) if !is_plain && !text.starts_with("0x") => {
            Some("Envoy's reader does not take it for this number; write plain decimal digits")
        }
        _ => None,
    }
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0')
}

/// The value of a scalar under a tag, or `None` if its text does not fit the tag.
pub(super) fn tagged(tag: ScalarTag, text: &str) -> Option<Node> {
    match tag {
        ScalarTag::Text => Some(Node::String(text.to_owned())),
        ScalarTag::Null => null(text),
        ScalarTag::Bool => boolean(text),
        ScalarTag::Int => integer(text),
        ScalarTag::Float => integer(text).or_else(|| float(text)),
    }
}

fn null(text: &str) -> Option<Node> {
    matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Node::Null)
}

fn boolean(text: &str) -> Option<Node> {
    match text {
        "true" | "True" | "TRUE" => Some(Node::Bool(true)),
        "false" | "False" | "FALSE" => Some(Node::Bool(false)),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Node> {
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    is_digits(digits)
        .then(|| text.parse().ok().map(Node::Number))
        .flatten()
}

/// Beyond what a double holds exactly, it is the nearest double, as for decimal digits.
fn radix(digits: &str, radix: u32) -> Option<Node> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in digits.chars() {
        value = value * f64::from(radix) + f64::from(digit.to_digit(radix)?);
    }
    Some(Node::Number(value))
}

fn float(text: &str) -> Option<Node> {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Node::Number(f64::NAN));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let infinity = if text.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
        return Some(Node::Number(infinity));
    }
    is_float(unsigned)
        .then(|| text.parse().ok().map(Node::Number))
        .flatten()
}

fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
        None => is_digits(mantissa),
    };
    let exponent_fits = exponent
        .is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    mantissa_fits && exponent_fits
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_the_core_schema_says() {
        let text = |text: &str| Node::String(text.to_owned());
        for (written, expected) in [
            ("", Node::Null),
            ("~", Node::Null),
            ("Null", Node::Null),
            ("nULL", text("nULL")),
            ("true", Node::Bool(true)),
            ("FALSE", Node::Bool(false)),
            ("yes", text("yes")),
            ("off", text("off")),
            ("0", Node::Number(0.0)),
            ("-12", Node::Number(-12.0)),
            ("+7", Node::Number(7.0)),
            ("+-5", text("+-5")),
            ("0o17", Node::Number(15.0)),
            ("0x1F", Node::Number(31.0)),
            ("0x", text("0x")),
            ("0x-1", text("0x-1")),
            ("017", Node::Number(17.0)),
            ("1_000", text("1_000")),
            ("1.5", Node::Number(1.5)),
            (".5", Node::Number(0.5)),
            ("5.", Node::Number(5.0)),
            (".", text(".")),
            ("1e3", Node::Number(1000.0)),
            ("1e", text("1e")),
            ("-.inf", Node::Number(f64::NEG_INFINITY)),
            ("inf", text("inf")),
            ("nan", text("nan")),
            ("5s", text("5s")),
            ("12:30", text("12:30")),
            ("2026-01-01", text("2026-01-01")),
        ] {
            assert_eq!(plain(written), expected, "{written:?}");
        }
        assert!(matches!(plain(".nan"), Node::Number(number) if number.is_nan()));
    }

    #[test]
    fn a_tag_decides() {
        assert_eq!(
            tagged(ScalarTag::Text, "12"),
            Some(Node::String("12".to_owned()))
        );
        assert_eq!(tagged(ScalarTag::Int, "12"), Some(Node::Number(12.0)));
        assert_eq!(tagged(ScalarTag::Int, "x"), None);
        assert_eq!(tagged(ScalarTag::Bool, "yes"), None);
    }
}
