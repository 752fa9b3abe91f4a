//! ID tokens that refreshes bring, or do not.

use serde_json::json;

use super::{ID_TOKEN, json_answer};
use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{expired, get, now, put, row};
use crate::bed::signer::unsigned;

#[tokio::test]
async fn id_tokens_belong_to_whoever_logged_in() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    let mallory = Some(json!({"sub": "mallory", "exp": now() + 600}));
    put(&mut redis, "KEEPS", "corp", &expired("corp", "keeps")).await;
    put(&mut redis, "ROTATES", "corp", &expired("corp", "rotates")).await;
    bed.provider
        .script("keeps", [Script::Issue(3600, false, mallory.clone())]);
    bed.provider
        .script("rotates", [Script::Issue(3600, true, mallory)]);
    let answer = service.ask(&bed.token("KEEPS"), "corp", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    let row = get(&mut redis, "KEEPS", "corp").await.unwrap();
    assert_eq!(row["access_token"], "corp-at", "nothing of it is used");
    let answer = service.ask(&bed.token("ROTATES"), "corp", &[]).await;
    assert_eq!(answer.error(), "upstream_token_not_found");
    assert_eq!(get(&mut redis, "ROTATES", "corp").await, None);
}

#[tokio::test]
async fn an_id_token_that_a_refresh_does_not_renew_is_missing_once_it_has_ended() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let with_id = |token: &str| {
        let old = unsigned(&json!({"sub": "alice", "exp": now() - 5, "jti": token}));
        row("corp", |row| {
            row["id_token"] = json!(old);
            row["refresh_token"] = json!(token);
        })
    };
    put(&mut redis, "KEPT", "corp", &with_id("kept")).await;
    put(&mut redis, "RENEWED", "corp", &with_id("renewed")).await;
    put(&mut redis, "DOWN", "corp", &with_id("down")).await;
    bed.provider
        .script("kept", [Script::Issue(3600, false, None)]);
    let fresh = json!({"sub": "alice", "exp": now() + 600});
    bed.provider
        .script("renewed", [Script::Issue(3600, true, Some(fresh.clone()))]);
    bed.provider.script("down", [json_answer(503, "")]);
    let service = bed.service(&["--end-dead-sessions", "off"]).await;

    let answer = service
        .ask(&bed.token("RENEWED"), "corp", &[ID_TOKEN])
        .await;
    assert_eq!(answer.token(), unsigned(&fresh));

    for _ in 0..3 {
        let answer = service.ask(&bed.token("KEPT"), "corp", &[ID_TOKEN]).await;
        assert_eq!(answer.error(), "upstream_token_not_found");
        assert_eq!(
            service.ask(&bed.token("KEPT"), "corp", &[]).await.status,
            200
        );
    }
    assert_eq!(bed.provider.times("kept"), 1, "no reason to refresh again");

    let answer = service.ask(&bed.token("DOWN"), "corp", &[ID_TOKEN]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    assert_eq!(
        service.ask(&bed.token("DOWN"), "corp", &[]).await.token(),
        "corp-at"
    );
    let mut client = client(service.check_port).await;
    assert_eq!(
        check(&mut client, &Check::of(bed.claims("DOWN", 600))).await,
        Verdict::Goes(json!({
            "upstream_tokens": {"corp": "corp-at"},
            "upstream_unavailable": {"corp": true},
        }))
    );
}
