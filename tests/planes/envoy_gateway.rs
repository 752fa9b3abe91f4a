//! The rendered set for Envoy Gateway, translated by Envoy Gateway and run.

use bed::{Answer, Client, Envoy, Reply, Request, artifact, canary, connection_managers};
use serde_json::{Value, json};

use crate::trial::trials;
use crate::world::{self, PUBLIC, World, ask, render, resource};
use crate::{egctl, resources};

trials!("envoy_gateway":
    every_strategy_sets_its_credential_and_nothing_else_goes_on,
    who_has_no_token_learns_where_to_log_in,
    without_the_issuers_keys_nobody_is_sent_to_log_in,
    tokens_in_metadata_do_as_well,
    the_rendered_proxy_logs_why_a_request_was_refused,
    a_token_serves_the_backend_that_it_was_issued_for,
    the_metadata_documents_are_open_and_say_where_to_log_in,
    scripts_of_the_named_origins_may_call,
    the_auth_server_is_reached_as_if_there_were_no_filter,
    without_the_patches_the_door_holds,
    a_listener_that_is_not_named_sends_neither_token_nor_key,
    https_listeners_get_the_same,
    paths_and_streams_are_treated_as_the_page_says,
);

/// What every rendering is told of its neighbourhood.
pub const ARGUMENTS: [&str; 12] = [
    "--namespace=mcp",
    "--gateway=mcp-gateway",
    "--public-url=https://mcp.example.com",
    "--identity=http://upstream-inject-identity.mcp.svc.cluster.local:9193",
    "--jwks-url=http://vmcp.mcp.svc.cluster.local:8080/jwks.json",
    "--backend=github-tools=mcp/github-tools",
    "--backend=corporate-api=mcp/corporate/api",
    "--backend=delegated-api=mcp/corporate/delegated",
    "--backend=internal-api=mcp/internal-api",
    "--backend=open-tools=mcp/open-tools",
    "--ca-file=/etc/ssl/certs/ca-certificates.crt",
    "--listener=http:8080",
];

/// The rendered set, the filter being that under test.
pub fn rendered(more: &[&str]) -> String {
    let wasm = format!("--wasm={}", artifact().display());
    let arguments = [&ARGUMENTS[..], &[wasm.as_str()], more].concat();
    render("envoy-gateway", &arguments)
}

/// The gateway with these listeners, and the Services of the cluster.
pub fn cluster(world: &World, listeners: Value) -> Vec<Value> {
    let gateway = [
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "mcp-gateway", "namespace": "mcp"},
            "spec": {"gatewayClassName": "envoy", "listeners": listeners},
        }),
    ];
    gateway.into_iter().chain(world.services.clone()).collect()
}

