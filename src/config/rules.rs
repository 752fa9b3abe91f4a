//! From a document of the right shape to a plan: the rules that look at more than one value.

use super::draft::{Draft, Exchanges, Upstreams};
use super::endpoint::{Called, ENDPOINT, Method, sts_errors};
use super::format::Format;
use super::path::Place;
use super::problem::{Problems, Reported, Rule, Wrong, quoted};
use super::schema::{self as keys, IdentitySource};
use super::shape::Section;
use super::strategies::{Chosen, OneStrategy, StrategyType};
use super::tree::Node;
use super::{Environment, Outcome};
use crate::backend::BackendFrom;
use crate::challenge::{Challenge, Challenges, FromBackends};
use crate::decision::Strategy;
use crate::exchange::{CachePolicy, grant};
use crate::identity::{IdentitySettings, TokenFrom};
use crate::plan::Plan;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::time::Duration;

/// Makes the plan, or says everything that is in its way.
pub(super) fn plan(
    root: &Node,
    registry: &'static [StrategyType],
    environment: &dyn Environment,
) -> Outcome {
    let mut errors = Problems::of(registry);
    let root = Section::check_document(root, &keys::ROOT, &mut errors);
    let auth_server = root.and_then(|root| auth_server(&root, &mut errors));
    let mut draft = Draft {
        errors,
        warnings: Problems::default(),
        identity: IdentitySettings::default(),
        auth_server: match &auth_server {
            Ok(upstreams) => Ok(upstreams.as_ref()),
            Err(reported) => Err(*reported),
        },
        identity_call: None,
        environment,
        exchanges: Exchanges::default(),
    };
    let plan = root.and_then(|root| assemble(&root, &mut draft));
    let errors = draft.errors.into_sorted();
    Outcome {
        plan: plan.ok().filter(|_| errors.is_empty()),
        errors,
        warnings: draft.warnings.into_sorted(),
    }
}

fn assemble(root: &Section<'_>, draft: &mut Draft<'_>) -> Result<Plan, Reported> {
    // Providers are looked up under these keys, so they come before the strategies.
    let identity = identity(root).inspect(|identity| draft.identity = identity.clone());
    let identity_call = identity_call(root, draft);
    let strategies = strategies(root, draft);
    let challenge = challenges(root);
    warn_of_sharing(root, draft);
    let token_cache = token_cache(root);
    let backend_from = root.get(&keys::BACKEND_FROM);
    let (default, backends) = strategies?;
    identity_call?;
    Ok(Plan {
        backend_from: backend_from?.unwrap_or(BackendFrom::ClusterName),
        identity: identity?,
        challenge: challenge?,
        token_cache: token_cache?,
        backends,
        default,
        exchanges: std::mem::take(&mut draft.exchanges.distinct),
    })
}

/// The upstreams of the auth server, if there is one (V-05).
fn auth_server<'n>(
    root: &Section<'n>,
    errors: &mut Problems,
) -> Result<Option<Upstreams<'n>>, Reported> {
    let Some(auth_server) = root.get(&keys::AUTH_SERVER)? else {
        return Ok(None);
    };
    let sections = auth_server.get(&keys::RUN_CONFIG)?.get(&keys::UPSTREAMS)?;
    let root = Place::Root;
    let auth_server = root.key(keys::AUTH_SERVER.name);
    let run_config = auth_server.key(keys::RUN_CONFIG.name);
    let place = run_config.key(keys::UPSTREAMS.name);
    let mut upstreams = Upstreams::default();
    let mut unreadable = None;
    for (index, section) in sections.iter().enumerate() {
        match section.get(&keys::UPSTREAM_NAME) {
            Ok(name) => {
                let name = name.flatten().unwrap_or("default");
                if !upstreams.insert(name) {
                    let text = format!("another upstream is already called {}", quoted(name));
                    errors.report(
                        &place.index(index).key(keys::UPSTREAM_NAME.name),
                        Wrong::rule(Rule::V05, text),
                    );
                }
            }
            Err(reported) => unreadable = Some(reported),
        }
    }
    unreadable.map_or(Ok(Some(upstreams)), Err)
}

type Backends = HashMap<Box<str>, Box<dyn Strategy>, FixedState>;

