//! `upstream_inject`: the named provider's upstream token becomes the bearer token.

use crate::config::StrategyType;
use crate::config::draft::Draft;
use crate::config::format::MetadataKey;
use crate::config::path::Place;
use crate::config::problem::{Reported, Rule, quoted};
use crate::config::shape::{Nested, Object, Optional, Required, Section};
use crate::decision::{Credential, Decision, Obtain, ProviderToken, Request, Source, Strategy};
use crate::identity::TokenKind;
use crate::observe::counters::Outcome;

/// `upstreamInject`.
#[derive(Debug)]
pub struct UpstreamInject {
    /// Whose token.
    pub provider: ProviderToken,
}

impl Strategy for UpstreamInject {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        match request.provider_token(&self.provider) {
            Ok(Source::InHand(token)) => {
                Decision::Forward(Credential::Bearer(token), Outcome::Injected)
            }
            Ok(subject) => Decision::Obtain(Obtain {
                subject,
                actor: None,
                exchange: None,
                header: AUTHORIZATION,
                outcome: Outcome::Injected,
            }),
            Err(refusal) => Decision::Refuse(refusal, None),
        }
    }

    fn header(&self) -> Option<&str> {
        Some(AUTHORIZATION)
    }

    fn provider(&self) -> Option<&str> {
        Some(self.provider.name())
    }
}

const AUTHORIZATION: &str = "authorization";

/// `upstream_inject` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType {
    name: "upstream_inject",
    meaning: "The named provider's upstream token becomes the bearer token.",
    block: Some(BLOCK),
    build,
};

const BLOCK: Optional<Nested> = Optional {
    name: "upstreamInject",
    format: Nested(&KEYS),
    meaning: "Whose upstream token is sent.",
};

static KEYS: Object = Object {
    keys: &[&PROVIDER_NAME],
    open: false,
};

const PROVIDER_NAME: Required<MetadataKey> = Required {
    name: "providerName",
    format: MetadataKey {
        not_empty: Some(Rule::V06),
    },
    meaning: "The provider: a name from authServer.runConfig.upstreams.",
    rule: Some(Rule::V06),
};

fn build(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    let name = block.get(&PROVIDER_NAME);
    let upstreams = draft.upstreams(
        place,
        &match name {
            Ok(name) => format!("upstream_inject of provider {}", quoted(name)),
            Err(_) => "upstream_inject".to_owned(),
        },
    );
    let at_block = place.key(BLOCK.name);
    let provider = draft.provider(
        upstreams?,
        &at_block.key(PROVIDER_NAME.name),
        name?,
        TokenKind::Access,
    )?;
    Ok(Box::new(UpstreamInject { provider }))
}
