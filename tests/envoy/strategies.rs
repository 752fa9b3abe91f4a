//! What a backend sees under each strategy, whatever the client sends.

use bed::{Bed, PluginConfig, Reply, Request, canary, eventually, raw_exchange};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("strategies":
    upstream_inject_sends_the_providers_token_alone,
    header_injection_replaces_what_the_client_sent,
    header_injection_may_set_authorization_itself,
    unauthenticated_sends_no_authorization,
    a_provider_may_have_any_name,
    no_form_of_the_inbound_token_gets_through,
    repeated_authorization_is_removed_over_http1_and_http2,
    non_utf8_authorization_is_removed,
    thousands_of_headers_pass,
    counters_tell_the_outcome,
    a_struct_configures_as_a_string_does,
);

static BED: SharedBed = SharedBed::new();

const ODD_PROVIDERS: [&str; 4] = ["my.idp", "a/b/c", "with space", "zürich-идп-✓"];

fn config() -> Value {
    let mut providers = vec!["github"];
    providers.extend(ODD_PROVIDERS);
    let mut backends = json!({
        "inject": plugin::inject("github"),
        "header": {
            "type": "header_injection",
            "headerInjection": {"headerName": "X-API-Key", "headerValueEnv": "API_KEY"},
        },
        "authorization": plugin::header("Authorization", &canary::token("Basic ", "static")),
        "open": plugin::open(),
    });
    for (index, provider) in ODD_PROVIDERS.iter().enumerate() {
        backends[format!("odd-{index}")] = plugin::inject(provider);
    }
    plugin::config(&providers, backends)
}

async fn start(name: &str, config: PluginConfig) -> Bed {
    let mut plan = Bed::with(name, config)
        // A trailing line feed is what a file that became a variable often ends with.
        .environment("API_KEY", &format!("{}\n", canary::token("key-", "api")))
        .backend("inject")
        .backend("header")
        .backend("authorization")
        .backend("open");
    for index in 0..ODD_PROVIDERS.len() {
        plan = plan.backend(&format!("odd-{index}"));
    }
    plan.start().await
}

async fn bed() -> &'static Bed {
    BED.get(|| start("strategies", PluginConfig::Json(config())))
        .await
}

fn github(user: &str) -> String {
    canary::token("gho_", user)
}

fn assert_served(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn upstream_inject_sends_the_providers_token_alone() {
    let bed = bed().await;
    let tokens = json!({"github": github("alice"), "my.idp": canary::token("x", "other")});
    let jwt = bed.login("alice", tokens);
    for client in [bed.http1(), bed.http2()] {
        let reply = client
            .send(Request::get("/inject/a?b=c").bearer(&jwt))
            .await;
        assert_served(&reply);
        assert_eq!(
            reply.seen("authorization"),
            [format!("Bearer {}", github("alice"))]
        );
        assert_eq!(reply.json()["path"], "/inject/a?b=c");
    }
}

async fn header_injection_replaces_what_the_client_sent() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({}));
    let request = Request::get("/header/a")
        .bearer(&jwt)
        .header("x-api-key", "mine")
        .header("x-api-key", "mine too")
        .header("x-other", "stays");
    for client in [bed.http1(), bed.http2()] {
        let reply = client.send(request.clone()).await;
        assert_served(&reply);
        assert_eq!(reply.seen("x-api-key"), [canary::token("key-", "api")]);
        assert_eq!(reply.seen("authorization"), [""; 0]);
        assert_eq!(reply.seen("x-other"), ["stays"]);
    }
}

async fn header_injection_may_set_authorization_itself() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({}));
    let reply = bed
        .http2()
        .send(Request::get("/authorization/a").bearer(&jwt))
        .await;
    assert_served(&reply);
    assert_eq!(
        reply.seen("authorization"),
        [canary::token("Basic ", "static")]
    );
}

async fn unauthenticated_sends_no_authorization() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    let reply = bed.http1().send(Request::get("/open/a").bearer(&jwt)).await;
    assert_served(&reply);
    assert_eq!(reply.seen("authorization"), [""; 0]);
}

async fn a_provider_may_have_any_name() {
    let bed = bed().await;
    let mut tokens = json!({});
    for provider in ODD_PROVIDERS {
        tokens[provider] = json!(canary::token("t", &provider.len().to_string()));
    }
    let jwt = bed.login("alice", tokens);
    for (index, provider) in ODD_PROVIDERS.iter().enumerate() {
        let reply = bed
            .http1()
            .send(Request::get(&format!("/odd-{index}/a")).bearer(&jwt))
            .await;
        assert_served(&reply);
        let token = canary::token("t", &provider.len().to_string());
        assert_eq!(
            reply.seen("authorization"),
            [format!("Bearer {token}")],
            "{provider}"
        );
    }
}

