//! The conformance of a real server, alone and as a cluster. (Behind Sentinel it is the same server,
//! found otherwise: the tests of the service do that.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Password, RedisStore, Settings, Topology};
use crate::session::store::conformance::{Seed, conforms, key, lock, row};
use crate::session::store::{LockState, Replacement, Store, Written};
use crate::session::{Keys, Row, RowKey};

#[path = "../../../tests/service/bed/redis.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod server;

/// A server in which every store has a prefix of its own.
struct Server {
    redis: server::Redis,
    is_cluster: bool,
    stores: AtomicU64,
}

impl Seed for Server {
    async fn with_rows(&self, rows: Vec<(RowKey, Row)>) -> Arc<dyn Store> {
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let key_prefix = format!("thv:auth:{{conformance:{number}}}:");
        let keys = Keys::new(key_prefix.clone());
        let mut connection = self.redis.connect().await;
        for (key, row) in rows {
            let name = keys.row(&key);
            redis::pipe()
                .cmd("SET")
                .arg(&name)
                .arg(row.encode())
                .cmd("SADD")
                .arg(keys.index(&key.session))
                .arg(&name)
                .cmd("SADD")
                .arg(keys.user_rows(&row.user_id))
                .arg(&name)
                .exec_async(&mut connection)
                .await
                .unwrap();
        }
        let address = ("127.0.0.1".to_owned(), self.redis.port);
        let settings = Settings {
            topology: if self.is_cluster {
                Topology::Cluster(address)
            } else {
                Topology::Standalone(address)
            },
            username: None,
            password: Password::default(),
            tls: None,
            key_prefix,
            dial: Duration::from_secs(5),
            call: Duration::from_secs(5),
        };
        Arc::new(RedisStore::new(&settings, |_| {}).unwrap())
    }
}

#[tokio::test]
async fn a_server_conforms() {
    let server = Server {
        redis: server::Redis::start(&[]).await,
        is_cluster: false,
        stores: AtomicU64::new(0),
    };
    conforms(&server).await;
}

/// A write that stopped halfway would leave a new token without the mark that keeps the old one from being
/// redeemed again.
#[tokio::test]
async fn a_users_set_that_is_none_keeps_no_row_from_being_written_or_deleted() {
    let server = Server {
        redis: server::Redis::start(&[]).await,
        is_cluster: false,
        stores: AtomicU64::new(0),
    };
    let corp = key("S1", "corp");
    let store = server
        .with_rows(vec![(corp.clone(), row("a1", "shared"))])
        .await;
    let keys = Keys::new("thv:auth:{conformance:0}:".to_owned());
    let mut connection = server.redis.connect().await;
    redis::cmd("SET")
        .arg(keys.user_rows("u1"))
        .arg("no set")
        .exec_async(&mut connection)
        .await
        .unwrap();
    let life = Duration::from_secs(40);
    let mine = lock("shared");
    store.claim(&mine, life, &corp).await.unwrap();
    let replacement = [Replacement {
        key: corp.clone(),
        row: row("new", "next"),
    }];
    let written = store.write(&mine, "shared", &replacement, Some(life)).await;
    assert_eq!(written.unwrap(), Written::Rows(1));
    let claim = store.claim(&mine, life, &corp).await.unwrap();
    assert_eq!(claim.lock, LockState::Redeemed, "the mark");
    assert_eq!(claim.row.row().unwrap(), &row("new", "next"));
    let next = lock("next");
    store.claim(&next, life, &corp).await.unwrap();
    let gone = [(corp, "u1".to_owned())];
    let deleted = store.delete(&next, "next", &gone).await;
    assert_eq!(deleted.unwrap(), Written::Rows(1));
}

#[tokio::test]
async fn a_cluster_conforms() {
    let redis = server::Redis::start(&["--cluster-enabled", "yes"]).await;
    let mut connection = redis.connect().await;
    let cluster = |arguments: &'static [&'static str]| {
        let mut command = redis::cmd("CLUSTER");
        command.arg(arguments);
        command
    };
    let _: () = cluster(&["ADDSLOTSRANGE", "0", "16383"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let info: String = cluster(&["INFO"])
            .query_async(&mut connection)
            .await
            .unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(Instant::now() < deadline, "{info}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let server = Server {
        redis,
        is_cluster: true,
        stores: AtomicU64::new(0),
    };
    conforms(&server).await;
}
