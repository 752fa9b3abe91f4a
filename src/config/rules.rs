//! From a document to a plan: the rules that look at more than one value.

use super::draft::{AuthServer, Draft, Upstreams};
use super::endpoint::{Called, Common, ENDPOINT};
use super::problem::{Problems, Reported, Rule, Wrong, all, quoted};
use super::schema::{self as keys, IdentitySource};
use super::section::{Reading, Section};
use super::strategies::{self, StrategyType};
use super::tree::Node;
use super::{Environment, Outcome};
use crate::challenge::{Challenge, Challenges};
use crate::decision::Strategy;
use crate::exchange::{CachePolicy, Exchanges, grant};
use crate::identity::{IdentitySettings, TokenFrom};
use crate::plan::Plan;
use crate::table::Table;

/// Validates a configuration, in which each strategy is one of `registry`: all problems at once, or
/// the plan that follows from it.
pub fn plan(
    root: &Node,
    registry: &'static [StrategyType],
    environment: &dyn Environment,
) -> Outcome {
    let keys_of_kinds = strategies::keys(registry);
    let reading = Reading {
        errors: Problems::default(),
        warnings: Problems::default(),
        kinds: &strategies::kinds(registry),
        keys_of_kinds: &[&keys_of_kinds],
    };
    let plan = Section::document(root, &keys::ROOT, &reading)
        .and_then(|root| assemble(&root, registry, environment));
    let errors = reading.errors.into_sorted();
    Outcome {
        plan: plan.ok().filter(|_| errors.is_empty()),
        errors,
        warnings: reading.warnings.into_sorted(),
    }
}

fn assemble(
    root: &Section<'_>,
    registry: &'static [StrategyType],
    environment: &dyn Environment,
) -> Result<Plan, Reported> {
    let mut draft = Draft {
        identity: IdentitySettings::default(),
        auth_server: auth_server(root),
        identity_call: None,
        environment,
        exchanges: Exchanges::default(),
    };
    // Providers are looked up under its keys, so it comes before the strategies.
    let identity = identity(root, &mut draft);
    let strategies = strategies(root, registry, &mut draft);
    let challenge = challenges(root);
    let token_cache = token_cache(root);
    let backend_from = root.get(&keys::BACKEND_FROM);
    let (default, backends) = strategies?;
    identity?;
    let issuer = draft.auth_server?.map(|auth_server| auth_server.issuer);
    let issuer = issuer.transpose()?.flatten();
    let issuer = issuer.filter(|text| !text.is_empty());
    Ok(Plan {
        backend_from: backend_from?,
        challenge: challenge?,
        token_cache: token_cache?,
        backends,
        default,
        identity: IdentitySettings {
            issuer: issuer.map(str::to_owned),
            ..draft.identity
        },
        exchanges: draft.exchanges.into_vec(),
    })
}

/// The auth server, if there is one (V-05).
fn auth_server<'n>(root: &Section<'n>) -> Result<Option<AuthServer<'n>>, Reported> {
    let Some(auth_server) = root.get(&keys::AUTH_SERVER)? else {
        return Ok(None);
    };
    let run_config = auth_server.get(&keys::RUN_CONFIG)?;
    let issuer = run_config.get(&keys::ISSUER);
    let mut upstreams = Upstreams::default();
    let sections = run_config.get(&keys::UPSTREAMS)?;
    all::<(), ()>(sections.iter().map(|section| {
        let name = section.get(&keys::UPSTREAM_NAME)?;
        let name = name.unwrap_or(keys::UPSTREAM_WITHOUT_NAME);
        if !upstreams.insert(name) {
            let text = format!("another upstream is already called {}", quoted(name));
            section.error(&keys::UPSTREAM_NAME, Wrong::of(Rule::V05, text));
        }
        Ok(())
    }))?;
    Ok(Some(AuthServer { upstreams, issuer }))
}

type Backends = Table<String, Box<dyn Strategy>>;

/// `outgoingAuth`: the strategy of unlisted backends, and those of the listed ones.
fn strategies(
    root: &Section<'_>,
    registry: &[StrategyType],
    draft: &mut Draft<'_>,
) -> Result<(Option<Box<dyn Strategy>>, Backends), Reported> {
    let outgoing_auth = root.get(&keys::OUTGOING_AUTH)?;
    let source = outgoing_auth.get(&keys::SOURCE);
    let default = outgoing_auth.get(&keys::DEFAULT).and_then(|chosen| {
        chosen
            .map(|chosen| chosen.build(registry, draft))
            .transpose()
    });
    let backends = backends(&outgoing_auth, registry, draft);
    if let (Ok(None), Ok(backends)) = (&default, &backends)
        && backends.is_empty()
    {
        let text = "neither a default nor a backend is configured";
        return Err(outgoing_auth.error_here(Wrong::new(text)));
    }
    source?;
    Ok((default?, backends?))
}

fn backends(
    outgoing_auth: &Section<'_>,
    registry: &[StrategyType],
    draft: &mut Draft<'_>,
) -> Result<Backends, Reported> {
    let listed = outgoing_auth.get(&keys::BACKENDS)?.unwrap_or_default();
    all(listed.into_iter().map(|(name, chosen)| {
        let strategy = chosen.and_then(|chosen| chosen.build(registry, draft))?;
        Ok((name.to_owned(), strategy))
    }))
}

