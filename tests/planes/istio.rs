//! The rendered set for Istio, merged into a gateway's configuration as `istiod` would, and run: for a
//! gateway of the Gateway API, and for a classic one.

use bed::{Answer, Client, Envoy, Request, bootstrap};
use serde_json::{Value, json};

use crate::merger::Gateway;
use crate::resources;
use crate::trial::trials;
use crate::world::{self, PUBLIC, World, ask, render, resource};

trials!("istio":
    every_strategy_sets_its_credential_and_nothing_else_goes_on,
    who_has_no_token_learns_where_to_log_in,
    a_backend_has_one_challenge_whoever_gives_it,
    the_metadata_documents_are_open,
    the_auth_server_is_reached_as_if_there_were_no_filter,
    a_subset_is_a_backend_and_a_stranger_is_none,
    a_mirror_gets_no_credential,
    without_the_patches_nobody_gets_in_without_a_token_and_none_goes_on,
);

const IMAGE: &str = "--image=ghcr.io/example/upstream-inject@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What every rendering is told of its neighbourhood.
const ARGUMENTS: [&str; 11] = [
    "--namespace=mcp",
    "--gateway=mcp-gateway",
    "--public-url=https://mcp.example.com",
    "--identity=http://upstream-inject-identity.mcp.svc.cluster.local:9193",
    "--jwks-url=http://vmcp.mcp.svc.cluster.local:8080/jwks.json",
    "--backend=github-tools=github-tools.mcp.svc.cluster.local:8080/v2",
    "--backend=corporate-api=corporate-api.mcp.svc.cluster.local:8080",
    "--backend=delegated-api=delegated-api.mcp.svc.cluster.local:8080",
    "--backend=internal-api=internal-api.mcp.svc.cluster.local:8080",
    "--backend=open-tools=open-tools.mcp.svc.cluster.local:8080",
    IMAGE,
];

/// The two kinds of gateway.
const KINDS: [(&str, &[&str]); 2] = [
    ("api", &[]),
    ("classic", &["--gateway-selector=istio=ingressgateway"]),
];

fn rendered(more: &[&str]) -> Vec<Value> {
    resources::parse(&render("istio", &[&ARGUMENTS[..], more].concat()))
}

/// The clusters that Istio has for the Services: without a subset, and the subset `v2`.
fn clusters(world: &World) -> Vec<Value> {
    let mut clusters = Vec::new();
    for service in &world.services {
        let name = service["metadata"]["name"].as_str().expect("a name");
        let port = service["spec"]["ports"][0]["port"]
            .as_u64()
            .expect("a port");
        let host = format!("{name}.mcp.svc.cluster.local");
        let port = u16::try_from(port).expect("a port");
        let here = world.neighbours.here(&host, port);
        for subset in ["", "v2"] {
            let cluster = format!("outbound|{port}|{subset}|{host}");
            clusters.push(bootstrap::cluster(&cluster, here, false, &[]));
        }
    }
    clusters
}

/// The gateway as Istio has it without our patches: its own filters, and the routes of the set.
fn gateway(world: &World, set: &[Value], more_routes: &[Value]) -> Gateway {
    let mut routes = more_routes.to_vec();
    routes.extend(set.iter().flat_map(routes_of));
    Gateway::new(json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound_0.0.0.0_8080",
            "use_remote_address": true,
            "normalize_path": true,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "http_filters": [
                istios_jwt_authn(world, set),
                istios_rbac(set),
                {"name": "envoy.filters.http.cors", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors",
                }},
                bootstrap::router(),
            ],
            "route_config": {
                "name": "http.8080",
                "virtual_hosts": [{"name": "*:8080", "domains": ["*"], "routes": routes}],
            },
        },
    }))
}

/// What Istio makes of the RequestAuthentication; it fetches the keys itself.
fn istios_jwt_authn(world: &World, set: &[Value]) -> Value {
    let rule = &named(set, "RequestAuthentication", "upstream-inject")["spec"]["jwtRules"][0];
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"origins-0": {
                "issuer": rule["issuer"],
                "audiences": rule["audiences"],
                "from_headers": [{"name": "Authorization", "value_prefix": rule["fromHeaders"][0]["prefix"]}],
                "forward": rule["forwardOriginalToken"],
                "payload_in_metadata": "payload",
                "local_jwks": {"inline_string": world.embedded_as.issuer().jwks().to_string()},
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
                {"provider_name": "origins-0"}, {"allow_missing": {}},
            ]}}}],
        },
    })
}

