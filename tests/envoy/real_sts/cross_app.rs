//! Cross-App Access between two servers that have nothing in common: npm `oidc-provider` turns its own
//! ID tokens into identity assertions, and PyPI `authlib` judges these by RFC 7523.

use bed::{Bed, Counterpart, Program, Reply, bootstrap, canary};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Lab, PATIENT, assert_refused, bed_for};
use crate::trial::{SharedBed, trials};

trials!("cross_app":
    an_id_token_becomes_a_token_of_the_partner,
    both_servers_are_asked_once_for_each_user,
    an_access_token_is_no_id_token,
    an_id_token_of_another_client_is_refused_by_the_identity_provider,
    a_partner_that_the_identity_provider_does_not_know_is_forbidden,
    what_is_no_identity_assertion_for_the_partner_goes_nowhere,
    what_the_partner_refuses_is_said_of_the_partner,
    a_wrong_client_at_the_partner_is_the_operators_problem,
    both_clients_can_sign from 37,
);

/// The partner's authorization server, as the identity provider knows it.
const PARTNER: &str = "https://as.partner.example";
/// The same under another name, which knows Envoy by its key.
const KEYED_PARTNER: &str = "https://keyed.partner.example";
/// The same under the name that only counted requests ask for.
const COUNTED_PARTNER: &str = "https://counted.partner.example";
const RESOURCE: &str = "https://mcp.partner.example/mcp";

struct Both {
    idp: Counterpart,
    partner: Counterpart,
}

fn secret() -> String {
    canary::token("", "cross-app-secret")
}

async fn servers() -> &'static Both {
    static SERVERS: OnceCell<Both> = OnceCell::const_new();
    let start = || async {
        // Each wrong assertion has a partner of its own, whose name the backend asks for.
        let idp = start_one(
            Program::OidcProvider,
            &json!({
                "clients": [
                    {"id": "corp-login", "secret": secret()},
                    {"id": "other-login", "secret": secret()},
                    {"id": "keyed-login", "method": "private_key_jwt", "alg": "RS256"},
                    {"id": "keyed-at-partner", "method": "private_key_jwt", "alg": "ES256"},
                ],
                "partners": {
                    PARTNER: {"client": "envoy-at-partner"},
                    COUNTED_PARTNER: {"client": "counted-at-partner"},
                    KEYED_PARTNER: {"client": "keyed-at-partner"},
                    "https://another-audience": {"claims": {"aud": PARTNER}},
                    "https://two-audiences": {"claims": {"aud": ["https://two-audiences", PARTNER]}},
                    "https://another-resource": {"claims": {"resource": "https://x"}},
                    "https://plain-token": {"plain": {
                        "token_type": "Bearer",
                        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                    }},
                    "https://no-jwt": {"plain": {"access_token": canary::token("", "no-jwt")}},
                    "https://huge": {"length": 1024 * 1024},
                },
            }),
        );
        let partner = start_one(
            Program::Authlib,
            &json!({
                "audiences": [PARTNER, COUNTED_PARTNER, KEYED_PARTNER],
                "scope": "files.read",
                "clients": [
                    {"id": "envoy-at-partner", "secret": secret()},
                    {"id": "another-at-partner", "secret": secret(), "method": "client_secret_post"},
                    {"id": "counted-at-partner", "secret": secret(), "method": "client_secret_post"},
                    {"id": "never-at-partner", "secret": secret(), "method": "client_secret_post"},
                    {"id": "keyed-at-partner", "method": "private_key_jwt",
                     "jwks": idp.client_key("keyed-at-partner").1},
                ],
            }),
        );
        let trust = json!({"issuer": idp.ready("issuer"), "jwks": idp.jwks().await});
        partner.ask("/test/issuers", &trust).await;
        Both { idp, partner }
    };
    SERVERS.get_or_init(start).await
}

fn start_one(program: Program, configuration: &Value) -> Counterpart {
    Counterpart::start(program, configuration).unwrap_or_else(|error| panic!("{error}"))
}