/// A listener without TLS that takes the routes of all namespaces.
pub fn http(name: &str, port: u16) -> Value {
    json!({
        "name": name, "port": port, "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    })
}

/// Translates the text as it was rendered, beside the gateway and `others`, and runs the result.
pub async fn run(name: &str, world: &World, rendered: &str, others: &[Value]) -> (Envoy, Client) {
    let around = [cluster(world, json!([http("http", 8080)])), others.to_vec()].concat();
    let envoy = run_with(name, world, rendered, &around).await;
    let client = Client::http1(envoy.listener("mcp/mcp-gateway/http").await);
    (envoy, client)
}

async fn run_with(name: &str, world: &World, rendered: &str, around: &[Value]) -> Envoy {
    let all = format!("{}---\n{rendered}", resources::print(around));
    let config = egctl::bootstrap(&all, &world.neighbours);
    world.envoy(&format!("envoy-gateway-{name}"), config).await
}

async fn every_strategy_sets_its_credential_and_nothing_else_goes_on() {
    let world = World::start(&[]).await;
    let (envoy, client) = run("strategies", &world, &rendered(&[]), &[]).await;
    world.assert_strategies(&client, "", "alice").await;
    // The smoke test of the page: the counter of a backend has risen.
    let counter = "wasmcustom.upstream_inject.backend.mcp_github-tools.injected";
    envoy.expect_stat(counter, 1).await;
}

async fn who_has_no_token_learns_where_to_log_in() {
    let world = World::start(&[]).await;
    let (_envoy, client) = run("challenges", &world, &rendered(&[]), &[]).await;
    let jwt = world.log_in("somebody");
    assert_eq!(ask(&client, "/github-tools/mcp", &jwt).await.status, 200);
    for name in world::BACKENDS {
        world.echoes[name].forget();
        let path = format!("/{name}/mcp");
        let metadata = format!(
            "resource_metadata=\"{PUBLIC}/.well-known/oauth-protected-resource/{name}/mcp\""
        );
        let reply = client.send(Request::get(&path)).await;
        assert_eq!(reply.status, 401, "{path}");
        assert_eq!(reply.json()["error"], "token_missing", "{path}");
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.contains(&metadata) && !challenge.contains("error="),
            "{challenge}"
        );
        assert_eq!(reply.header("cache-control"), "no-store");
        for token in ["e30.e30.e30", world.expired().as_str()] {
            let reply = client.send(Request::get(&path).bearer(token)).await;
            assert_eq!(reply.status, 401, "{path}");
            assert_eq!(reply.json()["error"], "token_invalid", "{path}");
            let challenge = reply.header("www-authenticate");
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            assert!(challenge.contains(&metadata), "{challenge}");
        }
        assert!(world.echoes[name].requests().is_empty());
    }
}

/// The rendered set with one of [`ARGUMENTS`] replaced.
fn rendered_with(option: &str, instead: &str) -> String {
    let arguments: Vec<&str> = ARGUMENTS
        .into_iter()
        .filter(|argument| !argument.starts_with(option))
        .chain([instead])
        .collect();
    assert_eq!(arguments.len(), ARGUMENTS.len(), "{option}");
    let wasm = format!("--wasm={}", artifact().display());
    render(
        "envoy-gateway",
        &[&arguments[..], &[wasm.as_str()]].concat(),
    )
}

/// A login would not help: the answer is 503, and no challenge.
fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"], "identity_unavailable");
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("www-authenticate"), "");
}

async fn without_the_issuers_keys_nobody_is_sent_to_log_in() {
    let world = World::start(&[]).await;
    let set = rendered_with(
        "--jwks-url=",
        "--jwks-url=http://sts.mcp.svc.cluster.local:8080/jwks.json",
    );
    world.sts.set_script(|_| Answer::error(500, "server_error"));
    let (_envoy, client) = run("no-keys", &world, &set, &[]).await;
    let jwt = world.log_in("erin");
    for name in world::BACKENDS {
        let path = format!("/{name}/mcp");
        assert_unavailable(&client.send(Request::get(&path).bearer(&jwt)).await);
        // Who has none is told so: that needs no keys.
        let reply = client.send(Request::get(&path)).await;
        assert_eq!(reply.json()["error"], "token_missing", "{}", reply.text());
        world.assert_saw_nothing(name);
        assert!(world.echoes[name].requests().is_empty(), "{name}");
    }
}

/// `--ext-authz` instead of `--identity`.
async fn tokens_in_metadata_do_as_well() {
    let world = World::start(&[]).await;
    let set = rendered_with(
        "--identity=",
        "--ext-authz=vmcp-authz.mcp.svc.cluster.local:9191",
    );
    let (_envoy, client) = run("ext-authz", &world, &set, &[]).await;
    let github = canary::token("gho_", "authz");
    let corporate = canary::token("corp_", "authz");
    let tokens = json!({"github": github, "corporate-idp": corporate});
    let jwt = world
        .embedded_as
        .login("frank", json!({"upstream_tokens": tokens}));
    let get = |name: &str| {
        let path = format!("/{name}/mcp");
        let (client, jwt) = (&client, &jwt);
        async move { ask(client, &path, jwt).await }
    };
    let reply = get("github-tools").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.seen("authorization"), [format!("Bearer {github}")]);
    for (name, subject) in [("corporate-api", &corporate), ("delegated-api", &jwt)] {
        let reply = get(name).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert!(
            reply
                .seen("authorization")
                .concat()
                .starts_with("Bearer sts_"),
            "{name}"
        );
        let requests = world.sts.requests();
        let asked = requests
            .iter()
            .any(|request| request.parameter("subject_token") == *subject);
        assert!(asked, "{name}");
    }
    let reply = get("internal-api").await;
    assert_eq!(reply.seen("x-api-key"), [world::key()]);
    assert_eq!(reply.seen("authorization"), [""; 0]);
    assert_eq!(get("open-tools").await.status, 200);
    assert!(world.identity.requests().is_empty(), "nobody asks there");
    // Nobody asks about who has no token.
    let checks = world.embedded_as.checks();
    let reply = client.send(Request::get("/github-tools/mcp")).await;
    assert_eq!(reply.json()["error"], "token_missing", "{}", reply.text());
    assert_eq!(world.embedded_as.checks(), checks);
    // A user without that login is told by the filter, with the backend's own challenge.
    let other = world.embedded_as.login(
        "grace",
        json!({"upstream_tokens": {"corporate-idp": corporate}}),
    );
    let reply = ask(&client, "/github-tools/mcp", &other).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"], "upstream_token_not_found");
    assert!(
        reply
            .header("www-authenticate")
            .contains("/github-tools/mcp\"")
    );
    // Without an answer nobody is let through, and nobody is sent to log in.
    world.embedded_as.break_down(true);
    for name in world::BACKENDS {
        world.echoes[name].forget();
        let path = format!("/{name}/mcp");
        assert_unavailable(&client.send(Request::get(&path).bearer(&jwt)).await);
        assert!(world.echoes[name].requests().is_empty(), "{name}");
    }
}