/// What Istio makes of the AuthorizationPolicy.
fn istios_rbac(set: &[Value]) -> Value {
    let policy = &named(set, "AuthorizationPolicy", "upstream-inject-authenticated")["spec"];
    assert_eq!(policy["action"], "DENY");
    let rule = &policy["rules"][0];
    assert_eq!(
        rule["from"][0]["source"]["notRequestPrincipals"],
        json!(["*"])
    );
    let paths = rule["to"][0]["operation"]["notPaths"].as_array();
    let open: Vec<Value> = paths
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|path| match path.strip_suffix('*') {
            Some(prefix) => json!({"url_path": {"path": {"prefix": prefix}}}),
            None => json!({"url_path": {"path": {"exact": path}}}),
        })
        .collect();
    let permission = json!({"not_rule": {"or_rules": {"rules": open}}});
    let somebody = json!({"metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "payload"}, {"key": "iss"}],
        "value": {"present_match": true},
    }});
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "DENY",
                "policies": {"ns[mcp]-policy[upstream-inject-authenticated]-rule[0]": {
                    "permissions": [permission],
                    "principals": [{"not_id": somebody}],
                }},
            },
        },
    })
}

fn named<'a>(set: &'a [Value], kind: &str, name: &str) -> &'a Value {
    set.iter()
        .find(|resource| resource["kind"] == kind && resource["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// What Istio makes of a VirtualService or an HTTPRoute.
fn routes_of(resource: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match resource["kind"].as_str() {
        Some("VirtualService") => list(&resource["spec"]["http"])
            .iter()
            .flat_map(|rule| {
                list(&rule["match"])
                    .iter()
                    .map(|matched| {
                        let uri = &matched["uri"];
                        let matched = match uri["exact"].as_str() {
                            Some(path) => json!({"path": path}),
                            None => json!({"prefix": uri["prefix"]}),
                        };
                        virtual_service_route(rule, matched)
                    })
                    .collect::<Vec<_>>()
            })
            .collect(),
        Some("HTTPRoute") => list(&resource["spec"]["rules"])
            .iter()
            .map(http_route)
            .collect(),
        _ => Vec::new(),
    }
}

fn virtual_service_route(rule: &Value, matched: Value) -> Value {
    if let Some(answer) = rule.get("directResponse") {
        let headers = rule["headers"]["response"]["set"].as_object();
        let headers: Vec<Value> = headers
            .into_iter()
            .flatten()
            .map(|(key, value)| json!({"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}))
            .collect();
        return json!({
            "name": rule["name"],
            "match": matched,
            "response_headers_to_add": headers,
            "direct_response": {"status": answer["status"], "body": {"inline_string": answer["body"]["string"]}},
        });
    }
    let destination = &rule["route"][0]["destination"];
    assert_eq!(rule["rewrite"]["uri"], "/");
    let prefix = matched
        .get("path")
        .or(matched.get("prefix"))
        .cloned()
        .unwrap_or_default();
    route(
        matched,
        prefix.as_str().unwrap_or_default().trim_end_matches('/'),
        &rule["headers"]["request"]["remove"],
        (&destination["host"], &destination["port"]["number"]),
    )
}

fn http_route(rule: &Value) -> Value {
    let path = &rule["matches"][0]["path"];
    assert_eq!(path["type"], "PathPrefix");
    let filters = rule["filters"].as_array().expect("filters");
    let removed = &filters[0]["requestHeaderModifier"]["remove"];
    let service = &rule["backendRefs"][0];
    assert_eq!(service["kind"], "Hostname");
    let prefix = path["value"].as_str().unwrap_or_default();
    route(
        json!({"path_separated_prefix": prefix}),
        prefix,
        removed,
        (&service["name"], &service["port"]),
    )
}

fn route(matched: Value, prefix: &str, removed: &Value, (host, port): (&Value, &Value)) -> Value {
    let host = host.as_str().unwrap_or_default();
    json!({
        "match": matched,
        "request_headers_to_remove": removed,
        "route": {
            "cluster": format!("outbound|{port}||{host}"),
            "regex_rewrite": {"pattern": {"regex": format!("^{prefix}/?")}, "substitution": "/"},
            "timeout": "0s",
        },
    })
}

/// The gateway with the patches of the set, if there are any left, in an Envoy.
async fn run(name: &str, world: &World, set: &[Value], routes: &[Value]) -> (Envoy, Client) {
    let mut gateway = gateway(world, set, routes);
    for patches in set
        .iter()
        .filter(|resource| resource["kind"] == "EnvoyFilter")
    {
        gateway.apply(patches);
    }
    let listener = json!({
        "name": "0.0.0.0_8080",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [gateway.finished()]}],
    });
    let config = bootstrap::bootstrap_of(&[listener], &clusters(world));
    let envoy = world
        .envoy(&format!("istio-{name}"), config.to_string())
        .await;
    let client = Client::http1(envoy.listener("0.0.0.0_8080").await);
    (envoy, client)
}

async fn every_strategy_sets_its_credential_and_nothing_else_goes_on() {
    for (kind, arguments) in KINDS {
        let world = World::start(&[]).await;
        let (_envoy, client) = run(
            &format!("strategies-{kind}"),
            &world,
            &rendered(arguments),
            &[],
        )
        .await;
        world.assert_strategies(&client, "", "alice").await;
    }
}

async fn who_has_no_token_learns_where_to_log_in() {
    let world = World::start(&[]).await;
    let (_envoy, client) = run("challenges", &world, &rendered(&[]), &[]).await;
    let jwt = world.log_in("somebody");
    assert_eq!(ask(&client, "/github-tools/mcp", &jwt).await.status, 200);
    let metadata = format!(
        "resource_metadata=\"{PUBLIC}/.well-known/oauth-protected-resource/github-tools/mcp\""
    );
    world.echoes["github-tools"].forget();
    let reply = client.send(Request::get("/github-tools/mcp")).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (401, &json!("token_missing"))
    );
    let challenge = reply.header("www-authenticate");
    assert!(
        challenge.contains(&metadata) && !challenge.contains("error="),
        "{challenge}"
    );
    let bound = world.log_in_for(&resource("internal-api"));
    for token in ["e30.e30.e30", world.expired().as_str(), bound.as_str()] {
        let reply = client
            .send(Request::get("/github-tools/mcp").bearer(token))
            .await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (401, &json!("token_invalid"))
        );
        let challenge = reply.header("www-authenticate");
        assert!(challenge.contains(&metadata), "{challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert!(world.echoes["github-tools"].requests().is_empty());
}

async fn a_backend_has_one_challenge_whoever_gives_it() {
    let well_known = "/.well-known/oauth-protected-resource";
    let challenge = format!(
        "challenge: {{realm: mcp, scope: all, backends: {{github-tools: {{realm: it's, scope: repo user, \
         resourceMetadata: \"{PUBLIC}{well_known}/gh/mcp\"}}}}}}"
    );
    let configuration = world::CONFIGURATION.replace("challenge: {realm: mcp}", &challenge);
    for (kind, arguments) in KINDS {
        let world = World::start(&[]).await;
        let answer = |_: &_| Answer::error(400, "upstream_token_not_found");
        world.identity.set_script(answer);
        let all = [&ARGUMENTS[..], arguments].concat();
        let set = world::render_of(&configuration, "istio", &all).expect("it is rendered");
        let set = resources::parse(&set);
        let (_envoy, client) = run(&format!("one-challenge-{kind}"), &world, &set, &[]).await;
        for (backend, document, realm, scope) in [
            ("github-tools", "gh/mcp", "it's", "repo user"),
            ("corporate-api", "corporate-api/mcp", "mcp", "all"),
        ] {
            let path = format!("/{document}?x=y");
            let said = [
                format!("realm=\"{realm}\""),
                format!("scope=\"{scope}\""),
                format!("resource_metadata=\"{PUBLIC}{well_known}/{document}\""),
            ];
            // What the challenge leads to names what a token must be issued for.
            let found = client
                .send(Request::get(&format!("{well_known}/{document}")))
                .await
                .json();
            let token = world.log_in_for(found["resource"].as_str().expect("a resource"));
            let own = ask(&client, &path, &token).await;
            let first = client.send(Request::get(&path)).await;
            let refused = Request::get(&path).bearer("e30.e30.e30");
            let refused = client.send(refused).await;
            let name = json!(format!("outbound|8080||{backend}.mcp.svc.cluster.local"));
            for (reply, error) in [
                (own, "upstream_token_not_found"),
                (first, "token_missing"),
                (refused, "token_invalid"),
            ] {
                assert_eq!(reply.status, 401, "{kind} {}", reply.text());
                assert_eq!(reply.json()["error"], error);
                assert_eq!(reply.json()["backend"], name, "{kind} {error}");
                let challenge = reply.header("www-authenticate");
                for said in &said {
                    assert!(challenge.contains(said), "{challenge} / {said}");
                }
            }
        }
        let reply = client.send(Request::get("/elsewhere")).await;
        assert_eq!(
            reply.json(),
            json!({
                "error": "token_missing", "error_description": "there is no bearer token: log in",
            })
        );
        let said = format!(
            "Bearer realm=\"mcp\", scope=\"all\", resource_metadata=\"{PUBLIC}{well_known}/elsewhere\""
        );
        assert_eq!(reply.header("www-authenticate"), said);
    }
}

async fn the_metadata_documents_are_open() {
    for (kind, arguments) in KINDS {
        let world = World::start(&[]).await;
        let (_envoy, client) = run(
            &format!("metadata-{kind}"),
            &world,
            &rendered(arguments),
            &[],
        )
        .await;
        let well_known = "/.well-known/oauth-protected-resource";
        for name in world::BACKENDS {
            let reply = client
                .send(Request::get(&format!("{well_known}/{name}/mcp")))
                .await;
            assert_eq!(reply.status, 200, "{kind} {name}: {}", reply.text());
            assert_eq!(reply.json()["resource"], resource(name));
            assert_eq!(reply.header("access-control-allow-origin"), "*");
        }
        let reply = client.send(Request::get(well_known)).await;
        assert_eq!(reply.json()["resource"], PUBLIC, "{kind}");
    }
}

async fn the_auth_server_is_reached_as_if_there_were_no_filter() {
    for (kind, arguments) in KINDS {
        let world = World::start(&[]).await;
        let address = "--auth-server-address=vmcp.mcp.svc.cluster.local:8080";
        let set = rendered(&[arguments, &[address]].concat());
        let (_envoy, client) = run(&format!("auth-server-{kind}"), &world, &set, &[]).await;
        let confidential = "Basic Y2xpZW50OnNlY3JldA==";
        let request = Request::post("/oauth/token", "").header("authorization", confidential);
        let _ = client.send(request).await;
        let asked = world.embedded_as.asked();
        let token = asked.iter().find(|asked| asked.path == "/oauth/token");
        let token = token.unwrap_or_else(|| panic!("{kind}: {asked:?}"));
        assert_eq!(token.authorization, [confidential]);
        world.assert_strategies(&client, "", "bob").await;
    }
}

async fn a_subset_is_a_backend_and_a_stranger_is_none() {
    let world = World::start(&["stranger"]).await;
    let to = |path: &str, cluster: &str| json!({"match": {"prefix": path}, "route": {"cluster": cluster}});
    let others = [
        to(
            "/subset",
            "outbound|8080|v2|github-tools.mcp.svc.cluster.local",
        ),
        to("/stranger", "outbound|8080||stranger.mcp.svc.cluster.local"),
    ];
    let set = rendered(&["--shared-audience"]);
    let (_envoy, client) = run("subset", &world, &set, &others).await;
    let jwt = world.log_in("grace");
    let reply = ask(&client, "/subset/x", &jwt).await;
    let expected = format!("Bearer {}", bed::canary::token("gho_", "planes"));
    assert_eq!(reply.seen("authorization"), [expected]);
    let reply = ask(&client, "/stranger/x", &jwt).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (500, &json!("backend_not_configured"))
    );
    assert!(world.echoes["stranger"].requests().is_empty());
}

async fn a_mirror_gets_no_credential() {
    let world = World::start(&["mirror"]).await;
    let mirrored = json!({
        "match": {"prefix": "/mirrored"},
        "route": {
            "cluster": "outbound|8080||internal-api.mcp.svc.cluster.local",
            "request_mirror_policies": [{"cluster": "outbound|8080||mirror.mcp.svc.cluster.local"}],
        },
    });
    let set = rendered(&["--shared-audience"]);
    let (_envoy, client) = run("mirror", &world, &set, &[mirrored]).await;
    let jwt = world.log_in("heidi");
    for _ in 0..5 {
        let reply = ask(&client, "/mirrored/x", &jwt).await;
        assert_eq!(reply.seen("x-api-key"), [world::key()]);
    }
    world.assert_saw_nothing("mirror");
}

async fn without_the_patches_nobody_gets_in_without_a_token_and_none_goes_on() {
    for (kind, arguments) in KINDS {
        let world = World::start(&[]).await;
        let mut set = rendered(arguments);
        set.retain(|resource| resource["kind"] != "EnvoyFilter");
        let (_envoy, client) = run(&format!("unpatched-{kind}"), &world, &set, &[]).await;
        let jwt = world.log_in("ivan");
        for name in world::BACKENDS {
            let path = format!("/{name}/mcp");
            assert_eq!(
                client.send(Request::get(&path)).await.status,
                403,
                "{kind} {path}"
            );
            let request = Request::get(&path)
                .bearer(&jwt)
                .header("x-api-key", "forged");
            assert_eq!(client.send(request).await.status, 200, "{kind} {path}");
            world.assert_saw_nothing(name);
        }
    }
}
