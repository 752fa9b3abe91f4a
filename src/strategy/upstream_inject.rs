//! `upstream_inject`: the named provider's upstream token becomes the bearer token.

use super::exchanged::AUTHORIZATION;
use crate::config::StrategyType;
use crate::config::doc::Role;
use crate::config::draft::Draft;
use crate::config::format::TextOf;
use crate::config::problem::{Reported, Rule, quoted};
use crate::config::section::{Nested, Section, keys};
use crate::decision::{Credential, Decision, Obtain, ProviderToken, Request, Source, Strategy};
use crate::identity::TokenKind;
use crate::observe::counters::Outcome;

/// `upstreamInject`.
#[derive(Debug)]
struct UpstreamInject {
    /// Whose token.
    provider: ProviderToken,
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

    fn provider(&self) -> Option<&str> {
        Some(self.provider.name())
    }

    fn exchanges_identity_token(&self) -> bool {
        self.provider.exchange.is_some()
    }
}

/// `upstream_inject` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType::new("upstream_inject", Some(BLOCK), build);

keys! {
    /// Whose upstream token is sent.
    optional BLOCK "upstreamInject": Nested = Nested(&KEYS);
}

keys! {
    map KEYS:
    /// Whose token: a name from `authServer.runConfig.upstreams` (V-02; V-06: not empty).
    required PROVIDER_NAME "providerName" by Rule::V06: TextOf =
        TextOf::PROVIDER, is Role::Provider;
}

fn build(block: &Section<'_>, draft: &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported> {
    let name = block.get(&PROVIDER_NAME);
    let what = match name {
        Ok(name) => format!("upstream_inject of provider {}", quoted(name)),
        Err(_) => "upstream_inject".to_owned(),
    };
    draft.needs_auth_server(block, &what)?;
    let provider = draft.provider(block, &PROVIDER_NAME, name?, TokenKind::Access)?;
    Ok(Box::new(UpstreamInject { provider }))
}
