//! `xaa`: Cross-App Access. The identity provider turns the user's ID token into an assertion, and the
//! partner's authorization server turns that into an access token
//! (draft-ietf-oauth-identity-assertion-authz-grant).

use super::exchanged::{AUTHORIZATION, Exchanged};
use super::subject::{Subject, provider};
use crate::config::StrategyType;
use crate::config::doc::Role;
use crate::config::draft::Draft;
use crate::config::endpoint::{
    ASSUMED_LIFETIME, Called, Common, EndpointKeys, Method, REFRESH_AHEAD, STS_ERRORS, TIMEOUT,
    endpoint, terms,
};
use crate::config::format::{ListOf, TextOf};
use crate::config::problem::{Reported, Rule};
use crate::config::section::{Nested, Object, Section, keys};
use crate::decision::Strategy;
use crate::exchange::grant::{self, Grant};
use crate::exchange::{Exchange, Purpose, Terms, TokenCall};
use crate::identity::TokenKind;

/// `xaa` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType::new("xaa", Some(BLOCK), build);

keys! {
    /// Which identity provider and which partner's authorization server are called, and with what.
    optional BLOCK "xaa": Nested = Nested(&KEYS);
}

static KEYS: Object = Object {
    keys: &[
        &IDP.of_call(),
        &[&IDP.parameters],
        &TARGET.of_call(),
        &[
            &TARGET.parameters,
            &TARGET_AUDIENCE,
            &TARGET_RESOURCE,
            &SCOPES,
            &SUBJECT_PROVIDER_NAME,
            &SUBJECT_TOKEN_TYPE,
            &STS_ERRORS,
            &ASSUMED_LIFETIME,
            &REFRESH_AHEAD,
            &TIMEOUT,
            &IDP.insecure,
            &TARGET.insecure,
        ],
    ],
    open: false,
};

static IDP: EndpointKeys = endpoint(
    [
        "idpTokenUrl",
        "idpCluster",
        "insecureIdpTokenUrl",
        "idpClientId",
        "idpClientSecret",
        "idpClientSecretEnv",
        "idpClientAuthMethod",
        "idpClientKeyEnv",
        "idpClientKeyId",
        "idpParameters",
    ],
    "The identity provider's token endpoint, `https` (see `insecureIdpTokenUrl`).",
    "The client's id at the identity provider: the one that the user's ID token was issued to.",
    Method::Basic,
    TextOf::FORM_FIELD,
);

static TARGET: EndpointKeys = endpoint(
    [
        "targetTokenUrl",
        "targetCluster",
        "insecureTargetTokenUrl",
        "targetClientId",
        "targetClientSecret",
        "targetClientSecretEnv",
        "targetClientAuthMethod",
        "targetClientKeyEnv",
        "targetClientKeyId",
        "targetParameters",
    ],
    "The partner's token endpoint, `https` (see `insecureTargetTokenUrl`).",
    "The client's id at the partner's authorization server.",
    Method::Basic,
    TextOf::FORM_FIELD,
);

keys! {
    /// The partner's authorization server, as the identity provider knows it.
    required TARGET_AUDIENCE "targetAudience": TextOf = TextOf::NOT_EMPTY;
    /// The resource that the token is for (RFC 8707).
    optional TARGET_RESOURCE "targetResource": TextOf = TextOf::ABSOLUTE_URI;
    /// The scopes that are asked for.
    optional SCOPES "scopes": ListOf<TextOf> = ListOf {
        item: TextOf::SCOPE_TOKEN,
        not_empty: None,
    };
    /// Whose ID token it begins with: a name from `authServer.runConfig.upstreams` (V-06: not
    /// empty).
    required SUBJECT_PROVIDER_NAME "subjectProviderName" by Rule::V06: TextOf =
        TextOf::PROVIDER, is Role::Provider;
    /// `urn:ietf:params:oauth:token-type:id_token`, the only value.
    optional SUBJECT_TOKEN_TYPE "subjectTokenType": TextOf = TextOf::ID_TOKEN_TYPE;
}

fn build(block: &Section<'_>, draft: &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported> {
    let key = &SUBJECT_PROVIDER_NAME;
    let subject = match block.get(key) {
        Ok(name) => provider(block, key, name, TokenKind::Id, draft),
        Err(reported) => draft.needs_auth_server(block, "xaa").and(Err(reported)),
    };
    let audience = block.get(&TARGET_AUDIENCE);
    let resource = block.get(&TARGET_RESOURCE);
    let scope = block.get(&SCOPES).map(Option::unwrap_or_default);
    let scope = scope.unwrap_or_default().join(" ");
    let id_jag = grant::id_jag(
        audience.unwrap_or_default(),
        resource.unwrap_or_default(),
        &scope,
    );
    let common = Common::of(block, &STS_ERRORS);
    let first = call(block, &IDP, "idp", &common, id_jag, draft);
    let jwt_bearer = grant::jwt_bearer(&[], &[], &scope);
    let second = call(block, &TARGET, "target", &common, jwt_bearer, draft);
    let (first, second) = (first?, second?);
    audience?;
    resource?;
    Ok(Box::new(Exchanged {
        subject: Subject::Provider(subject?),
        actor: None,
        header: AUTHORIZATION.to_owned(),
        exchange: draft.exchanges.add(Exchange {
            purpose: Purpose::Backend,
            first,
            second: Some(second),
            subject_is_identity_token: false,
            has_actor: false,
            terms: Terms {
                subject_bounds_only_unstated: true,
                ..terms(block)?
            },
        }),
    }))
}

fn call(
    block: &Section<'_>,
    keys: &'static EndpointKeys,
    name: &'static str,
    common: &Common,
    grant: Grant,
    draft: &Draft<'_>,
) -> Result<TokenCall, Reported> {
    let called = Called {
        block,
        keys,
        name,
        common: common.clone(),
    };
    let has_client = block.has(&keys.client_id);
    let without = has_client.then(|| {
        called.needs_credential(|| {
            format!(
                "missing; {} needs a credential, or {}: none",
                keys.client_id.name, keys.auth_method.name
            )
        })
    });
    let call = called.with(grant, draft)?;
    without.flatten().map_or(Ok(call), Err)
}