async fn the_rendered_proxy_logs_why_a_request_was_refused() {
    let world = World::start(&[]).await;
    let mut around = cluster(&world, json!([http("http", 8080)]));
    resources::find(&mut around, "Gateway", "mcp-gateway")["spec"]["infrastructure"] = json!({
        "parametersRef": {
            "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "upstream-inject",
        },
    });
    let envoy = run_with("access-log", &world, &rendered(&[]), &around).await;
    let client = Client::http1(envoy.listener("mcp/mcp-gateway/http").await);
    let jwt = world.log_in("heidi");
    world
        .identity
        .set_script(|_| Answer::error(400, "upstream_token_not_found"));
    let reply = ask(&client, "/github-tools/mcp?by=filter", &jwt).await;
    assert_eq!(reply.json()["error"], "upstream_token_not_found");
    let reply = client
        .send(Request::get("/github-tools/other?by=envoy"))
        .await;
    assert_eq!(reply.json()["error"], "token_missing");
    let line = |path: &'static str, status: u16| {
        let file = envoy.directory().join("stdout");
        async move {
            bed::eventually("the access log", || async {
                let text = std::fs::read_to_string(&file).ok()?;
                let mut lines = text
                    .lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok());
                lines.find(|line| line["path"] == path && line["status"] == status)
            })
            .await
        }
    };
    // Envoy Gateway keeps no original path: it is the backend's where the request was routed.
    let by_filter = line("/mcp", 401).await;
    assert_eq!(by_filter["refusal"], "upstream_token_not_found");
    assert_eq!(by_filter["backend"], "mcp/github-tools");
    let by_envoy = line("/github-tools/other", 401).await;
    let details = by_envoy["details"].as_str().unwrap_or_default();
    assert!(
        details.contains("Jwt_is_missing") && by_envoy["refusal"].is_null(),
        "{by_envoy}"
    );
    for line in [by_filter, by_envoy] {
        let id = line["request_id"].as_str().unwrap_or_default();
        assert_eq!(id.len(), 36, "{line}");
    }
}

async fn a_token_serves_the_backend_that_it_was_issued_for() {
    let world = World::start(&[]).await;
    let (_envoy, client) = run("bound", &world, &rendered(&[]), &[]).await;
    let jwt = world.log_in_for(&resource("github-tools"));
    assert_eq!(ask(&client, "/github-tools/mcp", &jwt).await.status, 200);
    let reply = ask(&client, "/internal-api/mcp", &jwt).await;
    assert_eq!(reply.status, 401, "a 403 would be a dead end");
    assert_eq!(reply.json()["error"], "token_invalid");
    assert!(
        reply
            .header("www-authenticate")
            .contains("/internal-api/mcp\"")
    );

    let (_envoy, client) = run("shared", &world, &rendered(&["--shared-audience"]), &[]).await;
    for name in ["github-tools", "internal-api"] {
        assert_eq!(
            ask(&client, &format!("/{name}/mcp"), &jwt).await.status,
            200
        );
    }
}

