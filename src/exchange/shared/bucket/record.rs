//! What lies in a bucket: claims, and what is known under a key; for how long, and how it is written.

use super::super::key::Address;
use super::super::wire::{Reader, Writer};
use crate::exchange::answer::Failure;
use crate::time::{Moment, Steady, Time};
use crate::token::BearerToken;
use std::time::Duration;

/// What is further off was told by no clock of ours, and is as good as over.
const FURTHEST: Duration = Duration::from_secs(3600);

/// Names a call under way. Random, so that no two workers give the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClaimId(pub u64);

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub digest: [u8; 32],
    pub id: ClaimId,
    /// When it no longer keeps others from calling.
    pub ends: Steady,
}

/// What is known under a key. At most one of each kind, a token and what became of one being one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub key: Vec<u8>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
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

/// The kinds of [`What`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Token,
    Forgotten,
    Refused,
    Passing,
}

/// A token for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
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
pub(crate) struct Forgotten {
    /// When.
    pub at: Steady,
    /// Its digest, where the next call must say it.
    pub rejected: Option<String>,
}

impl Claim {
    /// What it takes, written.
    pub(super) const SIZE: usize = 32 + 8 + 8;

    pub(super) fn is_live(&self, now: Steady) -> bool {
        is_live(self.ends, now)
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.0.extend_from_slice(&self.digest);
        to.number(self.id.0);
        to.steady(self.ends);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            digest: from.array()?,
            id: ClaimId(from.number()?),
            ends: from.steady()?,
        })
    }
}

pub(super) fn is_live(ends: Steady, now: Steady) -> bool {
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
    pub(super) fn new(address: &Address, what: What) -> Self {
        let key = address.key.to_vec();
        Self { key, what }
    }

    pub(super) fn is_of(&self, address: &Address) -> bool {
        *self.key == *address.key
    }

    pub(super) fn kind(&self) -> Kind {
        match self.what {
            What::Token(_) => Kind::Token,
            What::Forgotten(_) => Kind::Forgotten,
            What::Refused { .. } => Kind::Refused,
            What::Passing { .. } => Kind::Passing,
        }
    }

    /// Whether it is of use to anybody.
    pub(super) fn is_live(&self, now: Moment) -> bool {
        match &self.what {
            What::Token(token) => token.asked.lasts_until(token.expires, now),
            What::Forgotten(forgotten) => forgotten.is_remembered(now.steady),
            What::Refused { until, .. } | What::Passing { until, .. } => {
                is_live(*until, now.steady)
            }
        }
    }

    /// What it takes, written.
    pub(super) fn size(&self) -> usize {
        let mut to = Writer::default();
        self.write(&mut to);
        to.0.len()
    }

    pub(super) fn write(&self, to: &mut Writer) {
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

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
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
