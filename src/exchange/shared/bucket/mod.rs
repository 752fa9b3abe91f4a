//! One bucket of the store: the states and transitions of the protocol, as plain values.
//!
//! A bucket changes as a whole or not at all, so that each transition here is one step that all
//! workers see in the same order.

mod record;
mod room;
#[cfg(test)]
mod tests;

pub(crate) use record::{ClaimId, Forgotten, Token};

use super::super::answer::Failure;
use super::super::digest::sha256_base64url;
use super::key::Address;
use super::layout::Bounds;
use super::wire::{Reader, Value, Writer};
use crate::time::{Moment, Steady};
use crate::token::BearerToken;
use record::{Claim, Record, What, is_live};

/// A part of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    claims: Vec<Claim>,
    /// The oldest first.
    records: Vec<Record>,
}

/// What a look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A token that can be used.
    Token(Token),
    /// A refusal, until then.
    Refused(Failure, Steady),
    /// The call that was waited for has ended, with this.
    Ended(Result<BearerToken, Failure>),
    /// Somebody's call is under way.
    Claimed(ClaimId),
    /// Nothing; what was forgotten of it.
    Nothing(Option<Forgotten>),
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// With a token that everybody can use.
    Token(Token),
    /// With one for those who waited alone.
    Once(BearerToken),
    /// With a failure.
    Failed {
        /// What is told.
        failure: Failure,
        /// Whether the token in hand is useless.
        drops: bool,
        /// Until when everybody is told it; `None`: only those who waited.
        until: Option<Steady>,
    },
}

/// What a settled call leaves to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The token that nobody may use any more.
    pub dropped: Option<u64>,
    /// When a token of this key was last forgotten.
    pub forgot_before: Option<Steady>,
}

impl Bucket {
    /// What there is under `address`: a token that `is_usable`, how the call that was `waited_for`
    /// ended, a refusal, a call under way.
    pub(crate) fn look(
        &self,
        address: &Address,
        waited_for: Option<ClaimId>,
        is_usable: &dyn Fn(&Token) -> bool,
        now: Steady,
        compares: Compares,
    ) -> Seen {
        let (mut token, mut ended, mut refused, mut forgotten) = (None, None, None, None);
        for record in &self.records {
            if !compares.are_equal(&record.key, &address.key) {
                continue;
            }
            match &record.what {
                What::Token(held) if is_usable(held) => token = Some(held),
                What::Token(_) => {}
                What::Forgotten(what) => forgotten = Some(what),
                What::Refused { until, failure } if is_live(*until, now) => {
                    refused = Some((failure, *until));
                }
                What::Passing { claim, outcome, .. } if Some(*claim) == waited_for => {
                    ended = Some(outcome);
                }
                What::Refused { .. } | What::Passing { .. } => {}
            }
        }
        if let Some(token) = token {
            return Seen::Token(token.clone());
        }
        if let Some(outcome) = ended {
            return Seen::Ended(outcome.clone());
        }
        if let Some((failure, until)) = refused {
            return Seen::Refused(failure.clone(), until);
        }
        let claim = self
            .claims
            .iter()
            .find(|claim| claim.digest == address.digest && claim.is_live(now));
        match claim {
            Some(claim) => Seen::Claimed(claim.id),
            None => Seen::Nothing(forgotten.cloned()),
        }
    }

    /// Claims the call for `address`, which nobody's live claim is in the way of. False if there is no
    /// room: the call is made all the same, and others may make theirs.
    pub(crate) fn claim(
        &mut self,
        address: &Address,
        id: ClaimId,
        ends: Steady,
        now: Steady,
        bounds: &Bounds,
    ) -> bool {
        self.claims
            .retain(|claim| claim.is_live(now) && claim.digest != address.digest);
        let digest = address.digest;
        self.claims.push(Claim { digest, id, ends });
        if self.passing() > bounds.passing {
            self.claims.pop();
            return false;
        }
        true
    }

    /// The call for `address` that was claimed as `id` is no longer under way. True if it was.
    pub(crate) fn withdraw(&mut self, address: &Address, id: ClaimId) -> bool {
        let before = self.claims.len();
        self.claims
            .retain(|claim| claim.id != id || claim.digest != address.digest);
        self.claims.len() != before
    }

    /// The call that was claimed as `id` ended.
    pub(crate) fn settle(
        &mut self,
        address: &Address,
        id: ClaimId,
        outcome: &Outcome,
        now: Moment,
        bounds: &Bounds,
    ) -> Settled {
        self.withdraw(address, id);
        self.sweep(now);
        let now = now.steady;
        let mut settled = Settled::default();
        match outcome {
            Outcome::Token(token) => settled.forgot_before = self.keep(address, token, bounds),
            Outcome::Once(token) => self.pass(address, id, Ok(token.clone()), now, bounds),
            Outcome::Failed {
                failure,
                drops,
                until,
            } => {
                if *drops {
                    settled.dropped = self.drop_token(address);
                }
                let is_told =
                    until.is_some_and(|until| self.refuse(address, failure, until, bounds));
                if !is_told {
                    self.pass(address, id, Err(failure.clone()), now, bounds);
                }
            }
        }
        settled
    }

    /// A backend did not accept the token `serial`, whose digest is kept if the next call `says_so`. True
    /// if it was here.
    pub(crate) fn forget(
        &mut self,
        address: &Address,
        serial: u64,
        says_so: bool,
        now: Steady,
    ) -> bool {
        for record in &mut self.records {
            if let What::Token(token) = &record.what
                && token.serial == serial
                && record.is_of(address)
            {
                let rejected = says_so.then(|| sha256_base64url(token.token.as_bytes()));
                record.what = What::Forgotten(Forgotten { at: now, rejected });
                return true;
            }
        }
        false
    }

    /// Removes what has ended. True if there was any.
    pub(crate) fn sweep(&mut self, now: Moment) -> bool {
        let before = (self.claims.len(), self.records.len());
        self.claims.retain(|claim| claim.is_live(now.steady));
        self.records.retain(|record| record.is_live(now));
        before != (self.claims.len(), self.records.len())
    }

    /// Nobody is to use the token of `address` any more. Returns its serial.
    fn drop_token(&mut self, address: &Address) -> Option<u64> {
        let mut places = self.records.iter().enumerate();
        let (place, serial) = places.find_map(|(place, record)| match &record.what {
            What::Token(token) if record.is_of(address) => Some((place, token.serial)),
            _ => None,
        })?;
        self.records.remove(place);
        Some(serial)
    }
}

impl Value for Bucket {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.records.is_empty()
    }

    fn write(&self, to: &mut Writer) {
        to.number(u64::try_from(self.claims.len()).unwrap_or(u64::MAX));
        for claim in &self.claims {
            claim.write(to);
        }
        for record in &self.records {
            record.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut bucket = Self::default();
        for _ in 0..from.number()? {
            bucket.claims.push(Claim::read(from)?);
        }
        while !from.0.is_empty() {
            bucket.records.push(Record::read(from)?);
        }
        Some(bucket)
    }
}

/// How keys are compared: whole. (The model's tests leave it out, to see that they notice.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compares {
    /// Byte for byte.
    Whole,
    /// Not at all.
    #[cfg(test)]
    Nothing,
}

impl Compares {
    fn are_equal(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Compares::Whole => one == other,
            #[cfg(test)]
            Compares::Nothing => true,
        }
    }
}
