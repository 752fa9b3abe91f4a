//! One exchange for the whole Envoy: what the workers tell each other of tokens and calls under way.
//! The protocol is described in `docs/SHARING.md`; its states and transitions are plain values in
//! [`bucket`], and here each transition is carried out by compare-and-swap.

pub(crate) mod bucket;
pub(crate) mod dropped;
pub(crate) mod key;
mod layout;
pub(crate) mod left_alone;
#[cfg(test)]
mod model_tests;
pub(crate) mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wire;

use super::digest::sha256;
use super::settings::CachePolicy;
use crate::time::{Clock, Moment, Steady};
use bucket::{Bucket, ClaimId, Compares, Forgotten, Outcome, Seen, Settled, Token};
use dropped::{Dropped, News};
use key::{Address, ExchangeBytes};
use layout::{Layout, MAX_BUCKETS};
use left_alone::{EndpointName, LeftAlone};
use std::time::Duration;
use store::{Slot, Store, Unavailable};
use wire::Value;

/// Of how many buckets, swept one after the other, each turn takes care.
const SWEPT_AT_ONCE: u32 = 8;
/// A change that so many others came before is given up. Each of them has succeeded, and they are made
/// of workers: a real Envoy never gets there.
const TRIES: u32 = 64;
/// Says how values are written, together with the build that writes them.
const FORMAT: &str = concat!("2 ", env!("CARGO_PKG_VERSION"), " ");

/// The store, as one plugin of one worker sees it.
pub(crate) struct Shared {
    store: Box<dyn Store>,
    format: [u8; 8],
    seed: Vec<u8>,
    layout: Layout,
    /// Of how many dropped tokens it has heard.
    heard: u64,
    swept: u32,
    /// What the model's tests have it do wrong.
    #[cfg(test)]
    pub(super) mutant: Option<Mutant>,
}

/// What a wrong protocol would do.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Takes whatever lies in the bucket.
    ComparesNothing,
    /// Does not look whether another came first.
    IgnoresOthers,
    /// Forgets to look again.
    SleepsOn,
}

/// How an attempt to claim a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The call is to be made here; what was forgotten under the key.
    Ours(Option<Forgotten>),
    /// Not, because of this.
    Seen(Seen),
    /// Others were always faster.
    Crowded,
}

impl Shared {
    /// The store with the bounds of `policy`, as whoever came first left it.
    ///
    /// # Errors
    /// If Envoy does not let the filter use it.
    pub(crate) fn open(
        store: Box<dyn Store>,
        policy: &CachePolicy,
        random: [u8; 16],
    ) -> Result<Self, Unavailable> {
        let build = [
            FORMAT,
            option_env!("UPSTREAM_INJECT_COMMIT").unwrap_or_default(),
        ];
        let [a, b, c, d, e, f, g, h, ..] = sha256(build.concat().as_bytes());
        let mut shared = Self {
            seed: seed(&*store, random)?,
            store,
            format: [a, b, c, d, e, f, g, h],
            layout: Layout::of(policy),
            heard: 0,
            swept: u32::from(random.first().copied().unwrap_or(0)),
            #[cfg(test)]
            mutant: None,
        };
        shared.heard = shared.read::<Dropped>(Slot::Dropped)?.1.count();
        Ok(shared)
    }

    /// Where the answer to exchanging `subject` and `actor` as `exchange` says lies.
    pub(crate) fn address(
        &self,
        exchange: &ExchangeBytes,
        subject: &[u8],
        actor: Option<&[u8]>,
    ) -> Address {
        Address::new(&self.seed, exchange, subject, actor)
    }

    /// What there is under `address`.
    ///
    /// # Errors
    /// If the store cannot be used.
    #[inline(never)]
    pub(crate) fn look(
        &self,
        address: &Address,
        waited_for: Option<ClaimId>,
        is_usable: &dyn Fn(&Token) -> bool,
        now: Steady,
    ) -> Result<Seen, Unavailable> {
        let (_, bucket) = self.read::<Bucket>(self.layout.slot(address))?;
        Ok(bucket.look(address, waited_for, is_usable, now, self.compares()))
    }

    /// Claims the call for `address` until `ends`, unless there is an answer or a call.
    ///
    /// # Errors
    /// If the store cannot be used.
    #[inline(never)]
    pub(crate) fn claim(
        &self,
        address: &Address,
        id: ClaimId,
        ends: Steady,
        is_usable: &dyn Fn(&Token) -> bool,
        now: Steady,
    ) -> Result<Claimed, Unavailable> {
        let claimed = self.change(
            self.layout.slot(address),
            |bucket: &mut Bucket| match bucket.look(address, None, is_usable, now, self.compares())
            {
                Seen::Nothing(forgotten) => {
                    let claimed = bucket.claim(address, id, ends, now, &self.layout.bounds);
                    (claimed, Claimed::Ours(forgotten))
                }
                seen => (false, Claimed::Seen(seen)),
            },
        )?;
        Ok(claimed.unwrap_or(Claimed::Crowded))
    }

    /// The call that was claimed as `id` ended, as everybody is told.
    ///
    /// # Errors
    /// If the store cannot be used.
    #[inline(never)]
    pub(crate) fn settle(
        &self,
        address: &Address,
        id: ClaimId,
        outcome: &Outcome,
        clock: &dyn Clock,
    ) -> Result<Settled, Unavailable> {
        let now = Moment::now(clock);
        let settled = self.change(self.layout.slot(address), |bucket: &mut Bucket| {
            let settled = bucket.settle(address, id, outcome, now, &self.layout.bounds);
            (true, settled)
        })?;
        let settled = settled.unwrap_or_default();
        if let Some(serial) = settled.dropped {
            self.drop_everywhere(serial)?;
        }
        Ok(settled)
    }

