//! Tokens that are no longer to be used, for workers that hold copies: a list of serials, the newest
//! last, which each worker reads on from where it has read to.

use super::wire::{Reader, Value, Writer};

/// So many are listed. Who reads seldom enough to miss one drops all copies, and finds what is still
/// good in the store.
const LISTED: usize = 256;

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// How many there have ever been.
    count: u64,
    serials: Vec<u64>,
}

/// What a worker reads that has read up to some number before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing new.
    None,
    /// These are no longer to be used.
    Dropped(Vec<u64>),
    /// More than are listed.
    Missed,
}

impl Dropped {
    /// How many there have ever been.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Adds `serial`. False if it is listed: whoever has read that has no copy any more.
    pub(crate) fn push(&mut self, serial: u64) -> bool {
        if self.serials.contains(&serial) {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        if self.serials.len() >= LISTED {
            self.serials.remove(0);
        }
        self.serials.push(serial);
        true
    }

    /// What came after the first `read`.
    pub(crate) fn since(&self, read: u64) -> News {
        let new = usize::try_from(self.count.wrapping_sub(read)).unwrap_or(usize::MAX);
        if new == 0 {
            return News::None;
        }
        match self.serials.len().checked_sub(new) {
            Some(old) => News::Dropped(self.serials.iter().skip(old).copied().collect()),
            None => News::Missed,
        }
    }
}

impl Value for Dropped {
    fn write(&self, to: &mut Writer) {
        to.number(self.count);
        for serial in &self.serials {
            to.number(*serial);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = from.number()?;
        let mut serials = Vec::new();
        while !from.0.is_empty() {
            serials.push(from.number()?);
        }
        Some(Self { count, serials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &[u8; 8] = b"a format";

    #[test]
    fn each_reads_on_from_where_it_has_read_to() {
        let mut list = Dropped::default();
        assert_eq!(list.since(0), News::None);
        assert!(list.push(7));
        assert!(list.push(8));
        assert!(!list.push(7), "once");
        assert_eq!(list.since(0), News::Dropped(vec![7, 8]));
        assert_eq!(list.since(1), News::Dropped(vec![8]));
        assert_eq!(list.since(2), News::None);
        let read = Dropped::of_bytes(&list.to_bytes(FORMAT), FORMAT);
        assert_eq!(read, Some(list));
    }

    #[test]
    fn who_has_missed_some_is_told_so() {
        let mut list = Dropped::default();
        (0..300).for_each(|serial| assert!(list.push(serial)));
        assert_eq!(list.since(43), News::Missed);
        assert_eq!(list.since(44), News::Dropped((44..300).collect()));
        // A list that somebody has replaced.
        assert_eq!(Dropped::default().since(300), News::Missed);
    }

    #[test]
    fn what_was_not_written_so_is_not_read() {
        let mut list = Dropped::default();
        assert!(list.push(1));
        let written = list.to_bytes(FORMAT);
        assert_eq!(Dropped::of_bytes(&written, b"another!"), None);
        for end in 0..written.len() {
            let read = Dropped::of_bytes(&written[..end], FORMAT);
            assert_ne!(read, Some(list.clone()), "{end}");
        }
    }
}
