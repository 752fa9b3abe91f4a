//! `header_injection`: a static header, such as an API key.

use crate::config::StrategyType;
use crate::config::draft::Draft;
use crate::config::format::{HeaderName, HeaderValue, VariableName};
use crate::config::path::Place;
use crate::config::problem::{Reported, Wrong};
use crate::config::shape::{Nested, Object, Optional, Required, Section};
use crate::decision::{Credential, Decision, Request, Strategy};
use crate::observe::counters::Outcome;
use crate::secret::Secret;

/// `headerInjection`.
#[derive(Debug)]
pub struct HeaderInjection {
    /// The header, in lower case.
    pub header: String,
    /// Its value: visible ASCII, space and tab.
    pub value: Secret,
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
pub(super) const TYPE: StrategyType = StrategyType {
    name: "header_injection",
    meaning: "A static header, such as an API key.",
    block: Some(BLOCK),
    build,
};

const BLOCK: Optional<Nested> = Optional {
    name: "headerInjection",
    format: Nested(&KEYS),
    meaning: "Which header is set, and to what.",
};

static KEYS: Object = Object {
    keys: &[&HEADER_NAME, &HEADER_VALUE, &HEADER_VALUE_ENV],
    open: false,
};

const HEADER_NAME: Required<HeaderName> = Required {
    name: "headerName",
    format: HeaderName,
    meaning: "The header.",
    rule: None,
};

const HEADER_VALUE: Optional<HeaderValue> = Optional {
    name: "headerValue",
    format: HeaderValue,
    meaning: "The header's value; rather use headerValueEnv, if it is a secret.",
};

const HEADER_VALUE_ENV: Optional<VariableName> = Optional {
    name: "headerValueEnv",
    format: VariableName,
    meaning: "The environment variable that holds the header's value.",
};

fn build(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    let place = place.key(BLOCK.name);
    let header = block.get(&HEADER_NAME);
    let value = draft
        .secret(block, &place, &HEADER_VALUE, &HEADER_VALUE_ENV)?
        .ok_or_else(|| {
            let text = "missing; either this or headerValueEnv must be set";
            draft.error(&place.key(HEADER_VALUE.name), Wrong::new(text))
        })?;
    let header = header?;
    Ok(Box::new(HeaderInjection { header, value }))
}
