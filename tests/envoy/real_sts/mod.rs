//! Token exchange at servers that others wrote, in the real Envoy: the exchanged token reaches the
//! backend and verifies, refusals become what the client is promised, and the STS itself counts.
//!
//! The tests that hold for every STS are here; each STS's module runs them and adds its own.

mod cross_app;
mod grants;
mod idpyoidc;
mod jmondi;
mod oidc_provider;

use bed::bootstrap::{self, PluginConfig};
use bed::{Bed, Counterpart, Plan, Reply, Request, canary};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::plugin::config;

/// What the backends' tokens are made for.
pub const AUDIENCE: &str = "https://corp-api.example.com";
/// The audience of a backend whose calls at the STS are counted.
const COUNTED: &str = "https://counted.example.com";
/// The audience of a backend that only unknown subjects ask for.
const REFUSED: &str = "https://refused.example.com";
/// The audience of a backend whose tokens end before the STS says.
pub const BRIEF: &str = "https://brief.example.com";
const RESOURCE_METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource";

pub fn trials() -> Vec<Trial> {
    [
        oidc_provider::trials(),
        idpyoidc::trials(),
        jmondi::trials(),
        grants::trials(),
        cross_app::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An STS and an Envoy whose backends get their tokens there.
pub struct Lab {
    pub bed: &'static Bed,
    pub sts: &'static Counterpart,
}

/// What an STS is started with: three clients, one for each way to authenticate, sharing `secret`.
pub fn sts_configuration(secret: &str, access_token_ttl: u32) -> Value {
    json!({
        "accessTokenTtl": access_token_ttl,
        "clients": [
            {"id": "envoy", "secret": secret},
            {"id": "poster", "secret": secret, "method": "client_secret_post"},
            {"id": "public", "method": "none"},
        ],
        "resources": {
            AUDIENCE: {"scope": "read write"},
            COUNTED: {"scope": "read write"},
            REFUSED: {"scope": "read write"},
            BRIEF: {"scope": "read write"},
        },
    })
}

/// How long a call may take: a program of a third party is slow on a busy machine.
pub const PATIENT: &str = "30s";

/// The `tokenExchange` block of a backend that does everything right, changed by `changes`; a
/// `null` takes a key away.
pub fn exchange(sts: &Counterpart, changes: Value) -> Value {
    let mut block = json!({
        "tokenUrl": sts.ready("token_endpoint"),
        "cluster": "real-sts",
        "clientId": "envoy",
        "clientSecretEnv": "STS_CLIENT_SECRET",
        "audience": AUDIENCE,
        "scopes": ["read"],
        "subjectProviderName": "corp",
        "timeout": PATIENT,
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        block[key] = value.clone();
    }
    json!({"type": "token_exchange", "tokenExchange": block})
}

/// A bed with an echo backend for each of these, in front of this STS.
pub fn bed_for(name: &str, sts: &Counterpart, secret: &str, backends: Value, cache: Value) -> Plan {
    let names: Vec<String> = backends
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    let mut plugin = config(&["corp", "agent"], backends);
    plugin["challenge"] = json!({"realm": "mcp", "resourceMetadata": RESOURCE_METADATA});
    plugin["tokenCache"] = cache;
    // Longer than any test takes.
    plugin["tokenCache"]["negativeTtl"] = json!("5m");
    let plan = Bed::with(name, PluginConfig::Json(plugin))
        .environment("STS_CLIENT_SECRET", secret)
        .environment("WRONG_SECRET", &canary::token("", "wrong-secret"))
        .cluster(bootstrap::cluster("real-sts", sts.address(), false, &[]));
    names.iter().fold(plan, |plan, name| plan.backend(name))
}

/// The backends of the tests below.
pub fn common_backends(sts: &Counterpart) -> Value {
    json!({
        "basic": exchange(sts, json!({})),
        "post": exchange(sts, json!({
            "clientId": "poster", "clientAuthMethod": "client_secret_post",
        })),
        "public": exchange(sts, json!({"clientId": "public", "clientSecretEnv": null})),
        "identity": exchange(sts, json!({"subjectProviderName": null})),
        "wrong-secret": exchange(sts, json!({"clientSecretEnv": "WRONG_SECRET"})),
        "no-client": exchange(sts, json!({"clientId": null, "clientSecretEnv": null})),
        "bad-audience": exchange(sts, json!({"audience": "https://unknown.example.com"})),
        "bad-scope": exchange(sts, json!({"scopes": ["nonsense"]})),
        "counted": exchange(sts, json!({"audience": COUNTED})),
        "refused": exchange(sts, json!({"audience": REFUSED})),
    })
}

impl Lab {
    /// A request of a user whose token from the provider `corp` is `subject`.
    pub async fn get(&self, backend: &str, user: &str, subject: &str) -> Reply {
        let jwt = self.bed.login(user, json!({"corp": subject}));
        self.get_with(backend, &jwt).await
    }

    /// A request with this bearer token.
    pub async fn get_with(&self, backend: &str, bearer: &str) -> Reply {
        self.bed
            .http1()
            .send(Request::get(&format!("/{backend}/x")).bearer(bearer))
            .await
    }

    /// The claims of the token that reached the backend, once its signature, issuer, audience and
    /// life are verified as a resource server would.
    pub async fn verified(&self, reply: &Reply, audience: &str) -> Value {
        self.verified_in("authorization", reply, audience).await
    }

    /// The same for a token in this header.
    pub async fn verified_in(&self, header: &str, reply: &Reply, audience: &str) -> Value {
        self.verified_at(seconds_now(), header, reply, audience)
            .await
    }

    /// The same where the token need not have lived longer than until then, in Unix seconds.
    pub async fn verified_at(
        &self,
        then: u64,
        header: &str,
        reply: &Reply,
        audience: &str,
    ) -> Value {
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = reply.seen(header);
        let [authorization] = seen.as_slice() else {
            panic!("not one {header}: {seen:?}")
        };
        let token = authorization
            .strip_prefix("Bearer ")
            .expect("a bearer token");
        canary::remember(token);
        let keys: JwkSet = serde_json::from_value(self.sts.jwks().await).expect("a key set");
        let header = jsonwebtoken::decode_header(token).expect("a JWT");
        let key = keys
            .find(&header.kid.expect("a key id"))
            .expect("a key of the STS");
        let mut validation = Validation::new(Algorithm::RS256);
        // Judged below, as of another time than now.
        validation.validate_exp = false;
        validation.set_audience(&[audience]);
        validation.set_issuer(&[self.sts.ready("issuer")]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let key = DecodingKey::from_jwk(key).expect("an RSA key");
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation)
            .expect("a valid token")
            .claims;
        let exp = claims["exp"].as_u64().expect("a time");
        assert!(exp >= then, "it ended {} s before it was used", then - exp);
        claims
    }

    /// The token requests that named this audience.
    pub async fn requests_for(&self, audience: &str) -> Vec<Value> {
        let mut requests = self.sts.token_requests().await;
        requests.retain(|request| request["audience"] == audience);
        requests
    }

    /// Waits for the WARN line of a refusal and returns it.
    pub async fn warning(&self, backend: &str, code: &str) -> String {
        bed::eventually(&format!("a warning: {backend}, {code}"), || async {
            let log = self.bed.envoy.log();
            let of_backend = |line: &&str| line.contains(backend) && line.contains(code);
            log.lines()
                .filter(|line| line.contains("[warning]"))
                .find(of_backend)
                .map(str::to_owned)
        })
        .await
    }
}

/// Unix time.
pub fn seconds_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Asserts a refusal: status, code, and the challenge as a whole.
pub fn assert_refused(reply: &Reply, status: u16, code: &str, challenge: Option<&str>) {
    assert!(!reply.is_from_backend(), "it reached the backend");
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (status, Some(code))
    );
    let found = reply.header("www-authenticate");
    match challenge {
        None => assert_eq!(found, ""),
        Some(error) => {
            assert!(found.starts_with("Bearer "), "{found}");
            assert!(found.contains(&format!("error=\"{error}\"")), "{found}");
            assert!(
                found.contains(&format!("resource_metadata=\"{RESOURCE_METADATA}\"")),
                "{found}"
            );
        }
    }
}

/// Each way of client authentication brings a token that verifies at the backend.
pub async fn every_client_authentication_works(lab: &Lab) {
    for (backend, client, method) in [
        ("basic", "envoy", "client_secret_basic"),
        ("post", "poster", "client_secret_post"),
        ("public", "public", "none"),
    ] {
        let user = format!("user-of-{backend}");
        let subject = lab.sts.subject_token(&user, client).await;
        let reply = lab.get(backend, &user, &subject).await;
        let claims = lab.verified(&reply, AUDIENCE).await;
        assert_eq!(claims["sub"], user.as_str());
        assert_eq!(claims["client_id"], client);
        let noted = lab.requests_for(AUDIENCE).await;
        assert!(
            noted
                .iter()
                .any(|it| it["client_auth"] == method && it["status"] == 200),
            "{method}: {noted:?}",
        );
    }
}

/// Many requests of few users cost one call for each user, by the STS's own count.
pub async fn one_call_for_each_user(lab: &Lab) {
    let users = ["ann", "ben", "cem", "dot", "eve"];
    let mut logins = Vec::new();
    for user in users {
        let subject = lab.sts.subject_token(user, "envoy").await;
        logins.push((user, lab.bed.login(user, json!({"corp": subject}))));
    }
    for _ in 0..10 {
        for (user, jwt) in &logins {
            let reply = lab.get_with("counted", jwt).await;
            assert_eq!(lab.verified(&reply, COUNTED).await["sub"], *user);
        }
    }
    assert_eq!(lab.requests_for(COUNTED).await.len(), users.len());
}

/// A subject that the STS does not know is refused, and remembered for a while.
pub async fn an_unknown_subject_is_rejected(lab: &Lab) {
    let subject = canary::token("", "unknown-subject");
    let jwt = lab.bed.login("mallory", json!({"corp": subject}));
    for _ in 0..3 {
        let reply = lab.get_with("refused", &jwt).await;
        assert_refused(
            &reply,
            401,
            "token_exchange_rejected",
            Some("invalid_token"),
        );
    }
    assert_eq!(lab.requests_for(REFUSED).await.len(), 1);
}

/// What the client may not have is forbidden. The scope is the operator's: no login would help.
pub async fn a_denied_target_or_scope_is_forbidden(lab: &Lab) {
    let subject = lab.sts.subject_token("frank", "envoy").await;
    let reply = lab.get("bad-audience", "frank", &subject).await;
    assert_refused(&reply, 403, "token_exchange_forbidden", None);
    let reply = lab.get("bad-scope", "frank", &subject).await;
    assert_refused(&reply, 403, "token_exchange_forbidden", None);
}

/// Without client authentication both say `invalid_request`, which looks like a refused subject:
/// the log line has to lead the operator to the client settings.
pub async fn missing_client_authentication_points_to_the_client(lab: &Lab) {
    let subject = lab.sts.subject_token("grace", "envoy").await;
    let reply = lab.get("no-client", "grace", &subject).await;
    assert_refused(
        &reply,
        401,
        "token_exchange_rejected",
        Some("invalid_token"),
    );
    assert_points_to_the_client(&lab.warning("no-client", "token_exchange_rejected").await);
}

/// The line has the word of the STS, and names the settings to look at.
pub fn assert_points_to_the_client(warning: &str) {
    assert!(warning.contains("invalid_request"), "{warning}");
    assert!(warning.contains("clientAuthMethod"), "{warning}");
}
