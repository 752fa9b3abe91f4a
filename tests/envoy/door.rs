//! The door: wherever the filter is not, what goes out holds neither the TH-JWT nor a header that a
//! strategy sets, whatever the client has sent.

use bed::{Bed, Echo, Placement, PluginConfig, Recorded, Request, canary, eventually};
use bed::{bootstrap, raw_exchange};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("door":
    the_backends_behind_the_filter_get_their_own_credential,
    a_cluster_with_filters_of_its_own_sees_no_token,
    a_cluster_that_a_client_names_sees_no_token,
    a_mirror_without_the_filter_sees_no_token,
    another_listener_without_the_filter_sends_no_token,
    a_route_that_switches_the_filter_off_sends_no_token,
    an_upgrade_with_filters_of_its_own_sends_no_token,
    a_cache_keeps_users_apart_and_sends_no_token,
    a_router_of_envoys_own_for_mcp_sends_no_token from 38,
    in_clusters_a_forgotten_one_sees_no_token,
    in_clusters_a_member_of_an_aggregate_sees_no_token,
    downstream_a_route_to_the_auth_server_switches_filter_and_door_off,
    a_token_from_elsewhere_arrives_unless_the_door_knows_where_it_is,
);

/// What a client brings along besides its TH-JWT.
const KEY: &str = "x-api-key";

fn config() -> Value {
    plugin::config(
        &["github"],
        json!({
            "inject": plugin::inject("github"),
            "key": plugin::header("X-API-Key", &canary::token("key-", "door")),
            "open": plugin::open(),
        }),
    )
}

/// A backend that no strategy is for, and its cluster with these filters.
async fn stranger(name: &str, filters: &[Value]) -> (Echo, Value) {
    let echo = Echo::start(name).await.expect("a free port");
    let cluster = bootstrap::cluster(name, echo.address(), false, filters);
    (echo, cluster)
}

/// A filter that does nothing: enough for a cluster to have filters of its own.
fn idle_filter() -> Value {
    bootstrap::remove_headers(&["x-nothing".to_owned()])
}

/// Everything that a client may try to bring along.
fn forms(jwt: &str) -> Vec<Vec<(&'static str, String)>> {
    vec![
        vec![("authorization", format!("Bearer {jwt}"))],
        vec![("authorization", format!("bearer {jwt}"))],
        vec![
            ("authorization", format!("Bearer {jwt}")),
            ("authorization", "Basic c2Vjb25k".to_owned()),
        ],
        vec![
            ("authorization", format!("Basic {jwt}")),
            (KEY, "of the client".to_owned()),
            (KEY, "again".to_owned()),
        ],
    ]
}

