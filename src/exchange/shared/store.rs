//! What the workers of one Envoy share: a few named values that change by compare-and-swap, and
//! nothing else. Envoy implements it with its shared data, tests with what they can disturb.

/// The name of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// Random bytes that whoever comes first leaves for all: which bucket a key lies in is nobody's
    /// to foresee.
    Seed,
    /// Tokens that are no longer to be used, the newest last.
    Dropped,
    /// Until when token endpoints want to be left alone.
    LeftAlone,
    /// A part of the store.
    Bucket(u32),
}

/// A value as it was read, and what tells this reading from a later state.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// The value.
    pub value: Vec<u8>,
    /// Changes with the value, and is never 0.
    pub version: u32,
}

/// The store cannot be used: Envoy does not let the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Values that all workers read and change.
pub(crate) trait Store {
    /// The value, if there is one.
    ///
    /// # Errors
    /// If the store cannot be used.
    fn get(&self, slot: Slot) -> Result<Option<Read>, Unavailable>;

    /// Makes `value` the value, if it is still at `version`; `None`: if there is no value yet. False
    /// if there is another by now.
    ///
    /// # Errors
    /// If the store cannot be used.
    fn swap(&self, slot: Slot, version: Option<u32>, value: &[u8]) -> Result<bool, Unavailable>;
}
