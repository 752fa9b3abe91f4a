//! A plan in the making: what the strategies of a configuration have in common.

use super::Environment;
use super::format::{TextFormat, TextOf};
use super::problem::{Reported, Rule, Wrong, quoted};
use super::section::{Entry, Optional, Section};
use crate::decision::ProviderToken;
use crate::exchange::{Exchange, ExchangeId, Exchanges, Purpose, Terms, TokenCall, grant};
use crate::identity::{IdentitySettings, Provider, TokenKind};
use crate::secret::Secret;
use crate::table::Table;
use std::time::Duration;

/// What a strategy's `build` works with.
pub(crate) struct Draft<'d> {
    pub(super) identity: IdentitySettings,
    pub(super) auth_server: Result<Option<AuthServer<'d>>, Reported>,
    pub(super) environment: &'d dyn Environment,
    /// How the identity service is called, whatever the provider, and how long a token of it is used.
    pub(super) identity_call: Option<(TokenCall, Duration)>,
    pub exchanges: Exchanges,
}

impl<'d> Draft<'d> {
    /// Whether upstream tokens exist at all: whether there is an `authServer`, right or wrong.
    pub(crate) fn has_auth_server(&self) -> bool {
        !matches!(self.auth_server, Ok(None))
    }

    /// Refuses the strategy with this block, in which `what` needs an auth server, if there is none to
    /// rely on (V-01).
    pub(crate) fn needs_auth_server(
        &self,
        block: &Section<'_>,
        what: &str,
    ) -> Result<(), Reported> {
        match self.auth_server {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                let text = format!("{what} needs authServer, which is not configured");
                Err(block.error_above(Wrong::of(Rule::V01, text)))
            }
            Err(reported) => Err(reported),
        }
    }

    /// The token of the provider `name`, which `key` names, if it is among the upstreams (V-02).
    pub(crate) fn provider(
        &mut self,
        block: &Section<'_>,
        key: &dyn Entry,
        name: &str,
        kind: TokenKind,
    ) -> Result<ProviderToken, Reported> {
        let upstreams = match &self.auth_server {
            Ok(server) => server.as_ref().map(|server| &server.upstreams),
            Err(reported) => return Err(*reported),
        };
        if upstreams.is_some_and(|upstreams| upstreams.names.contains_key(name)) {
            return Ok(ProviderToken {
                provider: Provider::new(&self.identity, name, kind),
                exchange: self.identity_exchange(name, kind),
            });
        }
        let text = format!(
            "provider {} is not in authServer.runConfig.upstreams ({})",
            quoted(name),
            upstreams.map(Upstreams::listed).unwrap_or_default()
        );
        Err(block.error(key, Wrong::of(Rule::V02, text)))
    }

    /// A secret that is written in the configuration under one key, or in the environment under
    /// the name that another key gives.
    ///
    /// # Errors
    /// If both keys are there, or the variable is not set, empty, or not of the format of the other. The
    /// value is never part of the message.
    pub(crate) fn secret(
        &self,
        block: &Section<'_>,
        inline: &Optional<TextOf>,
        variable: &Optional<TextOf>,
    ) -> Result<Option<Secret>, Reported> {
        let from_text = block.get(inline);
        let from_environment = block.get(variable).and_then(|name| {
            let read = |name| {
                let value = self.environment.var(name);
                checked(block, variable, name, value, &inline.format)
            };
            name.map(read).transpose()
        });
        if block.has(inline) && block.has(variable) {
            let text = format!("{} is set, too; only one of them is allowed", inline.name);
            return Err(block.error(variable, Wrong::new(text)));
        }
        Ok(from_text?
            .map(|text| Secret::new(text.to_owned()))
            .or(from_environment?))
    }

    /// The exchange that brings the token of the provider `name`, with `identity.source: exchange`.
    fn identity_exchange(&mut self, name: &str, kind: TokenKind) -> Option<ExchangeId> {
        let (call, max_age) = self.identity_call.clone()?;
        Some(self.exchanges.add(Exchange {
            purpose: Purpose::Identity {
                provider: name.to_owned(),
            },
            first: TokenCall {
                grant: grant::identity(name, kind == TokenKind::Id),
                ..call
            },
            second: None,
            subject_is_identity_token: true,
            has_actor: false,
            terms: Terms {
                assumed_lifetime: Some(max_age),
                max_age: Some(max_age),
                ..Terms::default()
            },
        }))
    }
}

/// The value of the environment variable `name`, which `key` names, if it is one, and of `format`:
/// without the line end that often follows a secret in a file.
pub(super) fn checked(
    block: &Section<'_>,
    key: &dyn Entry,
    name: &str,
    value: Option<String>,
    format: &TextOf,
) -> Result<Secret, Reported> {
    let mut value = value.unwrap_or_default();
    value.truncate(value.trim_end_matches(['\r', '\n']).len());
    let wrong = if value.is_empty() {
        "is not set, empty, or not UTF-8".to_owned()
    } else {
        match format.parse(&value).err() {
            None => return Ok(Secret::new(value)),
            Some(wrong) => wrong.text,
        }
    };
    let text = format!("environment variable {} {wrong}", shown_variable(name));
    Err(block.error(key, Wrong::new(text)))
}

/// The name, if it looks like one: a secret that was pasted in place of a name is not repeated.
/// Names are in capitals by convention (POSIX.1-2017 §8.1), and their words short; secrets hardly are.
fn shown_variable(name: &str) -> String {
    let is_word = |word: &str| {
        word.len() <= 14
            && word
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    let is_name = name.len() <= 80
        && name.split('_').all(is_word)
        && !name.starts_with(|first: char| first.is_ascii_digit());
    match is_name {
        true => name.to_owned(),
        false => "of the given name".to_owned(),
    }
}

/// What a plan needs of the auth server.
pub(super) struct AuthServer<'n> {
    pub upstreams: Upstreams<'n>,
    pub issuer: Result<Option<&'n str>, Reported>,
}

/// `authServer.runConfig.upstreams`: the providers that strategies can name.
#[derive(Debug, Default)]
pub(crate) struct Upstreams<'n> {
    names: Table<&'n str, ()>,
}

impl<'n> Upstreams<'n> {
    /// Adds a provider; `false` if there is one of that name.
    pub(super) fn insert(&mut self, name: &'n str) -> bool {
        self.names.insert(name, ()).is_none()
    }

    /// What there is, in the order configured, as a message names it.
    fn listed(&self) -> String {
        const LONGEST: usize = 50;
        let mut shown: Vec<String> = self
            .names
            .keys()
            .take(LONGEST)
            .map(|name| shown_provider(name))
            .collect();
        if let Some(more @ 1..) = self.names.len().checked_sub(LONGEST) {
            shown.push(format!("and {more} more"));
        }
        shown.join(", ")
    }
}

/// A provider's name, quoted only where it could be misread.
fn shown_provider(name: &str) -> String {
    let is_plain = name.len() < 200
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\",()\\".contains(&byte));
    if is_plain {
        name.to_owned()
    } else {
        quoted(name)
    }
}