fn with(mut request: Request, headers: &[(&'static str, String)]) -> Request {
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
}

fn assert_bare(request: &Recorded) {
    for name in ["authorization", KEY] {
        assert_eq!(request.values(name), [""; 0], "{name} at {}", request.path);
    }
}

/// Sends every form to this path over both protocols; `seen` gets each, with nothing on it.
async fn nothing_gets_through(bed: &Bed, address: std::net::SocketAddr, path: &str, seen: &Echo) {
    let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
    bed.embedded_as.set_session("", json!({}));
    let mut sent = seen.requests().len();
    for headers in forms(&jwt) {
        for client in [bed::Client::http1(address), bed::Client::http2(address)] {
            let request = with(Request::get(path), &headers);
            let reply = client.try_send(request).await.expect("an answer");
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            sent += 1;
        }
    }
    eventually("every request to arrive", || async {
        (seen.requests().len() >= sent).then_some(())
    })
    .await;
    for request in seen.requests() {
        assert_bare(&request);
    }
}

struct Door {
    bed: Bed,
    own_filters: Echo,
}

static ROUTER: tokio::sync::OnceCell<Door> = tokio::sync::OnceCell::const_new();

async fn router() -> &'static Door {
    ROUTER
        .get_or_init(|| async {
            let (own_filters, cluster) = stranger("own-filters", &[idle_filter()]).await;
            let bed = Bed::with("door", PluginConfig::Json(config()))
                .backend("inject")
                .backend("key")
                .backend("open")
                .cluster(cluster)
                .listener_without_the_filter()
                .route(json!({
                    "match": {"prefix": "/own-filters/"}, "route": {"cluster": "own-filters"},
                }))
                .route(json!({
                    "match": {"prefix": "/weighted/"},
                    "route": {"weighted_clusters": {"clusters": [
                        {"name": "own-filters", "weight": 100}, {"name": "inject", "weight": 0},
                    ]}},
                }))
                .route(json!({
                    "match": {"prefix": "/named/"}, "route": {"cluster_header": "x-cluster"},
                }))
                .route(json!({
                    "match": {"prefix": "/mirrored/"},
                    "route": {
                        "cluster": "open",
                        "request_mirror_policies": [{"cluster": "own-filters"}],
                    },
                }))
                .route(json!({
                    "match": {"prefix": "/off/"},
                    "route": {"cluster": "inject"},
                    "typed_per_filter_config": {"upstream_inject": {
                        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                        "disabled": true,
                    }},
                }))
                .manager(&json!({"upgrade_configs": [
                    {"upgrade_type": "websocket", "filters": [bootstrap::router()]},
                ]}))
                .start()
                .await;
            Door { bed, own_filters }
        })
        .await
}

async fn the_backends_behind_the_filter_get_their_own_credential() {
    let Door { bed, .. } = router().await;
    let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
    for client in [bed.http1(), bed.http2()] {
        let request = Request::get("/inject/a").bearer(&jwt).header(KEY, "mine");
        let reply = client.send(request.clone()).await;
        let own = format!("Bearer {}", canary::token("gho_", "alice"));
        assert_eq!(reply.seen("authorization"), [own]);
        assert_eq!(reply.seen(KEY), [""; 0]);
        let reply = client
            .send(Request::get("/key/a").bearer(&jwt).header(KEY, "mine"))
            .await;
        assert_eq!(reply.seen(KEY), [canary::token("key-", "door")]);
        assert_eq!(reply.seen("authorization"), [""; 0]);
    }
}

async fn a_cluster_with_filters_of_its_own_sees_no_token() {
    let door = router().await;
    for path in ["/own-filters/a", "/weighted/a"] {
        nothing_gets_through(&door.bed, door.bed.address(), path, &door.own_filters).await;
    }
}

async fn a_cluster_that_a_client_names_sees_no_token() {
    let Door { bed, own_filters } = router().await;
    let jwt = bed.login("alice", json!({}));
    for headers in forms(&jwt) {
        let request = Request::get("/named/a").header("x-cluster", "own-filters");
        let reply = bed.http2().send(with(request, &headers)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for request in own_filters.requests() {
        assert_bare(&request);
    }
}

async fn a_mirror_without_the_filter_sees_no_token() {
    let Door { bed, own_filters } = router().await;
    let jwt = bed.login("alice", json!({}));
    for headers in forms(&jwt) {
        let request = with(Request::get("/mirrored/a"), &headers);
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let mirrored = eventually("the mirror to get them all", || async {
        let seen = own_filters.requests_with("/mirrored/");
        (seen.len() >= 4).then_some(seen)
    })
    .await;
    for request in mirrored {
        assert_bare(&request);
    }
}

async fn another_listener_without_the_filter_sends_no_token() {
    let Door { bed, .. } = router().await;
    let bare = bed.envoy.listener("bare").await;
    for name in ["inject", "key"] {
        let path = format!("/{name}/bare");
        let before = bed.backend(name).requests().len();
        let jwt = bed.login("alice", json!({"github": "unused"}));
        for headers in forms(&jwt) {
            let request = with(Request::get(&path), &headers);
            let reply = bed::Client::http1(bare)
                .try_send(request)
                .await
                .expect("an answer");
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        for request in bed.backend(name).requests_with("/bare") {
            assert_bare(&request);
        }
        assert!(bed.backend(name).requests().len() >= before + 4);
    }
}

async fn a_route_that_switches_the_filter_off_sends_no_token() {
    let Door { bed, .. } = router().await;
    let jwt = bed.login("alice", json!({"github": "unused"}));
    for headers in forms(&jwt) {
        let request = with(Request::get("/off/a"), &headers);
        let reply = bed.http2().send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let seen = bed.backend("inject").requests_with("/off/");
    assert_eq!(seen.len(), 4);
    for request in seen {
        assert_bare(&request);
    }
}

async fn an_upgrade_with_filters_of_its_own_sends_no_token() {
    let Door { bed, .. } = router().await;
    let jwt = bed.login("alice", json!({"github": "unused"}));
    let request = format!(
        "GET /inject/upgraded HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         authorization: Bearer {jwt}\r\nx-api-key: mine\r\n\r\n"
    );
    // The backend does not upgrade, which is an answer too.
    let answered = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
    let answer = raw_exchange(bed.address(), request.as_bytes(), answered)
        .await
        .expect("a connection");
    assert!(!answer.is_empty(), "no answer");
    let seen = bed.backend("inject").requests_with("/upgraded");
    let [request] = seen.as_slice() else {
        panic!("not one request: {seen:?}")
    };
    assert_bare(request);
}

/// Envoy's `cache` filter sends what it misses by itself, past the router and its filters. It takes
/// a request without `authorization` for anybody's, so that the door must not come before it.
async fn a_cache_keeps_users_apart_and_sends_no_token() {
    let cache = json!({
        "name": "envoy.filters.http.cache",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig",
            },
        },
    });
    let bed = Bed::with("door-cache", PluginConfig::Json(config()))
        .backend("open")
        .backend("inject")
        .filter(cache)
        .start()
        .await;
    for user in ["alice", "bob"] {
        let token = canary::token("gho_", user);
        let jwt = bed.login(user, json!({"github": token}));
        let cacheable = [("cache-control", "public, max-age=600")];
        bed.backend("inject").answer_with(200, &cacheable);
        let reply = bed
            .http1()
            .send(Request::get("/inject/same").bearer(&jwt))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let seen = bed.backend("inject").requests_with("/same");
    let tokens: Vec<_> = seen.iter().map(|it| it.values("authorization")).collect();
    let own = |user| vec![format!("Bearer {}", canary::token("gho_", user))];
    assert_eq!(tokens, [own("alice"), own("bob")]);
    // What is sent by the cache itself is a request of nobody.
    bed.embedded_as.set_session("", json!({}));
    let request = Request::get("/open/a").header(KEY, "mine");
    let reply = bed.http1().send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for request in bed.backend("open").requests() {
        assert_eq!(request.values("authorization"), [""; 0]);
    }
}

/// `mcp_router` ends the chain itself, and sends requests of its own: the door is a filter there.
async fn a_router_of_envoys_own_for_mcp_sends_no_token() {
    let (server, cluster) = stranger("server", &[]).await;
    let kind = |name: &str, message: &str, config: Value| {
        let mut typed = config;
        typed["@type"] = json!(format!(
            "type.googleapis.com/envoy.extensions.filters.http.{name}.v3.{message}"
        ));
        json!({"name": format!("envoy.filters.http.{name}"), "typed_config": typed})
    };
    let names = ["authorization", KEY].map(str::to_owned);
    let servers = json!([{"name": "server", "mcp_cluster": {"cluster": "server", "path": "/mcp"}}]);
    let bed = Bed::with("door-mcp-router", PluginConfig::Json(config()))
        .placed(Placement::Clusters)
        .cluster(cluster)
        .filter(kind("mcp", "Mcp", json!({})))
        .filter(bootstrap::remove_headers(&names))
        .filter(kind("mcp_router", "McpRouter", json!({"servers": servers})))
        .ending_with_its_filters()
        .route(json!({"match": {"prefix": "/"}, "route": {"cluster": "server"}}))
        .start()
        .await;
    let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "bed", "version": "1"},
        },
    });
    let request = Request::post("/mcp", initialize.to_string())
        .bearer(&jwt)
        .header(KEY, "mine")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    // The server is an echo that knows no MCP; what matters is what it was asked with.
    let _ = bed.http1().try_send(request).await;
    let seen = eventually("the server to be asked", || async {
        let seen = server.requests();
        (!seen.is_empty()).then_some(seen)
    })
    .await;
    for request in seen {
        assert_bare(&request);
    }
}

struct InClusters {
    bed: Bed,
    forgotten: Echo,
    member: Echo,
}

static CLUSTERS: tokio::sync::OnceCell<InClusters> = tokio::sync::OnceCell::const_new();

async fn in_clusters() -> &'static InClusters {
    CLUSTERS
        .get_or_init(|| async {
            let (forgotten, forgotten_cluster) = stranger("forgotten", &[]).await;
            let (member, member_cluster) = stranger("member", &[]).await;
            let bed = Bed::with("door-clusters", PluginConfig::Json(config()))
                .placed(Placement::Clusters)
                .backend("inject")
                .cluster(forgotten_cluster)
                .cluster(member_cluster)
                .cluster(plugin::aggregate("aggregate", &["member"]))
                .route(json!({
                    "match": {"prefix": "/forgotten/"}, "route": {"cluster": "forgotten"},
                }))
                .route(json!({
                    "match": {"prefix": "/aggregate/"}, "route": {"cluster": "aggregate"},
                }))
                .start()
                .await;
            InClusters {
                bed,
                forgotten,
                member,
            }
        })
        .await
}

