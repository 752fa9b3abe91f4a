//! How the store is laid out: in how many buckets, which of them a key lies in, and how much each holds.

use super::super::settings::CachePolicy;
use super::key::Address;
use super::store::Slot;

/// The most buckets.
pub(super) const MAX_BUCKETS: u32 = 4096;
/// A bucket is for so many entries at least: with fewer, some overflow while others are empty.
const ENTRIES_PER_BUCKET: usize = 10;
/// A bucket is for so many bytes at least: the largest entry, and some others beside it.
const BYTES_PER_BUCKET: usize = 64 << 10;
/// The most bytes of a bucket for what is passing, whatever its bounds: each look copies them.
const MOST_PASSING: usize = 256 * 1024;

/// How the store is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// How many buckets there are: a power of two, so that configurations that differ in their bounds
    /// agree where they can.
    pub buckets: u32,
    /// How much each holds: all together are what the configuration allows.
    pub bounds: Bounds,
}

/// How much a bucket holds. What has no entries is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The most tokens and refusals, at least one.
    pub entries: usize,
    /// The most refusals among them, at least one.
    pub refusals: usize,
    /// The most bytes of both.
    pub bytes: usize,
    /// The most bytes of what is under way besides: claims, and answers for those who waited.
    pub passing: usize,
}

impl Layout {
    /// The layout for what `policy` allows.
    pub(super) fn of(policy: &CachePolicy) -> Self {
        let by_entries = policy.max_entries.checked_div(ENTRIES_PER_BUCKET);
        let by_bytes = policy.max_bytes.checked_div(BYTES_PER_BUCKET);
        let most = by_entries.unwrap_or(1).min(by_bytes.unwrap_or(1)).max(1);
        let most = u32::try_from(most).unwrap_or(MAX_BUCKETS).min(MAX_BUCKETS);
        let power = most.checked_ilog2();
        let buckets = power.and_then(|power| 1u32.checked_shl(power)).unwrap_or(1);
        Self {
            buckets,
            bounds: Bounds::of(policy, buckets),
        }
    }

    /// The bucket that the key of `address` lies in.
    pub(super) fn slot(&self, address: &Address) -> Slot {
        let [a, b, c, d, ..] = address.digest;
        let place = u32::from_le_bytes([a, b, c, d]).checked_rem(self.buckets);
        Slot::Bucket(place.unwrap_or(0))
    }
}

impl Bounds {
    fn of(policy: &CachePolicy, buckets: u32) -> Self {
        let buckets = usize::try_from(buckets).unwrap_or(1);
        let part = |whole: usize| whole.checked_div(buckets).unwrap_or(whole);
        let entries = part(policy.max_entries);
        let bytes = part(policy.max_bytes);
        let passing = bytes.checked_div(4).unwrap_or(0).min(MOST_PASSING);
        Self {
            entries,
            refusals: entries.checked_div(10).unwrap_or(0).max(1),
            bytes: bytes.saturating_sub(passing),
            passing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_buckets_together_hold_what_is_configured() {
        for (entries, bytes) in [
            (1, 2048),
            (9, 1 << 20),
            (40, 64 << 20),
            (4096, 64 << 20),
            (4096, 1 << 10),
            (1_000_000, 1 << 30),
        ] {
            let policy = CachePolicy {
                max_entries: entries,
                max_bytes: bytes,
                ..CachePolicy::default()
            };
            let Layout { buckets, bounds } = Layout::of(&policy);
            assert!(buckets.is_power_of_two() && buckets <= MAX_BUCKETS);
            let all = buckets as usize;
            assert!(bounds.entries >= 1 && all * bounds.entries <= entries);
            assert!(all * bounds.refusals <= (entries / 10).max(1), "{entries}");
            assert!(all * (bounds.bytes + bounds.passing) <= bytes);
        }
        let expected = Layout {
            buckets: 256,
            bounds: Bounds {
                entries: 16,
                refusals: 1,
                bytes: 192 << 10,
                passing: 64 << 10,
            },
        };
        assert_eq!(Layout::of(&CachePolicy::default()), expected);
    }
}
