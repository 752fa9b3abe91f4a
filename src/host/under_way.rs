//! What is under way, by the numbers that the host gives it.

/// Values by the host's numbers.
///
/// Open addressing with linear probing: a value stands in the slot that its number says, or in the next
/// ones, without a free slot in between. Every request looks its own up five times, so what does that is
/// inlined; and the host counts its numbers up, for all of a worker's clients: one multiplication
/// (Fibonacci hashing) spreads them.
pub(super) struct UnderWay<V> {
    /// None, or a power of two, of which at most half are taken.
    slots: Vec<Option<(u32, V)>>,
    taken: usize,
}

impl<V> UnderWay<V> {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            taken: 0,
        }
    }

    /// The value of that number.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<&V> {
        let slot = self.slots.get(self.slot_of(number))?;
        slot.as_ref().map(|(_, value)| value)
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut V> {
        let at = self.slot_of(number);
        let slot = self.slots.get_mut(at)?;
        slot.as_mut().map(|(_, value)| value)
    }

    /// Makes `value` the one of that number.
    #[inline(always)]
    pub(super) fn insert(&mut self, number: u32, value: V) {
        if self.taken >= self.slots.len() >> 1 {
            self.grow();
        }
        let at = self.slot_of(number);
        if let Some(slot) = self.slots.get_mut(at) {
            let before = slot.replace((number, value));
            self.taken = self.taken.saturating_add(usize::from(before.is_none()));
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let more = self.slots.len().saturating_mul(2).max(8);
        let mut slots = Vec::new();
        slots.resize_with(more, || None);
        for (number, value) in std::mem::replace(&mut self.slots, slots)
            .into_iter()
            .flatten()
        {
            let at = self.slot_of(number);
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = Some((number, value));
            }
        }
    }

    /// Removes the value of that number.
    #[inline(always)]
    pub(super) fn remove(&mut self, number: u32) -> Option<V> {
        let at = self.slot_of(number);
        let (_, value) = self.slots.get_mut(at)?.take()?;
        self.taken = self.taken.saturating_sub(1);
        if matches!(self.slots.get(self.after(at)), Some(Some(_))) {
            self.close(at);
        }
        Some(value)
    }

    /// What follows without a free slot in between moves up into the gap, if that lies on its way.
    #[inline(never)]
    fn close(&mut self, mut gap: usize) {
        let mut at = self.after(gap);
        while let Some(Some((number, _))) = self.slots.get(at) {
            let way = |from: usize| at.wrapping_sub(from) & self.mask();
            if way(self.home(*number)) >= way(gap) {
                self.slots.swap(gap, at);
                gap = at;
            }
            at = self.after(at);
        }
    }

    /// Where the value of that number is, or would be.
    #[inline(always)]
    fn slot_of(&self, number: u32) -> usize {
        let mut at = self.home(number);
        while let Some(Some((known, _))) = self.slots.get(at)
            && *known != number
        {
            at = self.after(at);
        }
        at
    }

    #[inline(always)]
    fn home(&self, number: u32) -> usize {
        let spread = number.wrapping_mul(0x9e37_79b9);
        // The low bits of a product know nothing of the number's high ones.
        (spread ^ spread >> 16) as usize & self.mask()
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.mask()
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Each request looks its own up several times: were they not spread, a worker would look through
    /// thousands.
    #[test]
    fn numbers_that_the_host_counts_up_are_found_where_they_belong() {
        for stride in [1_u32, 2, 3, 4, 7, 16, 64, 256, 1000, 1024, 4096, 65_536] {
            let mut ours = UnderWay::new();
            for n in 0..1000 {
                ours.insert(n * stride, ());
            }
            let at_home = |n: &u32| ours.slot_of(n * stride) == ours.home(n * stride);
            let at_home = (0..1000).filter(at_home).count();
            assert!(at_home > 700, "{at_home} of 1000 by {stride}");
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(
            steps in prop::collection::vec(
                (any::<bool>(), prop_oneof![0..40_u32, any::<u32>()], any::<u8>()),
                0..300,
            ),
        ) {
            let (mut ours, mut map) = (UnderWay::new(), HashMap::new());
            for (inserts, number, value) in steps {
                prop_assert_eq!(ours.get(number), map.get(&number));
                if inserts {
                    ours.insert(number, value);
                    map.insert(number, value);
                } else {
                    prop_assert_eq!(ours.remove(number), map.remove(&number));
                }
                prop_assert_eq!(ours.taken, map.len());
                for (number, value) in &mut map {
                    prop_assert_eq!(ours.get_mut(*number), Some(value));
                }
            }
        }
    }
}
