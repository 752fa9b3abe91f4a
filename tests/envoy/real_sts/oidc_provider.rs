//! npm `oidc-provider`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Instant;

use bed::{Bed, Counterpart, Program, canary};
use serde_json::json;
use tokio::sync::OnceCell;

use super::{
    AUDIENCE, Lab, assert_refused, bed_for, common_backends, exchange, seconds_now,
    sts_configuration,
};
use crate::trial::{SharedBed, trials};

trials!("oidc_provider":
    every_client_authentication_works,
    the_th_jwt_is_a_subject_too,
    resource_indicators_are_understood,
    one_call_for_each_user,
    a_wrong_secret_is_the_operators_problem,
    missing_client_authentication_points_to_the_client,
    an_unknown_subject_is_rejected,
    a_denied_target_or_scope_is_forbidden,
    tokens_are_renewed_before_they_end,
);

static STS: OnceCell<Counterpart> = OnceCell::const_new();
static BED: SharedBed = SharedBed::new();

async fn lab() -> Lab {
    // Every character here has to survive a form encoding, and base64 for Basic.
    let secret = canary::token("s3 +%:/=~", "oidc-secret");
    let sts = STS.get_or_init(|| start(&secret, 300)).await;
    let bed = BED.get(|| start_bed(sts, &secret)).await;
    Lab { bed, sts }
}

async fn start(secret: &str, access_token_ttl: u32) -> Counterpart {
    Counterpart::start(
        Program::OidcProvider,
        &sts_configuration(secret, access_token_ttl),
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

async fn start_bed(sts: &Counterpart, secret: &str) -> Bed {
    let mut backends = common_backends(sts);
    let resource = exchange(sts, json!({"audience": null, "resource": AUDIENCE}));
    backends["resource"] = resource;
    let bed = bed_for("oidc-provider", sts, secret, backends, json!({}))
        .start()
        .await;
    trust_the_identity_issuer(&bed, sts).await;
    bed
}

/// Lets the STS take TH-JWTs as subject tokens.
async fn trust_the_identity_issuer(bed: &Bed, sts: &Counterpart) {
    let trust = json!({
        "issuer": "https://vmcp.example.com",
        "audience": "https://mcp.example.com",
        "jwks": bed.embedded_as.issuer().jwks(),
    });
    sts.ask("/test/issuers", &trust).await;
}

async fn every_client_authentication_works() {
    super::every_client_authentication_works(&lab().await).await;
}

async fn the_th_jwt_is_a_subject_too() {
    let lab = lab().await;
    let jwt = lab.bed.login("hugo", json!({}));
    let reply = lab.get_with("identity", &jwt).await;
    assert_eq!(lab.verified(&reply, AUDIENCE).await["sub"], "hugo");
}

async fn resource_indicators_are_understood() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("ida", "envoy").await;
    let reply = lab.get("resource", "ida", &subject).await;
    let claims = lab.verified(&reply, AUDIENCE).await;
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("ida"), &json!("read"))
    );
}

async fn one_call_for_each_user() {
    super::one_call_for_each_user(&lab().await).await;
}

async fn a_wrong_secret_is_the_operators_problem() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("judy", "envoy").await;
    let reply = lab.get("wrong-secret", "judy", &subject).await;
    assert_refused(&reply, 502, "token_exchange_misconfigured", None);
    let warning = lab
        .warning("wrong-secret", "token_exchange_misconfigured")
        .await;
    assert!(warning.contains("invalid_client"), "{warning}");
}

async fn missing_client_authentication_points_to_the_client() {
    super::missing_client_authentication_points_to_the_client(&lab().await).await;
}

async fn an_unknown_subject_is_rejected() {
    super::an_unknown_subject_is_rejected(&lab().await).await;
}

async fn a_denied_target_or_scope_is_forbidden() {
    super::a_denied_target_or_scope_is_forbidden(&lab().await).await;
}

/// With tokens that live four seconds and are used for two: one after the other reaches the backend,
/// each of them while it is valid, and no request fails. The verification has no leeway; a token was
/// used no earlier than the request was sent.
async fn tokens_are_renewed_before_they_end() {
    static STS: OnceCell<Counterpart> = OnceCell::const_new();
    static BED: SharedBed = SharedBed::new();
    let secret = canary::token("", "short-lived-secret");
    let sts = STS.get_or_init(|| start(&secret, 4)).await;
    let cache = json!({"expirySkew": "2s"});
    let backends = json!({"short": exchange(sts, json!({}))});
    let bed = BED
        .get(|| bed_for("short-lived", sts, &secret, backends, cache).start())
        .await;
    let lab = Lab { bed, sts };

    // A subject that outlives these tokens: a JWT of another issuer's.
    trust_the_identity_issuer(bed, sts).await;
    let subject = bed.login("kim", json!({}));
    let jwt = bed.login("kim", json!({"corp": subject}));
    let (tokens, requests) = (RefCell::new(BTreeSet::new()), Cell::new(0));
    let began = Instant::now();
    bed::eventually("two renewals ahead of time", || async {
        let sent = seconds_now();
        let reply = lab.get_with("short", &jwt).await;
        let claims = lab
            .verified_at(sent, "authorization", &reply, AUDIENCE)
            .await;
        requests.set(requests.get() + 1);
        tokens.borrow_mut().insert(claims["jti"].to_string());
        let renewals = bed
            .envoy
            .stat("wasmcustom.upstream_inject.sts.short.refreshed")
            .await;
        (renewals >= 2 && tokens.borrow().len() >= 3).then_some(())
    })
    .await;
    let (calls, requests) = (sts.token_requests().await.len(), requests.get());
    // However few requests a busy machine makes, a token is used for more than a second.
    let most = 2 + began.elapsed().as_secs() as usize;
    assert!(
        calls <= most && calls <= requests,
        "{calls} calls for {requests} requests"
    );
}
