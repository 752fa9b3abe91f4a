//! What is rendered for plain Envoy keeps every promise: who sees what, what a client without a good
//! token is told, and what cannot be reached.

use std::time::Duration;

use bed::{
    Answer, Client, Echo, EmbeddedAs, Envoy, IdentityIssuer, Reply, Request, Sts, canary,
    raw_exchange,
};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::{render, send, start};
use crate::trial::trials;

trials!("rendered_plain":
    each_backend_sees_its_own_credential_and_none_the_clients_token,
    without_a_good_token_a_client_is_told_where_to_log_in,
    a_token_serves_the_backend_that_it_was_issued_for,
    a_cluster_that_no_strategy_is_for_gets_nothing,
    what_a_client_sends_in_a_strategys_header_reaches_nobody,
    no_backend_is_asked_what_it_got,
    the_metadata_documents_are_open_and_scripts_can_read_them,
    preflights_are_answered_and_scripts_can_read_the_challenge,
    the_auth_server_is_reachable_and_nothing_else_of_it,
    a_probes_path_is_open_and_carries_no_credential,
    the_access_log_tells_refusals_apart,
);

/// The URL of the gateway, as clients know it.
pub(super) const PUBLIC: &str = "https://mcp.example.com";
const ORIGIN: &str = "http://localhost:6274";

/// One backend for each way to get a credential.
pub(super) const BACKENDS: [&str; 5] = [
    "github-tools",
    "corporate-api",
    "own-token",
    "internal-api",
    "open-api",
];

