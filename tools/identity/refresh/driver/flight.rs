//! One refresh carried out: what the machine asks for is done, and what that taught is remembered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{Landed, Refresher};
use crate::log;
use crate::refresh::due;
use crate::refresh::machine::{Answer, Event, Machine, Outcome, Step};
use crate::refresh::memory::{DEAD, REDEEMED};
use crate::session::store::{Lock, Owner, StoreError};
use crate::session::{Digest, Row, RowKey};
use crate::time::now_ms;

/// Between attempts to give back a lock.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Refresher {
    pub(super) async fn carry_out(
        &self,
        key: &RowKey,
        mut machine: Machine,
        mut step: Step,
        token: Digest,
    ) -> Landed {
        let began = Instant::now();
        let lock = Lock {
            token,
            owner: Owner::new(),
        };
        let mut called = false;
        loop {
            let event = match step {
                Step::Claim => {
                    let claimed = self.store.claim(&lock, self.pace.lock, key).await;
                    if let Err(error) = &claimed {
                        log::limited(
                            log::Level::Error,
                            "claim",
                            "a refresh token cannot be locked in the session store",
                            &[("error", error)],
                        );
                    }
                    Event::Claimed(claimed)
                }
                Step::Wait(time) => {
                    sleep(time).await;
                    Event::Waited
                }
                Step::Call { subject } => {
                    called = true;
                    let answer = self
                        .call(key, machine.refresh_token(), &subject, token)
                        .await;
                    Event::Answered(answer)
                }
                Step::Gather { user } => Event::Gathered(
                    self.store
                        .rows_with(&user, &key.provider, machine.refresh_token())
                        .await,
                ),
                Step::Write { rows, redeemed } => {
                    if machine.has_redeemed() {
                        self.memory()
                            .bury(token, "redeemed before", REDEEMED, now_ms());
                    }
                    let written = self
                        .store
                        .write(&lock, machine.refresh_token(), &rows, redeemed)
                        .await;
                    if let Err(error) = &written {
                        log::warn(
                            "refreshed tokens could not be written",
                            &[("provider", &key.provider), ("error", error)],
                        );
                    }
                    Event::Wrote(written)
                }
                Step::Delete(rows) => {
                    self.memory()
                        .bury(token, "redeemed before", REDEEMED, now_ms());
                    Event::Wrote(
                        self.store
                            .delete(&lock, machine.refresh_token(), &rows)
                            .await,
                    )
                }
                Step::Release => Event::Released(self.store.release(&lock).await),
                Step::Done(outcome) => {
                    if let (false, Some(member)) = (called, self.providers.get(&key.provider)) {
                        super::lock(&member.breaker).not_called();
                    }
                    if machine.owes_release() {
                        self.give_back_later(lock);
                    }
                    self.account(key, &outcome, called, began.elapsed());
                    return Landed { outcome, called };
                }
            };
            step = machine.step(event, now_ms());
        }
    }

    /// Gives back a lock that may be ours as soon as the store can take it; else everybody would be
    /// kept from this refresh token until the lock ends by itself. Nobody waits for it.
    fn give_back_later(&self, lock: Lock) {
        let store = Arc::clone(&self.store);
        let mut pause = self.pace.look;
        let life = self.pace.lock;
        tokio::spawn(timeout(life, async move {
            while let Err(StoreError::Away(_)) = store.release(&lock).await {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }));
    }

    /// Redeems the token, and remembers what that taught.
    async fn call(
        &self,
        key: &RowKey,
        refresh_token: &str,
        subject: &str,
        token: Digest,
    ) -> Answer {
        let Some(member) = self.providers.get(&key.provider) else {
            return Answer::NoUse("no such upstream");
        };
        let redeemed = timeout(
            self.settings.timeout,
            member
                .provider
                .redeem(&self.http, &*self.store, refresh_token, subject),
        )
        .await;
        let (answer, retry_after) = match redeemed {
            Ok(redeemed) => (redeemed.answer, redeemed.retry_after),
            Err(_) => (Answer::NotNow("timeout"), None),
        };
        let now = now_ms();
        let mut breaker = super::lock(&member.breaker);
        match &answer {
            Answer::NotNow(_) => breaker.failed(token, retry_after, now),
            _ => breaker.answered(),
        }
        drop(breaker);
        self.tell_breaker(member);
        let mut memory = self.memory();
        match &answer {
            Answer::Tokens(_) => memory.forgive(token),
            Answer::Dead(why) => memory.bury(token, why, DEAD, now),
            Answer::OtherSubject(_) => memory.pause(token, Outcome::FOREIGN, None, now),
            Answer::NoUse(why) | Answer::NotNow(why) => {
                memory.pause(token, why, retry_after, now);
            }
        }
        answer
    }

    /// Remembers an ID token that a refresh, by whomever, did not renew, or renewed with one that
    /// has ended.
    pub(super) fn note_kept(&self, before: &Row, after: &Row) {
        let useless = after.id_token == before.id_token || !due::id_is_good(after, now_ms());
        if !after.id_token.is_empty() && useless {
            self.memory().keep(Digest::of(&after.id_token));
        }
    }

    fn account(&self, key: &RowKey, outcome: &Outcome, called: bool, took: Duration) {
        let (word, why) = match outcome {
            Outcome::Held(_) if called => ("refreshed", ""),
            Outcome::Held(_) => ("by_another", ""),
            Outcome::Missing(why) => ("missing", *why),
            Outcome::Unavailable(why) => ("unavailable", *why),
        };
        let provider = if self.knows(&key.provider) {
            key.provider.as_str()
        } else {
            "other"
        };
        self.metrics
            .refreshed(provider, word, called.then_some(took));
        if !why.is_empty() {
            log::limited(
                log::Level::Warn,
                &format!("refresh {provider} {word} {why}"),
                "a token could not be refreshed",
                &[
                    ("provider", &provider),
                    ("outcome", &word),
                    ("reason", &why),
                ],
            );
        }
    }
}