/// An `xaa` block that does everything right, changed by `changes`; a `null` takes a key away.
fn cross_app(both: &Both, changes: Value) -> Value {
    let mut block = json!({
        "idpTokenUrl": both.idp.ready("token_endpoint"),
        "idpCluster": "real-sts",
        "idpClientId": "corp-login",
        "idpClientSecretEnv": "STS_CLIENT_SECRET",
        "targetTokenUrl": both.partner.ready("token_endpoint"),
        "targetCluster": "partner",
        "targetClientId": "envoy-at-partner",
        "targetClientSecretEnv": "STS_CLIENT_SECRET",
        "targetAudience": PARTNER,
        "targetResource": RESOURCE,
        "scopes": ["files.read"],
        "subjectProviderName": "corp",
        "timeout": PATIENT,
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        block[key] = value.clone();
    }
    json!({"type": "xaa", "xaa": block})
}

const WRONG_ASSERTIONS: [&str; 6] = [
    "another-audience",
    "two-audiences",
    "another-resource",
    "plain-token",
    "no-jwt",
    "huge",
];

async fn lab() -> (Lab, &'static Both) {
    static BED: SharedBed = SharedBed::new();
    let both = servers().await;
    let start = || async {
        let mut backends = json!({
            "partner-app": cross_app(both, json!({})),
            "counted": cross_app(both, json!({
                "targetAudience": COUNTED_PARTNER,
                "targetClientId": "counted-at-partner",
                "targetClientAuthMethod": "client_secret_post",
            })),
            "unknown-partner": cross_app(both, json!({"targetAudience": "https://unknown"})),
            // Their assertion names the client that is asked for, and another one shows it.
            "another-client": cross_app(both, json!({
                "targetClientId": "another-at-partner",
                "targetClientAuthMethod": "client_secret_post",
            })),
            "wrong-secret": cross_app(both, json!({"targetClientSecretEnv": "WRONG_SECRET"})),
        });
        for name in WRONG_ASSERTIONS {
            let audience = format!("https://{name}");
            backends[name] = cross_app(
                both,
                json!({
                    "targetAudience": audience,
                    "targetClientId": "never-at-partner",
                    "targetClientAuthMethod": "client_secret_post",
                }),
            );
        }
        start_bed("cross-app", both, backends, &[]).await
    };
    let bed = BED.get(start).await;
    (
        Lab {
            bed,
            sts: &both.partner,
        },
        both,
    )
}

async fn start_bed(name: &str, both: &Both, backends: Value, keys: &[(&str, &str)]) -> Bed {
    let partner = bootstrap::cluster("partner", both.partner.address(), false, &[]);
    let mut plan = bed_for(name, &both.idp, &secret(), backends, json!({})).cluster(partner);
    for (variable, pem) in keys {
        for line in pem.lines().filter(|line| !line.starts_with('-')) {
            canary::remember(line);
        }
        plan = plan.environment(variable, pem);
    }
    plan.start().await
}

impl Lab {
    /// The TH-JWT of a user with this ID token.
    fn login_with_id_token(&self, user: &str, id_token: &str) -> String {
        let identity = json!({"upstream_tokens": {}, "upstream_id_tokens": {"corp": id_token}});
        self.bed.embedded_as.login(user, identity)
    }

    /// A request of a user whose ID token was issued to that client.
    async fn get_of(&self, both: &Both, backend: &str, user: &str, client: &str) -> Reply {
        let id_token = both.idp.id_token(user, client).await;
        self.get_with(backend, &self.login_with_id_token(user, &id_token))
            .await
    }
}

async fn an_id_token_becomes_a_token_of_the_partner() {
    let (lab, both) = lab().await;
    let reply = lab.get_of(both, "partner-app", "alice", "corp-login").await;
    let claims = lab.verified(&reply, PARTNER).await;
    assert_eq!(
        (&claims["sub"], &claims["scope"], &claims["client_id"]),
        (
            &json!("alice"),
            &json!("files.read"),
            &json!("envoy-at-partner")
        )
    );
    let asked = both.idp.token_requests().await;
    let asked = asked
        .iter()
        .find(|it| it["audience"] == PARTNER && it["resource"] == RESOURCE && it["status"] == 200)
        .unwrap_or_else(|| panic!("{asked:?}"));
    assert_eq!(
        asked["requested_token_type"],
        "urn:ietf:params:oauth:token-type:id-jag"
    );
    assert_eq!(
        asked["subject_token_type"],
        "urn:ietf:params:oauth:token-type:id_token"
    );
}

async fn both_servers_are_asked_once_for_each_user() {
    let (lab, both) = lab().await;
    let users = ["ann", "ben", "cem", "dot", "eve"];
    let mut logins = Vec::new();
    for user in users {
        let id_token = both.idp.id_token(user, "corp-login").await;
        logins.push((user, lab.login_with_id_token(user, &id_token)));
    }
    for _ in 0..10 {
        for (user, jwt) in &logins {
            let reply = lab.get_with("counted", jwt).await;
            assert_eq!(lab.verified(&reply, PARTNER).await["sub"], *user);
        }
    }
    let at_idp = both.idp.token_requests().await;
    let at_idp = at_idp.iter().filter(|it| it["audience"] == COUNTED_PARTNER);
    assert_eq!(at_idp.count(), users.len());
    let at_partner = both.partner.token_requests().await;
    let at_partner = at_partner
        .iter()
        .filter(|it| it["client_id"] == "counted-at-partner");
    assert_eq!(at_partner.count(), users.len());
    let result = "wasmcustom.upstream_inject.sts.counted.ok";
    lab.bed.envoy.expect_stat(result, 5).await;
}

async fn an_access_token_is_no_id_token() {
    let (lab, both) = lab().await;
    let access_token = both.idp.subject_token("bob", "corp-login").await;
    let reply = lab.get("partner-app", "bob", &access_token).await;
    assert_refused(
        &reply,
        401,
        "upstream_token_not_found",
        Some("invalid_token"),
    );
}

async fn an_id_token_of_another_client_is_refused_by_the_identity_provider() {
    let (lab, both) = lab().await;
    let reply = lab
        .get_of(both, "partner-app", "carol", "other-login")
        .await;
    assert_refused(
        &reply,
        401,
        "token_exchange_rejected",
        Some("invalid_token"),
    );
    let warning = lab.warning("partner-app", "token_exchange_rejected").await;
    assert!(
        warning.contains("(idp)") && warning.contains("invalid_grant"),
        "{warning}"
    );
}

async fn a_partner_that_the_identity_provider_does_not_know_is_forbidden() {
    let (lab, both) = lab().await;
    let reply = lab
        .get_of(both, "unknown-partner", "dave", "corp-login")
        .await;
    assert_refused(&reply, 403, "token_exchange_forbidden", None);
}

/// Whatever the identity provider answers instead, the partner gets nothing, and the backend neither.
async fn what_is_no_identity_assertion_for_the_partner_goes_nowhere() {
    let (lab, both) = lab().await;
    for backend in WRONG_ASSERTIONS {
        // A user each: two ID tokens of one second would be the same.
        let user = format!("erin-of-{backend}");
        let reply = lab.get_of(both, backend, &user, "corp-login").await;
        assert_refused(&reply, 502, "token_exchange_invalid_response", None);
        let warning = lab
            .warning(backend, "token_exchange_invalid_response")
            .await;
        assert!(warning.contains("(idp)"), "{warning}");
        let result = format!("wasmcustom.upstream_inject.sts.{backend}.invalid_response");
        lab.bed.envoy.expect_stat(&result, 1).await;
        assert!(lab.bed.backend(backend).requests().is_empty());
    }
    let at_partner = both.partner.token_requests().await;
    assert!(
        at_partner
            .iter()
            .all(|it| it["client_id"] != "never-at-partner"),
        "{at_partner:?}"
    );
}

async fn what_the_partner_refuses_is_said_of_the_partner() {
    let (lab, both) = lab().await;
    let reply = lab
        .get_of(both, "another-client", "frank", "corp-login")
        .await;
    assert_refused(
        &reply,
        401,
        "token_exchange_rejected",
        Some("invalid_token"),
    );
    let warning = lab
        .warning("another-client", "token_exchange_rejected")
        .await;
    assert!(
        warning.contains("(target)") && warning.contains("invalid_grant"),
        "{warning}"
    );
}

async fn a_wrong_client_at_the_partner_is_the_operators_problem() {
    let (lab, both) = lab().await;
    let reply = lab
        .get_of(both, "wrong-secret", "grace", "corp-login")
        .await;
    assert_refused(&reply, 502, "token_exchange_misconfigured", None);
    let warning = lab
        .warning("wrong-secret", "token_exchange_misconfigured")
        .await;
    assert!(
        warning.contains("(target)") && warning.contains("invalid_client"),
        "{warning}"
    );
}

/// Keys of two kinds at two servers, and no secret anywhere.
async fn both_clients_can_sign() {
    static BED: SharedBed = SharedBed::new();
    let both = servers().await;
    let start = || async {
        let keyed = cross_app(
            both,
            json!({
                "idpClientId": "keyed-login",
                "idpClientSecretEnv": null,
                "idpClientAuthMethod": "private_key_jwt",
                "idpClientKeyEnv": "IDP_KEY",
                "targetClientId": "keyed-at-partner",
                "targetClientSecretEnv": null,
                "targetClientAuthMethod": "private_key_jwt",
                "targetClientKeyEnv": "PARTNER_KEY",
                "targetAudience": KEYED_PARTNER,
            }),
        );
        let keys = [
            ("IDP_KEY", both.idp.client_key("keyed-login").0),
            ("PARTNER_KEY", both.idp.client_key("keyed-at-partner").0),
        ];
        start_bed("cross-app-signed", both, json!({"keyed": keyed}), &keys).await
    };
    let bed = BED.get(start).await;
    let lab = Lab {
        bed,
        sts: &both.partner,
    };
    for user in ["heidi", "ivan", "judy"] {
        let reply = lab.get_of(both, "keyed", user, "keyed-login").await;
        let claims = lab.verified(&reply, PARTNER).await;
        assert_eq!(
            (&claims["sub"], &claims["client_id"]),
            (&json!(user), &json!("keyed-at-partner"))
        );
    }
    let signed = both.partner.token_requests().await;
    let signed = signed
        .iter()
        .filter(|it| it["client_auth"] == "private_key_jwt" && it["status"] == 200);
    assert_eq!(signed.count(), 3);
}
