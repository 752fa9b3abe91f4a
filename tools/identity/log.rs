//! What the service says on standard error: lines for people, or JSON for machines. Only this
//! program's own words and fields go out; no library logs through it.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::time::now_ms;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Somebody must do something.
    Error,
    /// Somebody should look.
    Warn,
    /// Good to know.
    Info,
}

/// A name and a value.
pub type Field<'a> = (&'a str, &'a dyn Display);

static JSON: AtomicBool = AtomicBool::new(false);

/// Chooses JSON, or lines.
pub fn use_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Logs at ERROR.
pub fn error(message: &str, fields: &[Field<'_>]) {
    write(Level::Error, message, fields);
}

/// Logs at WARN.
pub(crate) fn warn(message: &str, fields: &[Field<'_>]) {
    write(Level::Warn, message, fields);
}

/// Logs at INFO.
pub(crate) fn info(message: &str, fields: &[Field<'_>]) {
    write(Level::Info, message, fields);
}

/// Logs a line that may repeat: at most one a second for each `key`, with the number left out.
pub(crate) fn limited(level: Level, key: &str, message: &str, fields: &[Field<'_>]) {
    static SAID: Mutex<Option<HashMap<String, (i64, u64)>>> = Mutex::new(None);
    let now = now_ms();
    let left_out = {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.get_or_insert_default();
        match said.get_mut(key) {
            Some((at, left_out)) if now - *at < 1000 => {
                *left_out += 1;
                return;
            }
            Some((at, left_out)) => {
                *at = now;
                std::mem::take(left_out)
            }
            None => {
                // Keys are made of configured names and fixed words; this is for the case that
                // they are not.
                if said.len() >= 1024 {
                    said.clear();
                }
                said.insert(key.to_owned(), (now, 0));
                0
            }
        }
    };
    if left_out == 0 {
        write(level, message, fields);
    } else {
        let mut fields = fields.to_vec();
        fields.push(("left_out", &left_out));
        write(level, message, &fields);
    }
}

fn write(level: Level, message: &str, fields: &[Field<'_>]) {
    let line = if JSON.load(Ordering::Relaxed) {
        json(now_ms(), level, message, fields)
    } else {
        text(now_ms(), level, message, fields)
    };
    // Nobody is left to be told if standard error is gone.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn text(now: i64, level: Level, message: &str, fields: &[Field<'_>]) -> String {
    let level = match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
    };
    let mut line = format!("{} {level} {message}", timestamp(now));
    for (name, value) in fields {
        let value = value.to_string();
        // Writing to a string does not fail.
        let _ = if value.is_empty()
            || value.contains(|c: char| c.is_whitespace() || c == '"' || c.is_control())
        {
            write!(line, " {name}={value:?}")
        } else {
            write!(line, " {name}={value}")
        };
    }
    line.push('\n');
    line
}

fn json(now: i64, level: Level, message: &str, fields: &[Field<'_>]) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
    };
    let mut record = serde_json::Map::new();
    record.insert("time".to_owned(), timestamp(now).into());
    record.insert("level".to_owned(), level.into());
    record.insert("message".to_owned(), message.into());
    for (name, value) in fields {
        record.insert((*name).to_owned(), value.to_string().into());
    }
    let mut line = serde_json::Value::Object(record).to_string();
    line.push('\n');
    line
}

/// RFC 3339, UTC.
fn timestamp(now_ms: i64) -> String {
    let (days, ms) = (now_ms.div_euclid(86_400_000), now_ms.rem_euclid(86_400_000));
    // Days since 1970 to a civil date: years begin in March, so that the leap day is the last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(timestamp(1_795_643_999_042), "2026-11-25T21:59:59.042Z");
    }

    #[test]
    fn a_value_cannot_begin_a_line_of_its_own() {
        let line = text(
            0,
            Level::Warn,
            "m",
            &[("a", &"x\nERROR y"), ("b", &"z"), ("c", &"")],
        );
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z WARN m a=\"x\\nERROR y\" b=z c=\"\"\n"
        );
        let line = json(0, Level::Info, "m", &[("a", &"x\n\"")]);
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["a"], "x\n\"");
        assert_eq!(line.matches('\n').count(), 1);
    }
}
