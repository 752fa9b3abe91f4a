//! The configurations in `envoy/`, as they are: they load, they serve, and they show what they say.

use std::collections::HashMap;

use bed::scene::{Neighbours, Scene};
use bed::{Answer, Envoy, Request, canary, eventually, identity_assertion, repository};
use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::trial::trials;

trials!("shipped":
    the_files_load_as_they_are,
    demo_yaml_serves,
    demo_yaml_obtains_tokens_from_entra_and_from_a_partner,
    in_clusters_yaml_serves,
    downstream_yaml_serves,
    prometheus_sees_the_backend_as_a_label,
    a_token_in_the_query_is_not_accepted,
);

const FILES: [&str; 3] = [
    "envoy/demo.yaml",
    "envoy/in-clusters.yaml",
    "envoy/downstream.yaml",
];

async fn the_files_load_as_they_are() {
    let set = [("STS_CLIENT_SECRET", "s"), ("INTERNAL_API_KEY", "k")];
    for file in FILES {
        let text = std::fs::read_to_string(repository().join(file)).expect("the file");
        // Where the artifact lies is the only thing that a test run may change.
        let here = bed::artifact().display().to_string();
        let text = text.replace("dist/upstream_inject.wasm", &here);
        let verdict = Envoy::validate("shipped", &text, &set).expect("Envoy runs");
        assert!(verdict.accepted, "{file}: {}", verdict.output);

        let verdict = Envoy::validate("shipped", &text, &[set[0]]).expect("Envoy runs");
        assert!(!verdict.accepted, "{file} loads without INTERNAL_API_KEY");
        let lines = verdict.config_lines();
        assert!(
            lines.iter().any(|line| line.contains("INTERNAL_API_KEY")),
            "{file}: {lines:?}"
        );
    }
}

