//! One bucket of the store: the states and transitions of the protocol, as plain values.
//!
//! A bucket changes as a whole or not at all, so that each transition here is one step that all
//! workers see in the same order.

use super::super::answer::Failure;
use super::key::Address;
use super::wire::{Reader, Writer};
use crate::time::{Moment, Steady, Time};
use crate::token::BearerToken;
use std::time::Duration;

/// How long an answer that serves nobody else stays for those who waited for it.
pub const LINGERS: Duration = Duration::from_secs(2);
/// What is further off was told by no clock of ours, and is as good as over.
const FURTHEST: Duration = Duration::from_secs(3600);

/// Names a call under way. Random, so that no two workers give the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId(pub u64);

/// How much a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most tokens and refusals.
    pub entries: usize,
    /// The most refusals among them.
    pub refusals: usize,
    /// The most bytes of both.
    pub bytes: usize,
    /// The most bytes of what is under way besides: claims, and answers for those who waited.
    pub passing: usize,
}

/// A part of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    claims: Vec<Claim>,
    /// The oldest first.
    records: Vec<Record>,
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    digest: [u8; 32],
    id: ClaimId,
    /// When it no longer keeps others from calling.
    ends: Steady,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    key: Vec<u8>,
    what: What,
}

/// What is known under a key. At most one of each kind, a token and what became of one being one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Token(Token),
    /// A backend did not accept the token, which is gone.
    Forgotten(Forgotten),
    /// For everybody.
    Refused {
        until: Steady,
        failure: Failure,
    },
    /// For those who waited for that call, and nobody else.
    Passing {
        claim: ClaimId,
        until: Steady,
        outcome: Result<BearerToken, Failure>,
    },
}

/// A token for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub token: BearerToken,
    /// Tells it from every other.
    pub serial: u64,
    /// When it was asked for.
    pub asked: Moment,
    /// When it ends.
    pub expires: Time,
    /// When a token of this key was last forgotten.
    pub forgot_before: Option<Steady>,
}

/// What is left of a token that a backend did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// When.
    pub at: Steady,
    /// Its digest, where the next call must say it.
    pub rejected: Option<String>,
}

/// What a look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
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
pub enum Outcome {
    /// With a token that everybody can use.
    Token(Token),
    /// With one for those who waited alone.
    Once(BearerToken),
    /// With a failure that says nothing of later calls.
    Failed(Failure),
    /// With one that makes the token in hand useless.
    Denied(Failure),
    /// With one that everybody is told until then; whether the token in hand goes.
    Refused {
        /// What is told.
        failure: Failure,
        /// Until when.
        until: Steady,
        /// Whether the token in hand is useless.
        drops: bool,
    },
}

/// What a settled call leaves to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The token that nobody may use any more.
    pub dropped: Option<u64>,
    /// When a token of this key was last forgotten.
    pub forgot_before: Option<Steady>,
}

