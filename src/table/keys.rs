//! What can be a key, and its hash.

use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};

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

/// The hash of these bytes.
pub(super) fn hash(bytes: &[u8], hasher: &FixedState) -> u64 {
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
