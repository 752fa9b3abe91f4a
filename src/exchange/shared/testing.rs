//! A store for tests that lies in this process, and can be looked into.

use super::store::{Read, Slot, Store, Unavailable};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Each value with the number of times it was written.
pub(crate) type All = BTreeMap<Slot, (Vec<u8>, u32)>;

/// The values, common to all clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(Rc<RefCell<All>>);

impl Values {
    /// Somebody else leaves `value` there.
    pub(crate) fn leave(&self, slot: Slot, value: &[u8]) {
        let mut values = self.0.borrow_mut();
        let (held, version) = values.entry(slot).or_default();
        *held = value.to_vec();
        *version += 1;
    }

    /// All there is.
    pub(crate) fn all(&self) -> All {
        self.0.borrow().clone()
    }
}

impl Store for Values {
    fn get(&self, slot: Slot) -> Result<Option<Read>, Unavailable> {
        let values = self.0.borrow();
        let read = values.get(&slot).map(|(value, version)| Read {
            value: value.clone(),
            version: *version,
        });
        Ok(read)
    }

    fn swap(&self, slot: Slot, version: Option<u32>, value: &[u8]) -> Result<bool, Unavailable> {
        let is_at = self.0.borrow().get(&slot).map(|(_, version)| *version);
        if is_at == version {
            self.leave(slot, value);
        }
        Ok(is_at == version)
    }
}