/// The configuration that is rendered; `sts` is the backends' STS.
pub(super) fn configuration(sts: &Sts) -> String {
    let sts = sts.address();
    format!(
        "\
authServer:
  runConfig:
    issuer: https://vmcp.example.com
    upstreams: [{{name: github}}, {{name: corporate-idp}}]
outgoingAuth:
  backends:
    github-tools: {{type: upstream_inject, upstreamInject: {{providerName: github}}}}
    corporate-api:
      type: token_exchange
      tokenExchange:
        tokenUrl: http://{sts}/token
        audience: https://corp-api.example.com
        subjectProviderName: corporate-idp
    own-token:
      type: token_exchange
      tokenExchange: {{tokenUrl: \"http://{sts}/token\", audience: https://own.example.com}}
    internal-api:
      type: header_injection
      headerInjection: {{headerName: X-API-Key, headerValueEnv: INTERNAL_API_KEY}}
    open-api: {{type: unauthenticated}}
challenge: {{realm: mcp, scope: \"mcp:tools\"}}
"
    )
}

/// A rendered Envoy with everyone around it.
pub(super) struct Scene {
    pub(super) embedded_as: EmbeddedAs,
    /// In the place of the identity service: answers with the provider's token.
    pub(super) identity: Sts,
    pub(super) sts: Sts,
    pub(super) backends: Vec<(&'static str, Echo)>,
    pub(super) envoy: Envoy,
    pub(super) client: Client,
    pub(super) key: String,
}

impl Scene {
    /// `change` sees what was rendered before Envoy does.
    pub(super) async fn new(
        name: &str,
        options: &[&str],
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let embedded_as = EmbeddedAs::start().await.expect("a free port");
        let identity = Sts::start().await.expect("a free port");
        let sts = Sts::start().await.expect("a free port");
        identity.set_script(|request| match request.parameter("audience").as_str() {
            "github" => Answer::token(&canary::token("gho_", "plain")),
            "corporate-idp" => Answer::token(&canary::token("corp_", "plain")),
            _ => Answer::error(400, "invalid_target"),
        });
        let mut arguments: Vec<String> = [
            "--listen=127.0.0.1:0".to_owned(),
            "--admin=127.0.0.1:0".to_owned(),
            format!("--public-url={PUBLIC}"),
            format!("--auth-server-address={}", embedded_as.http_address()),
        ]
        .into();
        if !options
            .iter()
            .any(|option| option.starts_with("--ext-authz"))
        {
            arguments.push(format!("--identity=http://{}", identity.address()));
        }
        let mut backends = Vec::new();
        for name in BACKENDS {
            let echo = Echo::start(name).await.expect("a free port");
            arguments.push(format!("--backend={name}=http://{}/mcp", echo.address()));
            backends.push((name, echo));
        }
        let ext_authz = embedded_as.grpc_address().to_string();
        arguments.extend(
            options
                .iter()
                .map(|option| option.replace("{grpc}", &ext_authz)),
        );
        let rendered = change(render("envoy", &configuration(&sts), &arguments));
        let key = canary::token("key-", "plain");
        let (envoy, client) = start(name, rendered, &[("INTERNAL_API_KEY", &key)]).await;
        Self {
            embedded_as,
            identity,
            sts,
            backends,
            envoy,
            client,
            key,
        }
    }

    /// A user's token for one backend.
    pub(super) fn token(&self, backend: &str) -> String {
        self.token_for(&format!("{PUBLIC}/{backend}/mcp"))
    }

    fn token_for(&self, audience: &str) -> String {
        let issuer = self.embedded_as.issuer();
        issuer.mint_for(
            "alice",
            "session-plain",
            Duration::from_secs(3600),
            &json!(audience),
        )
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Reply {
        send(&self.client, || Request::get(path).bearer(token)).await
    }

    fn assert_nobody_was_called(&self) {
        for (name, echo) in &self.backends {
            assert_eq!(echo.requests().len(), 0, "{name}");
        }
        assert_eq!((self.sts.calls(), self.identity.calls()), (0, 0));
    }
}

fn unchanged(rendered: String) -> String {
    rendered
}

/// What a 401 of a backend says after `Bearer`.
pub(super) fn parameters(backend: &str) -> String {
    format!(
        "realm=\"mcp\", scope=\"mcp:tools\", \
         resource_metadata=\"{PUBLIC}/.well-known/oauth-protected-resource/{backend}/mcp\""
    )
}

#[track_caller]
pub(super) fn assert_refused(reply: &Reply, status: u16, code: &str, challenge: &str) {
    assert_eq!(
        (
            reply.status,
            reply.json()["error"].as_str(),
            reply.header("www-authenticate").as_str(),
        ),
        (status, Some(code), challenge),
        "{}",
        reply.text()
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("content-type"), "application/json");
}

async fn each_backend_sees_its_own_credential_and_none_the_clients_token() {
    let scene = Scene::new("plain-credentials", &[], unchanged).await;
    let get = async |backend: &str| {
        let token = scene.token(backend);
        let reply = scene.get(&format!("/{backend}/mcp?x=1"), &token).await;
        assert_eq!(reply.status, 200, "{backend}: {}", reply.text());
        assert_eq!(reply.json()["path"], "/mcp?x=1");
        assert!(!reply.text().contains(&token), "{backend}");
        (reply.seen("authorization"), reply.seen("x-api-key"), token)
    };
    let bearer = |token: &str| vec![format!("Bearer {token}")];
    let none = Vec::<String>::new();

    let (authorization, key, token) = get("github-tools").await;
    assert_eq!(authorization, bearer(&canary::token("gho_", "plain")));
    assert_eq!(key, none);
    let asked = &scene.identity.requests()[0];
    assert_eq!(asked.parameter("subject_token"), token);
    assert_eq!(asked.parameter("audience"), "github");

    let (authorization, _, _) = get("corporate-api").await;
    let exchanged = scene.sts.requests()[0].clone();
    assert_eq!(
        exchanged.parameter("subject_token"),
        canary::token("corp_", "plain")
    );
    assert_eq!(authorization.len(), 1);
    assert_ne!(authorization, bearer(&canary::token("corp_", "plain")));

    // In our own form of the file, without a provider the subject is the client's own token.
    let (authorization, _, token) = get("own-token").await;
    assert_eq!(scene.sts.requests()[1].parameter("subject_token"), token);
    assert_eq!(authorization.len(), 1);

    let (authorization, key, _) = get("internal-api").await;
    assert_eq!(
        (authorization, key),
        (none.clone(), vec![scene.key.clone()])
    );
    let (authorization, key, _) = get("open-api").await;
    assert_eq!((authorization, key), (none.clone(), none));

    // The backend's own name alone leads where its URL does, and what is below it stays below.
    for (path, at_backend) in [
        ("/open-api", "/mcp"),
        ("/open-api/?y=2", "/mcp?y=2"),
        ("/open-api/messages?z=3", "/messages?z=3"),
    ] {
        let reply = scene.get(path, &scene.token("open-api")).await;
        assert_eq!(reply.json()["path"], at_backend, "{path}");
    }
    assert_eq!(
        scene
            .get("/open-api2", &scene.token("open-api"))
            .await
            .status,
        401,
        "not that backend"
    );
}

async fn without_a_good_token_a_client_is_told_where_to_log_in() {
    let scene = Scene::new("plain-challenges", &[], unchanged).await;
    // The keys are there from now on.
    scene.get("/nowhere", &scene.token_for(PUBLIC)).await;
    let issuer = scene.embedded_as.issuer();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let claims = |iss: &str, exp: u64| json!({"iss": iss, "aud": format!("{PUBLIC}/internal-api/mcp"), "sub": "a", "tsid": "t", "exp": exp});
    let good = scene.token("internal-api");
    let stranger = IdentityIssuer::named(issuer.name(), json!(PUBLIC));
    let bad = [
        ("expired", issuer.sign(&claims(issuer.name(), now - 3600))),
        (
            "another issuer's",
            issuer.sign(&claims("https://other.example", now + 3600)),
        ),
        (
            "somebody else's",
            stranger.sign(&claims(issuer.name(), now + 3600)),
        ),
        ("another backend's", scene.token("github-tools")),
        ("the gateway's", scene.token_for(PUBLIC)),
        ("broken", format!("{}x", &good[..good.len() - 4])),
        ("no JWT", "opaque".to_owned()),
    ];
    for backend in ["internal-api", "github-tools", "open-api"] {
        let path = format!("/{backend}/mcp?access_token={good}");
        let missing = format!("Bearer {}", parameters(backend));
        let reply = scene.client.send(Request::get(&path)).await;
        assert_refused(&reply, 401, "token_missing", &missing);
        assert_eq!(reply.json()["backend"], *backend);
        // Another scheme is no bearer token.
        let basic = Request::get(&path).header("authorization", "Basic YTpi");
        let reply = scene.client.send(basic).await;
        assert_refused(&reply, 401, "token_missing", &missing);
    }
    let invalid = format!(
        "Bearer error=\"invalid_token\", {}",
        parameters("internal-api")
    );
    for (what, token) in &bad {
        // Any letter case will do for the scheme.
        for scheme in ["Bearer", "bearer"] {
            let request = Request::get("/internal-api/mcp")
                .header("authorization", format!("{scheme} {token}"));
            let reply = scene.client.send(request).await;
            assert_eq!(
                reply.json()["error"],
                "token_invalid",
                "{what}: {}",
                reply.text()
            );
            assert_refused(&reply, 401, "token_invalid", &invalid);
        }
    }
    let gateway = format!(
        "Bearer realm=\"mcp\", scope=\"mcp:tools\", \
         resource_metadata=\"{PUBLIC}/.well-known/oauth-protected-resource\""
    );
    for path in ["/", "/nothing", "/mcp", "/.well-known/other"] {
        let reply = scene.client.send(Request::get(path)).await;
        assert_refused(&reply, 401, "token_missing", &gateway);
        // Nothing of ours has no backend, not one that is null.
        assert_eq!(reply.json().get("backend"), None, "{}", reply.text());
    }
    let reply = scene.get("/nothing", &scene.token_for(PUBLIC)).await;
    assert_eq!(reply.status, 404);
    scene.assert_nobody_was_called();

    // The filter's own challenge names the same URL.
    scene
        .identity
        .answer_next(Answer::error(400, "upstream_token_not_found"));
    let reply = scene
        .get("/github-tools/mcp", &scene.token("github-tools"))
        .await;
    assert_eq!(reply.json()["error"], "upstream_token_not_found");
    let challenge = reply.header("www-authenticate");
    for part in parameters("github-tools").split(", ") {
        assert!(challenge.contains(part), "{challenge}");
    }
    // A service that does not answer is not the user's fault.
    scene
        .identity
        .answer_next(Answer::error(503, "temporarily_unavailable"));
    let reply = scene
        .get("/corporate-api/mcp", &scene.token("corporate-api"))
        .await;
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (503, Some("upstream_token_unavailable"))
    );
}

async fn a_token_serves_the_backend_that_it_was_issued_for() {
    let scene = Scene::new("plain-audiences", &[], unchanged).await;
    for of in BACKENDS {
        let token = scene.token(of);
        for at in BACKENDS {
            let reply = scene.get(&format!("/{at}/mcp"), &token).await;
            let expected = if of == at { 200 } else { 401 };
            assert_eq!(reply.status, expected, "{of} at {at}: {}", reply.text());
        }
    }
}

async fn a_cluster_that_no_strategy_is_for_gets_nothing() {
    let scene = Scene::new("plain-unlisted", &[], |rendered| {
        let (before, plugin) = rendered.split_once("outgoingAuth:").expect("a plugin");
        let plugin = plugin.replacen("open-api:", "somebody-else:", 1);
        format!("{before}outgoingAuth:{plugin}")
    })
    .await;
    let reply = scene.get("/open-api/mcp", &scene.token("open-api")).await;
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (500, Some("backend_not_configured"))
    );
    scene.assert_nobody_was_called();
}

async fn what_a_client_sends_in_a_strategys_header_reaches_nobody() {
    let scene = Scene::new("plain-door", &[], unchanged).await;
    let token = scene.token("open-api");
    let reply = send(&scene.client, || {
        Request::get("/open-api/mcp")
            .bearer(&token)
            .header("x-api-key", "mine")
    })
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.seen("x-api-key"), [""; 0]);
    let reply = scene
        .client
        .send(
            Request::get("/open-api/mcp")
                .bearer(&token)
                .header("x_api_key", "mine"),
        )
        .await;
    assert_eq!(reply.status, 400);
}

/// The answer to TRACE is the request, the credential included.
async fn no_backend_is_asked_what_it_got() {
    let scene = Scene::new("plain-trace", &[], unchanged).await;
    for backend in BACKENDS {
        let path = format!("/{backend}/mcp");
        let reply = send(&scene.client, || {
            Request::new(Method::TRACE, &path, Bytes::new()).bearer(&scene.token(backend))
        })
        .await;
        // The route is no backend's, so that a backend's token is none for it.
        assert_eq!(reply.status, 401, "{backend}");
        let reply = send(&scene.client, || {
            Request::new(Method::TRACE, &path, Bytes::new()).bearer(&scene.token_for(PUBLIC))
        })
        .await;
        assert_eq!(reply.status, 405, "{backend}");
    }
    scene.assert_nobody_was_called();
}

async fn the_metadata_documents_are_open_and_scripts_can_read_them() {
    let scene = Scene::new("plain-documents", &["--cors", ORIGIN], unchanged).await;
    let document =
        |path: &str| Request::get(&format!("/.well-known/oauth-protected-resource{path}"));
    let expected = |resource: &str| {
        json!({
            "resource": format!("{PUBLIC}{resource}"),
            "authorization_servers": ["https://vmcp.example.com"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["mcp:tools"],
        })
    };
    for backend in BACKENDS {
        let resource = format!("/{backend}/mcp");
        for path in [resource.clone(), format!("/{backend}")] {
            let reply = scene.client.send(document(&path)).await;
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.json(), expected(&resource), "{path}");
            assert_eq!(reply.header("content-type"), "application/json");
            assert_eq!(reply.header("access-control-allow-origin"), "*");
        }
    }
    for path in ["", "/nobody"] {
        let reply = scene.client.send(document(path)).await;
        assert_eq!(reply.json(), expected(""), "{path}");
    }
    let preflight = Request::new(
        Method::OPTIONS,
        "/.well-known/oauth-protected-resource/open-api/mcp",
        bytes::Bytes::new(),
    )
    .header("origin", "http://elsewhere.example")
    .header("access-control-request-method", "GET")
    .header("access-control-request-headers", "mcp-protocol-version");
    let reply = scene.client.send(preflight).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-headers"), "*");
}

async fn preflights_are_answered_and_scripts_can_read_the_challenge() {
    let scene = Scene::new("plain-cors", &["--cors", ORIGIN], unchanged).await;
    for path in ["/github-tools/mcp", "/oauth/token", "/oauth/register"] {
        let preflight = Request::new(Method::OPTIONS, path, bytes::Bytes::new())
            .header("origin", ORIGIN)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization");
        let reply = scene.client.send(preflight.clone()).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), ORIGIN);
        assert!(
            reply
                .header("access-control-allow-headers")
                .contains("authorization")
        );
    }
    assert_eq!(scene.embedded_as.asked().len(), 0);
    let request = Request::get("/github-tools/mcp").header("origin", ORIGIN);
    let reply = scene.client.send(request).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("access-control-allow-origin"), ORIGIN);
    assert!(
        reply
            .header("access-control-expose-headers")
            .contains("www-authenticate")
    );
    let stranger = Request::get("/github-tools/mcp").header("origin", "https://evil.example");
    let reply = scene.client.send(stranger).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

async fn the_auth_server_is_reachable_and_nothing_else_of_it() {
    let scene = Scene::new("plain-auth-server", &[], unchanged).await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/jwks.json",
    ] {
        let reply = scene.client.send(Request::get(path)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_ne!(reply.json(), Value::Null, "{path}");
    }
    let reply = scene
        .client
        .send(Request::post("/oauth/register", "{}"))
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    // A confidential client's credential arrives as it was sent; nobody's is made up.
    for credential in [Some("Basic Y2xpZW50OnNlY3JldA=="), None] {
        let before = scene.embedded_as.asked().len();
        let mut request = Request::post("/oauth/token", "grant_type=nothing");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        scene.client.send(request).await;
        let asked = scene.embedded_as.asked();
        let credential: Vec<String> = credential.into_iter().map(str::to_owned).collect();
        assert_eq!(
            asked[before..]
                .iter()
                .map(|one| (one.path.as_str(), &one.authorization))
                .collect::<Vec<_>>(),
            [("/oauth/token", &credential)]
        );
    }
    let before = scene.embedded_as.asked().len();
    for (target, expected) in [
        ("/mcp", "401"),
        ("/health", "401"),
        ("/status", "401"),
        ("/oauth/../mcp", "401"),
        ("/oauth/%2e%2e/mcp", "401"),
        // That is /oauth/mcp, which the auth server does not know.
        ("/oauth//../mcp", "404"),
        ("/oauth%2f..%2fmcp", "400"),
        ("/oauth/..%2fmcp", "400"),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\r\n");
        let answer = raw_exchange(scene.client.address(), request.as_bytes(), |_| false)
            .await
            .expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{target}: {answer}"
        );
    }
    let asked = scene.embedded_as.asked();
    let asked: Vec<&str> = asked[before..]
        .iter()
        .map(|one| one.path.as_str())
        .collect();
    assert_eq!(asked, ["/oauth/mcp"]);
}

