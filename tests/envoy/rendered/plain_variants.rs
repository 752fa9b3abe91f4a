//! What options change of what is rendered for plain Envoy, and what it does when others fail.

use bed::{Envoy, LogService, Request, canary};
use serde_json::json;

use super::plain::{BACKENDS, PUBLIC, Scene, assert_refused, configuration, parameters};
use super::{render, send, start};
use crate::trial::trials;

trials!("rendered_plain_variants":
    while_the_keys_cannot_be_had_nobody_is_sent_to_log_in,
    a_shared_audience_serves_every_backend,
    backends_with_hosts_of_their_own_keep_their_paths,
    tokens_in_metadata_are_asked_for_by_route_and_fail_closed,
    the_path_of_an_issuer_is_taken_off,
    a_registration_that_came_too_soon_is_sent_again_when_it_says_so,
    every_version_takes_the_capabilities_where_it_wants_them,
    ten_lines_are_enough,
    a_log_of_all_metadata_holds_tokens_only_where_ext_authz_put_them,
);

/// An address at which nobody listens.
fn nobody() -> String {
    format!("127.0.0.1:{}", bed::free_port().expect("a free port"))
}

async fn while_the_keys_cannot_be_had_nobody_is_sent_to_log_in() {
    let keys = format!("--jwks-url=http://{}/jwks.json", nobody());
    let scene = Scene::new("plain-no-keys", &[&keys], |rendered| rendered).await;
    let token = scene.token("github-tools");
    let reply = scene
        .client
        .send(Request::get("/github-tools/mcp").bearer(&token))
        .await;
    assert_refused(&reply, 503, "identity_unavailable", "");
    assert_eq!(reply.header("retry-after"), "5");
    let reply = scene.client.send(Request::get("/github-tools/mcp")).await;
    let challenge = format!("Bearer {}", parameters("github-tools"));
    assert_refused(&reply, 401, "token_missing", &challenge);
}

async fn a_shared_audience_serves_every_backend() {
    let options = ["--shared-audience", "--audience=https://shared.example"];
    let scene = Scene::new("plain-shared", &options, |rendered| rendered).await;
    let issuer = scene.embedded_as.issuer();
    let lifetime = std::time::Duration::from_secs(3600);
    let token = issuer.mint_for("alice", "t", lifetime, &json!("https://shared.example"));
    for backend in BACKENDS {
        let reply = scene.get(&format!("/{backend}/mcp"), &token).await;
        assert_eq!(reply.status, 200, "{backend}: {}", reply.text());
    }
    let other = scene.get("/open-api/mcp", &scene.token("open-api")).await;
    assert_eq!(other.json()["error"], "token_invalid");
}

async fn backends_with_hosts_of_their_own_keep_their_paths() {
    let scene = Scene::new("plain-by-host", &["--by-host"], |rendered| rendered).await;
    let issuer = scene.embedded_as.issuer();
    let lifetime = std::time::Duration::from_secs(3600);
    let host = "github-tools.mcp.example.com";
    let url = format!("https://{host}/mcp");
    let token = issuer.mint_for("alice", "t", lifetime, &json!(url));
    for (path, host) in [
        ("/mcp?x=1", host.to_owned()),
        ("/messages", format!("{host}:443")),
    ] {
        let reply = send(&scene.client, || {
            Request::get(path).header("host", &host).bearer(&token)
        })
        .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["path"], path);
        assert_eq!(
            reply.seen("authorization"),
            [format!("Bearer {}", canary::token("gho_", "plain"))]
        );
    }
    let elsewhere = Request::get("/mcp")
        .header("host", "open-api.mcp.example.com")
        .bearer(&token);
    let reply = scene.client.send(elsewhere).await;
    assert_eq!(reply.json()["error"], "token_invalid");
    let reply = scene
        .client
        .send(Request::get("/mcp").header("host", host))
        .await;
    let metadata = format!("https://{host}/.well-known/oauth-protected-resource/mcp");
    let challenge =
        format!("Bearer realm=\"mcp\", scope=\"mcp:tools\", resource_metadata=\"{metadata}\"");
    assert_refused(&reply, 401, "token_missing", &challenge);
    let document = Request::get("/.well-known/oauth-protected-resource/mcp").header("host", host);
    let reply = scene.client.send(document).await;
    assert_eq!(reply.json()["resource"], url);
    // The auth server, and the gateway's own document, are at the gateway's host alone.
    for (host, status) in [("mcp.example.com", 200), (host, 401)] {
        let path = "/.well-known/oauth-authorization-server";
        let reply = scene
            .client
            .send(Request::get(path).header("host", host))
            .await;
        assert_eq!(reply.status, status, "{host}");
    }
    let document =
        Request::get("/.well-known/oauth-protected-resource").header("host", "mcp.example.com");
    assert_eq!(scene.client.send(document).await.json()["resource"], PUBLIC);
}