async fn the_metadata_documents_are_open_and_say_where_to_log_in() {
    let world = World::start(&[]).await;
    let (_envoy, client) = run("metadata", &world, &rendered(&[]), &[]).await;
    let well_known = "/.well-known/oauth-protected-resource";
    for name in world::BACKENDS {
        let reply = client
            .send(Request::get(&format!("{well_known}/{name}/mcp")))
            .await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.json()["resource"], resource(name));
        assert_eq!(
            reply.json()["authorization_servers"],
            json!(["https://vmcp.example.com"])
        );
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    let reply = client.send(Request::get(well_known)).await;
    assert_eq!(reply.json()["resource"], PUBLIC, "{}", reply.text());
    // Beside the documents nothing is open.
    let reply = client.send(Request::get(&format!("{well_known}2"))).await;
    assert_eq!(reply.status, 401);
}

async fn scripts_of_the_named_origins_may_call() {
    let world = World::start(&[]).await;
    let origin = "http://localhost:6274";
    let set = rendered(&[&format!("--cors={origin}")]);
    let (_envoy, client) = run("cors", &world, &set, &[]).await;
    let preflight = |origin: &str| {
        Request::new(http_method("OPTIONS"), "/github-tools/mcp", "".into())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
    };
    let reply = client.send(preflight(origin)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("access-control-allow-origin"), origin);
    let reply = client.send(preflight("https://evil.example")).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
    let request = Request::get("/github-tools/mcp").header("origin", origin);
    let reply = client.send(request).await;
    assert_eq!(reply.status, 401);
    assert!(
        reply
            .header("access-control-expose-headers")
            .contains("www-authenticate")
    );
    assert!(world.echoes["github-tools"].requests().is_empty());
}

fn http_method(name: &str) -> bed::Method {
    name.parse().expect("a method")
}

async fn the_auth_server_is_reached_as_if_there_were_no_filter() {
    let world = World::start(&[]).await;
    let set = rendered(&["--auth-server-address=vmcp.mcp.svc.cluster.local:8080"]);
    let (_envoy, client) = run("auth-server", &world, &set, &[]).await;
    let confidential = "Basic Y2xpZW50OnNlY3JldA==";
    let request = Request::post("/oauth/token", "").header("authorization", confidential);
    let _ = client.send(request).await;
    let _ = client
        .send(Request::get("/.well-known/oauth-authorization-server"))
        .await;
    let asked = world.embedded_as.asked();
    let found = |path: &str| asked.iter().find(|asked| asked.path == path);
    let token = found("/oauth/token").unwrap_or_else(|| panic!("{asked:?}"));
    assert_eq!(token.authorization, [confidential]);
    assert!(
        found("/.well-known/oauth-authorization-server").is_some(),
        "{asked:?}"
    );
    // Nothing else of it, by whatever spelling.
    for path in [
        "/mcp",
        "/oauth/../mcp",
        "/oauth/%2e%2e/mcp",
        "/oauth/..%2fmcp",
    ] {
        let reply = bed::raw_exchange(
            client.address(),
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
            |_| false,
        )
        .await
        .expect("an answer");
        assert!(!reply.starts_with(b"HTTP/1.1 200"), "{path}");
    }
    assert!(
        world
            .embedded_as
            .asked()
            .iter()
            .all(|asked| !asked.path.contains("mcp"))
    );
    world.assert_strategies(&client, "", "bob").await;
}

async fn without_the_patches_the_door_holds() {
    let world = World::start(&[]).await;
    let resources: Vec<Value> = resources::parse(&rendered(&[]))
        .into_iter()
        .filter(|resource| resource["kind"] != "EnvoyPatchPolicy")
        .collect();
    let (_envoy, client) = run("unpatched", &world, &resources::print(&resources), &[]).await;
    let jwt = world.log_in("carol");
    for name in world::BACKENDS {
        let request = Request::get(&format!("/{name}/mcp")).bearer(&jwt);
        let reply = client.send(request.header("x-api-key", "forged")).await;
        assert_eq!(reply.status, 200, "{name}");
        world.assert_saw_nothing(name);
    }
}

async fn a_listener_that_is_not_named_sends_neither_token_nor_key() {
    let world = World::start(&[]).await;
    let listeners = json!([http("http", 8080), http("other", 8081)]);
    // Somebody's route of their own, to our backend, on every listener.
    let mut others = cluster(&world, listeners);
    others.push(route(
        "everywhere",
        "/everywhere",
        "internal-api",
        json!({}),
    ));
    let envoy = run_with("other-listener", &world, &rendered(&[]), &others).await;
    let jwt = world.log_in("dave");
    let named = Client::http1(envoy.listener("mcp/mcp-gateway/http").await);
    world.assert_strategies(&named, "", "dave").await;
    let other = Client::http1(envoy.listener("mcp/mcp-gateway/other").await);
    for name in world::BACKENDS {
        let path = format!("/{name}/mcp");
        world.echoes[name].forget();
        let reply = other.send(Request::get(&path).bearer(&jwt)).await;
        assert_eq!(
            reply.status, 404,
            "{path}: our routes belong to the listeners that have the filter"
        );
    }
    // A route of others takes the key nowhere on either listener.
    let reply = other.send(Request::get("/everywhere/x").bearer(&jwt)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.seen("x-api-key"), [""; 0]);
}

