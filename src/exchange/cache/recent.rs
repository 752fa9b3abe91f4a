//! Values by key, of which one can be let go that has not been used for long, and which can be walked
//! through a few at a time.

use super::super::key::Key;
use crate::table::Table;

/// The least recently used of so many goes: with fewer, of all. Looking at all of a million for each
/// that comes would take too long, and a list of them in order would be moved about by every request.
const LOOKED_AT: usize = 64;

/// Values by key.
#[derive(Debug)]
pub(super) struct Recent<V> {
    slots: Table<Key, Slot<V>>,
    uses: u64,
    /// The place that is looked at next.
    hand: usize,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    used: u64,
}

impl<V> Recent<V> {
    /// None yet. `seed` is random.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slots: Table::new(seed),
            uses: 0,
            hand: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.value))
    }

    /// The value of `key`, which is not used by that.
    pub(super) fn peek(&self, key: &[u8]) -> Option<&V> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// The same, to be changed.
    pub(super) fn peek_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        self.slots.get_mut(key).map(|slot| &mut slot.value)
    }

    /// The value of `key`, which is used now.
    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let slot = self.slots.get_mut(key)?;
        self.uses = self.uses.wrapping_add(1);
        slot.used = self.uses;
        Some(&mut slot.value)
    }

    /// Adds the value of `key`, which has none, as used now.
    pub(super) fn put(&mut self, key: Key, value: V) {
        self.uses = self.uses.wrapping_add(1);
        let used = self.uses;
        self.slots.insert(key, Slot { value, used });
    }

    /// Removes the value of `key`.
    pub(super) fn pop(&mut self, key: &[u8]) -> Option<(Key, V)> {
        let place = self.slots.place(key)?;
        self.pop_at(place)
    }

    /// Removes one that has not been used for long.
    pub(super) fn pop_old(&mut self) -> Option<(Key, V)> {
        let mut oldest = (u64::MAX, 0);
        for _ in 0..self.len().min(LOOKED_AT) {
            let place = self.turn();
            let used = self.slots.at(place).map_or(u64::MAX, |slot| slot.used);
            oldest = oldest.min((used, place));
        }
        self.pop_at(oldest.1)
    }

    /// Removes the next one if it `is_over`. Who does so as often as there are values has seen all.
    pub(super) fn pop_next_if(&mut self, is_over: impl Fn(&V) -> bool) -> Option<(Key, V)> {
        let place = self.turn();
        let slot = self.slots.at(place)?;
        if !is_over(&slot.value) {
            return None;
        }
        // The one that takes its place is next.
        self.hand = place;
        self.pop_at(place)
    }

    /// The place of the hand, which goes on.
    fn turn(&mut self) -> usize {
        let place = self.hand.checked_rem(self.len()).unwrap_or(0);
        self.hand = place.wrapping_add(1);
        place
    }

    fn pop_at(&mut self, place: usize) -> Option<(Key, V)> {
        let (key, gone) = self.slots.remove_at(place)?;
        Some((key, gone.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::settings::ExchangeId;
    use std::collections::HashSet;

    fn key(n: usize) -> Key {
        Key::new(ExchangeId(0), n.to_le_bytes().to_vec())
    }

    fn bytes(n: usize) -> Vec<u8> {
        Key::bytes(ExchangeId(0), n.to_le_bytes().to_vec(), None)
    }

    fn of(count: usize) -> Recent<usize> {
        let mut recent = Recent::new(7);
        (0..count).for_each(|n| recent.put(key(n), n));
        recent
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut recent = of(5);
        for used in [0, 3, 1] {
            assert_eq!(recent.get_mut(&bytes(used)), Some(&mut used.clone()));
        }
        assert_eq!(recent.peek(&bytes(2)), Some(&2));
        assert_eq!(recent.pop(&bytes(4)).map(|(_, n)| n), Some(4));
        let gone: Vec<_> = std::iter::from_fn(|| recent.pop_old()).collect();
        let gone: Vec<usize> = gone.into_iter().map(|(_, n)| n).collect();
        assert_eq!(gone, [2, 0, 3, 1]);
    }

    #[test]
    fn of_many_one_goes_that_has_not_been_used_for_long() {
        let mut recent = of(1000);
        for n in (1..1000).step_by(2) {
            recent.get_mut(&bytes(n));
        }
        for _ in 0..200 {
            let (_, gone) = recent.pop_old().unwrap();
            assert_eq!(gone % 2, 0);
        }
    }

    #[test]
    fn whoever_looks_as_often_as_there_are_values_has_seen_all() {
        let mut recent = of(100);
        let mut gone = HashSet::new();
        for _ in 0..100 {
            gone.extend(recent.pop_next_if(|n| n % 3 == 0).map(|(_, n)| n));
        }
        assert_eq!(gone, (0..100).step_by(3).collect());
        for n in 0..100 {
            let left = (n % 3 != 0).then_some(n);
            assert_eq!(recent.peek(&bytes(n)).copied(), left, "{n}");
        }
    }
}
