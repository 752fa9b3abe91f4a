//! HTTP's dates (RFC 9110 §5.6.7).

use crate::time::Time;
use std::time::Duration;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// The time that a date stands for, in any of its forms: `Sun, 06 Nov 1994 08:49:37 GMT`,
/// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
pub(super) fn parse(text: &str) -> Option<Time> {
    let words: Vec<&str> = text
        .split([' ', ',', '-', ':'])
        .filter(|word| !word.is_empty())
        .collect();
    let (weekday, day, month, year, time) = match *words {
        [weekday, day, month, year, h, m, s, "GMT"] => (weekday, day, month, year, [h, m, s]),
        [weekday, month, day, h, m, s, year] => (weekday, day, month, year, [h, m, s]),
        _ => return None,
    };
    let days = days(number(day)?, month, year)?;
    let of_week = usize::try_from(days % 7).ok()?;
    if !weekday.starts_with(WEEKDAYS.get(of_week)?) {
        return None;
    }
    let mut seconds = days;
    for (word, most) in time.into_iter().zip([24, 60, 60]) {
        let number = number(word).filter(|number| *number < most)?;
        seconds = seconds.checked_mul(most)?.checked_add(number)?;
    }
    Some(Time::default().plus(Duration::from_secs(seconds)))
}

/// The days from the epoch to that one.
fn days(day: u64, month: &str, year: &str) -> Option<u64> {
    let year = match (number(year)?, year.len()) {
        // Of two digits, as RFC 850 had them.
        (year @ ..70, 2) => year.checked_add(2000)?,
        (year, 2) => year.checked_add(1900)?,
        (year @ 1970.., 4) => year,
        _ => return None,
    };
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let of_year = |year| if is_leap(year) { 366 } else { 365 };
    let mut days: u64 = (1970..year).map(of_year).sum();
    for (name, length) in MONTHS {
        let length = match name {
            "Feb" if is_leap(year) => 29,
            _ => length,
        };
        if name == month {
            let before = day.checked_sub(1).filter(|before| *before < length)?;
            return days.checked_add(before);
        }
        days = days.checked_add(length)?;
    }
    None
}

/// A number of at most four digits, without a sign.
fn number(word: &str) -> Option<u64> {
    let fits = word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(text: &str) -> Option<u64> {
        parse(text).map(|time| time.since(Time::default()).as_secs())
    }

    #[test]
    fn a_date_has_three_forms() {
        // The standard's own examples.
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            seconds("Thu, 29 Feb 2024 23:59:59 GMT"),
            Some(1_709_251_199)
        );
        assert_eq!(seconds("Tuesday, 19-Jan-38 03:14:08 GMT"), Some(1 << 31));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06 Nov 1994 08:49:+7 GMT",
            "Tue, 00 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Sun, 06 Non 1994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT and more",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_are_those_that_another_implementation_writes(at in 0..18_446_744_073_u64) {
            let text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(at));
            prop_assert_eq!(seconds(&text), Some(at));
        }

        #[test]
        fn no_text_is_too_strange(text in "(Sun|Nov|GMT|[0-9]{1,5}|[ ,:+-]|.)*") {
            let _ = parse(&text);
        }
    }
}
