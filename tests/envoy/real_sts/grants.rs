//! Every other way to ask for a token, at npm `oidc-provider`: on-behalf-of, assertions, a grant type
//! of the server's own, actors, and clients that sign. Who the client is, and whether it has signed
//! an assertion of its own each time, that library judges.

use bed::{Bed, Counterpart, Program, canary};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{AUDIENCE, Lab, PATIENT, assert_refused, bed_for, exchange};
use crate::trial::{SharedBed, trials};

trials!("grants":
    on_behalf_of_brings_a_token_for_the_resource_of_the_scopes,
    the_th_jwt_is_an_assertion_too,
    an_assertion_brings_a_token,
    an_assertion_that_is_taken_once_serves_to_the_end_of_its_token,
    an_assertion_that_nobody_trusts_is_rejected,
    a_grant_type_of_its_own_is_sent_with_its_parameters,
    an_error_word_means_what_the_configuration_says,
    the_token_can_go_into_another_header,
    an_actor_goes_along,
    without_its_token_an_actor_is_missed_and_nothing_is_asked,
    clients_that_sign_are_believed_each_time from 37,
    a_client_that_signs_obtains_by_every_grant from 37,
    a_key_that_is_not_the_clients_is_the_operators_problem from 37,
);

/// The resource that on-behalf-of asks for.
const GRAPH: &str = "https://graph.example.com";
/// The audience of the backend with an actor.
const ACTED: &str = "https://acted.example.com";
/// The audience of the backend whose requests are counted.
const ASSERTED: &str = "https://asserted.example.com";
const VAULT_GRANT: &str = "urn:example:params:oauth:grant-type:vault";
const VAULT_TOKEN: &str = "https://vault.example.com/token-type/connection-token";

static STS: OnceCell<Counterpart> = OnceCell::const_new();

async fn sts() -> &'static Counterpart {
    let start = || async {
        let configuration = json!({
            "assertionsOnce": true,
            "clients": [
                {"id": "envoy", "secret": secret()},
                {"id": "poster", "secret": secret(), "method": "client_secret_post"},
                {"id": "rsa", "method": "private_key_jwt", "alg": "RS256"},
                {"id": "ec", "method": "private_key_jwt", "alg": "ES256"},
            ],
            "connections": {"github": AUDIENCE},
            "resources": {
                AUDIENCE: {"scope": "read write"},
                ACTED: {"scope": "read"},
                ASSERTED: {"scope": "read"},
                GRAPH: {"scope": "User.Read"},
            },
        });
        Counterpart::start(Program::OidcProvider, &configuration)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    STS.get_or_init(start).await
}

fn secret() -> String {
    canary::token("s3 +%:/=~", "grants-secret")
}

