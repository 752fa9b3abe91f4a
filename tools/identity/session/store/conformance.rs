//! What every store must do, in one place; each kind is put through it.

use std::sync::Arc;
use std::time::Duration;

use super::file::FileStore;
use super::{Lock, LockState, Owner, Replacement, Store, Wanted, Written};
use crate::session::{Digest, Row, RowKey, RowState, SessionId};

/// A store with rows in it.
pub(super) trait Seed {
    async fn with_rows(&self, rows: Vec<(RowKey, Row)>) -> Arc<dyn Store>;
}

struct File;

impl Seed for File {
    async fn with_rows(&self, rows: Vec<(RowKey, Row)>) -> Arc<dyn Store> {
        Arc::new(FileStore::new(rows))
    }
}

pub(super) fn key(session: &str, provider: &str) -> RowKey {
    RowKey {
        session: SessionId::parse(session).expect("a session"),
        provider: provider.to_owned(),
    }
}

pub(super) fn row(access_token: &str, refresh_token: &str) -> Row {
    Row {
        provider_id: "corp".to_owned(),
        access_token: access_token.to_owned(),
        refresh_token: refresh_token.to_owned(),
        user_id: "u1".to_owned(),
        expires_at: 4_000_000_000,
        ..Row::default()
    }
}

fn rows() -> Vec<(RowKey, Row)> {
    vec![
        (key("S1", "corp"), row("a1", "shared")),
        (key("S1", "github"), row("g1", "own")),
        (key("S2", "corp"), row("a2", "shared")),
        (
            key("S3", "corp"),
            Row {
                user_id: "u2".to_owned(),
                ..row("a3", "shared")
            },
        ),
    ]
}

pub(super) fn lock(token: &str) -> Lock {
    Lock {
        token: Digest::of(token),
        owner: Owner::new(),
    }
}

const LIFE: Duration = Duration::from_secs(40);

pub(super) async fn conforms<S: Seed>(seed: &S) {
    reads_one_session(seed).await;
    gives_a_lock_to_one(seed).await;
    finds_the_rows_that_share(seed).await;
    writes_what_still_holds_the_token(seed).await;
    deletes_what_still_holds_the_token(seed).await;
    does_nothing_without_the_lock(seed).await;
}

async fn reads_one_session<S: Seed>(seed: &S) {
    let store = seed.with_rows(rows()).await;
    let session = SessionId::parse("S1").expect("a session");
    let names = |found: Vec<(String, RowState)>| {
        let mut names: Vec<_> = found
            .into_iter()
            .map(|(provider, row)| (provider, row.row().expect("a row").access_token.clone()))
            .collect();
        names.sort();
        names
    };
    let expected = [("corp", "a1"), ("github", "g1")]
        .map(|(provider, token)| (provider.to_owned(), token.to_owned()));
    for likely in [vec![], vec!["corp".to_owned(), "nobody".to_owned()]] {
        let found = store.read(&session, Wanted::All(&likely)).await.unwrap();
        assert_eq!(names(found), expected, "all, whatever is likely");
    }
    let wanted = ["github".to_owned(), "nobody".to_owned()];
    let found = store.read(&session, Wanted::Named(&wanted)).await.unwrap();
    assert_eq!(names(found), expected[1..]);
    let found = store.read(&session, Wanted::Named(&[])).await.unwrap();
    assert!(found.is_empty());
    let nobody = SessionId::parse("S9").expect("a session");
    let found = store.read(&nobody, Wanted::All(&wanted)).await.unwrap();
    assert!(found.is_empty(), "an unknown session has no rows");
    store.ping().await.unwrap();
}

async fn gives_a_lock_to_one<S: Seed>(seed: &S) {
    let store = seed.with_rows(rows()).await;
    let (mine, other) = (lock("shared"), lock("shared"));
    let claim = store.claim(&mine, LIFE, &key("S1", "corp")).await.unwrap();
    assert_eq!(claim.lock, LockState::Ours);
    assert_eq!(claim.row.row().unwrap().access_token, "a1");
    let claim = store.claim(&mine, LIFE, &key("S1", "corp")).await.unwrap();
    assert_eq!(claim.lock, LockState::Ours, "once more changes nothing");
    let claim = store.claim(&other, LIFE, &key("S2", "corp")).await.unwrap();
    assert_eq!(claim.lock, LockState::Held);
    assert_eq!(
        claim.row.row().unwrap().access_token,
        "a2",
        "read all the same"
    );
    store.release(&other).await.unwrap();
    let claim = store.claim(&other, LIFE, &key("S2", "corp")).await.unwrap();
    assert_eq!(claim.lock, LockState::Held, "only its owner gives it back");
    store.release(&mine).await.unwrap();
    let claim = store.claim(&other, LIFE, &key("S9", "corp")).await.unwrap();
    assert_eq!(claim.lock, LockState::Ours);
    assert_eq!(claim.row, RowState::Gone);

    let short = lock("own");
    let life = Duration::from_millis(30);
    store
        .claim(&short, life, &key("S1", "github"))
        .await
        .unwrap();
    tokio::time::sleep(life * 2).await;
    let next = store
        .claim(&lock("own"), LIFE, &key("S1", "github"))
        .await
        .unwrap();
    assert_eq!(next.lock, LockState::Ours, "a lock ends by itself");
}