async fn start(file: &str) -> Scene {
    let neighbours = Neighbours::start().await.expect("free ports");
    // One token per subject, so that users cannot be mixed up.
    neighbours.sts.set_script(|request| {
        let user = request.parameter("subject_token").replace("idp_", "");
        Answer::token(&format!("corp_{user}"))
    });
    let secrets = [canary::token("s", "sts"), canary::token("k", "internal")];
    let secrets = secrets.each_ref().map(String::as_str);
    Scene::start(file, neighbours, secrets, "wasm:trace,main:warning")
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn demo_yaml_serves() {
    serves("envoy/demo.yaml").await;
}

/// The two strategies that demo.yaml alone has: what each token endpoint is asked, and how often.
async fn demo_yaml_obtains_tokens_from_entra_and_from_a_partner() {
    let scene = start("envoy/demo.yaml").await;
    let assertion = identity_assertion(
        "alice",
        "https://as.partner.example",
        "https://mcp.partner.example/mcp",
        &canary::token("", "assertion"),
    );
    let issued = assertion.clone();
    scene
        .neighbours
        .sts
        .set_script(move |request| match request.line().split(' ').nth(1) {
            Some("/entra/token") => Answer::token(&canary::token("graph_", "alice")),
            Some("/idp/token") => Answer::assertion(&issued),
            Some("/partner/token") => Answer::token(&canary::token("partner_", "alice")),
            _ => Answer::error(404, "not_found"),
        });
    let entra = canary::token("entra_", "alice");
    let id_token = canary::token("id_", "alice");
    let session = json!({
        "upstream_tokens": {"entra": entra},
        "upstream_id_tokens": {"corporate-idp": id_token},
    });
    let jwt = scene.neighbours.embedded_as.login("alice", session);
    let client = scene.client();
    for (backend, prefix) in [("graph-api", "graph_"), ("partner-app", "partner_")] {
        for _ in 0..5 {
            let request = Request::get(&format!("/{backend}/mcp")).bearer(&jwt);
            let reply = client.send(request).await;
            assert_eq!(reply.status, 200, "{backend}: {}", reply.text());
            let expected = format!("Bearer {}", canary::token(prefix, "alice"));
            assert_eq!(reply.seen("authorization"), [expected], "{backend}");
        }
    }
    let calls = scene.neighbours.sts.requests();
    let asked: Vec<_> = calls
        .iter()
        .filter_map(|call| call.line().split(' ').nth(1))
        .collect();
    assert_eq!(asked, ["/entra/token", "/idp/token", "/partner/token"]);
    for (call, parameters) in calls.iter().zip([
        [
            ("requested_token_use", "on_behalf_of"),
            ("assertion", &*entra),
            ("scope", "https://graph.microsoft.com/User.Read"),
        ],
        [
            ("subject_token", &*id_token),
            ("audience", "https://as.partner.example"),
            ("resource", "https://mcp.partner.example/mcp"),
        ],
        [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", &*assertion),
            ("scope", "files.read"),
        ],
    ]) {
        for (name, value) in parameters {
            assert_eq!(call.parameter(name), value, "{}: {name}", call.line());
        }
    }
}

async fn in_clusters_yaml_serves() {
    serves("envoy/in-clusters.yaml").await;
}

async fn downstream_yaml_serves() {
    serves("envoy/downstream.yaml").await;
}

async fn serves(file: &str) {
    let scene = start(file).await;
    let mut tokens = HashMap::new();
    for (provider, prefix) in [
        ("github", "gho_"),
        ("atlassian", "atl_"),
        ("corporate-idp", "idp_"),
    ] {
        tokens.insert(provider, canary::token(prefix, "alice"));
    }
    let jwt = scene
        .neighbours
        .embedded_as
        .login("alice", json!({"upstream_tokens": tokens}));
    let client = scene.client();
    for (backend, header, expected) in [
        (
            "github-tools",
            "authorization",
            format!("Bearer {}", canary::token("gho_", "alice")),
        ),
        (
            "atlassian-tools",
            "authorization",
            format!("Bearer {}", canary::token("atl_", "alice")),
        ),
        (
            "corporate-api",
            "authorization",
            format!("Bearer {}", canary::token("corp_", "alice")),
        ),
        ("internal-api", "x-api-key", canary::token("k", "internal")),
    ] {
        let request = Request::get(&format!("/{backend}/mcp?a=b")).bearer(&jwt);
        let reply = client.send(request).await;
        assert_eq!(reply.status, 200, "{file}, {backend}: {}", reply.text());
        assert_eq!(reply.seen(header), [expected], "{file}, {backend}");
        assert_eq!(reply.json()["path"], "/mcp?a=b");
        if header != "authorization" {
            assert_eq!(reply.seen("authorization"), [""; 0]);
        }
    }
    // It would come back with the key in it.
    let seen = scene.backend("internal-api").requests().len();
    let trace = Request::new(Method::TRACE, "/internal-api/mcp", Bytes::new()).bearer(&jwt);
    assert_eq!(client.send(trace).await.status, 405, "{file}");
    assert_eq!(scene.backend("internal-api").requests().len(), seen);

    let call = scene.neighbours.sts.requests().remove(0);
    assert_eq!(call.parameter("audience"), "https://corp-api.example.com");
    assert_eq!(call.parameter("scope"), "read write");

    let jwt = scene
        .neighbours
        .embedded_as
        .login("bob", json!({"upstream_tokens": {}}));
    let reply = client
        .send(Request::get("/atlassian-tools/mcp").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 401);
    let challenge = reply.header("www-authenticate");
    assert!(
        challenge.contains("resource_metadata=\"https://mcp.example.com/"),
        "{challenge}"
    );
    assert!(scene.backend("atlassian-tools").requests().len() == 1);
    let line = eventually("the access log", || async {
        let lines = scene.envoy.access_log();
        lines
            .into_iter()
            .find(|line| line["outcome"] == "upstream_token_not_found")
    })
    .await;
    assert_eq!(line["backend"], "atlassian-tools");
    assert_eq!(line["status"], 401);
}

async fn prometheus_sees_the_backend_as_a_label() {
    for file in FILES {
        labels(file).await;
    }
}

async fn labels(file: &str) {
    let scene = start(file).await;
    let tokens = json!({"upstream_tokens": {"corporate-idp": canary::token("idp_", "alice")}});
    let jwt = scene.neighbours.embedded_as.login("alice", tokens);
    let reply = scene
        .client()
        .send(Request::get("/corporate-api/mcp").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for (name, value) in [
        ("upstream_inject_backend_exchanged", " 1"),
        ("upstream_inject_sts_ok", " 1"),
    ] {
        let label = "upstream_inject_backend=\"corporate-api\"";
        eventually(&format!("{file}: {name}"), || async {
            let page = scene.envoy.admin_text("/stats/prometheus").await;
            page.lines()
                .any(|line| {
                    // In clusters, Envoy up to 1.38 puts the cluster's name before it.
                    line.contains(name) && line.contains(label) && line.ends_with(value)
                })
                .then_some(())
        })
        .await;
    }
}

/// By default Envoy accepts a token in the query parameter `access_token`, and the query goes on to
/// the backend.
async fn a_token_in_the_query_is_not_accepted() {
    let scene = start("envoy/demo.yaml").await;
    let jwt = scene
        .neighbours
        .embedded_as
        .login("alice", json!({"upstream_tokens": {}}));
    let path = format!("/internal-api/mcp?access_token={jwt}");
    let reply = scene.client().send(Request::get(&path)).await;
    assert_eq!(reply.status, 401);
    assert!(!reply.is_from_backend());
    assert!(scene.backend("internal-api").requests().is_empty());
}