/// `identity`, and how the identity service is called.
fn identity(root: &Section<'_>, draft: &mut Draft<'_>) -> Result<(), Reported> {
    let has_auth_server = draft.has_auth_server();
    let section = root.map(&keys::IDENTITY)?;
    let source = section.get(&keys::IDENTITY_SOURCE);
    let token_from = section.get(&keys::TOKEN_FROM);
    let call = identity_call(&section, source, token_from, draft);
    let identity = &mut draft.identity;
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
        section.get(key)?.clone_into(value);
    }
    identity.required = section.get(&keys::REQUIRED)?.unwrap_or(has_auth_server);
    let source = source?;
    let usual = match source {
        IdentitySource::Exchange => TokenFrom::FilterState,
        IdentitySource::Metadata => TokenFrom::Authorization,
    };
    identity.token_from = token_from?.unwrap_or(usual);
    identity.tokens_in_metadata = source == IdentitySource::Metadata;
    call
}

/// How the identity service is called (V-01), where the user's tokens are fetched.
fn identity_call(
    section: &Section<'_>,
    source: Result<IdentitySource, Reported>,
    token_from: Result<Option<TokenFrom>, Reported>,
    draft: &mut Draft<'_>,
) -> Result<(), Reported> {
    let key = &keys::IDENTITY_EXCHANGE;
    if source? == IdentitySource::Metadata {
        return match section.has(key) {
            true => {
                let text = "is not used without source: exchange";
                Err(section.error(key, Wrong::new(text)))
            }
            false => Ok(()),
        };
    }
    // What is wrong here keeps nothing below from being judged.
    let mut wrong = None;
    if !draft.has_auth_server() {
        let text = "source: exchange needs authServer, which is not configured";
        wrong = Some(section.error(&keys::IDENTITY_SOURCE, Wrong::of(Rule::V01, text)));
    }
    for key in [
        &keys::UPSTREAM_TOKENS_KEY,
        &keys::UPSTREAM_ID_TOKENS_KEY,
        &keys::UPSTREAM_UNAVAILABLE_KEY,
    ] {
        if section.has(key) {
            section.warn(key, Wrong::new("nobody reads it with source: exchange"));
        }
    }
    if token_from == Ok(Some(TokenFrom::Authorization)) {
        let text = "must be filter_state, the default, with source: exchange";
        wrong = Some(section.error(&keys::TOKEN_FROM, Wrong::new(text)));
    }
    let Some(block) = section.get(key)? else {
        let text = "missing; source: exchange needs it";
        return Err(section.error(key, Wrong::new(text)));
    };
    let max_age = block.get(&keys::MAX_AGE);
    let called = Called {
        block: &block,
        keys: &ENDPOINT,
        name: "",
        common: Common::of(&block, &keys::IDENTITY_STS_ERRORS),
    };
    // Each provider's exchange has the grant that asks for its token.
    let call = called.with(grant::identity("", false), draft)?;
    draft.identity_call = Some((call, max_age?));
    wrong.map_or(Ok(()), Err)
}

fn challenges(root: &Section<'_>) -> Result<Challenges, Reported> {
    let section = root.map(&keys::CHALLENGE)?;
    let default = challenge(&section, &Challenge::default())?;
    let backends = section.get(&keys::CHALLENGE_BACKENDS)?.unwrap_or_default();
    let backends = backends
        .into_iter()
        .map(|(name, section)| Ok((name.to_owned(), challenge(&section?, &default)?)))
        .collect::<Result<_, Reported>>()?;
    Ok(Challenges {
        default,
        backends,
        from_backends: section.get(&keys::FROM_BACKENDS)?,
    })
}

/// What `section` says, and for the rest `otherwise`.
fn challenge(section: &Section<'_>, otherwise: &Challenge) -> Result<Challenge, Reported> {
    let or = |said: Option<&str>, otherwise: &Option<String>| {
        said.map(str::to_owned).or_else(|| otherwise.clone())
    };
    Ok(Challenge {
        realm: or(section.get(&keys::REALM)?, &otherwise.realm),
        resource_metadata: section
            .get(&keys::RESOURCE_METADATA)?
            .map(|endpoint| endpoint.url)
            .or_else(|| otherwise.resource_metadata.clone()),
        scope: or(section.get(&keys::SCOPE)?, &otherwise.scope),
        authorization_uri: or(
            section.get(&keys::AUTHORIZATION_URI)?,
            &otherwise.authorization_uri,
        ),
    })
}

fn token_cache(root: &Section<'_>) -> Result<CachePolicy, Reported> {
    let section = root.map(&keys::TOKEN_CACHE)?;
    Ok(CachePolicy {
        max_entries: section.get(&keys::MAX_ENTRIES)?,
        max_bytes: section.get(&keys::MAX_BYTES)?,
        share: section.get(&keys::SHARE)?,
        max_ttl: section.get(&keys::MAX_TTL)?,
        expiry_skew: section.get(&keys::EXPIRY_SKEW)?,
        refresh_ahead: section.get(&keys::REFRESH_AHEAD)?,
        negative_ttl: section.get(&keys::NEGATIVE_TTL)?,
    })
}
