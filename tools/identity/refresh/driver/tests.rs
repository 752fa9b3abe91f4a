//! Refreshes that meet: sessions that share a refresh token, replicas that share a store.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Refresher, Settings};
use crate::http::Client;
use crate::metrics::Metrics;
use crate::refresh::due::jwt_expiry;
use crate::refresh::machine::Outcome;
use crate::refresh::provider::{Kind, OAuthClient, Provider, Upstream};
use crate::session::store::file::FileStore;
use crate::session::store::{Lock, Owner, Store as _};
use crate::session::{Digest, Row, RowKey, SessionId};
use crate::time::now_ms;

const TOKEN: &str = "shared";

/// A token endpoint that answers each call with the next access token, keeps the refresh token, and
/// issues no ID token; it answers as often as it is let.
struct Endpoint {
    url: String,
    may_answer: Arc<Semaphore>,
    asked: Arc<Semaphore>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (may_answer, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (may, count) = (Arc::clone(&may_answer), Arc::clone(&asked));
        tokio::spawn(async move {
            for number in 1.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                count.add_permits(1);
                may.acquire().await.unwrap().forget();
                let body = format!(r#"{{"access_token":"new-{number}","expires_in":3600}}"#);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            url,
            may_answer,
            asked,
        }
    }

    /// A replica that refreshes at this endpoint.
    fn refresher(&self, store: &Arc<FileStore>) -> Arc<Refresher> {
        let upstream = Upstream {
            name: "corp".to_owned(),
            kind: Kind::OAuth2 {
                token_endpoint: self.url.clone(),
                client: OAuthClient {
                    id: "thv".to_owned(),
                    secret: None,
                },
            },
            scopes: Vec::new(),
            mapping: None,
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = Settings {
            ahead: Duration::from_secs(30),
            wait: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
        };
        Arc::new(Refresher::new(
            Arc::clone(store) as _,
            Client::new(settings.timeout).unwrap(),
            settings,
            vec![Provider::new(upstream)],
            Arc::new(Metrics::default()),
        ))
    }

    /// Waits until it has been asked.
    async fn is_asked(&self) {
        let asked = tokio::time::timeout(Duration::from_secs(20), self.asked.acquire()).await;
        asked.expect("nobody asks").unwrap().forget();
    }
}

fn key(session: &str) -> RowKey {
    RowKey {
        session: SessionId::parse(session).unwrap(),
        provider: "corp".to_owned(),
    }
}

/// A row whose access token has ended, and its ID token, one of its own.
fn ended(session: &str) -> Row {
    let past = now_ms() / 1000 - 10;
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{past},"jti":"{session}"}}"#));
    Row {
        provider_id: "corp".to_owned(),
        access_token: "old".to_owned(),
        refresh_token: TOKEN.to_owned(),
        id_token: format!("e30.{claims}.c2ln"),
        expires_at: past,
        user_id: "u".to_owned(),
        ..Row::default()
    }
}

fn store(sessions: &[&str]) -> Arc<FileStore> {
    let rows = sessions.iter().map(|name| (key(name), ended(name)));
    Arc::new(FileStore::new(rows))
}

async fn refreshed(refresher: &Arc<Refresher>, session: &str) -> Outcome {
    let row = ended(session);
    let need = refresher.need("corp", &row, jwt_expiry(&row.id_token), None);
    let outcome = refresher.refresh(&key(session), &row, need).await;
    outcome.expect("in time")
}

fn access(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Held(row) => &row.access_token,
        other => panic!("{other:?}"),
    }
}

/// Whether the row as it is now is a reason to refresh.
async fn is_due(refresher: &Arc<Refresher>, store: &FileStore, session: &str) -> bool {
    let names = ["corp".to_owned()];
    let wanted = crate::session::store::Wanted::Named(&names);
    let rows = store.read(&key(session).session, wanted).await.unwrap();
    let Some((_, crate::session::RowState::Read(row))) = rows.into_iter().next() else {
        panic!("no row");
    };
    let ends = jwt_expiry(&row.id_token);
    let need = refresher.need("corp", &row, ends, None);
    need.is_due_where(&row, ends, now_ms())
}

#[tokio::test]
async fn a_session_whose_neighbours_row_goes_is_refreshed_by_itself() {
    let endpoint = Endpoint::start().await;
    endpoint.may_answer.add_permits(1);
    let store = store(&["A", "B"]);
    let refresher = endpoint.refresher(&store);
    let lock = Lock {
        token: Digest::of_refresh_token("corp", TOKEN),
        owner: Owner::new(),
    };
    let life = Duration::from_secs(60);
    store.claim(&lock, life, &key("A")).await.unwrap();
    // B waits for A's flight, which finds nothing.
    let (first, second, ()) = tokio::join!(
        refreshed(&refresher, "A"),
        refreshed(&refresher, "B"),
        async {
            let gone = [(key("A"), "u".to_owned())];
            store.delete(&lock, TOKEN, &gone).await.unwrap();
            store.release(&lock).await.unwrap();
        }
    );
    assert_eq!(first, Outcome::Missing(Outcome::GONE));
    assert_eq!(access(&second), "new-1");
}

#[tokio::test]
async fn an_id_token_that_is_not_renewed_costs_one_refresh_over_sessions_and_replicas() {
    let endpoint = Endpoint::start().await;
    let store = store(&["A", "B"]);
    let replicas = [endpoint.refresher(&store), endpoint.refresher(&store)];
    let (first, shared, elsewhere, ()) = tokio::join!(
        refreshed(&replicas[0], "A"),
        refreshed(&replicas[0], "B"),
        async {
            endpoint.is_asked().await;
            refreshed(&replicas[1], "A").await
        },
        async {
            // Twice, so that who asks once more is seen.
            endpoint.may_answer.add_permits(2);
        }
    );
    for outcome in [&first, &shared, &elsewhere] {
        assert_eq!(access(outcome), "new-1");
    }
    for (replica, session) in [(0, "A"), (0, "B"), (1, "A")] {
        let is_due = is_due(&replicas[replica], &store, session).await;
        assert!(!is_due, "{session} at {replica}: not before its turn");
    }
}
