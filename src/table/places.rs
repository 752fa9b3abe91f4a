//! The places of values in a list, by the hash of what they are found by: the same code for all tables.

use super::keys::Form;
use foldhash::fast::FixedState;
use std::fmt;

/// The places of values in a list, by the hash of what they are found by.
///
/// Open addressing with linear probing: a place stands in the slot that its hash says, or in the next
/// ones, without a free slot in between.
#[derive(Clone)]
pub(crate) struct Places {
    /// None, or a power of two, of which at most half are taken.
    slots: Vec<Slot>,
    taken: usize,
    pub(super) hasher: FixedState,
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
                    self.replace(Slot::FREE, slot);
                }
            }
        }
        self.taken = self.taken.saturating_add(1);
        // A list in 32-bit memory has no room for more.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.replace(Slot::FREE, Slot { hash, place });
    }

    /// What was at `from` is at `to` now.
    pub(super) fn moved(&mut self, hash: u32, from: usize, to: usize) {
        let slot = |place| Slot {
            hash,
            place: u32::try_from(place).unwrap_or(u32::MAX),
        };
        self.replace(slot(from), slot(to));
    }

    /// Puts `to` where `from` is on its way.
    #[inline(never)]
    fn replace(&mut self, from: Slot, to: Slot) {
        let at = self.seek(to.hash, from);
        if let Some(here) = self.slots.get_mut(at) {
            *here = to;
        }
    }

    /// Where that slot is, from the home of `hash` on. It is there; were it not, this would be past the end,
    /// after one look at each.
    #[inline(never)]
    fn seek(&self, hash: u32, slot: Slot) -> usize {
        let mut at = self.home(hash);
        for _ in 0..self.slots.len() {
            if self.slots.get(at) == Some(&slot) {
                return at;
            }
            at = self.after(at);
        }
        usize::MAX
    }

    /// Removes a place of that hash.
    #[inline(never)]
    pub(super) fn remove(&mut self, hash: u32, place: usize) {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let mut gap = self.seek(hash, Slot { hash, place });
        if gap >= self.slots.len() {
            return;
        }
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

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.taken = 0;
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
