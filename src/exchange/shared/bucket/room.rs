//! What a bucket has room for: who goes so that something else can be kept.

use super::super::key::Address;
use super::super::layout::Bounds;
use super::Bucket;
use super::record::{Claim, ClaimId, Kind, Record, Token, What};
use crate::exchange::answer::Failure;
use crate::time::Steady;
use crate::token::BearerToken;
use std::time::Duration;

/// How long an answer that serves nobody else stays for those who waited for it.
const LINGERS: Duration = Duration::from_secs(2);

impl Bucket {
    /// Keeps `token`, unless a younger one is here or there can be no room for it. Returns when one of
    /// its key was last forgotten.
    pub(super) fn keep(
        &mut self,
        address: &Address,
        token: &Token,
        bounds: &Bounds,
    ) -> Option<Steady> {
        let (mut forgot_before, mut is_older) = (None, false);
        for record in &self.records {
            match &record.what {
                What::Token(other) if record.is_of(address) => {
                    forgot_before = forgot_before.or(other.forgot_before);
                    // Not by the wall clock, which may have been set back in between.
                    is_older |= token.asked.steady < other.asked.steady;
                }
                What::Forgotten(forgotten) if record.is_of(address) => {
                    forgot_before = forgot_before.or(Some(forgotten.at));
                }
                _ => {}
            }
        }
        if is_older {
            return forgot_before;
        }
        // A token is the end of everything else that was known.
        self.records.retain(|record| !record.is_of(address));
        let token = Token {
            forgot_before,
            ..token.clone()
        };
        let record = Record::new(address, What::Token(token));
        if record.size() <= bounds.bytes {
            while !self.has_room(record.size(), bounds) && self.evict() {}
            self.records.push(record);
        }
        forgot_before
    }

    /// Refuses the key until then; false if there is no room. No token makes room for it.
    pub(super) fn refuse(
        &mut self,
        address: &Address,
        failure: &Failure,
        until: Steady,
        bounds: &Bounds,
    ) -> bool {
        self.records
            .retain(|record| record.kind() != Kind::Refused || !record.is_of(address));
        let failure = failure.clone();
        let record = Record::new(address, What::Refused { until, failure });
        let refusals = |bucket: &Self| {
            let kinds = bucket.records.iter().map(Record::kind);
            kinds.filter(|kind| *kind == Kind::Refused).count()
        };
        while refusals(self) >= bounds.refusals && self.evict_one(Kind::Refused) {}
        let fits = self.has_room(record.size(), bounds);
        if fits {
            self.records.push(record);
        }
        fits
    }

    /// Leaves `outcome` to those who wait for the call `claim`.
    pub(super) fn pass(
        &mut self,
        address: &Address,
        claim: ClaimId,
        outcome: Result<BearerToken, Failure>,
        now: Steady,
        bounds: &Bounds,
    ) {
        self.records
            .retain(|record| record.kind() != Kind::Passing || !record.is_of(address));
        let passing = What::Passing {
            claim,
            until: now.plus(LINGERS),
            outcome,
        };
        let record = Record::new(address, passing);
        if record.size() > bounds.passing {
            return;
        }
        while self.passing().saturating_add(record.size()) > bounds.passing {
            if !self.evict_one(Kind::Passing) {
                return;
            }
        }
        self.records.push(record);
    }

    fn has_room(&self, size: usize, bounds: &Bounds) -> bool {
        let (entries, bytes) = self.held();
        entries < bounds.entries && bytes.saturating_add(size) <= bounds.bytes
    }

    /// Makes room: refusals go first, then what is left of tokens, then the oldest token.
    fn evict(&mut self) -> bool {
        let mut kinds = [Kind::Refused, Kind::Forgotten, Kind::Token].into_iter();
        kinds.any(|kind| self.evict_one(kind))
    }

    /// Lets the oldest of a kind go. False if there is none.
    #[inline(never)]
    fn evict_one(&mut self, kind: Kind) -> bool {
        let place = self.records.iter().position(|one| one.kind() == kind);
        place.map(|place| self.records.remove(place)).is_some()
    }

    /// How many entries, and how many bytes of them, are held.
    pub(crate) fn held(&self) -> (usize, usize) {
        let records = self.records.iter();
        let entries = records.filter(|record| record.kind() != Kind::Passing);
        entries.fold((0, 0), |(count, bytes), record| {
            (count.saturating_add(1), bytes.saturating_add(record.size()))
        })
    }

    /// The bytes of what is under way.
    pub(crate) fn passing(&self) -> usize {
        let records = self.records.iter();
        let passing = records.filter(|record| record.kind() == Kind::Passing);
        let claims = self.claims.len().saturating_mul(Claim::SIZE);
        passing.fold(claims, |bytes, record| bytes.saturating_add(record.size()))
    }
}