async fn a_probes_path_is_open_and_carries_no_credential() {
    let options = [
        "--health-check-path=/internal-api/healthz",
        "--health-check-path=/github-tools/healthz",
    ];
    let scene = Scene::new("plain-probes", &options, unchanged).await;
    for (path, backend) in [
        ("/internal-api/healthz", "internal-api"),
        ("/github-tools/healthz?deep=1", "github-tools"),
    ] {
        let token = scene.token(backend);
        for request in [Request::get(path), Request::get(path).bearer(&token)] {
            let reply = scene.client.send(request).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            assert!(
                reply.json()["path"]
                    .as_str()
                    .is_some_and(|path| path.starts_with("/healthz"))
            );
            assert_eq!(reply.seen("authorization"), [""; 0]);
            assert_eq!(reply.seen("x-api-key"), [""; 0]);
        }
    }
    assert_eq!(scene.identity.calls(), 0);
    for path in [
        "/internal-api/healthz/",
        "/internal-api/healthz2",
        "/open-api/healthz",
    ] {
        assert_eq!(
            scene.client.send(Request::get(path)).await.status,
            401,
            "{path}"
        );
    }
}

async fn the_access_log_tells_refusals_apart() {
    let scene = Scene::new("plain-log", &[], unchanged).await;
    scene
        .client
        .send(Request::get("/internal-api/mcp?code=secret"))
        .await;
    scene
        .identity
        .answer_next(Answer::error(400, "upstream_token_not_found"));
    scene
        .get("/github-tools/mcp", &scene.token("github-tools"))
        .await;
    let lines = bed::eventually("two lines of the access log", || async {
        let lines = scene.envoy.access_log();
        let has = |key: &str, part: &str| {
            lines
                .iter()
                .any(|line| line[key].as_str().is_some_and(|text| text.contains(part)))
        };
        (has("details", "jwt_authn_access_denied{Jwt_is_missing")
            && has("refusal", "upstream_token_not_found"))
        .then_some(lines)
    })
    .await;
    for line in &lines {
        assert!(
            line["request_id"].as_str().is_some_and(|id| id.len() > 8),
            "{line}"
        );
        assert!(
            !line["path"].as_str().is_some_and(|path| path.contains('?')),
            "{line}"
        );
    }
}