async fn in_clusters_a_forgotten_one_sees_no_token() {
    let it = in_clusters().await;
    nothing_gets_through(&it.bed, it.bed.address(), "/forgotten/a", &it.forgotten).await;
}

async fn in_clusters_a_member_of_an_aggregate_sees_no_token() {
    let it = in_clusters().await;
    nothing_gets_through(&it.bed, it.bed.address(), "/aggregate/a", &it.member).await;
}

/// The auth server's own clients authenticate there.
async fn downstream_a_route_to_the_auth_server_switches_filter_and_door_off() {
    let (auth_server, cluster) = stranger("auth-server", &[]).await;
    let off = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true,
    });
    let bed = Bed::with("door-downstream", PluginConfig::Json(config()))
        .placed(Placement::Downstream)
        .cluster(cluster)
        .route(json!({
            "match": {"prefix": "/oauth/"},
            "route": {"cluster": "auth-server"},
            "typed_per_filter_config": {
                "upstream_inject": off, "envoy.filters.http.header_mutation": off,
            },
        }))
        .start()
        .await;
    bed.embedded_as.set_session("", json!({}));
    let basic = "Basic Y2xpZW50OnNlY3JldA==";
    let request = Request::post("/oauth/token", "a=b").header("authorization", basic);
    let reply = bed.http1().send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(auth_server.requests()[0].values("authorization"), [basic]);
}