    /// The call that was claimed as `id` will not be answered.
    ///
    /// # Errors
    /// If the store cannot be used.
    #[inline(never)]
    pub(crate) fn withdraw(&self, address: &Address, id: ClaimId) -> Result<(), Unavailable> {
        self.change(self.layout.slot(address), |bucket: &mut Bucket| {
            (bucket.withdraw(address, id), ())
        })?;
        Ok(())
    }

    /// A backend did not accept the token `serial`. Its digest is kept where the next call must say it.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub(crate) fn forget(
        &self,
        address: &Address,
        serial: u64,
        says_so: bool,
        now: Steady,
    ) -> Result<(), Unavailable> {
        self.change(self.layout.slot(address), |bucket: &mut Bucket| {
            (bucket.forget(address, serial, says_so, now), ())
        })?;
        // Others may hold it that the store had no room for any more.
        self.drop_everywhere(serial)
    }

    /// What was dropped since this was last asked.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub(crate) fn news(&mut self) -> Result<News, Unavailable> {
        let (_, dropped) = self.read::<Dropped>(Slot::Dropped)?;
        let news = dropped.since(self.heard);
        self.heard = dropped.count();
        Ok(news)
    }

    /// Until when that token endpoint wants to be left alone.
    ///
    /// # Errors
    /// If the store cannot be used.
    #[inline(never)]
    pub(crate) fn left_alone(
        &self,
        endpoint: EndpointName,
        now: Steady,
    ) -> Result<Option<Steady>, Unavailable> {
        let (_, list) = self.read::<LeftAlone>(Slot::LeftAlone)?;
        Ok(list.until(endpoint, now))
    }

    /// That token endpoint wants to be left alone until then.
    ///
    /// # Errors
    /// If the store cannot be used.
    #[inline(never)]
    pub(crate) fn leave_alone(
        &self,
        endpoint: EndpointName,
        until: Steady,
        now: Steady,
    ) -> Result<(), Unavailable> {
        self.change(Slot::LeftAlone, |list: &mut LeftAlone| {
            (list.add(endpoint, until, now), ())
        })?;
        Ok(())
    }

    /// Removes what has ended from the next few buckets, so that no token stays in memory for long
    /// after its end.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub(crate) fn sweep(&mut self, clock: &dyn Clock) -> Result<(), Unavailable> {
        let now = Moment::now(clock);
        for _ in 0..SWEPT_AT_ONCE {
            self.swept = self.swept.wrapping_add(1);
            // All that there can be, whatever the bounds of this configuration.
            let place = self.swept.checked_rem(MAX_BUCKETS).unwrap_or(0);
            let slot = Slot::Bucket(place);
            match self.store.get(slot)? {
                Some(read) if read.value.starts_with(&self.format) => {
                    self.change(slot, |bucket: &mut Bucket| (bucket.sweep(now), ()))?;
                }
                // Another build has left it, and will not come back for it.
                Some(read) if !read.value.is_empty() => {
                    self.store.swap(slot, Some(read.version), &[])?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Nobody is to use the token `serial` any more.
    #[inline(never)]
    fn drop_everywhere(&self, serial: u64) -> Result<(), Unavailable> {
        self.change(Slot::Dropped, |dropped: &mut Dropped| {
            (dropped.push(serial), ())
        })?;
        Ok(())
    }

    /// What a slot holds, and its version; what nobody has written, or not so, is as good as nothing.
    #[inline(never)]
    fn read<V: Value>(&self, slot: Slot) -> Result<(Option<u32>, V), Unavailable> {
        let read = self.store.get(slot)?;
        let version = read.as_ref().map(|read| read.version);
        let value = read.and_then(|read| V::of_bytes(&read.value, &self.format));
        Ok((version, value.unwrap_or_default()))
    }

    /// Changes what a slot holds as `change` says, which tells whether it did. `None` if others always
    /// came first.
    fn change<V: Value, R>(
        &self,
        slot: Slot,
        change: impl Fn(&mut V) -> (bool, R),
    ) -> Result<Option<R>, Unavailable> {
        for _ in 0..TRIES {
            let (version, mut value) = self.read::<V>(slot)?;
            let (changed, result) = change(&mut value);
            if !changed || self.swap(slot, version, &value.to_bytes(&self.format))? {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    #[cfg(not(test))]
    fn swap(&self, slot: Slot, version: Option<u32>, value: &[u8]) -> Result<bool, Unavailable> {
        self.store.swap(slot, version, value)
    }

    #[cfg(not(test))]
    fn compares(&self) -> Compares {
        Compares::Whole
    }

    #[cfg(test)]
    fn swap(&self, slot: Slot, version: Option<u32>, value: &[u8]) -> Result<bool, Unavailable> {
        let swapped = self.store.swap(slot, version, value)?;
        Ok(swapped || self.mutant == Some(Mutant::IgnoresOthers))
    }

    #[cfg(test)]
    fn compares(&self) -> Compares {
        match self.mutant {
            Some(Mutant::ComparesNothing) => Compares::Nothing,
            _ => Compares::Whole,
        }
    }
}

/// The seed that all workers share: `random`, if nobody has left another before.
fn seed(store: &dyn Store, random: [u8; 16]) -> Result<Vec<u8>, Unavailable> {
    if let Some(read) = store.get(Slot::Seed)? {
        return Ok(read.value);
    }
    store.swap(Slot::Seed, None, &random)?;
    store
        .get(Slot::Seed)?
        .map(|read| read.value)
        .ok_or(Unavailable)
}

/// How long a claim keeps others from calling, for calls that take `timeout` at most: if it runs out,
/// whoever made it is no more.
pub(crate) fn claim_time(timeout: Duration) -> Duration {
    timeout.saturating_add(Duration::from_secs(2))
}
