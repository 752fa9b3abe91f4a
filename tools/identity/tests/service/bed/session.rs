//! Sessions in Redis as ToolHive writes them.

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

pub const PREFIX: &str = "thv:auth:{test:vmcp}:";

pub fn now() -> i64 {
    identity::time::now_ms() / 1000
}

/// A row; `change` makes of it what it likes.
pub fn row(provider: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut row = json!({
        "provider_id": provider,
        "access_token": format!("{provider}-at"),
        "refresh_token": format!("{provider}-rt"),
        "id_token": "",
        "expires_at": now() + 3600,
        "session_expires_at": now() + 7200,
        "user_id": "user-1",
        "upstream_subject": "alice",
        "client_id": "mcp-client",
    });
    change(&mut row);
    row
}

/// An expired row with this refresh token.
pub fn expired(provider: &str, refresh_token: &str) -> Value {
    row(provider, |row| {
        row["expires_at"] = json!(now() - 10);
        row["refresh_token"] = json!(refresh_token);
    })
}

pub fn row_key(session: &str, provider: &str) -> String {
    format!("{PREFIX}upstream:{session}:{provider}")
}

pub fn index_key(session: &str) -> String {
    format!("{PREFIX}upstream:idx:{session}")
}

/// Puts a row there, with what belongs to it.
pub async fn put(redis: &mut MultiplexedConnection, session: &str, provider: &str, row: &Value) {
    put_raw(redis, session, provider, &row.to_string()).await;
    if let Some(user) = row["user_id"].as_str().filter(|user| !user.is_empty()) {
        let set = format!("{PREFIX}user:upstream:{user}");
        run(redis, &["SADD", &set, &row_key(session, provider)]).await;
    }
}

pub async fn put_raw(redis: &mut MultiplexedConnection, session: &str, provider: &str, text: &str) {
    let key = row_key(session, provider);
    run(redis, &["SET", &key, text, "EX", "2592000"]).await;
    run(redis, &["SADD", &index_key(session), &key]).await;
    run(redis, &["EXPIRE", &index_key(session), "2592000"]).await;
}

/// The row as it is, if it is there.
pub async fn get(
    redis: &mut MultiplexedConnection,
    session: &str,
    provider: &str,
) -> Option<Value> {
    let text: Option<String> = redis::cmd("GET")
        .arg(row_key(session, provider))
        .query_async(redis)
        .await
        .expect("GET");
    text.map(|text| serde_json::from_str(&text).expect("a row is JSON"))
}

pub async fn run(redis: &mut MultiplexedConnection, command: &[&str]) -> redis::Value {
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    cmd.query_async(redis)
        .await
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub async fn exists(redis: &mut MultiplexedConnection, key: &str) -> bool {
    run(redis, &["EXISTS", key]).await == redis::Value::Int(1)
}
