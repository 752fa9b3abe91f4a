//! How values of the store are written, and read back with a doubt: whatever does not read to the last
//! byte is not ours.

use super::super::answer::{Check, Detail, Failure, FailureKind, StsError};
use super::super::settings::Step;
use crate::refusal::StepUp;
use crate::time::{Steady, Time};
use std::rc::Rc;
use std::time::Duration;

/// What a slot of the store holds.
pub(super) trait Value: Default {
    /// Whether there is nothing in it. What is only ever added to has something.
    fn is_empty(&self) -> bool {
        false
    }

    /// Writes it.
    fn write(&self, to: &mut Writer);

    /// Reads to the end; `None` if that was not written so.
    fn read(from: &mut Reader<'_>) -> Option<Self>;

    /// The bytes of it, which begin with what tells the `format`. What is empty takes no memory.
    #[inline(never)]
    fn to_bytes(&self, format: &[u8; 8]) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut to = Writer(format.to_vec());
        self.write(&mut to);
        to.0
    }

    /// What these are the bytes of, if they are in that format.
    fn of_bytes(bytes: &[u8], format: &[u8; 8]) -> Option<Self> {
        let mut from = Reader(bytes);
        match from.array::<8>()? == *format {
            true => Self::read(&mut from),
            false => None,
        }
    }
}

/// Writes.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    #[inline(never)]
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    #[inline(never)]
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    #[inline(never)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn steady(&mut self, at: Steady) {
        self.number(nanos(at.since(Steady::default())));
    }

    pub(super) fn time(&mut self, at: Time) {
        self.number(nanos(at.since(Time::default())));
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    #[inline(never)]
    pub(super) fn failure(&mut self, failure: &Failure) {
        self.byte(match &failure.kind {
            FailureKind::Rejected => 0,
            FailureKind::Forbidden => 1,
            FailureKind::StepUp(_) => 2,
            FailureKind::Misconfigured => 3,
            FailureKind::Unavailable => 4,
            FailureKind::Timeout => 5,
            FailureKind::InvalidResponse => 6,
            FailureKind::UnknownCluster => 7,
            FailureKind::NotFound => 8,
            FailureKind::UnavailableForUser => 9,
        });
        if let FailureKind::StepUp(step_up) = &failure.kind {
            self.byte(u8::from(step_up.insufficient_authentication));
            for text in [
                &step_up.claims,
                &step_up.max_age,
                &step_up.acr_values,
                &step_up.interaction_uri,
            ] {
                self.optional(text.as_ref(), |to, text| to.bytes(text.as_bytes()));
            }
        }
        self.optional(failure.error, |to, error| {
            to.bytes(error.as_str().as_bytes())
        });
        match failure.detail {
            Detail::None => self.byte(0),
            Detail::Status(status) => {
                self.byte(1);
                self.number(status.into());
            }
            Detail::Check(check) => {
                self.byte(2);
                self.byte(check.number());
            }
        }
        self.optional(failure.wait, |to, wait| to.number(nanos(wait)));
        self.byte(u8::from(failure.step == Step::Second));
    }
}

/// Reads.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    #[inline(never)]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn array<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (first, rest) = self.0.split_first_chunk::<SIZE>()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline(never)]
    pub(super) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline(never)]
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn steady(&mut self) -> Option<Steady> {
        self.number().map(Steady::from_nanos)
    }

    pub(super) fn time(&mut self) -> Option<Time> {
        self.number().map(Time::from_nanos)
    }

    #[inline(never)]
    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.flag()? {
            true => read(self).map(Some),
            false => Some(None),
        }
    }

    /// Text for a log line or a challenge.
    #[inline(never)]
    fn text(&mut self) -> Option<String> {
        let bytes = self.bytes()?;
        let fits = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let text = std::str::from_utf8(bytes).ok()?;
        bytes.iter().all(fits).then(|| text.to_owned())
    }

    #[inline(never)]
    pub(super) fn failure(&mut self) -> Option<Failure> {
        let kind = match self.byte()? {
            0 => FailureKind::Rejected,
            1 => FailureKind::Forbidden,
            2 => FailureKind::StepUp(Rc::new(StepUp {
                insufficient_authentication: self.flag()?,
                claims: self.optional(Self::text)?,
                max_age: self.optional(Self::text)?,
                acr_values: self.optional(Self::text)?,
                interaction_uri: self.optional(Self::text)?,
            })),
            3 => FailureKind::Misconfigured,
            4 => FailureKind::Unavailable,
            5 => FailureKind::Timeout,
            6 => FailureKind::InvalidResponse,
            7 => FailureKind::UnknownCluster,
            8 => FailureKind::NotFound,
            9 => FailureKind::UnavailableForUser,
            _ => return None,
        };
        Some(Failure {
            kind,
            error: self.optional(|from| StsError::parse(&from.text()?))?,
            detail: match self.byte()? {
                0 => Detail::None,
                1 => Detail::Status(u16::try_from(self.number()?).ok()?),
                2 => Detail::Check(Check::of_number(self.byte()?)?),
                _ => return None,
            },
            wait: self.optional(Self::number)?.map(Duration::from_nanos),
            step: match self.flag()? {
                true => Step::Second,
                false => Step::First,
            },
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_up(claims: &str) -> FailureKind {
        FailureKind::StepUp(Rc::new(StepUp {
            insufficient_authentication: true,
            claims: Some(claims.to_owned()),
            max_age: None,
            acr_values: None,
            interaction_uri: None,
        }))
    }

    /// What another worker reads of it.
    fn told(failure: &Failure) -> Option<Failure> {
        let mut to = Writer::default();
        to.failure(failure);
        let mut from = Reader(&to.0);
        let failure = from.failure()?;
        from.0.is_empty().then_some(failure)
    }

    #[test]
    fn every_kind_of_failure_is_told_as_what_it_is() {
        for kind in [
            FailureKind::Rejected,
            FailureKind::Forbidden,
            step_up("eyJ9"),
            FailureKind::Misconfigured,
            FailureKind::Unavailable,
            FailureKind::Timeout,
            FailureKind::InvalidResponse,
            FailureKind::UnknownCluster,
            FailureKind::NotFound,
            FailureKind::UnavailableForUser,
        ] {
            let bare = Failure::new(kind, Detail::None);
            let full = Failure {
                error: Some(StsError::SlowDown),
                detail: Detail::Status(503),
                wait: Some(Duration::from_millis(1500)),
                ..bare.clone()
            };
            for failure in [bare, full] {
                assert_eq!(told(&failure), Some(failure));
            }
        }
    }

    #[test]
    fn no_text_from_the_store_ends_a_quoted_string_or_a_line() {
        for (text, is_read) in [
            ("", true),
            ("urn:x [1]!~", true),
            ("a\"b", false),
            ("a\\b", false),
            ("a\nb", false),
            ("a\rb", false),
            ("a\tb", false),
            ("a\0b", false),
            ("a\u{7f}b", false),
            ("a\u{e9}b", false),
        ] {
            let failure = Failure::new(step_up(text), Detail::None);
            assert_eq!(told(&failure), is_read.then_some(failure), "{text:?}");
        }
    }
}