/// `outgoingAuth`: the strategy of unlisted backends, and those of the listed ones.
fn strategies(
    root: &Section<'_>,
    draft: &mut Draft<'_>,
) -> Result<(Option<Box<dyn Strategy>>, Backends), Reported> {
    let outgoing_auth = root.get(&keys::OUTGOING_AUTH)?;
    let root = Place::Root;
    let place = root.key(keys::OUTGOING_AUTH.name);
    let source = outgoing_auth.get(&keys::SOURCE);
    let default = outgoing_auth.get(&keys::DEFAULT).and_then(|chosen| {
        chosen
            .map(|entries| strategy(entries, &place.key(keys::DEFAULT.name), draft))
            .transpose()
    });
    let backends = outgoing_auth
        .get(&keys::BACKENDS)
        .and_then(|entries| backends(entries.unwrap_or_default(), &place, draft));
    if let (Ok(None), Ok(backends)) = (&default, &backends)
        && backends.is_empty()
    {
        let text = "neither a default nor a backend is configured";
        return Err(draft.error(&place, Wrong::new(text)));
    }
    source?;
    Ok((default?, backends?))
}

fn strategy(
    entries: &[(String, Node)],
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    Chosen::among(draft.errors.registry, entries)?.build(place, draft)
}

fn backends(
    entries: &[(String, Node)],
    outgoing_auth: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Backends, Reported> {
    let place = outgoing_auth.key(keys::BACKENDS.name);
    let mut backends = Backends::with_capacity_and_hasher(entries.len(), FixedState::default());
    let mut first_problem = None;
    for (name, node) in entries.iter().filter(|(_, node)| *node != Node::Null) {
        let strategy = OneStrategy
            .read(node)
            .map_err(|_| Reported::by_shape_check())
            .and_then(|entries| strategy(entries, &place.key(name), draft));
        match strategy {
            Ok(strategy) => {
                backends.insert(name.as_str().into(), strategy);
            }
            Err(reported) => first_problem = Some(reported),
        }
    }
    first_problem.map_or(Ok(backends), Err)
}

fn identity(root: &Section<'_>) -> Result<IdentitySettings, Reported> {
    let auth_server = root.get(&keys::AUTH_SERVER)?;
    let mut identity = IdentitySettings {
        required: auth_server.is_some(),
        ..IdentitySettings::default()
    };
    if let Some(auth_server) = auth_server {
        let issuer = auth_server.get(&keys::RUN_CONFIG)?.get(&keys::ISSUER)?;
        identity.issuer = issuer.filter(|text| !text.is_empty()).map(str::to_owned);
    }
    if let Some(section) = root.get(&keys::IDENTITY)? {
        for (key, value) in [
            (&keys::METADATA_NAMESPACE, &mut identity.metadata_namespace),
            (
                &keys::UPSTREAM_TOKENS_KEY,
                &mut identity.upstream_tokens_key,
            ),
            (
                &keys::UPSTREAM_ID_TOKENS_KEY,
                &mut identity.upstream_id_tokens_key,
            ),
            (
                &keys::UPSTREAM_UNAVAILABLE_KEY,
                &mut identity.upstream_unavailable_key,
            ),
            (&keys::HEALTH_CHECK_KEY, &mut identity.health_check_key),
            (&keys::PAYLOAD_KEY, &mut identity.payload_key),
        ] {
            if let Some(name) = section.get(key)? {
                name.clone_into(value);
            }
        }
        if let Some(required) = section.get(&keys::REQUIRED)? {
            identity.required = required;
        }
        let usual = match section.get(&keys::IDENTITY_SOURCE)? {
            Some(IdentitySource::Exchange) => TokenFrom::FilterState,
            Some(IdentitySource::Metadata) | None => TokenFrom::Authorization,
        };
        identity.token_from = section.get(&keys::TOKEN_FROM)?.unwrap_or(usual);
    }
    Ok(identity)
}

/// How the identity service is called (V-01), where the user's tokens are fetched.
fn identity_call(root: &Section<'_>, draft: &mut Draft<'_>) -> Result<(), Reported> {
    let Some(section) = root.get(&keys::IDENTITY)? else {
        return Ok(());
    };
    let place = Place::Root;
    let place = place.key(keys::IDENTITY.name);
    let at_exchange = place.key(keys::IDENTITY_EXCHANGE.name);
    let source = section.get(&keys::IDENTITY_SOURCE)?;
    let block = section.get(&keys::IDENTITY_EXCHANGE);
    if source != Some(IdentitySource::Exchange) {
        return match section.has(&keys::IDENTITY_EXCHANGE) {
            true => {
                let text = "is not used without source: exchange";
                Err(draft.error(&at_exchange, Wrong::new(text)))
            }
            false => Ok(()),
        };
    }
    if !draft.has_auth_server() {
        let text = "source: exchange needs authServer, which is not configured";
        let at = place.key(keys::IDENTITY_SOURCE.name);
        return Err(draft.error(&at, Wrong::rule(Rule::V01, text)));
    }
    for key in [
        &keys::UPSTREAM_TOKENS_KEY,
        &keys::UPSTREAM_ID_TOKENS_KEY,
        &keys::UPSTREAM_UNAVAILABLE_KEY,
    ] {
        if section.has(key) {
            let text = "nobody reads it with source: exchange";
            draft.warn(&place.key(key.name), Wrong::new(text));
        }
    }
    if section.get(&keys::TOKEN_FROM)? == Some(TokenFrom::Authorization) {
        let text = "must be filter_state, the default, with source: exchange";
        return Err(draft.error(&place.key(keys::TOKEN_FROM.name), Wrong::new(text)));
    }
    let Some(block) = block? else {
        let text = "missing; source: exchange needs it";
        return Err(draft.error(&at_exchange, Wrong::new(text)));
    };
    let max_age = block.get(&keys::MAX_AGE)?.unwrap_or(DEFAULT_MAX_AGE);
    let called = Called {
        block: &block,
        at_block: &at_exchange,
        keys: &ENDPOINT,
        usual: Method::Basic,
        name: "",
        sts_errors: sts_errors(block.get(&keys::IDENTITY_STS_ERRORS)),
    };
    // Each provider's exchange has the grant that asks for its token.
    let call = called.with(grant::identity("", false), draft)?;
    draft.identity_call = Some((call, max_age));
    Ok(())
}

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60);

