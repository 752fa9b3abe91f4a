//! The question behind both doors: which tokens does this session have of these providers?

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lru::LruCache;

use crate::log;
use crate::metrics::Metrics;
use crate::refresh::due::{Rejected, access_is_good, ends_by, jwt_expiry};
use crate::refresh::machine::Outcome;
use crate::refresh::{Need, Refresher};
use crate::session::store::{Ended, Store, StoreError, Wanted};
use crate::session::{Digest, Row, RowState, SessionId};
use crate::time::now_ms;

/// One token of one provider.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// Here it is.
    Held {
        /// The token.
        token: String,
        /// When it ends, in Unix seconds, if it does.
        expires_at: Option<i64>,
    },
    /// Only a login brings it back.
    Missing,
    /// Nobody can say just now.
    Unavailable,
}

/// The tokens of one provider.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Which provider.
    pub provider: String,
    /// Its access token.
    pub access: Token,
    /// Its ID token.
    pub id: Token,
    /// Whether the row has no ID token at all.
    pub without_id: bool,
}

impl Found {
    fn both(provider: String, state: &Token) -> Self {
        Self {
            provider,
            access: state.clone(),
            id: state.clone(),
            without_id: false,
        }
    }
}

/// Whose dead end it is.
#[derive(Clone, Copy)]
pub(crate) struct DeadEnd<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The third part of the TH-JWT.
    pub signature: &'a str,
    /// Its `iat`, the time of the login, in Unix seconds.
    pub login: Option<i64>,
}

/// The core.
pub(crate) struct Core {
    store: Arc<dyn Store>,
    refresher: Arc<Refresher>,
    metrics: Arc<Metrics>,
    /// The configured providers' names: those that a session is likely to have.
    providers: Vec<String>,
    /// How long after a login sessions are ended at dead ends, if they are.
    end_after: Option<Duration>,
    ended: Mutex<LruCache<Digest, Option<Instant>>>,
}

/// What keeps a due row from being refreshed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Nothing: the row is as fresh as it gets.
    None,
    /// There is nothing to refresh it with, or it is of no more use.
    Dead,
    /// Something that may pass.
    Unavailable,
}

/// A second look at the same access token is not taken within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

