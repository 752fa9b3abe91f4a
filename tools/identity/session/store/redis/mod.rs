//! Sessions in Redis or Valkey: alone, behind Sentinel, or as a cluster.

mod link;
mod scripts;
mod settings;

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value};

pub(crate) use settings::{Password, Settings, Tls, Topology};

use self::link::Link;
use super::{Claim, Ended, Lock, LockState, Replacement, Rows, Store, StoreError, Wanted, Written};
use crate::session::{Digest, Keys, Row, RowKey, RowState, SessionId};
use crate::time::now_ms;

/// The store of a ToolHive auth server.
#[derive(Debug)]
pub(crate) struct RedisStore {
    link: Link,
    keys: Keys,
}

impl RedisStore {
    /// Begins to connect. `on_trouble` is told, in words that hold no secret, each time that an
    /// attempt to connect has failed.
    ///
    /// # Errors
    /// If the settings cannot be used, such as a certificate that is none.
    pub(crate) fn new(
        settings: &Settings,
        on_trouble: impl Fn(&'static str) + Send + 'static,
    ) -> Result<Self, String> {
        Ok(Self {
            link: Link::new(settings.source()?, settings.dial, settings.call, on_trouble),
            keys: Keys::new(settings.key_prefix.clone()),
        })
    }

    /// What is at a key that has no value as a row.
    async fn without_value(&self, rows: Vec<RowKey>) -> Result<Rows, StoreError> {
        if rows.is_empty() {
            return Ok(Rows::new());
        }
        let mut pipeline = Pipeline::new();
        for row in &rows {
            pipeline.cmd("TYPE").arg(self.keys.row(row));
        }
        let types = self.link.pipeline(&pipeline).await?;
        Ok(rows
            .into_iter()
            .zip(types)
            .map(|(row, kind)| {
                let state = if text(&kind) == Some("none") {
                    RowState::Gone
                } else {
                    RowState::Unreadable
                };
                (row.provider, state)
            })
            .collect())
    }

    async fn values(&self, rows: &[RowKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = Cmd::new();
        command.arg("MGET");
        for row in rows {
            command.arg(self.keys.row(row));
        }
        bytes_list(self.link.command(&command).await?)
    }

    /// Names what an index is, if it is no set.
    async fn index_error(&self, index: &str, error: StoreError) -> StoreError {
        if !matches!(&error, StoreError::Refused(code) if code == "WRONGTYPE") {
            return error;
        }
        let mut command = Cmd::new();
        command.arg("TYPE").arg(index);
        match self.link.command(&command).await {
            Ok(found) => StoreError::UnknownForm(text(&found).unwrap_or("?").to_owned()),
            Err(_) => StoreError::UnknownForm("?".to_owned()),
        }
    }

    async fn script(
        &self,
        script: &str,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let mut command = Cmd::new();
        command.arg("EVAL").arg(script).arg(keys.len()).arg(keys);
        for argument in arguments {
            command.arg(*argument);
        }
        self.link.command(&command).await
    }

    /// The keys of a row as the scripts take them: the row, its index, its user's set. A row of
    /// nobody has no such set, which is said by naming the row again.
    fn triple(&self, row: &RowKey, user: &str) -> [String; 3] {
        let key = self.keys.row(row);
        let user = if user.is_empty() {
            key.clone()
        } else {
            self.keys.user_rows(user)
        };
        [key, self.keys.index(&row.session), user]
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn read(&self, session: &SessionId, wanted: Wanted<'_>) -> Result<Rows, StoreError> {
        let (Wanted::All(likely) | Wanted::Named(likely)) = wanted;
        let index = self.keys.index(session);
        let prefix = self.keys.rows_of(session);
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SMEMBERS").arg(&index);
        if !likely.is_empty() {
            let mget = pipeline.cmd("MGET");
            for provider in likely {
                mget.arg(format!("{prefix}{provider}"));
            }
        }
        let answers = match self.link.pipeline(&pipeline).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.index_error(&index, error).await),
        };
        let mut answers = answers.into_iter();
        let members = bytes_list(answers.next().unwrap_or(Value::Nil))?;
        let values = answers
            .next()
            .map(bytes_list)
            .transpose()?
            .unwrap_or_default();
        let indexed: Vec<&str> = members
            .iter()
            .flatten()
            .filter_map(|member| {
                std::str::from_utf8(member)
                    .ok()?
                    .strip_prefix(prefix.as_str())
            })
            .filter(|provider| !provider.is_empty())
            .collect();

        let mut rows = Rows::with_capacity(indexed.len());
        let mut without_value = Vec::new();
        let row_key = |provider: &str| RowKey {
            session: session.clone(),
            provider: provider.to_owned(),
        };
        for (provider, value) in likely.iter().zip(values) {
            if !indexed.contains(&provider.as_str()) {
                continue;
            }
            match value {
                Some(value) => rows.push((provider.clone(), RowState::parse(&value))),
                None => without_value.push(row_key(provider)),
            }
        }
        if matches!(wanted, Wanted::All(_)) {
            let others: Vec<RowKey> = indexed
                .iter()
                .filter(|provider| !likely.iter().any(|known| known == *provider))
                .map(|provider| row_key(provider))
                .collect();
            let values = self.values(&others).await?;
            for (row, value) in others.into_iter().zip(values) {
                match value {
                    Some(value) => rows.push((row.provider, RowState::parse(&value))),
                    None => without_value.push(row),
                }
            }
        }
        rows.extend(self.without_value(without_value).await?);
        Ok(rows)
    }

    async fn claim(
        &self,
        lock: &Lock,
        lifetime: Duration,
        row: &RowKey,
    ) -> Result<Claim, StoreError> {
        let keys = [
            self.keys.lock(lock.token),
            self.keys.redeemed(lock.token),
            self.keys.row(row),
            self.keys.index(&row.session),
        ];
        let lifetime = lifetime.as_millis().to_string();
        let arguments: [&[u8]; 2] = [lock.owner.as_str().as_bytes(), lifetime.as_bytes()];
        let answer = match self.script(scripts::CLAIM, &keys, &arguments).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.index_error(&keys[3], error).await),
        };
        let answer = bytes_list(answer)?;
        let part = |index: usize| {
            answer
                .get(index)
                .and_then(Option::as_deref)
                .unwrap_or_default()
        };
        Ok(Claim {
            lock: match part(0) {
                b"ours" => LockState::Ours,
                b"redeemed" => LockState::Redeemed,
                b"held" => LockState::Held,
                _ => return Err(nonsense()),
            },
            row: match part(1) {
                b"row" => RowState::parse(part(2)),
                b"gone" => RowState::Gone,
                _ => RowState::Unreadable,
            },
        })
    }

    async fn rows_with(
        &self,
        user: &str,
        provider: &str,
        refresh_token: &str,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        if user.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = Cmd::new();
        command.arg("SMEMBERS").arg(self.keys.user_rows(user));
        let members = match self.link.command(&command).await {
            Ok(members) => bytes_list(members)?,
            // No set of rows, no further rows.
            Err(StoreError::Refused(code)) if code == "WRONGTYPE" => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let rows: Vec<RowKey> = members
            .iter()
            .flatten()
            .filter_map(|member| self.keys.parse_row(std::str::from_utf8(member).ok()?))
            .filter(|row| row.provider == provider)
            .collect();
        let values = self.values(&rows).await?;
        Ok(rows
            .into_iter()
            .zip(values)
            .filter_map(|(key, value)| match RowState::parse(&value?) {
                RowState::Read(row)
                    if row.refresh_token == refresh_token && row.user_id == user =>
                {
                    Some((key, *row))
                }
                _ => None,
            })
            .collect())
    }

    async fn write(
        &self,
        lock: &Lock,
        refresh_token: &str,
        rows: &[Replacement],
        redeemed: Option<Duration>,
    ) -> Result<Written, StoreError> {
        let now = now_ms();
        let mut keys = vec![self.keys.lock(lock.token), self.keys.redeemed(lock.token)];
        let mut values = vec![
            lock.owner.as_str().as_bytes().to_vec(),
            refresh_token.as_bytes().to_vec(),
            milliseconds(redeemed),
        ];
        for replacement in rows {
            keys.extend(self.triple(&replacement.key, &replacement.row.user_id));
            values.push(replacement.row.encode());
            values.push(milliseconds(replacement.row.lifetime(now)));
        }
        let arguments: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        written(&self.script(scripts::WRITE, &keys, &arguments).await?)
    }

    async fn delete(
        &self,
        lock: &Lock,
        refresh_token: &str,
        rows: &[(RowKey, String)],
    ) -> Result<Written, StoreError> {
        let mut keys = vec![self.keys.lock(lock.token)];
        for (row, user) in rows {
            keys.extend(self.triple(row, user));
        }
        let arguments: [&[u8]; 2] = [lock.owner.as_str().as_bytes(), refresh_token.as_bytes()];
        written(&self.script(scripts::DELETE, &keys, &arguments).await?)
    }

    async fn release(&self, lock: &Lock) -> Result<(), StoreError> {
        let keys = [self.keys.lock(lock.token)];
        self.script(scripts::RELEASE, &keys, &[lock.owner.as_str().as_bytes()])
            .await?;
        Ok(())
    }

    async fn registration(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut command = Cmd::new();
        command.arg("GET").arg(self.keys.registration(id));
        match self.link.command(&command).await {
            Ok(Value::BulkString(bytes)) => Ok(Some(bytes)),
            Ok(_) => Ok(None),
            Err(StoreError::Refused(code)) if code == "WRONGTYPE" => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn end_client(&self, session: &SessionId, signature: &str) -> Result<Ended, StoreError> {
        let prefix = self.keys.prefix();
        let keys = [format!("{prefix}access:{signature}")];
        let arguments: [&[u8]; 2] = [prefix.as_bytes(), session.as_str().as_bytes()];
        match self.script(scripts::END_CLIENT, &keys, &arguments).await? {
            Value::Int(ended) => {
                Ok(u64::try_from(ended).map_or(Ended::NothingFound, Ended::Tokens))
            }
            _ => Err(nonsense()),
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Of a key that is never there: a server that is loading, or wants a password, says so,
        // which PING does not everywhere; and a cluster is asked where our keys are.
        let mut command = Cmd::new();
        command
            .arg("EXISTS")
            .arg(self.keys.lock(Digest::of("is anybody there")));
        self.link.command(&command).await.map(|_| ())
    }
}

fn written(answer: &Value) -> Result<Written, StoreError> {
    match answer {
        Value::Int(rows) => Ok(u64::try_from(*rows).map_or(Written::NotOurs, Written::Rows)),
        _ => Err(nonsense()),
    }
}

fn milliseconds(life: Option<Duration>) -> Vec<u8> {
    life.map_or(0, |life| life.as_millis().max(1))
        .to_string()
        .into_bytes()
}

fn nonsense() -> StoreError {
    StoreError::Refused("an answer of another kind than asked for".to_owned())
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::SimpleString(text) => Some(text),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn bytes_list(value: Value) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::Array(items) | Value::Set(items) => items
            .into_iter()
            .map(|item| match item {
                Value::BulkString(bytes) => Ok(Some(bytes)),
                Value::SimpleString(text) => Ok(Some(text.into_bytes())),
                Value::Nil => Ok(None),
                _ => Err(nonsense()),
            })
            .collect(),
        _ => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests;