/// An `obo` block that does everything right, changed by `changes`; a `null` takes a key away.
fn on_behalf_of(sts: &Counterpart, changes: Value) -> Value {
    let mut block = json!({
        "tokenUrl": sts.ready("token_endpoint"),
        "cluster": "real-sts",
        "clientId": "poster",
        "clientSecretEnv": "STS_CLIENT_SECRET",
        "scopes": [format!("{GRAPH}/User.Read")],
        "subjectTokenProviderName": "corp",
        "timeout": PATIENT,
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        block[key] = value.clone();
    }
    json!({"type": "obo", "obo": block})
}

/// What a vault is asked for by its own grant type.
fn vault(sts: &Counterpart, connection: &str, changes: Value) -> Value {
    let mut all = json!({
        "grantType": VAULT_GRANT,
        "requestedTokenType": VAULT_TOKEN,
        "parameters": {"connection": connection},
        "audience": null,
        "scopes": null,
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    exchange(sts, all)
}

async fn lab() -> Lab {
    static BED: SharedBed = SharedBed::new();
    let sts = sts().await;
    let start = || async {
        let backends = json!({
            "obo": on_behalf_of(sts, json!({})),
            "obo-th-jwt": on_behalf_of(sts, json!({
                "scopes": null, "audience": GRAPH, "subjectTokenProviderName": null,
            })),
            "asserted": exchange(sts, json!({
                "grantType": "jwt_bearer", "audience": ASSERTED, "refreshAhead": false,
            })),
            "vault": vault(sts, "github", json!({})),
            "unlinked": vault(sts, "gitlab", json!({
                "stsErrors": {"connection_not_linked": "step_up"},
            })),
            "unmapped": vault(sts, "gitlab", json!({})),
            "elsewhere": exchange(sts, json!({"externalTokenHeaderName": "X-Upstream-Token"})),
            "acted": exchange(sts, json!({"audience": ACTED, "actorProviderName": "agent"})),
        });
        start_bed("grants", sts, backends, &[]).await
    };
    Lab {
        bed: BED.get(start).await,
        sts,
    }
}

/// The bed whose clients have keys.
async fn signing_lab() -> Lab {
    static BED: SharedBed = SharedBed::new();
    let sts = sts().await;
    let keyed = |client: &str, key: &str| {
        json!({
            "clientId": client, "clientKeyEnv": key, "clientSecretEnv": null,
            "clientAuthMethod": "private_key_jwt",
        })
    };
    let start = || async {
        let mut asserted = keyed("ec", "EC_KEY");
        asserted["grantType"] = json!("jwt_bearer");
        let mut named = keyed("ec", "EC_KEY");
        named["clientKeyId"] = json!("key of ec");
        named["clientAssertionAudience"] = json!(sts.ready("issuer"));
        let backends = json!({
            "rsa": exchange(sts, keyed("rsa", "RSA_KEY")),
            "ec": exchange(sts, keyed("ec", "EC_KEY")),
            "named": exchange(sts, named),
            "keyed-obo": on_behalf_of(sts, keyed("rsa", "RSA_KEY")),
            "keyed-assertion": exchange(sts, asserted),
            "keyed-vault": vault(sts, "github", keyed("rsa", "RSA_KEY")),
            "not-its-key": exchange(sts, keyed("rsa", "EC_KEY")),
        });
        let keys = [
            ("RSA_KEY", sts.client_key("rsa").0),
            ("EC_KEY", sts.client_key("ec").0),
        ];
        start_bed("grants-signed", sts, backends, &keys).await
    };
    Lab {
        bed: BED.get(start).await,
        sts,
    }
}

async fn start_bed(name: &str, sts: &Counterpart, backends: Value, keys: &[(&str, &str)]) -> Bed {
    let mut plan = bed_for(name, sts, &secret(), backends, json!({}));
    for (variable, pem) in keys {
        for line in pem.lines().filter(|line| !line.starts_with('-')) {
            canary::remember(line);
        }
        plan = plan.environment(variable, pem);
    }
    let bed = plan.start().await;
    let trust = json!({
        "issuer": "https://vmcp.example.com",
        "audience": "https://mcp.example.com",
        "jwks": bed.embedded_as.issuer().jwks(),
    });
    sts.ask("/test/issuers", &trust).await;
    bed
}

/// The requests of this kind that the STS has noted.
async fn noted(sts: &Counterpart, wanted: Value) -> Vec<Value> {
    let mut requests = sts.token_requests().await;
    let fits = |request: &Value| {
        let mut wanted = wanted.as_object().into_iter().flatten();
        wanted.all(|(name, value)| request[name] == *value)
    };
    requests.retain(fits);
    requests
}

async fn on_behalf_of_brings_a_token_for_the_resource_of_the_scopes() {
    let lab = lab().await;
    for user in ["alice", "bob"] {
        let subject = lab.sts.subject_token(user, "envoy").await;
        let jwt = lab.bed.login(user, json!({"corp": subject}));
        for _ in 0..3 {
            let reply = lab.get_with("obo", &jwt).await;
            let claims = lab.verified(&reply, GRAPH).await;
            assert_eq!(
                (&claims["sub"], &claims["scope"], &claims["client_id"]),
                (&json!(user), &json!("User.Read"), &json!("poster"))
            );
        }
    }
    let asked = json!({
        "scope": format!("{GRAPH}/User.Read"), "requested_token_use": "on_behalf_of",
        "client_id": "poster", "client_auth": "client_secret_post", "status": 200,
    });
    assert_eq!(noted(lab.sts, asked).await.len(), 2, "a call for each user");
}

async fn the_th_jwt_is_an_assertion_too() {
    let lab = lab().await;
    let jwt = lab.bed.login("carol", json!({}));
    let reply = lab.get_with("obo-th-jwt", &jwt).await;
    let claims = lab.verified(&reply, GRAPH).await;
    assert_eq!(claims["sub"], "carol");
    let asked = json!({"scope": format!("{GRAPH}/.default"), "status": 200});
    assert_eq!(noted(lab.sts, asked).await.len(), 1);
}

async fn an_assertion_brings_a_token() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("dave", "envoy").await;
    let reply = lab.get("asserted", "dave", &subject).await;
    let claims = lab.verified(&reply, ASSERTED).await;
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("dave"), &json!("read"))
    );
}

/// As Keycloak's JWT authorization grant does: the same assertion again is refused as a replay. With
/// `refreshAhead: false` nobody asks again as long as the token lives.
async fn an_assertion_that_is_taken_once_serves_to_the_end_of_its_token() {
    let lab = lab().await;
    let assertion = lab.bed.login("erin", json!({}));
    let jwt = lab.bed.login("erin", json!({"corp": assertion}));
    for _ in 0..20 {
        let reply = lab.get_with("asserted", &jwt).await;
        assert_eq!(lab.verified(&reply, ASSERTED).await["sub"], "erin");
    }
    // The library does refuse it: another exchange with the same assertion.
    let jwt = lab.bed.login("erin", json!({"corp": assertion}));
    let reply = lab.get_with("obo", &jwt).await;
    assert_refused(
        &reply,
        401,
        "token_exchange_rejected",
        Some("invalid_token"),
    );
}