/// `jwt_authn` may take the TH-JWT from another header or a cookie, and with `forward: true` it stays
/// there. The door takes headers off that it is told of. (Of a query nobody takes anything off, and it
/// stands in access logs, so that it is not tried here.)
async fn a_token_from_elsewhere_arrives_unless_the_door_knows_where_it_is() {
    let everywhere = json!({
        "from_headers": [{"name": "X-Authorization", "value_prefix": "Bearer "}],
        "from_cookies": ["th"],
    });
    for told in [false, true] {
        let mut plan = Bed::with("door-elsewhere", PluginConfig::Json(config()))
            .backend("inject")
            .provider(&everywhere);
        if told {
            plan = plan.manager(&json!({"route_config": {"request_headers_to_remove": [
                "authorization", KEY, "x-authorization", "cookie",
            ]}}));
        }
        let bed = plan.start().await;
        let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
        let get = Request::get;
        for (request, name) in [
            (
                get("/inject/header").header("x-authorization", format!("Bearer {jwt}")),
                "x-authorization",
            ),
            (
                get("/inject/cookie").header("cookie", format!("a=b; th={jwt}")),
                "cookie",
            ),
        ] {
            // The backend answers 500 to whoever brings it a TH-JWT.
            let _ = bed.http1().send(request).await;
            let seen = bed.backend("inject").requests().pop().expect("a request");
            let own = format!("Bearer {}", canary::token("gho_", "alice"));
            assert_eq!(seen.values("authorization"), [own], "{}", seen.path);
            let arrives = seen.values(name).iter().any(|value| value.contains(&jwt));
            assert_eq!(arrives, !told, "{name}");
        }
    }
}
