//! Values by key: the one hash table, whatever is in it.
//!
//! A library's is compiled anew for each kind of key and value, a kilobyte or two each time, and takes its
//! speed from instructions that Envoy's VM has not. Here what moves in the table ([`Places`]) is the same
//! for all: hashes, and places in a list.

use foldhash::fast::FixedState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// The places of values in a list, by the hash of what they are found by.
///
/// Open addressing with linear probing: a place stands in the slot that its hash says, or in the next
/// ones, without a free slot in between.
#[derive(Clone)]
pub(crate) struct Places {
    /// None, or a power of two, of which at most half are taken.
    slots: Vec<Slot>,
    taken: usize,
    hasher: FixedState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    hash: u32,
    place: u32,
}

impl Slot {
    const FREE: Self = Self {
        hash: 0,
        place: u32::MAX,
    };
}

impl Places {
    /// None yet. Where `seed` is random, nobody can choose bytes that collide.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            taken: 0,
            hasher: FixedState::with_seed(seed),
        }
    }

    /// The hash of these bytes.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u32 {
        bytes.hash(&self.hasher)
    }

    /// The place of that hash where `is_it`.
    // Inlined, as every request looks its backend up.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            match *self.slots.get(at)? {
                Slot::FREE => return None,
                Slot { hash: here, place } if here == hash && is_it(place as usize) => {
                    return Some(place as usize);
                }
                _ => at = self.after(at),
            }
        }
    }

    /// Adds a place.
    pub(crate) fn insert(&mut self, hash: u32, place: usize) {
        if self.taken >= self.slots.len() >> 1 {
            let more = self.slots.len().saturating_mul(2).max(8);
            let before = std::mem::replace(&mut self.slots, vec![Slot::FREE; more]);
            for slot in before {
                if slot != Slot::FREE {
                    self.put(slot);
                }
            }
        }
        self.taken = self.taken.saturating_add(1);
        // A list in 32-bit memory has no room for more.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.put(Slot { hash, place });
    }

    #[inline(never)]
    fn put(&mut self, slot: Slot) {
        let at = self.seek(slot.hash, Slot::FREE);
        if let Some(free) = self.slots.get_mut(at) {
            *free = slot;
        }
    }

    /// Where that slot is, which is there, from the home of `hash` on.
    #[inline(never)]
    fn seek(&self, hash: u32, slot: Slot) -> usize {
        let mut at = self.home(hash);
        while self.slots.get(at).is_some_and(|here| *here != slot) {
            at = self.after(at);
        }
        at
    }

    /// What was at `from` is at `to` now.
    fn moved(&mut self, hash: u32, from: usize, to: usize) {
        let slot = |place| Slot {
            hash,
            place: u32::try_from(place).unwrap_or(u32::MAX),
        };
        let at = self.seek(hash, slot(from));
        if let Some(here) = self.slots.get_mut(at) {
            *here = slot(to);
        }
    }

    /// Removes a place of that hash.
    #[inline(never)]
    fn remove(&mut self, hash: u32, place: usize) {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let mut gap = self.seek(hash, Slot { hash, place });
        let mut at = gap;
        self.taken = self.taken.saturating_sub(1);
        // What follows without a free slot in between moves up, if the gap lies on its way from home.
        loop {
            at = self.after(at);
            let slot = self.slots.get(at).copied().unwrap_or(Slot::FREE);
            let way = |from: usize| at.wrapping_sub(from) & self.mask();
            let moves_up = way(self.home(slot.hash)) >= way(gap);
            if let Some(free) = self.slots.get_mut(gap)
                && (slot == Slot::FREE || moves_up)
            {
                *free = slot;
                gap = at;
            }
            if slot == Slot::FREE {
                return;
            }
        }
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.mask()
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({} taken)", self.taken)
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new(0)
    }
}

/// What can be a key: bytes, or a number.
pub trait Keyed {
    /// What keys are compared by.
    type Form: Form + ?Sized;

    /// The key in this form.
    fn form(&self) -> &Self::Form;
}

/// What keys are compared by.
pub trait Form: PartialEq {
    /// The hash, by that hasher if it takes one.
    fn hash(&self, hasher: &FixedState) -> u32;
}

fn hash(bytes: &[u8], hasher: &FixedState) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

impl Form for [u8] {
    fn hash(&self, hasher: &FixedState) -> u32 {
        // Each half of it is as good as the other.
        hash(self, hasher) as u32
    }
}

impl Form for u32 {
    /// Numbers that somebody counts up: one multiplication (Fibonacci hashing) spreads them.
    fn hash(&self, _: &FixedState) -> u32 {
        let spread = self.wrapping_mul(0x9e37_79b9);
        // The low bits of a product know nothing of the number's high ones.
        spread ^ spread >> 16
    }
}

impl Keyed for u32 {
    type Form = u32;

    #[inline(always)]
    fn form(&self) -> &u32 {
        self
    }
}

macro_rules! found_by_bytes {
    ($($key:ty),+) => {
        $(impl Keyed for $key {
            type Form = [u8];

            #[inline(always)]
            fn form(&self) -> &[u8] {
                self.as_ref()
            }
        })+
    };
}

found_by_bytes!([u8], Box<[u8]>, str, &str, String);

/// Values by key, in the order they came as long as none is removed.
#[derive(Clone)]
pub struct Table<K, V> {
    places: Places,
    /// Without gaps: the last one takes the place of one that goes.
    entries: Vec<(K, V)>,
}