async fn tokens_in_metadata_are_asked_for_by_route_and_fail_closed() {
    let mut rendered = String::new();
    let scene = Scene::new("plain-metadata", &["--ext-authz={grpc}"], |text| {
        rendered.clone_from(&text);
        text
    })
    .await;
    for part in [
        "upstream_inject.providers: \"github\"",
        "upstream_inject.providers: \"corporate-idp\"",
        "upstream_inject.providers: \"\"",
        "status_on_error: {code: ServiceUnavailable}",
        "failure_mode_allow: false",
    ] {
        assert!(rendered.contains(part), "{part}");
    }
    assert!(!rendered.contains("source: exchange"));
    let issuer = scene.embedded_as.issuer();
    let tokens = json!({"github": canary::token("gho_", "plain")});
    scene
        .embedded_as
        .set_session("session-plain", json!({"upstream_tokens": tokens}));
    let reply = scene
        .get("/github-tools/mcp", &scene.token("github-tools"))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {}", canary::token("gho_", "plain"))]
    );
    assert_eq!(issuer.name(), "https://vmcp.example.com");
    scene.embedded_as.break_down(true);
    let token = scene.token("github-tools");
    let reply = scene
        .client
        .send(Request::get("/github-tools/mcp").bearer(&token))
        .await;
    assert_refused(&reply, 503, "identity_unavailable", "");
    // Who logs in is not asked for a session.
    let reply = scene
        .client
        .send(Request::post("/oauth/register", "{}"))
        .await;
    assert_eq!(reply.status, 201);
}

async fn the_path_of_an_issuer_is_taken_off() {
    let embedded_as = bed::EmbeddedAs::start().await.expect("a free port");
    let config = "outgoingAuth: {backends: {a: {type: unauthenticated}}}";
    let arguments = [
        "--listen=127.0.0.1:0".to_owned(),
        "--admin=127.0.0.1:0".to_owned(),
        "--issuer=https://mcp.example.com/auth".to_owned(),
        format!("--public-url={PUBLIC}"),
        format!("--auth-server-address={}", embedded_as.http_address()),
        format!("--backend=a={}", nobody()),
    ];
    let (_envoy, client) = start(
        "plain-issuer-path",
        render("envoy", config, &arguments),
        &[],
    )
    .await;
    for (path, at_server) in [
        ("/auth/oauth/authorize?x=1", "/oauth/authorize?x=1"),
        ("/auth/oauth/register", "/oauth/register"),
        (
            "/auth/.well-known/openid-configuration",
            "/.well-known/openid-configuration",
        ),
        (
            "/.well-known/oauth-authorization-server/auth",
            "/.well-known/oauth-authorization-server/auth",
        ),
        (
            "/.well-known/openid-configuration/auth",
            "/.well-known/openid-configuration/auth",
        ),
    ] {
        client.send(Request::get(path)).await;
        let asked = embedded_as.asked();
        assert_eq!(asked.last().map(|one| one.path.as_str()), Some(at_server));
    }
    assert_eq!(
        client
            .send(Request::get("/auth/.well-known/jwks.json"))
            .await
            .status,
        200
    );
    let before = embedded_as.asked().len();
    for path in ["/oauth/token", "/auth/mcp", "/auth/oauth"] {
        assert_eq!(client.send(Request::get(path)).await.status, 401, "{path}");
    }
    assert_eq!(embedded_as.asked().len(), before);
}

async fn a_registration_that_came_too_soon_is_sent_again_when_it_says_so() {
    let auth_server = bed::Sts::start().await.expect("a free port");
    let config = "outgoingAuth: {backends: {a: {type: unauthenticated}}}";
    let arguments = [
        "--listen=127.0.0.1:0".to_owned(),
        "--admin=127.0.0.1:0".to_owned(),
        format!("--issuer={PUBLIC}"),
        format!("--public-url={PUBLIC}"),
        format!("--jwks-url=http://{}/jwks.json", nobody()),
        format!("--auth-server-address={}", auth_server.address()),
        format!("--backend=a={}", nobody()),
    ];
    let rendered = render("envoy", config, &arguments);
    let (_envoy, client) = start("plain-register", rendered, &[]).await;
    let too_soon = || bed::Answer::raw(429, "").header("retry-after", "1");
    auth_server.answer_next(too_soon());
    auth_server.answer_next(bed::Answer::json(201, &json!({"client_id": "c"})));
    let begun = std::time::Instant::now();
    let reply = client.send(Request::post("/oauth/register", "{}")).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert!(begun.elapsed() >= std::time::Duration::from_millis(900));
    assert_eq!(auth_server.calls(), 2);
    // Nothing else is sent twice.
    auth_server.answer_next(too_soon());
    let reply = client.send(Request::post("/oauth/token", "x=y")).await;
    assert_eq!((reply.status, auth_server.calls()), (429, 3));
}

