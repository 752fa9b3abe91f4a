//! Carries refreshes out: one flight for each refresh token, which goes on when nobody waits any
//! more, and is finished before the process ends.

mod flight;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::breaker::Breaker;
use super::due::{self, Need};
use super::machine::{Machine, Outcome, Pace};
use super::memory::Memory;
use super::provider::Provider;
use crate::http::Client;
use crate::metrics::Metrics;
use crate::session::store::{Store, Wanted};
use crate::session::{Digest, Row, RowKey, RowState};
use crate::time::now_ms;

/// How refreshes are done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long before its end a token is renewed.
    pub ahead: Duration,
    /// How long a request waits.
    pub wait: Duration,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Everything that refreshes need.
pub(crate) struct Refresher {
    store: Arc<dyn Store>,
    http: Client,
    settings: Settings,
    pace: Pace,
    providers: HashMap<String, Member>,
    flights: Mutex<HashMap<Digest, Flight>>,
    memory: Mutex<Memory>,
    metrics: Arc<Metrics>,
    under_way: watch::Sender<usize>,
}

struct Member {
    provider: Provider,
    breaker: Mutex<Breaker>,
}

#[derive(Clone)]
struct Flight {
    key: RowKey,
    began: Instant,
    landed: watch::Receiver<Option<Landed>>,
}

/// What a flight came to.
#[derive(Clone)]
struct Landed {
    outcome: Outcome,
    /// Whether it called the provider itself.
    called: bool,
}

/// Why there is no flight.
enum Grounded {
    /// The refresh token is of no more use.
    Dead(&'static str),
    /// It must not, or cannot, be redeemed just now.
    Unavailable(&'static str),
}

impl Refresher {
    /// Refreshes at these providers.
    #[must_use]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        http: Client,
        settings: Settings,
        providers: Vec<Provider>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let providers = providers
            .into_iter()
            .map(|provider| {
                let member = Member {
                    provider,
                    breaker: Mutex::default(),
                };
                (member.provider.name().to_owned(), member)
            })
            .collect();
        Self {
            store,
            http,
            settings,
            pace: Pace::for_calls_of(settings.timeout),
            providers,
            flights: Mutex::default(),
            memory: Mutex::default(),
            metrics,
            under_way: watch::Sender::new(0),
        }
    }

    /// Whether there is an upstream of this name.
    #[must_use]
    pub(crate) fn knows(&self, provider: &str) -> bool {
        self.providers.contains_key(provider)
    }

    /// Whether logins at this upstream bring an ID token.
    #[must_use]
    pub(crate) fn is_oidc(&self, provider: &str) -> bool {
        self.providers
            .get(provider)
            .is_some_and(|member| member.provider.is_oidc())
    }

    /// What makes this row due, whose ID token ends then.
    #[must_use]
    pub(crate) fn need(
        &self,
        provider: &str,
        row: &Row,
        id_token_ends: Option<i64>,
        rejected: Option<due::Rejected>,
    ) -> Need {
        /// An ID token that ends later than the lead and this says nothing that is wanted: its
        /// digest is spared.
        const SOON_MS: i64 = 60_000;
        // A token that lives shorter than twice the lead would be due as soon as it is there.
        let life = self
            .providers
            .get(provider)
            .and_then(|member| member.provider.life_ms());
        let ahead_ms = i64::try_from(self.settings.ahead.as_millis()).unwrap_or(i64::MAX);
        let soon = now_ms().saturating_add(ahead_ms).saturating_add(SOON_MS);
        let kept = due::ends_by(id_token_ends, soon)
            .then(|| Digest::of(&row.id_token))
            .filter(|id_token| self.memory().is_kept(*id_token));
        Need {
            ahead_ms: life.map_or(ahead_ms, |life| ahead_ms.min(life / 2)),
            rejected,
            kept,
        }
    }

    /// Whether this ID token is one that a refresh did not renew.
    #[must_use]
    pub(crate) fn is_kept(&self, id_token: &str) -> bool {
        self.memory().is_kept(Digest::of(id_token))
    }

    /// Refreshes the row at `key`, or waits for whoever does, but no longer than requests wait.
    /// `None`: it goes on without this request.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        key: &RowKey,
        row: &Row,
        need: Need,
    ) -> Option<Outcome> {
        let deadline = Instant::now() + self.settings.wait;
        let mut row = row.clone();
        for _ in 0..3 {
            let flight = match self.fly(key, &row, need) {
                Ok(flight) => flight,
                Err(Grounded::Unavailable(why)) => return Some(Outcome::Unavailable(why)),
                Err(Grounded::Dead(why)) => return Some(self.dead(key, &row, why).await),
            };
            // Whoever comes late to a flight that takes its time does not wait as long again.
            let until = deadline.min(flight.began + self.settings.wait);
            let left = until.saturating_duration_since(Instant::now());
            let mut landing = flight.landed.clone();
            let landed = timeout(left, landing.wait_for(Option::is_some))
                .await
                .ok()?;
            let landed = landed.ok()?.clone()?;
            let is_ours = flight.key == *key;
            let next = match landed.outcome {
                Outcome::Held(next) if is_ours => next,
                outcome if is_ours => return Some(outcome),
                outcome => match self.after_another(key, &row, need, outcome).await {
                    Ok(next) => next,
                    Err(outcome) => return Some(outcome),
                },
            };
            if landed.called && is_ours {
                return Some(Outcome::Held(next));
            }
            if due::has_been_refreshed(&row, &next) {
                self.note_kept(&row, &next);
            }
            if !need.is_due_since(&row, &next, now_ms()) {
                return Some(Outcome::Held(next));
            }
            row = *next;
        }
        Some(Outcome::Held(Box::new(row)))
    }

