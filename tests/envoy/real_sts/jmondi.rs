//! npm `@jmondi/oauth2-server`, which leaves `issued_token_type` out of its answers.

use bed::{Counterpart, Program, canary};
use serde_json::json;
use tokio::sync::OnceCell;

use super::{Lab, assert_refused, bed_for, common_backends, sts_configuration};
use crate::trial::{SharedBed, trials};

trials!("jmondi":
    an_answer_without_issued_token_type_is_not_used,
    access_denied_is_forbidden_whatever_its_status,
    a_wrong_secret_is_the_operators_problem,
);

static STS: OnceCell<Counterpart> = OnceCell::const_new();
static BED: SharedBed = SharedBed::new();

async fn lab() -> Lab {
    let secret = canary::token("", "jmondi-secret");
    let sts = STS
        .get_or_init(|| async {
            Counterpart::start(Program::Jmondi, &sts_configuration(&secret, 300))
                .unwrap_or_else(|error| panic!("{error}"))
        })
        .await;
    let bed = BED
        .get(|| bed_for("jmondi", sts, &secret, common_backends(sts), json!({})).start())
        .await;
    Lab { bed, sts }
}

async fn an_answer_without_issued_token_type_is_not_used() {
    let lab = lab().await;
    for (backend, client) in [("basic", "envoy"), ("post", "poster"), ("public", "public")] {
        let subject = lab.sts.subject_token("alice", client).await;
        let reply = lab.get(backend, "alice", &subject).await;
        assert_refused(&reply, 502, "token_exchange_invalid_response", None);
    }
    let issued = lab.sts.token_requests().await;
    assert!(
        issued.iter().filter(|it| it["status"] == 200).count() >= 3,
        "{issued:?}"
    );
}

/// It says `access_denied` with the status 401.
async fn access_denied_is_forbidden_whatever_its_status() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("bob", "envoy").await;
    let reply = lab.get("bad-audience", "bob", &subject).await;
    assert_refused(&reply, 403, "token_exchange_forbidden", None);
}

async fn a_wrong_secret_is_the_operators_problem() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("judy", "envoy").await;
    let reply = lab.get("wrong-secret", "judy", &subject).await;
    assert_refused(&reply, 502, "token_exchange_misconfigured", None);
}