async fn an_assertion_that_nobody_trusts_is_rejected() {
    let lab = lab().await;
    let subject = canary::token("", "untrusted-assertion");
    for backend in ["obo", "asserted"] {
        let reply = lab.get(backend, "mallory", &subject).await;
        assert_refused(
            &reply,
            401,
            "token_exchange_rejected",
            Some("invalid_token"),
        );
    }
}

async fn a_grant_type_of_its_own_is_sent_with_its_parameters() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("frank", "envoy").await;
    let reply = lab.get("vault", "frank", &subject).await;
    let claims = lab.verified(&reply, AUDIENCE).await;
    assert_eq!(
        (&claims["sub"], &claims["connection"]),
        (&json!("frank"), &json!("github"))
    );
    let asked = json!({
        "grant_type": VAULT_GRANT, "connection": "github", "requested_token_type": VAULT_TOKEN,
    });
    assert!(!noted(lab.sts, asked).await.is_empty());
}

async fn an_error_word_means_what_the_configuration_says() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("grace", "envoy").await;
    let reply = lab.get("unlinked", "grace", &subject).await;
    assert_refused(&reply, 401, "step_up_required", Some("insufficient_claims"));
    let reply = lab.get("unmapped", "grace", &subject).await;
    assert_refused(&reply, 502, "token_exchange_misconfigured", None);
}

async fn the_token_can_go_into_another_header() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("leo", "envoy").await;
    let reply = lab.get("elsewhere", "leo", &subject).await;
    let claims = lab.verified_in("x-upstream-token", &reply, AUDIENCE).await;
    assert_eq!(claims["sub"], "leo");
    assert_eq!(reply.seen("authorization"), [""; 0]);
}

async fn an_actor_goes_along() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("heidi", "envoy").await;
    for actor in ["helper", "another-helper"] {
        let acting = lab.sts.subject_token(actor, "envoy").await;
        let tokens = json!({"corp": subject, "agent": acting});
        let jwt = lab.bed.login("heidi", tokens);
        for _ in 0..2 {
            let reply = lab.get_with("acted", &jwt).await;
            let claims = lab.verified(&reply, ACTED).await;
            assert_eq!(
                (&claims["sub"], &claims["act"]["sub"]),
                (&json!("heidi"), &json!(actor))
            );
        }
    }
    let asked = json!({
        "audience": ACTED, "status": 200,
        "actor_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    assert_eq!(
        noted(lab.sts, asked).await.len(),
        2,
        "a call for each actor"
    );
}

async fn without_its_token_an_actor_is_missed_and_nothing_is_asked() {
    let lab = lab().await;
    let before = lab.sts.token_requests().await.len();
    let subject = lab.sts.subject_token("ivan", "envoy").await;
    let reply = lab.get("acted", "ivan", &subject).await;
    assert_refused(
        &reply,
        401,
        "upstream_token_not_found",
        Some("invalid_token"),
    );
    assert_eq!(reply.json()["provider"], "agent");
    let of_ivan = lab.sts.token_requests().await;
    let of_ivan = of_ivan[before..]
        .iter()
        .filter(|it| it["account"] == "ivan");
    assert_eq!(of_ivan.count(), 0);
}

/// The library refuses an assertion whose `jti` it has seen, or that it cannot verify with the key
/// that the client is registered with.
async fn clients_that_sign_are_believed_each_time() {
    let lab = signing_lab().await;
    for (backend, client) in [("rsa", "rsa"), ("ec", "ec"), ("named", "ec")] {
        for user in ["ann", "ben", "cem", "dot", "eve"] {
            let subject = lab.sts.subject_token(user, "envoy").await;
            let reply = lab.get(backend, user, &subject).await;
            let claims = lab.verified(&reply, AUDIENCE).await;
            assert_eq!(
                (&claims["sub"], &claims["client_id"]),
                (&json!(user), &json!(client))
            );
        }
    }
    for (client, calls) in [("rsa", 5), ("ec", 10)] {
        let asked = json!({
            "client_id": client, "client_auth": "private_key_jwt", "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token", "status": 200,
        });
        assert_eq!(noted(lab.sts, asked).await.len(), calls, "{client}");
    }
}

async fn a_client_that_signs_obtains_by_every_grant() {
    let lab = signing_lab().await;
    for (backend, audience) in [
        ("keyed-obo", GRAPH),
        ("keyed-assertion", AUDIENCE),
        ("keyed-vault", AUDIENCE),
    ] {
        let subject = lab.sts.subject_token("judy", "envoy").await;
        let reply = lab.get(backend, "judy", &subject).await;
        assert_eq!(lab.verified(&reply, audience).await["sub"], "judy");
    }
}

async fn a_key_that_is_not_the_clients_is_the_operators_problem() {
    let lab = signing_lab().await;
    let subject = lab.sts.subject_token("kim", "envoy").await;
    let reply = lab.get("not-its-key", "kim", &subject).await;
    assert_refused(&reply, 502, "token_exchange_misconfigured", None);
    let warning = lab
        .warning("not-its-key", "token_exchange_misconfigured")
        .await;
    assert!(warning.contains("invalid_client"), "{warning}");
}