    /// Our row after the flight of another session that shares the refresh token: it has been
    /// written along with that one's, or shall be looked at by itself, also where that one's row
    /// alone was what stood in the way.
    async fn after_another(
        &self,
        key: &RowKey,
        row: &Row,
        need: Need,
        outcome: Outcome,
    ) -> Result<Box<Row>, Outcome> {
        let next = match self.read_again(key).await {
            Ok(RowState::Read(next)) => next,
            Ok(RowState::Gone) => return Err(Outcome::Missing(Outcome::GONE)),
            Ok(RowState::Unreadable) => return Err(Outcome::Unavailable(Outcome::UNREADABLE)),
            Err(()) => return Err(Outcome::Unavailable("store")),
        };
        let is_other = next.refresh_token != row.refresh_token;
        if is_other || !need.is_due_since(row, &next, now_ms()) {
            return Ok(next);
        }
        match outcome {
            Outcome::Held(_)
            | Outcome::Missing(Outcome::GONE)
            | Outcome::Unavailable(Outcome::UNREADABLE) => Ok(next),
            failed => Err(failed),
        }
    }

    /// Waits until no refresh is under way.
    pub(crate) async fn finish(&self) {
        let mut under_way = self.under_way.subscribe();
        // The sender lives as long as self.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }

    /// What a token is that this process knows to be of no more use. The row may be older than what
    /// buried its token.
    async fn dead(&self, key: &RowKey, row: &Row, why: &'static str) -> Outcome {
        match self.read_again(key).await {
            Ok(RowState::Read(newer)) if newer.refresh_token != row.refresh_token => {
                Outcome::Held(newer)
            }
            Ok(RowState::Unreadable) => Outcome::Unavailable(Outcome::UNREADABLE),
            Ok(_) => Outcome::Missing(why),
            Err(()) => Outcome::Unavailable("store"),
        }
    }

    async fn read_again(&self, key: &RowKey) -> Result<RowState, ()> {
        let names = [key.provider.clone()];
        let rows = self
            .store
            .read(&key.session, Wanted::Named(&names))
            .await
            .map_err(|_| ())?;
        Ok(rows
            .into_iter()
            .next()
            .map_or(RowState::Gone, |(_, row)| row))
    }

    /// The flight for this token: the one that is in the air, or a new one. What is known of a token
    /// counts only while none is in the air: that one may have a new token in hand.
    fn fly(self: &Arc<Self>, key: &RowKey, row: &Row, need: Need) -> Result<Flight, Grounded> {
        if !row.provider_id.is_empty() && row.provider_id != key.provider {
            return Err(Grounded::Unavailable("a row of another provider"));
        }
        let member = self
            .providers
            .get(&key.provider)
            .ok_or(Grounded::Unavailable("no such upstream"))?;
        let token = Digest::of_refresh_token(&key.provider, &row.refresh_token);
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&token) {
            return Ok(flight.clone());
        }
        let now = now_ms();
        if let Some(why) = self.memory().dead(token, now) {
            return Err(Grounded::Dead(why));
        }
        if let Some(why) = self.memory().paused(token, now) {
            return Err(Grounded::Unavailable(why));
        }
        let may_call = lock(&member.breaker).may_call(now);
        self.tell_breaker(member);
        if !may_call {
            return Err(Grounded::Unavailable("breaker open"));
        }
        let (sender, landed) = watch::channel(None);
        let flight = Flight {
            key: key.clone(),
            began: Instant::now(),
            landed,
        };
        flights.insert(token, flight.clone());
        let (machine, step) = Machine::new(key.clone(), row, need, self.pace, now_ms());
        let refresher = Arc::clone(self);
        self.under_way.send_modify(|count| *count += 1);
        let key = key.clone();
        let before = row.clone();
        tokio::spawn(async move {
            let landed = refresher.carry_out(&key, machine, step, token).await;
            if let (true, Outcome::Held(row)) = (landed.called, &landed.outcome) {
                refresher.note_kept(&before, row);
            }
            lock(&refresher.flights).remove(&token);
            sender.send_replace(Some(landed));
            refresher.under_way.send_modify(|count| *count -= 1);
        });
        Ok(flight)
    }

    fn tell_breaker(&self, member: &Member) {
        let open = lock(&member.breaker).is_open(now_ms());
        self.metrics.breaker(member.provider.name(), open);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

/// A lock that nobody can poison, since nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