fn challenges(root: &Section<'_>) -> Result<Challenges, Reported> {
    let Some(section) = root.get(&keys::CHALLENGE)? else {
        return Ok(Challenges::default());
    };
    let default = challenge(&section, &Challenge::default())?;
    let backends = section.get(&keys::CHALLENGE_BACKENDS)?.unwrap_or_default();
    let backends = backends
        .into_iter()
        .map(|(name, section)| Ok((name.into(), challenge(&section, &default)?)))
        .collect::<Result<_, Reported>>()?;
    Ok(Challenges {
        default,
        backends,
        from_backends: section
            .get(&keys::FROM_BACKENDS)?
            .unwrap_or(FromBackends::Replace),
    })
}

/// What `section` says, and for the rest `otherwise`.
fn challenge(section: &Section<'_>, otherwise: &Challenge) -> Result<Challenge, Reported> {
    let or = |said: Option<&str>, otherwise: &Option<String>| {
        said.map(str::to_owned).or_else(|| otherwise.clone())
    };
    Ok(Challenge {
        realm: or(section.get(&keys::REALM)?, &otherwise.realm),
        resource_metadata: or(
            section.get(&keys::RESOURCE_METADATA)?,
            &otherwise.resource_metadata,
        ),
        scope: or(section.get(&keys::SCOPE)?, &otherwise.scope),
        authorization_uri: or(
            section.get(&keys::AUTHORIZATION_URI)?,
            &otherwise.authorization_uri,
        ),
    })
}

/// Nobody is to believe that workers share, as long as they do not.
fn warn_of_sharing(root: &Section<'_>, draft: &mut Draft<'_>) {
    if let Ok(Some(section)) = root.get(&keys::TOKEN_CACHE)
        && section.get(&keys::SHARE) == Ok(Some(true))
    {
        let root = Place::Root;
        let place = root.key(keys::TOKEN_CACHE.name);
        let text = "this version shares nothing between workers: each is on its own";
        draft.warn(&place.key(keys::SHARE.name), Wrong::new(text));
    }
}

fn token_cache(root: &Section<'_>) -> Result<CachePolicy, Reported> {
    let default = CachePolicy::default();
    let Some(section) = root.get(&keys::TOKEN_CACHE)? else {
        return Ok(default);
    };
    Ok(CachePolicy {
        max_entries: section
            .get(&keys::MAX_ENTRIES)?
            .unwrap_or(default.max_entries),
        max_bytes: section.get(&keys::MAX_BYTES)?.unwrap_or(default.max_bytes),
        max_ttl: section.get(&keys::MAX_TTL)?.unwrap_or(default.max_ttl),
        expiry_skew: section
            .get(&keys::EXPIRY_SKEW)?
            .unwrap_or(default.expiry_skew),
        refresh_ahead: section
            .get(&keys::REFRESH_AHEAD)?
            .unwrap_or(default.refresh_ahead),
        negative_ttl: section
            .get(&keys::NEGATIVE_TTL)?
            .unwrap_or(default.negative_ttl),
    })
}
