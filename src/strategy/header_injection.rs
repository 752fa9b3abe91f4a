//! `header_injection`: a static header, such as an API key.

use crate::config::StrategyType;
use crate::config::doc::Role;
use crate::config::draft::Draft;
use crate::config::format::{HeaderName, TextOf};
use crate::config::problem::{Reported, Wrong};
use crate::config::section::{Nested, Section, keys};
use crate::decision::{Credential, Decision, Request, Strategy};
use crate::observe::counters::Outcome;
use crate::secret::Secret;

/// `headerInjection`.
#[derive(Debug)]
struct HeaderInjection {
    /// The header, in lower case.
    header: String,
    /// Its value: visible ASCII, space and tab. Rather name an environment variable, if it is a
    /// secret.
    value: Secret,
}

impl Strategy for HeaderInjection {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        if let Err(refusal) = request.require_identity() {
            return Decision::Refuse(refusal, None);
        }
        let credential = Credential::Header(&self.header, &self.value);
        Decision::Forward(credential, Outcome::HeaderInjected)
    }

    fn header(&self) -> Option<&str> {
        Some(&self.header)
    }
}

/// `header_injection` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType::new("header_injection", Some(BLOCK), build);

keys! {
    /// Which header is set, and to what.
    optional BLOCK "headerInjection": Nested = Nested(&KEYS);
}

keys! {
    map KEYS:
    /// The header. Not `host`, `content-length`, `transfer-encoding`, a hop-by-hop or a pseudo
    /// header.
    required HEADER_NAME "headerName": HeaderName, is Role::Header;
    /// Its value: visible ASCII, space and tab.
    optional HEADER_VALUE "headerValue": TextOf = TextOf::HEADER_VALUE, is Role::Secret("headerValueEnv");
    /// Or the environment variable that holds it. Exactly one of the two.
    optional HEADER_VALUE_ENV "headerValueEnv": TextOf = TextOf::VARIABLE_NAME, is Role::SecretVariable;
}

fn build(block: &Section<'_>, draft: &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported> {
    let header = block.get(&HEADER_NAME);
    let value = draft
        .secret(block, &HEADER_VALUE, &HEADER_VALUE_ENV)?
        .ok_or_else(|| {
            let text = "missing; either this or headerValueEnv must be set";
            block.error(&HEADER_VALUE, Wrong::new(text))
        })?;
    let header = header?;
    Ok(Box::new(HeaderInjection { header, value }))
}
