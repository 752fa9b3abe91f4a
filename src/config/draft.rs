//! A plan in the making: what the strategies of a configuration have in common.

use super::Environment;
use super::format::{TextFormat, TextOf};
use super::problem::{Reported, Rule, Wrong, quoted};
use super::section::{Entry, Optional, Section};
use crate::decision::ProviderToken;
use crate::exchange::ExchangeId;
use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use crate::exchange::grant;
use crate::exchange::{Exchange, Purpose, Terms, TokenCall};
use crate::identity::{IdentitySettings, Provider, TokenKind};
use crate::secret::Secret;
use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};
use std::hash::BuildHasher;
use std::time::Duration;

/// What a strategy's `build` works with.
pub struct Draft<'d> {
    pub(super) identity: IdentitySettings,
    pub(super) auth_server: Result<Option<&'d Upstreams<'d>>, Reported>,
    pub(super) environment: &'d dyn Environment,
    /// How the identity service is called, whatever the provider, and how long a token of it is used.
    pub(super) identity_call: Option<(TokenCall, Duration)>,
    pub(super) exchanges: Exchanges,
}

impl<'d> Draft<'d> {
    /// Whether upstream tokens exist at all: whether there is an `authServer`, right or wrong.
    pub fn has_auth_server(&self) -> bool {
        !matches!(self.auth_server, Ok(None))
    }

    /// The auth server's upstreams, which `what` needs, of the strategy with this block.
    ///
    /// # Errors
    /// V-01 if there is no auth server.
    pub fn upstreams(
        &self,
        block: &Section<'_>,
        what: &str,
    ) -> Result<&'d Upstreams<'d>, Reported> {
        self.auth_server?.ok_or_else(|| {
            let text = format!("{what} needs authServer, which is not configured");
            block.error_above(Wrong::rule(Rule::V01, text))
        })
    }

    /// The provider `name`, which `key` names.
    ///
    /// # Errors
    /// V-02 if it is not among the upstreams.
    pub fn provider(
        &mut self,
        upstreams: &Upstreams<'_>,
        block: &Section<'_>,
        key: &dyn Entry,
        name: &str,
        kind: TokenKind,
    ) -> Result<ProviderToken, Reported> {
        if upstreams.names.contains(name) {
            return Ok(ProviderToken {
                provider: Provider::new(&self.identity, name, kind),
                exchange: self.identity_exchange(name, kind),
            });
        }
        let text = format!(
            "provider {} is not in authServer.runConfig.upstreams ({})",
            quoted(name),
            upstreams.listed()
        );
        Err(block.error(key, Wrong::rule(Rule::V02, text)))
    }

    /// The value of the environment variable `name`, which `key` names, and which holds a key or a
    /// certificate.
    ///
    /// # Errors
    /// If it is not set or empty.
    pub fn pem(
        &self,
        block: &Section<'_>,
        key: &dyn Entry,
        name: &str,
    ) -> Result<Secret, Reported> {
        checked(block, key, name, self.environment.pem(name), &TextOf::ANY)
    }

    /// A secret that is written in the configuration under one key, or in the environment under
    /// the name that another key gives.
    ///
    /// # Errors
    /// If both keys are there, or the variable is not set, empty, or not of the format of the other. The
    /// value is never part of the message.
    pub fn secret(
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
        Some(self.exchange(Exchange {
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

    /// Whether Envoy can sign with `key`.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub fn can_sign(&self, key: &SigningKey) -> Result<(), String> {
        self.environment.can_sign(key)
    }

    /// Whether `certificate` is one of `key`; `None` if nobody can tell here.
    pub fn owns(&self, key: &SigningKey, certificate: &Certificate) -> Option<bool> {
        let told = key.owns(certificate);
        told.or_else(|| self.environment.owns(key, certificate))
    }

    /// The id of `exchange`; equal ones share one.
    pub fn exchange(&mut self, exchange: Exchange) -> ExchangeId {
        self.exchanges.intern(exchange)
    }
}

/// The value of the environment variable `name`, if it is one, and of `format`: without the line end
/// that often follows a secret in a file.
fn checked(
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

/// `authServer.runConfig.upstreams`: the providers that strategies can name.
#[derive(Debug, Default)]
pub struct Upstreams<'n> {
    names: HashSet<&'n str, FixedState>,
    in_order: Vec<&'n str>,
}

impl<'n> Upstreams<'n> {
    /// Adds a provider; `false` if there is one of that name.
    pub(super) fn insert(&mut self, name: &'n str) -> bool {
        let is_new = self.names.insert(name);
        if is_new {
            self.in_order.push(name);
        }
        is_new
    }

    /// What there is, in the order configured, as a message names it.
    fn listed(&self) -> String {
        const LONGEST: usize = 50;
        let mut shown: Vec<String> = self
            .in_order
            .iter()
            .take(LONGEST)
            .map(|name| shown_provider(name))
            .collect();
        if let Some(more @ 1..) = self.in_order.len().checked_sub(LONGEST) {
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

/// Every distinct exchange so far.
#[derive(Default)]
pub(super) struct Exchanges {
    pub(super) distinct: Vec<Exchange>,
    ids: HashTable<u32>,
}

impl Exchanges {
    fn intern(&mut self, exchange: Exchange) -> ExchangeId {
        let hash_of_new = hash(&exchange);
        let distinct = &mut self.distinct;
        let known = |id: &u32| distinct.get(*id as usize);
        if let Some(id) = self
            .ids
            .find(hash_of_new, |id| known(id) == Some(&exchange))
        {
            return ExchangeId(*id);
        }
        // A document in 32-bit memory has no room for more.
        let id = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
        self.ids
            .insert_unique(hash_of_new, id, |id| known(id).map_or(0, hash));
        distinct.push(exchange);
        ExchangeId(id)
    }
}

fn hash(exchange: &Exchange) -> u64 {
    FixedState::default().hash_one(exchange)
}
