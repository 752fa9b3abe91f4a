//! The rendered set beside what other people do in the same cluster: policies on our routes, backends
//! that come and go, weights, mirrors, routes of their own.

use bed::{Client, Request};
use serde_json::{Value, json};

use crate::envoy_gateway::{cluster, http, rendered, route, run};
use crate::trial::trials;
use crate::world::{self, World, ask};
use crate::{egctl, resources};

trials!("envoy_gateway_neighbours":
    policies_of_others_on_our_routes_change_nothing,
    a_neighbour_without_endpoints_changes_nothing,
    weights_give_each_backend_of_a_rule_the_same_credential,
    a_mirror_gets_no_credential,
    a_route_chooses_a_backend_of_its_own_namespace_by_annotation,
    a_route_that_nobody_listed_is_refused,
);

/// A policy of this kind on one of our routes.
fn policy(kind: &str, route: &str, spec: Value) -> Value {
    let mut policy = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": format!("somebodys-{route}"), "namespace": "mcp"},
        "spec": {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": route}]},
    });
    bed::bootstrap::merge(&mut policy["spec"], &spec);
    policy
}

async fn policies_of_others_on_our_routes_change_nothing() {
    let world = World::start(&[]).await;
    let cors =
        json!({"cors": {"allowOrigins": ["https://app.example.com"], "allowMethods": ["GET"]}});
    let retry = json!({"retry": {"numRetries": 3, "retryOn": {"triggers": ["5xx"]}}});
    let lua = json!({"lua": [{"type": "Inline", "inline": "function envoy_on_request(h) h:headers():add('x-lua', '1') end"}]});
    let mut others = Vec::new();
    for name in ["github-tools", "corporate", "internal-api", "open-tools"] {
        others.push(policy("SecurityPolicy", name, cors.clone()));
        others.push(policy("BackendTrafficPolicy", name, retry.clone()));
        // An empty one, and one that does something.
        let extension = if name == "github-tools" {
            json!({})
        } else {
            lua.clone()
        };
        others.push(policy("EnvoyExtensionPolicy", name, extension));
    }
    let (_envoy, client) = run("policies", &world, &rendered(&[]), &others).await;
    world.assert_strategies(&client, "", "erin").await;
    for name in world::BACKENDS {
        world.echoes[name].forget();
        let reply = client.send(Request::get(&format!("/{name}/mcp"))).await;
        assert_eq!(reply.status, 401, "{name}: {}", reply.text());
        assert!(world.echoes[name].requests().is_empty());
    }
    // Their retry policy has replaced our request timeout on the route; the rule's own holds.
    let around = [cluster(&world, json!([http("http", 8080)])), others].concat();
    let all = format!("{}---\n{}", resources::print(&around), rendered(&[]));
    let dump = egctl::translate(&all).to_string();
    assert!(dump.contains("\"timeout\":\"0s\"") && !dump.contains("\"timeout\":\"15s\""));
}

/// The rendered set, the first rule of `route` changed.
fn with_rule(route: &str, change: impl Fn(&mut Value)) -> String {
    let mut set = resources::parse(&rendered(&[]));
    change(&mut resources::find(&mut set, "HTTPRoute", route)["spec"]["rules"][0]);
    resources::print(&set)
}

async fn a_neighbour_without_endpoints_changes_nothing() {
    let world = World::start(&[]).await;
    let set = with_rule("github-tools", |rule| {
        rule["backendRefs"] = json!([
            {"name": "github-tools", "port": 8080, "weight": 1},
            {"name": "gone", "port": 8080, "weight": 1},
        ]);
    });
    let (envoy, client) = run("empty", &world, &set, &[]).await;
    let jwt = world.log_in("frank");
    let clusters = envoy.admin_text("/clusters").await;
    assert!(
        clusters.contains("httproute/mcp/github-tools/rule/0/backend/"),
        "renamed: {clusters}"
    );
    let mut served = 0;
    for _ in 0..40 {
        let reply = client
            .send(Request::get("/github-tools/mcp").bearer(&jwt))
            .await;
        if reply.is_from_backend() {
            served += 1;
            let expected = format!("Bearer {}", bed::canary::token("gho_", "planes"));
            assert_eq!(reply.seen("authorization"), [expected]);
        } else {
            assert!(
                reply.json()["error"] != "backend_not_configured",
                "{}",
                reply.text()
            );
        }
    }
    assert!(served > 0, "nothing was served");
    let reply = ask(&client, "/internal-api/mcp", &jwt).await;
    assert_eq!(reply.seen("x-api-key"), [world::key()]);
}