async fn every_version_takes_the_capabilities_where_it_wants_them() {
    let sts = bed::Sts::start().await.expect("a free port");
    let verdict = |name: &str, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let mut arguments = vec![
            "--listen=127.0.0.1:0".to_owned(),
            "--admin=127.0.0.1:0".to_owned(),
            format!("--public-url={PUBLIC}"),
        ];
        arguments.extend(options);
        for backend in BACKENDS {
            arguments.push(format!("--backend={backend}=127.0.0.1:1"));
        }
        let rendered = render("envoy", &configuration(&sts), &arguments);
        Envoy::validate(name, &rendered, &[("INTERNAL_API_KEY", "x")]).expect("Envoy runs")
    };
    let any = verdict("plain-any-version", &[]);
    assert!(any.accepted, "{}", any.output);
    let newest = verdict("plain-newest", &["--envoy-version=1.40"]);
    assert_eq!(
        newest.accepted,
        bed::envoy::minor_version() >= 40,
        "{}",
        newest.output
    );
    if newest.accepted {
        assert!(!newest.output.contains("deprecated"), "{}", newest.output);
    }
}

async fn ten_lines_are_enough() {
    let file = super::read("docs/targets/first.yaml");
    assert_eq!(file.lines().count(), 10);
    let embedded_as = bed::EmbeddedAs::issuing_for(json!(format!("{PUBLIC}/corporate-api/mcp")))
        .await
        .expect("a free port");
    let sts = bed::Sts::start().await.expect("a free port");
    let echo = bed::Echo::start("corporate-api")
        .await
        .expect("a free port");
    let here = file
        .replace(
            "https://corp-sts.example.com",
            &format!("http://{}", sts.address()),
        )
        .replace("https://login.example.com", embedded_as.issuer().name());
    let arguments = [
        "--listen=127.0.0.1:0".to_owned(),
        "--admin=127.0.0.1:0".to_owned(),
        format!("--jwks-url=http://{}/jwks.json", embedded_as.http_address()),
        format!("--backend=corporate-api=http://{}/mcp", echo.address()),
    ];
    let secret = canary::token("secret-", "ten-lines");
    let rendered = render("envoy", &here, &arguments);
    let (_envoy, client) = start(
        "plain-ten-lines",
        rendered,
        &[("STS_CLIENT_SECRET", &secret)],
    )
    .await;
    let token = embedded_as.login("alice", json!({}));
    let reply = send(&client, || {
        Request::get("/corporate-api/mcp").bearer(&token)
    })
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sts.requests()[0].parameter("subject_token"), token);
    assert!(!reply.text().contains(&token));
    let reply = client.send(Request::get("/corporate-api/mcp")).await;
    let metadata = format!("{PUBLIC}/.well-known/oauth-protected-resource/corporate-api/mcp");
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    assert_refused(&reply, 401, "token_missing", &challenge);
}

/// With a logger that ships the whole dynamic metadata of each request.
fn with_log_service(rendered: &str, service: &LogService) -> String {
    // Flow collections, so that only the first column counts.
    let logger = json!({
        "name": "envoy.access_loggers.http_grpc",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "common_config": {
                "log_name": "all",
                "transport_api_version": "V3",
                "buffer_size_bytes": 0,
                "grpc_service": {"envoy_grpc": {"cluster_name": "log-service"}},
            },
        },
    });
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let address = json!({"address": "127.0.0.1", "port_value": service.address().port()});
    let cluster = json!({
        "name": "log-service",
        "type": "STATIC",
        "typed_extension_protocol_options": {protocol: {
            "@type": format!("type.googleapis.com/{protocol}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }},
        "load_assignment": {"cluster_name": "log-service", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": address}}},
        ]}]},
    });
    let mut changed = String::new();
    let mut added = 0;
    for line in rendered.lines() {
        changed.push_str(&format!("{line}\n"));
        let item = match line {
            "                access_log:" => &logger,
            "  clusters:" => &cluster,
            _ => continue,
        };
        let indent = line.len() - line.trim_start().len() + 2;
        changed.push_str(&format!("{:indent$}- {item}\n", ""));
        added += 1;
    }
    assert_eq!(added, 2, "{rendered}");
    changed
}

async fn a_log_of_all_metadata_holds_tokens_only_where_ext_authz_put_them() {
    let upstream = canary::token("gho_", "plain");
    for (name, options, holds_tokens) in [
        ("plain-log-exchange", &[][..], false),
        ("plain-log-metadata", &["--ext-authz={grpc}"], true),
    ] {
        let service = LogService::start().await.expect("a free port");
        let change = |rendered: String| with_log_service(&rendered, &service);
        let scene = Scene::new(name, options, change).await;
        let tokens = json!({"github": upstream});
        let session = json!({"upstream_tokens": tokens});
        scene.embedded_as.set_session("session-plain", session);
        let jwt = scene.token("github-tools");
        let reply = scene.get("/github-tools/mcp", &jwt).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let log = bed::eventually("the request to be logged", || async {
            let log = service.text();
            log.contains("/github-tools/mcp").then_some(log)
        })
        .await;
        assert_eq!(log.contains(&upstream), holds_tokens, "{name}: {log}");
        assert!(!log.contains(&jwt), "{name}: {log}");
        // The session's name is among the checked claims.
        assert!(log.contains("session-plain"), "{name}: {log}");
    }
}
