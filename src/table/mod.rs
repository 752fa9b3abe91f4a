//! Values by key: the one hash table, whatever is in it.
//!
//! A library's is compiled anew for each kind of key and value, a kilobyte or two each time, and takes its
//! speed from instructions that Envoy's VM has not. Here what moves in the table ([`Places`]) is the same
//! for all: hashes, and places in a list.

mod keys;
mod places;
#[cfg(test)]
mod tests;

pub(crate) use keys::Keyed;
pub(crate) use places::Places;

use keys::Form;
use std::fmt;

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
        keys::hash(bytes, &self.places.hasher)
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
        self.places.clear();
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
