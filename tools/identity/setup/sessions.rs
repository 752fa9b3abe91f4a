//! Sessions from a file: `sessions`, a map from session to provider to token. A token is a text, or
//! a map with the members of a row.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use document::{Document, entries, get};
use upstream_inject::config::{Node, Path};

use super::Problems;
use crate::session::store::file::FileStore;
use crate::session::{Row, RowKey, SessionId};

/// What the file has.
pub(super) struct Sessions {
    rows: Vec<(RowKey, Row)>,
    /// The providers that occur, those whose every row is deleted among them.
    providers: BTreeSet<String>,
    /// What tokens have in `iss`, if the file says so.
    pub(super) issuer: Option<String>,
}

impl Sessions {
    pub(super) fn store(&self) -> FileStore {
        FileStore::new(self.rows.iter().cloned())
    }

    /// The providers that occur, for want of a configuration.
    pub(super) fn providers(&self) -> Vec<String> {
        self.providers.iter().cloned().collect()
    }
}

pub(super) fn read(file: &FilePath, problems: &mut Problems) -> Option<Sessions> {
    let name = file.display();
    let bytes = std::fs::read(file)
        .map_err(|error| problems.add(format!("(root): cannot be read: {} ({name})", error.kind())))
        .ok()?;
    let document = match document::parse_file(&bytes, &name.to_string()) {
        Ok(mut documents) if documents.len() == 1 => documents.pop()?,
        Ok(_) => {
            problems.add(format!("(root): must be one document ({name})"));
            return None;
        }
        Err(error) => {
            let place = error
                .at
                .map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
            problems.add(format!("(root): {} ({name}{place})", error.text));
            return None;
        }
    };
    let mut reader = Reader {
        document: &document,
        name: name.to_string(),
        providers: BTreeSet::new(),
        problems,
    };
    let rows = reader.rows();
    let issuer = reader.issuer();
    Some(Sessions {
        rows,
        providers: reader.providers,
        issuer,
    })
}

/// A place in the file: what is said of it, and where it is. A session's id is a credential, and no
/// name for a line that is logged.
struct Place {
    shown: Path,
    at: Path,
}

impl Place {
    fn root() -> Self {
        Self {
            shown: Path::root(),
            at: Path::root(),
        }
    }

    fn key(&self, key: &str) -> Self {
        Self {
            shown: self.shown.key(key),
            at: self.at.key(key),
        }
    }

    fn session(&self, number: usize, id: &str) -> Self {
        Self {
            shown: self.shown.index(number),
            at: self.at.key(id),
        }
    }
}

struct Reader<'a> {
    document: &'a Document,
    name: String,
    providers: BTreeSet<String>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn problem(&mut self, place: &Place, text: &str) {
        let at = self.document.position(&place.at);
        self.problems.add(format!(
            "{}: {text} ({}:{}:{})",
            place.shown, self.name, at.line, at.column
        ));
    }

    fn issuer(&mut self) -> Option<String> {
        match get(&self.document.root, "issuer")? {
            Node::String(issuer) if !issuer.is_empty() => Some(issuer.clone()),
            _ => {
                let at = Place::root().key("issuer");
                self.problem(&at, "must be a text that is not empty");
                None
            }
        }
    }

    /// Of two values under one key nobody knows which is meant. The key itself may be a credential.
    fn no_twins(&mut self, map: &Node, at: &Place) {
        let mut names: Vec<&String> = entries(map).iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            self.problem(at, "a key given twice");
        }
    }

    fn rows(&mut self) -> Vec<(RowKey, Row)> {
        let root = &self.document.root;
        self.no_twins(root, &Place::root());
        for (name, _) in entries(root) {
            if !matches!(name.as_str(), "issuer" | "sessions") {
                let text = "unknown key (allowed here: issuer, sessions)";
                self.problem(&Place::root().key(name), text);
            }
        }
        let at = Place::root().key("sessions");
        let Some(sessions @ Node::Map(_)) = get(root, "sessions") else {
            self.problem(&at, "must be a map from session to provider to token");
            return Vec::new();
        };
        self.no_twins(sessions, &at);
        let mut rows = Vec::new();
        for (number, (session, providers)) in entries(sessions).iter().enumerate() {
            let path = at.session(number, session);
            let Some(session) = SessionId::parse(session) else {
                self.problem(&path, "a session's id must be 1 to 128 of A-Z a-z 0-9 _ -");
                continue;
            };
            if !matches!(providers, Node::Map(_)) {
                self.problem(&path, "must be a map from provider to token");
            }
            self.no_twins(providers, &path);
            for (provider, token) in entries(providers) {
                if provider.is_empty() {
                    self.problem(&path, "a provider without a name");
                }
                self.providers.insert(provider.clone());
                // ToolHive's mark for a deleted row.
                if matches!(token, Node::Null) {
                    continue;
                }
                let row = self.row(provider, token, &path.key(provider));
                let key = RowKey {
                    session: session.clone(),
                    provider: provider.clone(),
                };
                rows.push((key, row));
            }
        }
        rows
    }

    fn row(&mut self, provider: &str, token: &Node, at: &Place) -> Row {
        let mut row = Row {
            provider_id: provider.to_owned(),
            ..Row::default()
        };
        match token {
            Node::String(token) => row.access_token.clone_from(token),
            Node::Map(members) => {
                self.no_twins(token, at);
                for (name, value) in members {
                    self.member(&mut row, name, value, &at.key(name));
                }
                if !row.provider_id.is_empty() && row.provider_id != provider {
                    let text = "must be the provider that the row stands under";
                    self.problem(&at.key("provider_id"), text);
                }
            }
            _ => self.problem(at, "must be a token, or a map with the members of a row"),
        }
        row
    }

    /// A member, as ToolHive's own rows have them.
    fn member(&mut self, row: &mut Row, name: &str, value: &Node, at: &Place) {
        let text = match name {
            "provider_id" => &mut row.provider_id,
            "access_token" => &mut row.access_token,
            "refresh_token" => &mut row.refresh_token,
            "id_token" => &mut row.id_token,
            "user_id" => &mut row.user_id,
            "upstream_subject" => &mut row.upstream_subject,
            "client_id" => &mut row.client_id,
            "expires_at" => return self.time(&mut row.expires_at, value, at),
            "session_expires_at" => return self.time(&mut row.session_expires_at, value, at),
            _ => {
                self.problem(
                    at,
                    "unknown key (allowed here: provider_id, access_token, refresh_token, id_token, \
                     expires_at, session_expires_at, user_id, upstream_subject, client_id)",
                );
                return;
            }
        };
        match value {
            Node::String(value) => text.clone_from(value),
            Node::Null => {}
            _ => self.problem(at, "must be a text"),
        }
    }

    fn time(&mut self, time: &mut i64, value: &Node, at: &Place) {
        match value {
            // Seconds since 1970 fit a double exactly.
            #[allow(clippy::cast_possible_truncation)]
            Node::Number(seconds) if seconds.fract() == 0.0 => *time = *seconds as i64,
            Node::Null => {}
            _ => self.problem(at, "must be seconds since 1970"),
        }
    }
}
