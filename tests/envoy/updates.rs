//! A new configuration while Envoy runs: a good one takes over, a bad one changes nothing.

use bed::{Bed, PluginConfig, Request, canary, eventually};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("updates": a_bad_update_changes_nothing_and_a_good_one_takes_over);

fn config(key: &str) -> Value {
    let key = plugin::header("x-key", &canary::token("key-", key));
    let mut config = plugin::config(&["github"], json!({"one": key}));
    // Nobody checks here who asks.
    config["identity"] = json!({"required": false});
    config
}

/// What the backend sees in `x-key`, on a fresh connection.
async fn key_seen(bed: &Bed) -> Vec<String> {
    let jwt = bed.login("alice", json!({}));
    let request = Request::get("/one/a").bearer(&jwt);
    let reply = bed.http1().send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.seen("x-key")
}

async fn a_bad_update_changes_nothing_and_a_good_one_takes_over() {
    let bed = Bed::with("updates", PluginConfig::Json(config("first")))
        .backend("one")
        .reloadable()
        .start()
        .await;
    assert_eq!(key_seen(&bed).await, [canary::token("key-", "first")]);

    let mut bad = config("bad");
    bad["outgoingAuth"]["backends"]["two"] = plugin::inject("gitlab");
    let is_taken = bed.reconfigure(PluginConfig::Json(bad), &[]).await;
    assert!(!is_taken, "Envoy took a bad configuration");
    let line = "config: outgoingAuth.backends.two.upstreamInject.providerName: V-02: ";
    assert!(bed.envoy.log().contains(line), "the log does not say why");
    assert_eq!(key_seen(&bed).await, [canary::token("key-", "first")]);

    let second = PluginConfig::Json(config("second"));
    assert!(bed.reconfigure(second, &[]).await);
    eventually("the new configuration to take over", || async {
        (key_seen(&bed).await == [canary::token("key-", "second")]).then_some(())
    })
    .await;
    assert!(
        bed.backend("one")
            .requests()
            .iter()
            .all(|request| request.values("x-key").len() == 1)
    );
}