/// Somebody's HTTPRoute `mcp/NAME` to the backend, with this metadata added and the door closed.
pub fn route(name: &str, prefix: &str, backend: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "mcp", "annotations": annotations},
        "spec": {
            "parentRefs": [{"name": "mcp-gateway"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
                "filters": [{
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"remove": ["authorization"]},
                }],
                "backendRefs": [{"name": backend, "port": 8080}],
            }],
        },
    })
}

async fn https_listeners_get_the_same() {
    let world = World::start(&[]).await;
    let certificate =
        rcgen::generate_simple_self_signed(["mcp.example.com".to_owned()]).expect("a certificate");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "tls", "namespace": "mcp"},
        "stringData": {
            "tls.crt": certificate.cert.pem(),
            "tls.key": certificate.signing_key.serialize_pem(),
        },
        "data": {
            "tls.crt": base64(&certificate.cert.pem()),
            "tls.key": base64(&certificate.signing_key.serialize_pem()),
        },
    });
    let mut https = http("https", 8443);
    https["protocol"] = json!("HTTPS");
    https["hostname"] = json!("mcp.example.com");
    https["tls"] = json!({"mode": "Terminate", "certificateRefs": [{"name": "tls"}]});
    let mut around = cluster(&world, json!([http("http", 8080), https]));
    around.push(secret);
    let set = rendered(&["--listener=https:8443:HTTPS"]);
    let envoy = run_with("https", &world, &set, &around).await;
    for listener in ["http", "https"] {
        let address = envoy.listener(&format!("mcp/mcp-gateway/{listener}")).await;
        let client = Client::http1(address);
        let jwt = world.log_in(listener);
        let request = || Request::get("/internal-api/mcp").header("host", "mcp.example.com");
        let reply = bed::eventually("the keys", || async {
            let reply = client.send(request().bearer(&jwt)).await;
            (reply.status != 503).then_some(reply)
        })
        .await;
        assert_eq!(reply.status, 200, "{listener}: {}", reply.text());
        assert_eq!(reply.seen("x-api-key"), [world::key()], "{listener}");
        assert_eq!(reply.seen("authorization"), [""; 0], "{listener}");
        assert_eq!(client.send(request()).await.status, 401, "{listener}");
    }
}

/// As Secrets have it.
pub fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn paths_and_streams_are_treated_as_the_page_says() {
    let world = World::start(&[]).await;
    let around = cluster(&world, json!([http("http", 8080)]));
    let all = format!("{}---\n{}", resources::print(&around), rendered(&[]));
    let dump = egctl::translate(&all);
    let mut bootstrap = bed::static_bootstrap(&dump, &world.neighbours).expect("all is there");
    let listeners = bootstrap["staticResources"]["listeners"]
        .as_array_mut()
        .expect("a list");
    let mut routes = 0;
    // The other one is Envoy Gateway's own, which tells whether the proxy is ready.
    let ours = listeners
        .iter_mut()
        .filter(|listener| listener["name"] == "mcp/mcp-gateway/http");
    for manager in ours.flat_map(connection_managers) {
        assert_eq!(manager["normalizePath"], true);
        assert_eq!(manager["mergeSlashes"], true);
        assert_eq!(
            manager["pathWithEscapedSlashesAction"],
            "UNESCAPE_AND_REDIRECT"
        );
        let options = &manager["commonHttpProtocolOptions"];
        assert_eq!(options["headersWithUnderscoresAction"], "REJECT_REQUEST");
        let hosts = manager["routeConfig"]["virtualHosts"].as_array();
        let all = hosts
            .into_iter()
            .flatten()
            .flat_map(|host| host["routes"].as_array());
        for route in all.flatten().filter(|route| route["route"].is_object()) {
            assert_eq!(route["route"]["timeout"], "0s", "{}", route["name"]);
            routes += 1;
        }
    }
    assert_eq!(routes, world::BACKENDS.len());
}