async fn finds_the_rows_that_share<S: Seed>(seed: &S) {
    let store = seed.with_rows(rows()).await;
    let sharing = store.rows_with("u1", "corp", "shared").await.unwrap();
    let mut keys: Vec<_> = sharing.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    assert_eq!(keys, [key("S1", "corp"), key("S2", "corp")]);
    assert!(
        store
            .rows_with("", "corp", "shared")
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .rows_with("u9", "corp", "shared")
            .await
            .unwrap()
            .is_empty()
    );
}

async fn writes_what_still_holds_the_token<S: Seed>(seed: &S) {
    let store = seed.with_rows(rows()).await;
    let mine = lock("shared");
    store.claim(&mine, LIFE, &key("S1", "corp")).await.unwrap();
    let replacements: Vec<_> = ["S1", "S2", "S9"]
        .map(|session| Replacement {
            key: key(session, "corp"),
            row: row("new", "next"),
        })
        .into_iter()
        .chain([Replacement {
            key: key("S1", "github"),
            row: row("new", "next"),
        }])
        .collect();
    let written = store
        .write(&mine, "shared", &replacements, Some(LIFE))
        .await
        .unwrap();
    assert_eq!(
        written,
        Written::Rows(2),
        "neither one that has gone nor one that holds another"
    );
    let claim = store.claim(&mine, LIFE, &key("S1", "corp")).await.unwrap();
    assert_eq!(claim.lock, LockState::Redeemed, "the mark");
    assert_eq!(claim.row.row().unwrap(), &row("new", "next"));
    let gone = store.claim(&mine, LIFE, &key("S9", "corp")).await.unwrap();
    assert_eq!(gone.row, RowState::Gone, "no row comes into being");
    let other = store
        .claim(&lock("own"), LIFE, &key("S1", "github"))
        .await
        .unwrap();
    assert_eq!(other.row.row().unwrap().access_token, "g1");
}

async fn deletes_what_still_holds_the_token<S: Seed>(seed: &S) {
    let store = seed.with_rows(rows()).await;
    let mine = lock("shared");
    store.claim(&mine, LIFE, &key("S1", "corp")).await.unwrap();
    let rows = [
        (key("S1", "corp"), "u1".to_owned()),
        (key("S2", "corp"), "u1".to_owned()),
        (key("S1", "github"), "u1".to_owned()),
    ];
    let deleted = store.delete(&mine, "shared", &rows).await.unwrap();
    assert_eq!(deleted, Written::Rows(2));
    let session = SessionId::parse("S1").expect("a session");
    let left = store.read(&session, Wanted::All(&[])).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(
        store
            .rows_with("u1", "corp", "shared")
            .await
            .unwrap()
            .is_empty()
    );
}

async fn does_nothing_without_the_lock<S: Seed>(seed: &S) {
    let store = seed.with_rows(rows()).await;
    let (holder, mine) = (lock("shared"), lock("shared"));
    store
        .claim(&holder, LIFE, &key("S1", "corp"))
        .await
        .unwrap();
    let replacement = [Replacement {
        key: key("S1", "corp"),
        row: row("new", "next"),
    }];
    let written = store.write(&mine, "shared", &replacement, Some(LIFE)).await;
    assert_eq!(written.unwrap(), Written::NotOurs);
    let row = [(key("S1", "corp"), "u1".to_owned())];
    let deleted = store.delete(&mine, "shared", &row).await.unwrap();
    assert_eq!(deleted, Written::NotOurs);
    let claim = store
        .claim(&holder, LIFE, &key("S1", "corp"))
        .await
        .unwrap();
    assert_eq!(claim.lock, LockState::Ours, "no mark either");
    assert_eq!(claim.row.row().unwrap().access_token, "a1");
}

#[tokio::test]
async fn the_file_conforms() {
    conforms(&File).await;
}