impl Core {
    /// A core over a store.
    #[must_use]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        refresher: Arc<Refresher>,
        metrics: Arc<Metrics>,
        providers: Vec<String>,
        end_after: Option<Duration>,
    ) -> Self {
        Self {
            store,
            refresher,
            metrics,
            providers,
            end_after,
            ended: Mutex::new(LruCache::new(MOST)),
        }
    }

    /// Whether the configuration has an upstream of this name.
    #[must_use]
    pub(crate) fn knows(&self, provider: &str) -> bool {
        self.providers.iter().any(|known| known == provider)
    }

    /// The tokens that a session has of these providers (`None`: of all that it has). A provider
    /// that is asked for by name and has none is not in the answer.
    ///
    /// # Errors
    /// If the store cannot say.
    pub(crate) async fn tokens(
        &self,
        session: &SessionId,
        providers: Option<&[String]>,
        rejected: Option<Rejected>,
    ) -> Result<Vec<Found>, StoreError> {
        let wanted = providers.map_or(Wanted::All(&self.providers), Wanted::Named);
        let began = Instant::now();
        let rows = self.store.read(session, wanted).await;
        let outcome = rows.as_ref().map_or_else(StoreError::word, |_| "ok");
        self.metrics.asked("read", outcome, began.elapsed());
        let rows = rows.inspect_err(|error| self.complain(error))?;

        let now = now_ms();
        let mut found = Vec::with_capacity(rows.len());
        let mut due = Vec::new();
        for (provider, row) in rows {
            match row {
                RowState::Gone => found.push(Found::both(provider, &Token::Missing)),
                RowState::Unreadable => {
                    self.count_unreadable(&provider);
                    found.push(Found::both(provider, &Token::Unavailable));
                }
                RowState::Read(row) => {
                    let ends = jwt_expiry(&row.id_token);
                    let need = self.refresher.need(&provider, &row, ends, rejected);
                    if need.is_due_where(&row, ends, now) {
                        due.push(self.renewed(session, provider, row, need));
                    } else {
                        found.push(self.classified(provider, *row, ends, need, Trouble::None));
                    }
                }
            }
        }
        if !due.is_empty() {
            found.extend(join_all(due).await);
        }
        Ok(found)
    }

    async fn renewed(
        &self,
        session: &SessionId,
        provider: String,
        row: Box<Row>,
        need: Need,
    ) -> Found {
        if !self.refresher.knows(&provider) {
            return self.classify(provider, *row, need, Trouble::Unavailable);
        }
        if row.refresh_token.is_empty() {
            return self.classify(provider, *row, need, Trouble::Dead);
        }
        let key = crate::session::RowKey {
            session: session.clone(),
            provider,
        };
        let outcome = self.refresher.refresh(&key, &row, need).await;
        let provider = key.provider;
        match outcome {
            Some(Outcome::Held(row)) => self.classify(provider, *row, need, Trouble::None),
            Some(Outcome::Missing(Outcome::GONE | Outcome::NOT_KEPT | Outcome::FOREIGN)) => {
                Found::both(provider, &Token::Missing)
            }
            Some(Outcome::Missing(_)) => self.classify(provider, *row, need, Trouble::Dead),
            Some(Outcome::Unavailable(_)) | None => {
                self.classify(provider, *row, need, Trouble::Unavailable)
            }
        }
    }

    /// What can be handed out of a row.
    fn classify(&self, provider: String, row: Row, need: Need, trouble: Trouble) -> Found {
        let ends = jwt_expiry(&row.id_token);
        self.classified(provider, row, ends, need, trouble)
    }

    /// The same where it is known already when the row's ID token ends.
    fn classified(
        &self,
        provider: String,
        row: Row,
        id_token_ends: Option<i64>,
        need: Need,
        trouble: Trouble,
    ) -> Found {
        let now = now_ms();
        let without_id = row.id_token.is_empty();
        let is_rejected = |token: &str| need.rejected.is_some_and(|rejected| rejected.is(token));
        let access = if access_is_good(&row, now) && !is_rejected(&row.access_token) {
            Token::Held {
                expires_at: row.expiry(),
                token: row.access_token,
            }
        } else {
            match trouble {
                // Refreshed, and rejected or empty still: no refresh helps.
                Trouble::None if is_rejected(&row.access_token) => Token::Missing,
                Trouble::None | Trouble::Unavailable => Token::Unavailable,
                Trouble::Dead => Token::Missing,
            }
        };
        let id = if without_id {
            Token::Missing
        } else if !ends_by(id_token_ends, now) && !is_rejected(&row.id_token) {
            Token::Held {
                token: row.id_token,
                expires_at: id_token_ends,
            }
        } else if trouble == Trouble::Unavailable && !self.refresher.is_kept(&row.id_token) {
            Token::Unavailable
        } else {
            Token::Missing
        };
        Found {
            provider,
            access,
            id,
            without_id,
        }
    }

    /// Whether logins at this upstream can bring an ID token.
    #[must_use]
    pub(crate) fn has_id_tokens(&self, provider: &str) -> bool {
        self.refresher.is_oidc(provider)
    }

    /// At a dead end: takes the client's refresh token out of the store, so that it logs in. What
    /// is answered to the request does not depend on it.
    pub(crate) async fn end(&self, dead_end: DeadEnd<'_>) {
        let Some(after) = self.end_after else {
            return;
        };
        let after = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        let since = dead_end
            .login
            .map(|login| (now_ms() / 1000).saturating_sub(login));
        if since.is_none_or(|since| since < after) || !is_signature(dead_end.signature) {
            return;
        }
        let session = Digest::of(dead_end.session.as_str());
        let token = Digest::of(&format!(
            "{}\n{}",
            dead_end.session.as_str(),
            dead_end.signature
        ));
        {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = |at: Option<&Option<Instant>>| match at {
                Some(None) => true,
                Some(Some(at)) => at.elapsed() < LOOK_AGAIN,
                None => false,
            };
            if looked(ended.peek(&session)) || looked(ended.peek(&token)) {
                return;
            }
            ended.put(token, Some(Instant::now()));
        }
        let began = Instant::now();
        let ended = self
            .store
            .end_client(dead_end.session, dead_end.signature)
            .await;
        let outcome = ended.as_ref().map_or_else(StoreError::word, |_| "ok");
        self.metrics.asked("end_client", outcome, began.elapsed());
        match ended {
            Ok(Ended::Tokens(count)) if count > 0 => {
                self.ended
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .put(session, None);
                self.metrics.ended();
                log::info(
                    "a session without a way on but a login: its client's refresh token was taken out",
                    &[],
                );
            }
            Ok(_) => {}
            Err(error) => {
                // The next request may try again.
                self.ended
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop(&token);
                self.complain(&error);
            }
        }
    }

    /// Asks the store whether it is there.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let answer = self.store.ping().await;
        let outcome = answer.as_ref().map_or_else(StoreError::word, |()| "ok");
        self.metrics.asked("ping", outcome, began.elapsed());
        answer
    }

    /// Waits for the refreshes that are under way.
    pub(crate) async fn finish(&self) {
        self.refresher.finish().await;
    }

    fn complain(&self, error: &StoreError) {
        if let StoreError::UnknownForm(_) = error {
            self.metrics.unknown_form();
        }
        log::limited(
            log::Level::Error,
            error.word(),
            "the session store cannot say",
            &[("error", error)],
        );
    }

    fn count_unreadable(&self, provider: &str) {
        let provider = if self.knows(provider) {
            provider
        } else {
            "other"
        };
        self.metrics.unreadable(provider);
        log::limited(
            log::Level::Warn,
            &format!("unreadable {provider}"),
            "a row of a session cannot be read",
            &[("provider", &provider)],
        );
    }
}

/// The third part of a JWT, as it may become part of a key.
fn is_signature(text: &str) -> bool {
    (1..=1024).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