async fn weights_give_each_backend_of_a_rule_the_same_credential() {
    let world = World::start(&["second"]).await;
    let set = with_rule("github-tools", |rule| {
        rule["backendRefs"] = json!([
            {"name": "github-tools", "port": 8080, "weight": 1},
            {"name": "second", "port": 8080, "weight": 1, "filters": [{
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "x-second", "value": "1"}]},
            }]},
        ]);
    });
    let (_envoy, client) = run("weights", &world, &set, &[]).await;
    let jwt = world.log_in("grace");
    assert_eq!(ask(&client, "/github-tools/mcp", &jwt).await.status, 200);
    bed::eventually("both backends to be asked", || async {
        ask(&client, "/github-tools/mcp", &jwt).await;
        let both = ["github-tools", "second"].iter();
        both.clone()
            .all(|name| !world.echoes[*name].requests().is_empty())
            .then_some(())
    })
    .await;
    let expected = format!("Bearer {}", bed::canary::token("gho_", "planes"));
    for name in ["github-tools", "second"] {
        for request in world.echoes[name].requests() {
            assert_eq!(
                request.values("authorization"),
                [expected.as_str()],
                "{name}"
            );
        }
    }
}

async fn a_mirror_gets_no_credential() {
    let world = World::start(&["mirror"]).await;
    for name in ["github-tools", "internal-api", "open-tools"] {
        let set = with_rule(name, |rule| {
            let mirror = json!({
                "type": "RequestMirror",
                "requestMirror": {"backendRef": {"name": "mirror", "port": 8080}},
            });
            rule["filters"]
                .as_array_mut()
                .expect("filters")
                .push(mirror);
        });
        let (_envoy, client) = run(&format!("mirror-{name}"), &world, &set, &[]).await;
        world.assert_strategies(&client, "", name).await;
        // What is mirrored is decided on while the request itself is; three more, and it has been.
        for _ in 0..3 {
            ask(&client, "/open-tools/mcp", &world.log_in("later")).await;
        }
        world.assert_saw_nothing("mirror");
    }
}

async fn a_route_chooses_a_backend_of_its_own_namespace_by_annotation() {
    let mut world = World::start(&[]).await;
    let ours = route("alias", "/alias", "github-tools", json!({}));
    let mut theirs = route("thief", "/thief", "github-tools", json!({}));
    theirs["metadata"]["namespace"] = json!("theirs");
    theirs["spec"]["parentRefs"][0]["namespace"] = json!("mcp");
    let mut service = resources::service("github-tools", "10.96.1.1", 8080);
    service["metadata"]["namespace"] = json!("theirs");
    let address = world.echoes["github-tools"].address();
    world.neighbours.add("10.96.1.1", 8080, address);
    let around = [
        cluster(&world, json!([http("http", 8080)])),
        vec![ours, theirs, service],
    ]
    .concat();
    let set = rendered(&["--shared-audience"]);
    let dump = egctl::translate(&format!("{}---\n{set}", resources::print(&around)));
    let mut bootstrap = bed::static_bootstrap(&dump, &world.neighbours).expect("all is there");
    annotate(&mut bootstrap, "upstream-inject-backend", "github-tools");
    let name = "envoy-gateway-annotation";
    let envoy = world.envoy(name, bootstrap.to_string()).await;
    let client = Client::http1(envoy.listener("mcp/mcp-gateway/http").await);
    let jwt = world.log_in("heidi");
    let reply = ask(&client, "/alias/x", &jwt).await;
    let expected = format!("Bearer {}", bed::canary::token("gho_", "planes"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.seen("authorization"), [expected]);
    let reply = ask(&client, "/thief/x", &jwt).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (500, &json!("backend_not_configured"))
    );
}

/// What Envoy Gateway adds to a route whose HTTPRoute has an annotation of its prefix. Its tool for the
/// command line reads resources from files without their annotations, so it is done here.
fn annotate(bootstrap: &mut Value, annotation: &str, value: &str) {
    let listeners = bootstrap["staticResources"]["listeners"].as_array_mut();
    let mut annotated = 0;
    for manager in listeners
        .into_iter()
        .flatten()
        .flat_map(bed::connection_managers)
    {
        let hosts = manager["routeConfig"]["virtualHosts"].as_array_mut();
        for host in hosts.into_iter().flatten() {
            for route in host["routes"].as_array_mut().into_iter().flatten() {
                let resources =
                    &mut route["metadata"]["filterMetadata"]["envoy-gateway"]["resources"];
                let name = resources[0]["name"].as_str().unwrap_or_default();
                if ["alias", "thief"].contains(&name) {
                    resources[0]["annotations"] = json!({annotation: value});
                    annotated += 1;
                }
            }
        }
    }
    assert_eq!(annotated, 2, "one of each namespace");
}

async fn a_route_that_nobody_listed_is_refused() {
    let world = World::start(&["stranger"]).await;
    let others = [route("stranger", "/stranger", "stranger", json!({}))];
    let set = rendered(&["--shared-audience"]);
    let (_envoy, client): (_, Client) = run("stranger", &world, &set, &others).await;
    let reply = ask(&client, "/stranger/x", &world.log_in("ivan")).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (500, &json!("backend_not_configured"))
    );
    assert!(world.echoes["stranger"].requests().is_empty());
}
