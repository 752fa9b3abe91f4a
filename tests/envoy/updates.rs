//! A new configuration while Envoy runs: a good one takes over, a bad one changes nothing.

use std::cell::RefCell;

use bed::scene::Neighbours;
use bed::{Bed, Client, Envoy, EnvoyOptions, PluginConfig, Request, canary, eventually};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("updates":
    a_bad_update_changes_nothing_and_a_good_one_takes_over,
    the_example_is_changed_as_its_page_says_and_drops_no_request,
);

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

/// `envoy/updates/`, started and changed with the commands that stand in it, while clients come and go.
async fn the_example_is_changed_as_its_page_says_and_drops_no_request() {
    let neighbours = Neighbours::start().await.expect("free ports");
    let directory = bed::scratch("updates-example").expect("a directory");
    let here = |file: &str| {
        let text = neighbours
            .configuration(&format!("envoy/updates/{file}"))
            .unwrap_or_else(|error| panic!("{error}"));
        text.replace("envoy/updates", &directory.display().to_string())
    };
    // Written beside it, then moved there.
    let put = |listener: &str| {
        let next = directory.join("next");
        std::fs::write(&next, listener).expect("writable");
        std::fs::rename(&next, directory.join("listener.yaml")).expect("one directory");
    };
    let listener = here("listener.yaml");
    put(&listener);
    let key = canary::token("key-", "updates");
    let mut options = EnvoyOptions::new("updates-example", here("envoy.yaml"));
    options.environment = vec![("INTERNAL_API_KEY".to_owned(), key.clone())];
    let envoy = Envoy::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let address = envoy.listener("main").await;
    let jwt = neighbours.embedded_as.login("updates", json!({}));
    let request = || Request::get("/internal-api/mcp").bearer(&jwt);
    let kept = Client::http1(address);
    bed::eventually("the keys to be fetched", || async {
        (kept.send(request()).await.status == 200).then_some(())
    })
    .await;

    // Every reply to a connection that stays and to one that is new each time.
    let served = RefCell::new(Vec::new());
    let traffic = async {
        loop {
            for client in [&kept, &Client::http1(address)] {
                let reply = client.send(request()).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                let header = ["x-api-key", "x-internal-key"]
                    .into_iter()
                    .find(|header| reply.seen(header) == [key.as_str()]);
                let header = header.unwrap_or_else(|| panic!("no key: {}", reply.text()));
                served.borrow_mut().push(header);
            }
        }
    };
    let since = |seen: usize, header: &str| {
        let served = served.borrow();
        served
            .iter()
            .skip(seen)
            .filter(|one| **one == header)
            .count()
    };
    let changes = async {
        eventually("traffic", || async {
            (since(0, "x-api-key") > 20).then_some(())
        })
        .await;
        // A provider that there is not: refused, and the old one goes on.
        let refused = envoy.stat("listener_manager.lds.update_rejected").await;
        put(&listener.replace(
            "internal-api:\n                            type",
            "other-api: {type: upstream_inject, upstreamInject: {providerName: githib}}\n                          \
             internal-api:\n                            type",
        ));
        eventually("the refusal", || async {
            let now = envoy.stat("listener_manager.lds.update_rejected").await;
            (now > refused).then_some(())
        })
        .await;
        let why = "config: outgoingAuth.backends.other-api.upstreamInject.providerName: V-02: ";
        assert!(envoy.log().contains(why), "the log does not say why");
        let seen = served.borrow().len();
        eventually("the old one to serve on", || async {
            (since(seen, "x-api-key") > 20).then_some(())
        })
        .await;
        assert_eq!(since(0, "x-internal-key"), 0);
        // Another header: taken, and nobody notices but the backend.
        let taken = envoy.stat("listener_manager.lds.update_success").await;
        put(&listener
            .replace("headerName: X-API-Key", "headerName: X-Internal-Key")
            .replace(
                "[authorization, x-api-key]",
                "[authorization, x-internal-key]",
            ));
        eventually("the new one to serve", || async {
            let now = envoy.stat("listener_manager.lds.update_success").await;
            (now > taken && since(0, "x-internal-key") > 20).then_some(())
        })
        .await;
        // New connections get the new one; those that stay do so once Envoy has let them go.
        let seen = served.borrow().len();
        eventually("more of it", || async {
            (served.borrow().len() > seen + 20).then_some(())
        })
        .await;
        assert!(since(seen, "x-internal-key") >= 10);
    };
    tokio::select! {
        () = changes => {}
        never = traffic => never,
    }
}
