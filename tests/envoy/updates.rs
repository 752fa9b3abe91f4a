//! A new configuration while Envoy runs: a good one takes over, a bad one changes nothing.

use std::path::{Path, PathBuf};

use bed::{
    Client, Echo, Envoy, EnvoyOptions, PluginConfig, Request, bootstrap, canary, eventually,
    scratch,
};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("updates": a_bad_update_changes_nothing_and_a_good_one_takes_over);

/// An Envoy that gets its listener from a file, as it would from a control plane.
struct Updated {
    envoy: Envoy,
    directory: PathBuf,
    /// The bootstrap of a static Envoy, from which each version of the listener is taken.
    template: Value,
    backend: Echo,
}

impl Updated {
    async fn start(plugin: Value) -> Self {
        let backend = Echo::start("one").await.expect("a free port");
        let clusters = [bootstrap::cluster("one", backend.address(), false, &[])];
        let template = bootstrap::bootstrap(&[], &[bootstrap::route_to("one")], &clusters);
        let directory = scratch("updates").expect("a directory");
        write_listener(&directory, &template, plugin);
        let mut config = template.clone();
        config["static_resources"]["listeners"] = json!([]);
        config["node"] = json!({"id": "bed", "cluster": "bed"});
        config["dynamic_resources"] = json!({"lds_config": {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": directory.join("listeners.json"),
                "watched_directory": {"path": directory},
            },
        }});
        let options = EnvoyOptions::new("updates", config.to_string());
        let envoy = Envoy::start(options)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            envoy,
            directory,
            template,
            backend,
        }
    }

    fn update(&self, plugin: Value) {
        write_listener(&self.directory, &self.template, plugin);
    }

    /// What the backend sees in `x-key`, on a fresh connection.
    async fn key_seen(&self) -> Vec<String> {
        let client = Client::http1(self.envoy.listener("main").await);
        let reply = client.send(Request::get("/one/a")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.seen("x-key")
    }

    async fn rejected(&self) -> u64 {
        self.envoy
            .stat("listener_manager.lds.update_rejected")
            .await
    }
}

/// Moves a new version of the listener into its place, which is what Envoy watches for.
fn write_listener(directory: &Path, template: &Value, plugin: Value) {
    let mut listener = template["static_resources"]["listeners"][0].clone();
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let filter = bootstrap::wasm_filter(&PluginConfig::Json(plugin), &[]);
    manager["http_filters"] = json!([filter, bootstrap::router()]);
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    let response = json!({"resources": [listener]});
    let unfinished = directory.join("unfinished");
    std::fs::write(&unfinished, response.to_string()).expect("a writable directory");
    std::fs::rename(unfinished, directory.join("listeners.json")).expect("a writable directory");
}

fn config(key: &str) -> Value {
    let key = plugin::header("x-key", &canary::token("key-", key));
    plugin::config(&["github"], json!({"one": key}))
}

async fn a_bad_update_changes_nothing_and_a_good_one_takes_over() {
    let updated = Updated::start(config("first")).await;
    assert_eq!(updated.key_seen().await, [canary::token("key-", "first")]);

    let mut bad = config("bad");
    bad["outgoingAuth"]["backends"]["two"] = plugin::inject("gitlab");
    updated.update(bad);
    eventually("Envoy to reject the update", || async {
        (updated.rejected().await == 1).then_some(())
    })
    .await;
    let line = "config: outgoingAuth.backends.two.upstreamInject.providerName: V-02: ";
    assert!(
        updated.envoy.log().contains(line),
        "the log does not say why"
    );
    assert_eq!(updated.key_seen().await, [canary::token("key-", "first")]);

    updated.update(config("second"));
    eventually("the new configuration to take over", || async {
        (updated.key_seen().await == [canary::token("key-", "second")]).then_some(())
    })
    .await;
    assert_eq!(updated.rejected().await, 1);
    assert!(
        updated
            .backend
            .requests()
            .iter()
            .all(|request| request.values("x-key").len() == 1)
    );
}