/// Requests whose TH-JWT `jwt_authn` finds, or not, in ways that a careful client would not use.
async fn no_form_of_the_inbound_token_gets_through() {
    let bed = bed().await;
    bed.embedded_as
        .set_session("", json!({"upstream_tokens": {"github": github("nobody")}}));
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    for value in [
        format!("bearer {jwt}"),
        format!("BEARER   {jwt}"),
        format!("Bearer {jwt}, Bearer {jwt}"),
        format!("Basic {jwt}"),
        jwt.clone(),
        format!("\t{jwt}\t"),
        String::new(),
    ] {
        for backend in ["inject", "header", "authorization", "open"] {
            for client in [bed.http1(), bed.http2()] {
                let request =
                    Request::get(&format!("/{backend}/form")).header("authorization", value.trim());
                let reply = client.send(request).await;
                assert_served(&reply);
                assert!(
                    !canary::holds_identity_token(&reply.body),
                    "{backend}: {value}"
                );
                let expected = usize::from(matches!(backend, "inject" | "authorization"));
                assert_eq!(
                    reply.seen("authorization").len(),
                    expected,
                    "{backend}: {value}"
                );
            }
        }
    }
}

async fn repeated_authorization_is_removed_over_http1_and_http2() {
    let bed = bed().await;
    bed.embedded_as
        .set_session("", json!({"upstream_tokens": {"github": github("nobody")}}));
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    for backend in ["inject", "header", "authorization", "open"] {
        let request = Request::get(&format!("/{backend}/repeated"))
            .bearer(&jwt)
            .header("authorization", "Basic second")
            .bearer(&jwt);
        for client in [bed.http1(), bed.http2()] {
            let reply = client.send(request.clone()).await;
            assert_served(&reply);
            let seen = reply.seen("authorization");
            assert!(!canary::holds_identity_token(&reply.body), "{backend}");
            assert!(
                !seen.iter().any(|value| value.contains("second")),
                "{backend}: {seen:?}"
            );
        }
    }
}

async fn non_utf8_authorization_is_removed() {
    let bed = bed().await;
    bed.embedded_as
        .set_session("", json!({"upstream_tokens": {"github": github("nobody")}}));
    let mut request =
        b"GET /open/raw HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer \xff\xfe\xc3\x28\r\n"
            .to_vec();
    request.extend_from_slice(b"x-odd: \xff\xfe\r\n\r\n");
    let answer = raw_exchange(bed.address(), &request, |_| false)
        .await
        .expect("a connection");
    let text = String::from_utf8_lossy(&answer);
    // Envoy may refuse such a value by itself; the filter must live either way.
    if text.starts_with("HTTP/1.1 200") {
        let seen = bed.backend("open").requests_with("/open/raw");
        assert!(
            seen.iter()
                .all(|request| request.values("authorization").is_empty())
        );
    }
    let reply = bed
        .http2()
        .send(Request::get("/inject/raw").header("authorization", b"Bearer \xff\xfe\xc3\x28"))
        .await;
    if reply.is_from_backend() {
        assert_eq!(
            reply.seen("authorization"),
            [format!("Bearer {}", github("nobody"))]
        );
    }
    let reply = bed.http1().send(Request::get("/open/after")).await;
    assert_served(&reply);
}

async fn thousands_of_headers_pass() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    let mut request = Request::get("/inject/many").bearer(&jwt);
    for index in 0..5000 {
        request = request.header(&format!("x-h-{index}"), "v");
    }
    let reply = bed.http1().send(request).await;
    assert_served(&reply);
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {}", github("alice"))]
    );
    assert_eq!(reply.seen("x-h-4999"), ["v"]);
}

async fn counters_tell_the_outcome() {
    let config = plugin::config(
        &["github"],
        json!({
            "inject": plugin::inject("github"),
            "header": plugin::header("x-api-key", "v"),
            "open.to/all": plugin::open(),
        }),
    );
    let bed = Bed::with("counters", PluginConfig::Json(config))
        .concurrency(2)
        .backend("inject")
        .backend("header")
        .backend("open.to/all")
        .start()
        .await;
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    for _ in 0..25 {
        // A connection each, so that both workers get some.
        let client = bed.http1();
        for path in ["/inject/a", "/header/a", "/open.to/all/a"] {
            assert_served(&client.send(Request::get(path).bearer(&jwt)).await);
        }
    }
    bed.expect_outcome("inject", "injected", 25).await;
    bed.expect_outcome("header", "header_injected", 25).await;
    bed.expect_outcome("open_to_all", "unauthenticated", 25)
        .await;
    let line = bed.access_log_of("/inject/a").await;
    assert_eq!(
        (line["outcome"].clone(), line["backend"].clone()),
        (Value::Null, Value::Null)
    );
    eventually("the line about a successful configuration", || async {
        bed.envoy.log().contains("serves 3 backends").then_some(())
    })
    .await;
}

async fn a_struct_configures_as_a_string_does() {
    let bed = start("struct", PluginConfig::Struct(config())).await;
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    let reply = bed
        .http1()
        .send(Request::get("/inject/a").bearer(&jwt))
        .await;
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {}", github("alice"))]
    );
    let reply = bed
        .http1()
        .send(Request::get("/header/a").bearer(&jwt))
        .await;
    assert_eq!(reply.seen("x-api-key"), [canary::token("key-", "api")]);
    // A text that begins with a line feed begins with the same byte as a serialized Struct.
    let text = PluginConfig::Text(format!("\n\t{}\n", config()));
    let bed = start("line-feed", text).await;
    let jwt = bed.login("alice", json!({"github": github("alice")}));
    let reply = bed
        .http1()
        .send(Request::get("/inject/a").bearer(&jwt))
        .await;
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {}", github("alice"))]
    );
}