impl Bucket {
    /// What there is under `address`: a token that `is_usable`, how the call that was `waited_for`
    /// ended, a refusal, a call under way.
    pub fn look(
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
    pub fn claim(
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
    pub fn withdraw(&mut self, address: &Address, id: ClaimId) -> bool {
        let before = self.claims.len();
        self.claims
            .retain(|claim| claim.id != id || claim.digest != address.digest);
        self.claims.len() != before
    }

    /// The call that was claimed as `id` ended.
    pub fn settle(
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
            Outcome::Failed(failure) => {
                self.pass(address, id, Err(failure.clone()), now, bounds);
            }
            Outcome::Denied(failure) => {
                settled.dropped = self.take_token(address).map(|token| token.serial);
                self.pass(address, id, Err(failure.clone()), now, bounds);
            }
            Outcome::Refused {
                failure,
                until,
                drops,
            } => {
                if *drops {
                    settled.dropped = self.take_token(address).map(|token| token.serial);
                }
                if !self.refuse(address, failure, *until, bounds) {
                    self.pass(address, id, Err(failure.clone()), now, bounds);
                }
            }
        }
        settled
    }

    /// A backend did not accept the token `serial`. True if it was here.
    pub fn forget(
        &mut self,
        address: &Address,
        serial: u64,
        rejected: Option<String>,
        now: Steady,
    ) -> bool {
        for record in &mut self.records {
            if let What::Token(token) = &record.what
                && token.serial == serial
                && *record.key == *address.key
            {
                record.what = What::Forgotten(Forgotten { at: now, rejected });
                return true;
            }
        }
        false
    }

    /// Removes what has ended. True if there was any.
    pub fn sweep(&mut self, now: Moment) -> bool {
        let before = (self.claims.len(), self.records.len());
        self.claims.retain(|claim| claim.is_live(now.steady));
        self.records.retain(|record| match &record.what {
            What::Token(token) => token.asked.lasts_until(token.expires, now),
            What::Forgotten(forgotten) => forgotten.is_remembered(now.steady),
            What::Refused { until, .. } | What::Passing { until, .. } => {
                is_live(*until, now.steady)
            }
        });
        before != (self.claims.len(), self.records.len())
    }

    #[inline(never)]
    fn remove(&mut self, place: usize) -> Record {
        self.records.remove(place)
    }

    /// Keeps `token`, unless a younger one is here or there can be no room for it. Returns when one of
    /// its key was last forgotten.
    fn keep(&mut self, address: &Address, token: &Token, bounds: &Bounds) -> Option<Steady> {
        let forgot_before = self.records.iter().find_map(|record| {
            match (*record.key == *address.key, &record.what) {
                (true, What::Token(token)) => token.forgot_before,
                (true, What::Forgotten(forgotten)) => Some(forgotten.at),
                _ => None,
            }
        });
        let is_older = self.records.iter().any(|record| match &record.what {
            What::Token(other) => {
                // Not by the wall clock, which may have been set back in between.
                *record.key == *address.key && token.asked.steady < other.asked.steady
            }
            _ => false,
        });
        if is_older {
            return forgot_before;
        }
        // A token is the end of everything else that was known.
        self.records.retain(|record| *record.key != *address.key);
        let record = Record {
            key: address.key.to_vec(),
            what: What::Token(Token {
                forgot_before,
                ..token.clone()
            }),
        };
        if record.size() <= bounds.bytes && bounds.entries > 0 {
            while !self.has_room(record.size(), bounds) && self.evict() {}
            self.records.push(record);
        }
        forgot_before
    }

    /// Refuses the key until then; false if there is no room. No token makes room for it.
    fn refuse(
        &mut self,
        address: &Address,
        failure: &Failure,
        until: Steady,
        bounds: &Bounds,
    ) -> bool {
        self.records.retain(|record| {
            *record.key != *address.key || !matches!(record.what, What::Refused { .. })
        });
        let record = Record {
            key: address.key.to_vec(),
            what: What::Refused {
                until,
                failure: failure.clone(),
            },
        };
        let refusals = |bucket: &Self| {
            let records = bucket.records.iter();
            records
                .filter(|record| matches!(record.what, What::Refused { .. }))
                .count()
        };
        while refusals(self) >= bounds.refusals.max(1) && self.evict_refusal() {}
        let fits = bounds.refusals > 0 && self.has_room(record.size(), bounds);
        if fits {
            self.records.push(record);
        }
        fits
    }

    /// Leaves `outcome` to those who wait for the call `claim`.
    fn pass(
        &mut self,
        address: &Address,
        claim: ClaimId,
        outcome: Result<BearerToken, Failure>,
        now: Steady,
        bounds: &Bounds,
    ) {
        let is_passing = |record: &Record| matches!(record.what, What::Passing { .. });
        self.records
            .retain(|record| *record.key != *address.key || !is_passing(record));
        let record = Record {
            key: address.key.to_vec(),
            what: What::Passing {
                claim,
                until: now.plus(LINGERS),
                outcome,
            },
        };
        while self.passing().saturating_add(record.size()) > bounds.passing {
            match self.records.iter().position(is_passing) {
                Some(place) => drop(self.remove(place)),
                None => return,
            }
        }
        self.records.push(record);
    }

    fn take_token(&mut self, address: &Address) -> Option<Token> {
        let is_it =
            |record: &Record| *record.key == *address.key && matches!(record.what, What::Token(_));
        let place = self.records.iter().position(is_it)?;
        match self.remove(place).what {
            What::Token(token) => Some(token),
            _ => None,
        }
    }

    fn has_room(&self, size: usize, bounds: &Bounds) -> bool {
        let (entries, bytes) = self.held();
        entries < bounds.entries && bytes.saturating_add(size) <= bounds.bytes
    }

    /// Makes room: refusals go first, then what is left of tokens, then the oldest token.
    fn evict(&mut self) -> bool {
        if self.evict_refusal() {
            return true;
        }
        let is_forgotten = |record: &Record| matches!(record.what, What::Forgotten(_));
        let is_token = |record: &Record| matches!(record.what, What::Token(_));
        let mut records = self.records.iter();
        let place = records
            .position(is_forgotten)
            .or_else(|| self.records.iter().position(is_token));
        place.map(|place| self.remove(place)).is_some()
    }

    fn evict_refusal(&mut self) -> bool {
        let is_refusal = |record: &Record| matches!(record.what, What::Refused { .. });
        let place = self.records.iter().position(is_refusal);
        place.map(|place| self.remove(place)).is_some()
    }

    /// How many entries, and how many bytes of them, are held.
    pub fn held(&self) -> (usize, usize) {
        let entries = self.records.iter().filter(|record| !record.is_passing());
        entries.fold((0, 0), |(count, bytes), record| {
            (count.saturating_add(1), bytes.saturating_add(record.size()))
        })
    }

    /// The bytes of what is under way.
    pub fn passing(&self) -> usize {
        let records = self.records.iter().filter(|record| record.is_passing());
        let claims = self.claims.len().saturating_mul(CLAIM_SIZE);
        records.fold(claims, |bytes, record| bytes.saturating_add(record.size()))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.records.is_empty()
    }

    /// The bucket as the store holds it.
    pub fn write(&self, format: &[u8; 8]) -> Vec<u8> {
        let mut to = Writer(format.to_vec());
        to.number(u64::try_from(self.claims.len()).unwrap_or(u64::MAX));
        for claim in &self.claims {
            to.0.extend_from_slice(&claim.digest);
            to.number(claim.id.0);
            to.steady(claim.ends);
        }
        for record in &self.records {
            record.write(&mut to);
        }
        to.0
    }

    /// The bucket that was written so; an empty one, if it was not.
    pub fn read(value: &[u8], format: &[u8; 8]) -> Self {
        Self::try_read(value, format).unwrap_or_default()
    }

    fn try_read(value: &[u8], format: &[u8; 8]) -> Option<Self> {
        let mut from = Reader(value);
        if from.array::<8>()? != *format {
            return None;
        }
        let mut bucket = Self::default();
        for _ in 0..from.number()? {
            bucket.claims.push(Claim {
                digest: from.array()?,
                id: ClaimId(from.number()?),
                ends: from.steady()?,
            });
        }
        while !from.0.is_empty() {
            bucket.records.push(Record::read(&mut from)?);
        }
        Some(bucket)
    }
}

/// What a claim takes, written.
const CLAIM_SIZE: usize = 32 + 8 + 8;

impl Claim {
    fn is_live(&self, now: Steady) -> bool {
        is_live(self.ends, now)
    }
}

fn is_live(ends: Steady, now: Steady) -> bool {
    now < ends && ends.since(now) <= FURTHEST
}

impl Forgotten {
    /// How long a token that was not accepted is remembered.
    const REMEMBERED: Duration = Duration::from_secs(10);
    /// The same, where the next call must say so.
    const REMEMBERED_TO_SAY: Duration = Duration::from_secs(3600);

