//! What tells one token that is asked for from another.

use super::settings::ExchangeId;
use crate::table::Keyed;
use std::fmt;
use std::rc::Rc;

/// Everything that could make an answer differ: the exchange, which stands for the token endpoints and
/// all their parameters, the whole subject token, and the whole actor token where there is one.
///
/// `Debug` never prints the subject.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Rc<[u8]>);

impl Key {
    /// The key of exchanging `subject` as `exchange` says, which knows no actor.
    #[cfg(test)]
    pub(crate) fn new(exchange: ExchangeId, subject: Vec<u8>) -> Self {
        Self::from_bytes(Self::bytes(exchange, subject, None))
    }

    /// The bytes of the key: enough to look an entry up, which then lends its own key. Whether there is
    /// an `actor` depends on the exchange alone.
    pub(crate) fn bytes(
        exchange: ExchangeId,
        mut subject: Vec<u8>,
        actor: Option<&[u8]>,
    ) -> Vec<u8> {
        if let Some(actor) = actor {
            let length = u32::try_from(actor.len()).unwrap_or(u32::MAX);
            subject.extend_from_slice(actor);
            subject.extend_from_slice(&length.to_le_bytes());
        }
        // What has a fixed width stands last: no two exchanges of two tokens give the same bytes.
        subject.extend_from_slice(&exchange.0.to_le_bytes());
        subject
    }

    /// The key of these [`Key::bytes`].
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The exchange.
    pub(crate) fn exchange(&self) -> ExchangeId {
        ExchangeId(
            self.parts()
                .map_or(u32::MAX, |(_, id)| u32::from_le_bytes(*id)),
        )
    }

    /// The subject token, and the actor token if the exchange `has_actor`.
    pub(crate) fn tokens(&self, has_actor: bool) -> (&[u8], Option<&[u8]>) {
        let both = self.parts().map_or(&[][..], |(both, _)| both);
        if !has_actor {
            return (both, None);
        }
        let split = both.split_last_chunk::<4>().and_then(|(both, length)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            both.split_at_checked(both.len().checked_sub(length)?)
        });
        split.map_or((both, None), |(subject, actor)| (subject, Some(actor)))
    }

    /// The key of the same tokens at another exchange of the same form.
    pub(super) fn moved_to(&self, exchange: ExchangeId) -> Self {
        let both = self.parts().map_or(&[][..], |(both, _)| both);
        Self::from_bytes([both, &exchange.0.to_le_bytes()].concat())
    }

    /// How many bytes it holds.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    fn parts(&self) -> Option<(&[u8], &[u8; 4])> {
        self.0.split_last_chunk::<4>()
    }
}

impl Keyed for Key {
    type Form = [u8];

    fn form(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, [redacted])", self.exchange())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_exchange_and_the_whole_subject() {
        let keys: Vec<Key> = [
            (0, &b"a"[..]),
            (1, b"a"),
            (0, b"b"),
            (0, b"aa"),
            (0, b""),
            (0, b"a\0\0\0\0"),
            (256, b"a"),
            (u32::MAX, b"a"),
        ]
        .into_iter()
        .map(|(exchange, subject)| {
            let key = Key::new(ExchangeId(exchange), subject.to_vec());
            assert_eq!(key.exchange(), ExchangeId(exchange));
            assert_eq!(key.tokens(false), (subject, None));
            key
        })
        .collect();
        for (n, one) in keys.iter().enumerate() {
            for (m, other) in keys.iter().enumerate() {
                assert_eq!(one == other, n == m, "{n} {m}");
            }
        }
        let debug = format!("{:?}", Key::new(ExchangeId(3), b"CANARY".to_vec()));
        assert!(!debug.contains("CANARY"), "{debug}");
    }
}
