//! What everything that calls a token endpoint has in common: the endpoint's keys, the client's
//! credential there, and what an exchange is told of its answers.

mod client;
mod keys;

pub(crate) use keys::{
    ASSUMED_LIFETIME, ENDPOINT, EndpointKeys, ID_IS, MEANINGS, Method, NAMES, OF_ASSERTION,
    REFRESH_AHEAD, STS_ERRORS, StsErrors, TIMEOUT, URL_IS, endpoint, sts_errors,
};

use super::draft::Draft;
use super::problem::{Reported, Wrong};
use super::section::{Entry, Section};
use crate::exchange::endpoint::{Endpoint, leaves_in_clear};
use crate::exchange::grant::Grant;
use crate::exchange::{Meaning, Terms, TokenCall};
use std::time::Duration;

/// What the block says of the token's life.
pub(crate) fn terms(block: &Section<'_>) -> Result<Terms, Reported> {
    Ok(Terms {
        assumed_lifetime: block.get(&ASSUMED_LIFETIME)?,
        refresh_ahead: block.get(&REFRESH_AHEAD)?,
        ..Terms::default()
    })
}

/// What a block says of all its calls.
#[derive(Clone)]
pub(crate) struct Common {
    timeout: Result<Duration, Reported>,
    sts_errors: Result<Vec<(String, Meaning)>, Reported>,
}

impl Common {
    pub(crate) fn of(block: &Section<'_>, sts_errors: &StsErrors) -> Self {
        let errors = block.get(sts_errors).map(Option::unwrap_or_default);
        let said = |(word, meaning): (&str, Result<_, _>)| Ok((word.to_owned(), meaning?));
        let errors = errors.and_then(|errors| errors.into_iter().map(said).collect());
        Self {
            timeout: block.get(&TIMEOUT),
            sts_errors: errors.map(in_one_order),
        }
    }
}

/// A map's entries as they are in every configuration that says the same: the keys of a `Struct` come in
/// any order, and what differs in nothing else is one exchange. Values of one name keep theirs.
fn in_one_order<T>(entries: Vec<(String, T)>) -> Vec<(String, T)> {
    // A few bytes of code, where the standard library's sort is many.
    let mut sorted: Vec<(String, T)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let place = sorted.partition_point(|(before, _)| *before <= entry.0);
        sorted.insert(place, entry);
    }
    sorted
}

/// How a token endpoint is called.
pub(crate) struct Called<'n, 'b> {
    /// Where the endpoint is configured.
    pub block: &'b Section<'n>,
    pub keys: &'static EndpointKeys,
    /// What log lines call it.
    pub name: &'static str,
    pub common: Common,
}

impl Called<'_, '_> {
    /// The call with this grant.
    pub(crate) fn with(self, grant: Grant, draft: &Draft<'_>) -> Result<TokenCall, Reported> {
        let endpoint = self.endpoint();
        let client = self.client(endpoint.as_ref().ok(), draft);
        let endpoint = endpoint?;
        let cluster = self.block.get(&self.keys.cluster)?;
        let mut parameters = Vec::new();
        for (name, values) in self.block.get(&self.keys.parameters)?.unwrap_or_default() {
            let pair = |value: &str| (name.to_owned(), value.to_owned());
            parameters.extend(values?.into_iter().map(pair));
        }
        Ok(TokenCall {
            name: self.name,
            cluster: cluster.unwrap_or(&endpoint.authority).to_owned(),
            token_url: endpoint.url,
            authority: endpoint.authority,
            path: endpoint.path,
            client: client?,
            grant,
            parameters: in_one_order(parameters),
            sts_errors: self.common.sts_errors?,
            timeout: self.common.timeout?,
        })
    }

    /// Reports that no credential is configured, nor that none is meant: `why` it is needed. Whatever
    /// else is wrong with the endpoint.
    pub(crate) fn needs_credential(&self, why: impl FnOnce() -> String) -> Option<Reported> {
        let keys = self.keys;
        // Of the methods, none is the only one that fits no credential.
        let credentials: [&dyn Entry; 4] = [
            &keys.client_secret,
            &keys.client_secret_env,
            &keys.key_env,
            &keys.auth_method,
        ];
        if credentials.into_iter().any(|key| self.block.has(key)) {
            return None;
        }
        let key = &keys.client_secret_env;
        Some(self.block.error(key, Wrong::new(why())))
    }

    /// Tokens and client secrets go there: in clear only if the operator says so.
    fn endpoint(&self) -> Result<Endpoint, Reported> {
        let insecure = self.block.get(&self.keys.insecure);
        let endpoint = self.block.get(&self.keys.token_url);
        let url = self.block.text(&self.keys.token_url);
        if !url.is_some_and(leaves_in_clear) || insecure? {
            return endpoint;
        }
        let text = format!(
            "must be an https URL: http is allowed to the local host only, or with {}: true",
            self.keys.insecure.name
        );
        Err(self.block.error(&self.keys.token_url, Wrong::new(text)))
    }
}