    fn is_remembered(&self, now: Steady) -> bool {
        let time = match self.rejected {
            Some(_) => Self::REMEMBERED_TO_SAY,
            None => Self::REMEMBERED,
        };
        now.since(self.at) < time && self.at.since(now) <= FURTHEST
    }
}

impl Record {
    fn is_passing(&self) -> bool {
        matches!(self.what, What::Passing { .. })
    }

    /// What it takes, written.
    fn size(&self) -> usize {
        let mut to = Writer::default();
        self.write(&mut to);
        to.0.len()
    }

    fn write(&self, to: &mut Writer) {
        to.bytes(&self.key);
        match &self.what {
            What::Token(token) => {
                to.byte(0);
                to.bytes(token.token.as_bytes());
                to.number(token.serial);
                to.time(token.asked.wall);
                to.steady(token.asked.steady);
                to.time(token.expires);
                to.optional(token.forgot_before, Writer::steady);
            }
            What::Forgotten(forgotten) => {
                to.byte(1);
                to.steady(forgotten.at);
                let rejected = forgotten.rejected.as_deref();
                to.optional(rejected, |to, rejected| to.bytes(rejected.as_bytes()));
            }
            What::Refused { until, failure } => {
                to.byte(2);
                to.steady(*until);
                to.failure(failure);
            }
            What::Passing {
                claim,
                until,
                outcome,
            } => {
                to.byte(3);
                to.number(claim.0);
                to.steady(*until);
                match outcome {
                    Ok(token) => {
                        to.byte(1);
                        to.bytes(token.as_bytes());
                    }
                    Err(failure) => {
                        to.byte(0);
                        to.failure(failure);
                    }
                }
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let key = from.bytes()?.to_vec();
        let token = |from: &mut Reader<'_>| BearerToken::new(from.bytes()?.to_vec());
        let what = match from.byte()? {
            0 => What::Token(Token {
                token: token(from)?,
                serial: from.number()?,
                asked: Moment {
                    wall: from.time()?,
                    steady: from.steady()?,
                },
                expires: from.time()?,
                forgot_before: from.optional(Reader::steady)?,
            }),
            1 => What::Forgotten(Forgotten {
                at: from.steady()?,
                rejected: from.optional(|from| String::from_utf8(from.bytes()?.to_vec()).ok())?,
            }),
            2 => What::Refused {
                until: from.steady()?,
                failure: from.failure()?,
            },
            3 => What::Passing {
                claim: ClaimId(from.number()?),
                until: from.steady()?,
                outcome: match from.flag()? {
                    true => Ok(token(from)?),
                    false => Err(from.failure()?),
                },
            },
            _ => return None,
        };
        Some(Self { key, what })
    }
}

/// How keys are compared: whole. (The model's tests leave it out, to see that they notice.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compares {
    /// Byte for byte.
    #[default]
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