impl<K, V> Table<K, V> {
    /// None yet. Where `seed` is random, nobody can choose keys that collide.
    pub const fn new(seed: u64) -> Self {
        Self {
            places: Places::new(seed),
            entries: Vec::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The hash of these bytes, a key's or others.
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        hash(bytes, &self.places.hasher)
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// The value in that place.
    pub fn at(&self, place: usize) -> Option<&V> {
        self.entries.get(place).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, place: usize) -> Option<&mut V> {
        self.entries.get_mut(place).map(|(_, value)| value)
    }
}

impl<K: Keyed, V> Table<K, V> {
    /// The place of the value of `key`.
    #[inline(always)]
    pub fn place(&self, key: &(impl Keyed<Form = K::Form> + ?Sized)) -> Option<usize> {
        self.place_of(key.form())
    }

    fn place_of(&self, key: &K::Form) -> Option<usize> {
        self.places.find(key.hash(&self.places.hasher), |place| {
            let entry = self.entries.get(place);
            entry.is_some_and(|(known, _)| known.form() == key)
        })
    }

    /// The value of `key`.
    #[inline(always)]
    pub fn get(&self, key: &(impl Keyed<Form = K::Form> + ?Sized)) -> Option<&V> {
        self.at(self.place(key)?)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &(impl Keyed<Form = K::Form> + ?Sized)) -> Option<&mut V> {
        self.at_mut(self.place(key)?)
    }

    /// Whether there is a value of `key`.
    pub fn contains_key(&self, key: &(impl Keyed<Form = K::Form> + ?Sized)) -> bool {
        self.place(key).is_some()
    }

    /// Makes `value` the one of `key`. The one before, if there was one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.get_mut(&key) {
            Some(before) => Some(std::mem::replace(before, value)),
            None => {
                let hash = key.form().hash(&self.places.hasher);
                self.places.insert(hash, self.entries.len());
                self.entries.push((key, value));
                None
            }
        }
    }

    /// The value of `key`, which is made if there is none.
    pub fn or_insert(&mut self, key: K, value: V) -> Option<&mut V> {
        if !self.contains_key(&key) {
            self.insert(key, value);
            return self.entries.last_mut().map(|(_, value)| value);
        }
        self.get_mut(&key)
    }

    /// Removes the value of `key`.
    pub fn remove(&mut self, key: &(impl Keyed<Form = K::Form> + ?Sized)) -> Option<V> {
        let place = self.place(key)?;
        self.remove_at(place).map(|(_, value)| value)
    }

    /// Removes the value in that place, which the last one takes.
    pub fn remove_at(&mut self, place: usize) -> Option<(K, V)> {
        let last = self.entries.len().checked_sub(1)?;
        if place > last {
            return None;
        }
        let gone = self.entries.swap_remove(place);
        let hash = gone.0.form().hash(&self.places.hasher);
        self.places.remove(hash, place);
        if let Some((moved, _)) = self.entries.get(place) {
            let hash = moved.form().hash(&self.places.hasher);
            self.places.moved(hash, last, place);
        }
        Some(gone)
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.places.slots.clear();
        self.places.taken = 0;
        self.entries.clear();
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<K, V> IntoIterator for Table<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: Keyed, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        table.extend(entries);
        table
    }
}

impl<K: Keyed, V> Extend<(K, V)> for Table<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

/// The keys alone tell nothing that the values would not, and some of both are secret.
impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} entries)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn values_come_in_the_order_they_were_put_in() {
        let table: Table<&str, u32> = [("b", 1), ("a", 2), ("b", 3)].into_iter().collect();
        let all: Vec<_> = table.iter().collect();
        assert_eq!(all, [(&"b", &3), (&"a", &2)]);
        assert_eq!(table.get("a"), Some(&2));
        assert_eq!(table.get(""), None);
    }

    /// Steps on a table and on a map, which hold the same all the way.
    fn same<K>(seed: u64, steps: Vec<(u8, K, u32)>) -> Result<(), TestCaseError>
    where
        K: Keyed<Form: Form> + Clone + Eq + std::hash::Hash,
    {
        let (mut table, mut map) = (Table::new(seed), HashMap::new());
        for (step, key, value) in steps {
            let was_there = table.contains_key(&key);
            prop_assert_eq!(was_there, map.contains_key(&key));
            match step {
                0 => prop_assert_eq!(table.insert(key.clone(), value), map.insert(key, value)),
                1 => prop_assert_eq!(table.remove(&key), map.remove(&key)),
                _ => prop_assert_eq!(
                    table.or_insert(key.clone(), value).copied(),
                    Some(*map.entry(key).or_insert(value))
                ),
            }
            prop_assert_eq!(table.len(), map.len());
            for (key, value) in &map {
                prop_assert_eq!(table.get(key), Some(value));
            }
        }
        table.clear();
        prop_assert!(table.is_empty());
        for key in map.keys() {
            prop_assert_eq!(table.get(key), None);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_table_by_bytes_holds_what_a_map_would(
            seed: u64,
            steps in prop::collection::vec((0..3_u8, "[ab]{0,3}", any::<u32>()), 0..200),
        ) {
            same(seed, steps)?;
        }

        #[test]
        fn a_table_by_numbers_holds_what_a_map_would(
            steps in prop::collection::vec((0..3_u8, prop_oneof![0..40_u32, any::<u32>()], any::<u32>()), 0..200),
        ) {
            same(0, steps)?;
        }
    }
}
