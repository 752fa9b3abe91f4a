//! PyPI `idpyoidc`, whose RFC 8693 is its own. It exchanges only tokens that it has issued itself.

use std::time::Duration;

use bed::{Bed, Counterpart, Program, canary};
use serde_json::json;
use tokio::sync::OnceCell;

use super::{
    AUDIENCE, BRIEF, Lab, assert_points_to_the_client, assert_refused, bed_for, common_backends,
    exchange, sts_configuration,
};
use crate::trial::{SharedBed, trials};

trials!("idpyoidc":
    every_client_authentication_works,
    the_incoming_token_is_a_subject_too,
    one_call_for_each_user,
    a_wrong_secret_points_to_the_client,
    missing_client_authentication_points_to_the_client,
    an_unknown_subject_is_rejected,
    a_denied_target_or_scope_is_forbidden,
    a_token_is_not_kept_beyond_its_own_exp,
);

static STS: OnceCell<Counterpart> = OnceCell::const_new();
static BED: SharedBed = SharedBed::new();

async fn lab() -> Lab {
    // It compares Basic credentials without decoding them: only what no encoding changes will do.
    let secret = canary::token("", "idpyoidc-secret");
    let sts = STS
        .get_or_init(|| async {
            Counterpart::start(Program::IdPyOidc, &sts_configuration(&secret, 300))
                .unwrap_or_else(|error| panic!("{error}"))
        })
        .await;
    let bed = BED.get(|| start_bed(sts, &secret)).await;
    Lab { bed, sts }
}

async fn start_bed(sts: &Counterpart, secret: &str) -> Bed {
    let bed = bed_for("idpyoidc", sts, secret, common_backends(sts), json!({}))
        .start()
        .await;
    // Requests without a TH-JWT go on, with no upstream token.
    bed.embedded_as.set_session("", json!({}));
    bed
}

async fn every_client_authentication_works() {
    super::every_client_authentication_works(&lab().await).await;
}

/// Without `subjectProviderName` the token that came in is the subject, whoever issued it: here the
/// STS itself, as where clients log in at the corporate identity provider directly.
async fn the_incoming_token_is_a_subject_too() {
    let lab = lab().await;
    let token = lab.sts.subject_token("hugo", "envoy").await;
    let reply = lab.get_with("identity", &token).await;
    assert_eq!(lab.verified(&reply, AUDIENCE).await["sub"], "hugo");
}

async fn one_call_for_each_user() {
    super::one_call_for_each_user(&lab().await).await;
}

/// It answers a wrong secret as it answers a bad subject: 400 and `invalid_request`.
async fn a_wrong_secret_points_to_the_client() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("judy", "envoy").await;
    let reply = lab.get("wrong-secret", "judy", &subject).await;
    assert_refused(
        &reply,
        401,
        "token_exchange_rejected",
        Some("invalid_token"),
    );
    assert_points_to_the_client(&lab.warning("wrong-secret", "token_exchange_rejected").await);
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

/// A token that another client's subject brings ends after 60 seconds, though `expires_in` says
/// what is left of the subject's 300. Of any skew at most a fifth counts, so that it is used for 48
/// seconds; by what is said of its life, it would be for 240.
async fn a_token_is_not_kept_beyond_its_own_exp() {
    static BED: SharedBed = SharedBed::new();
    let sts = lab().await.sts;
    let secret = canary::token("", "idpyoidc-secret");
    let backends = json!({"brief": exchange(sts, json!({"audience": BRIEF}))});
    let cache = json!({"expirySkew": "70s"});
    let bed = BED
        .get(|| bed_for("idpyoidc-brief", sts, &secret, backends, cache).start())
        .await;
    let lab = Lab { bed, sts };
    let subject = sts.subject_token("leo", "public").await;
    let jwt = bed.login("leo", json!({"corp": subject}));
    // As seldom as one looks who waits for most of a minute.
    let asked_again = async {
        loop {
            let reply = lab.get_with("brief", &jwt).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            if lab.requests_for(BRIEF).await.len() == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    bed::within(
        Duration::from_secs(75),
        "the STS to be asked again",
        asked_again,
    )
    .await
    .unwrap_or_else(|error| panic!("{error}"));
}
