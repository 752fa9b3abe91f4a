//! `check` of Envoy's configuration: what goes by the filter, and what leaves the door open.

use crate::tool::{Run, Workbench, repository};
use serde_json::{Value, json};

const BOOTSTRAP: &str = include_str!("fixtures/envoy.yaml");

/// Of the bootstrap.
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

fn bootstrap() -> Value {
    serde_yaml_ng::from_str(BOOTSTRAP).expect("YAML")
}

fn check(config: &Value) -> Run {
    Workbench::with("envoy.json", config.to_string()).run(&["check", "envoy.json"])
}

/// Puts a value where `path` leads in the connection manager.
fn put(config: &mut Value, path: &str, key: &str, value: Value) {
    let place = config.pointer_mut(&format!("{MANAGER}{path}"));
    let place = place.and_then(Value::as_object_mut).expect(path);
    place.insert(key.to_owned(), value);
}

fn per_filter(name: &str, disabled: bool) -> Value {
    let mut setting = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig"});
    match disabled {
        true => setting["disabled"] = json!(true),
        false => setting["config"] = json!({}),
    }
    json!({name: setting})
}

fn assert_finds(config: &Value, code: &str, text: &str) {
    let run = check(config).expect(1);
    let line = run.lines().into_iter().find(|line| line.contains(text));
    assert!(
        line.is_some_and(|line| line.contains(": error: ")),
        "{run:#?}"
    );
    assert!(run.stdout.contains(&format!("[{code}]")), "{run:#?}");
}

const ROUTE: &str = "/route_config/virtual_hosts/0/routes/2";
const OURS: &str = "/http_filters/1/typed_config/upstream_http_filters/0";
const KEY: &str = "typed_per_filter_config";

/// Tried with Envoy 1.36.4 and 1.40.0, in the router, in clusters and before the router alike.
#[test]
fn wherever_the_filter_is_switched_off_for_a_backend_it_is_said() {
    let off = "the filter is off here for requests to the backend \"github-tools\"";
    for place in ["/route_config", "/route_config/virtual_hosts/0", ROUTE] {
        let mut config = bootstrap();
        put(&mut config, place, KEY, per_filter("upstream_inject", true));
        assert_finds(&config, "envoy-off", off);
    }
    let mut shares = bootstrap();
    let share = |name: &str| json!({"name": name, "weight": 1});
    let mut without = share("github-tools");
    without[KEY] = per_filter("upstream_inject", true);
    let weighted = json!({"clusters": [share("corporate-api"), without]});
    put(
        &mut shares,
        ROUTE,
        "route",
        json!({"weighted_clusters": weighted, "timeout": "0s"}),
    );
    assert_finds(&shares, "envoy-off", off);
    let mut entry = bootstrap();
    put(&mut entry, OURS, "disabled", json!(true));
    assert_finds(&entry, "envoy-off", off);
}

#[test]
fn the_most_specific_place_decides_whether_the_filter_is_off() {
    let mut config = bootstrap();
    let off = per_filter("upstream_inject", true);
    put(&mut config, "/route_config", KEY, off.clone());
    put(
        &mut config,
        "/route_config/virtual_hosts/0",
        KEY,
        per_filter("upstream_inject", false),
    );
    check(&config).expect(0);
    // Disabled where it stands, and switched on by routes.
    let mut config = bootstrap();
    put(&mut config, OURS, "disabled", json!(true));
    put(
        &mut config,
        "/route_config/virtual_hosts/0",
        KEY,
        per_filter("upstream_inject", false),
    );
    check(&config).expect(0);
    // Another filter's name switches off another filter.
    for name in ["envoy.filters.http.wasm", "upstream_inject.jwt_authn"] {
        let mut config = bootstrap();
        put(&mut config, ROUTE, KEY, per_filter(name, true));
        check(&config).expect(0);
    }
    // Where names of backends are not those of clusters, all routes are meant.
    let mut config = bootstrap();
    let plugin = "/typed_config/config/configuration/value";
    put(
        &mut config,
        &format!("{OURS}{plugin}"),
        "backendFrom",
        json!("route_name"),
    );
    check(&config).expect(0);
    put(&mut config, "/route_config", KEY, off);
    assert_finds(&config, "envoy-off", "the filter is off here");
}

#[test]
fn each_place_that_can_be_the_door_counts() {
    let names = json!(["Authorization", "x-api-key"]);
    let mut config = bootstrap();
    put(
        &mut config,
        "/route_config",
        "request_headers_to_remove",
        json!([]),
    );
    assert_finds(&config, "envoy-door", "do not take the client's token off");
    put(
        &mut config,
        "/route_config/virtual_hosts/0",
        "request_headers_to_remove",
        names,
    );
    let run = check(&config).expect(0);
    assert!(!run.stdout.contains("envoy-door"), "{run:#?}");
}

fn shipped(name: &str, from: &str, to: &str) -> Run {
    let file = repository().join("envoy").join(name);
    let text = std::fs::read_to_string(file).expect(name);
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text, "{from:?} is in there");
    Workbench::with("envoy.yaml", changed).run(&["check", "envoy.yaml"])
}

#[test]
fn in_clusters_the_door_is_the_same() {
    let file = "in-clusters.yaml";
    let door = "            request_headers_to_remove: [authorization, x-api-key]\n";
    let run = shipped(file, door, "").expect(1);
    assert!(run.stdout.contains("[envoy-door]"), "{run:#?}");
    // Whoever exchanges the client's own token needs somebody to keep it.
    let subject = "                          subjectProviderName: corporate-idp\n";
    shipped(file, subject, "").expect(0);
    let run = shipped(
        file,
        "object_key: upstream_inject.identity_token",
        "object_key: mine",
    );
    run.expect(0);
    let text = std::fs::read_to_string(repository().join("envoy").join(file)).expect(file);
    let text =
        text.replacen(subject, "", 1)
            .replacen("object_key: upstream_inject.", "object_key: ", 1);
    let run = Workbench::with("envoy.yaml", text)
        .run(&["check", "envoy.yaml"])
        .expect(1);
    assert!(run.stdout.contains("nobody keeps it there"), "{run:#?}");
    // A cluster without the filter is no backend.
    let run = shipped(file, "        - *upstream_inject\n", "").expect(1);
    assert!(run.stdout.contains("[envoy-no-filter]"), "{run:#?}");
}

#[test]
fn before_the_router_the_door_is_a_filter() {
    let file = "downstream.yaml";
    let run = shipped(file, "                - remove: authorization\n", "").expect(1);
    assert!(
        run.stdout.contains("nothing takes the client's token off"),
        "{run:#?}"
    );
    let run = shipped(file, "                - remove: x-api-key\n", "").expect(0);
    assert!(run.stdout.contains("[envoy-door]"), "{run:#?}");
    // Before who reads the token it comes too early, though something does take it off.
    let late = "          - name: upstream_inject\n";
    let between = format!(
        "          - {{name: again, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz}}}}\n{late}"
    );
    let run = shipped(file, late, &between).expect(0);
    assert!(run.stdout.contains("off too early"), "{run:#?}");
    // The router takes off what the filter has set, wherever it is told to.
    let domains = "              domains: [\"*\"]\n";
    for header in ["authorization", "x-api-key"] {
        let with = format!("{domains}              request_headers_to_remove: [{header}]\n");
        let run = shipped(file, domains, &with).expect(1);
        assert!(
            run.stdout.contains("takes its credential off again"),
            "{run:#?}"
        );
    }
}

#[test]
fn before_the_router_only_what_the_filter_sets_must_stay() {
    let file = "downstream.yaml";
    for (cluster, header, is_wrong) in [
        ("github-tools", "authorization", true),
        ("github-tools", "x-api-key", false),
        ("internal-api", "x-api-key", true),
        ("internal-api", "Authorization", false),
    ] {
        let route = format!("route: {{cluster: {cluster}, prefix_rewrite: /, timeout: 0s}}\n");
        let removes = format!("{route}                request_headers_to_remove: [{header}]\n");
        let run = shipped(file, &route, &removes).expect(i32::from(is_wrong));
        let is_said = run.stdout.contains("takes its credential off again");
        assert_eq!(is_said, is_wrong, "{cluster} {header} {run:#?}");
        assert_eq!(run.stdout.contains("[envoy-door]"), is_wrong, "{run:#?}");
    }
    // Where the filter is off, the route is the door.
    let first = "              - match: {prefix: /github-tools/}\n";
    let off = format!(
        "              - match: {{prefix: /oauth/}}\n                route: {{cluster: \
         embedded-as-http}}\n                request_headers_to_remove: [authorization]\n                \
         typed_per_filter_config: {}\n{first}",
        per_filter("upstream_inject", true)
    );
    let run = shipped(file, first, &off).expect(0);
    assert!(!run.stdout.contains("[envoy-door]"), "{run:#?}");
}

#[test]
fn what_jwt_authn_takes_off_itself_counts() {
    let file = "downstream.yaml";
    let text = std::fs::read_to_string(repository().join("envoy").join(file)).expect(file);
    let text = text
        .replacen("                - remove: authorization\n", "", 1)
        .replacen("forward: true", "forward: false", 1);
    let check = |text: &str| Workbench::with("envoy.yaml", text).run(&["check", "envoy.yaml"]);
    let run = check(&text).expect(0);
    assert!(run.stdout.contains("only jwt_authn takes"), "{run:#?}");
    // It leaves alone where it does not look.
    let run = check(&text.replace("name: Authorization", "name: x-token")).expect(1);
    assert!(
        run.stdout.contains("nothing takes the client's token off"),
        "{run:#?}"
    );
}

#[test]
fn off_for_all_is_right_where_routes_switch_it_on() {
    let outgoing = format!("{OURS}/typed_config/config/configuration/value/outgoingAuth");
    let mut config = bootstrap();
    put(&mut config, OURS, "disabled", json!(true));
    let default = json!({"type": "unauthenticated"});
    put(&mut config, &outgoing, "default", default.clone());
    for route in [2, 3, 4] {
        let route = format!("/route_config/virtual_hosts/0/routes/{route}");
        put(
            &mut config,
            &route,
            KEY,
            per_filter("upstream_inject", false),
        );
    }
    let routes = config.pointer_mut(&format!("{MANAGER}/route_config/virtual_hosts/0/routes"));
    let routes = routes.and_then(Value::as_array_mut).expect("routes");
    routes.push(json!({"match": {"prefix": "/health"}, "route": {"cluster": "vmcp"}}));
    let run = check(&config).expect(0);
    assert!(!run.stdout.contains("envoy-off"), "{run:#?}");
    // Nobody does, and any cluster may be a backend.
    let mut config = bootstrap();
    put(&mut config, OURS, "disabled", json!(true));
    put(&mut config, &outgoing, "default", default);
    put(&mut config, &outgoing, "backends", json!({}));
    let run = check(&config).expect(0);
    assert!(run.stdout.contains("the filter is off here"), "{run:#?}");
    assert!(run.stdout.contains("[envoy-off]"), "{run:#?}");
}

#[test]
fn where_requests_say_which_cluster_the_filter_may_stand_in_clusters() {
    let file = "in-clusters.yaml";
    let text = std::fs::read_to_string(repository().join("envoy").join(file)).expect(file);
    let text = text.replace("route: {cluster: ", "route: {cluster_header: x-");
    let check = |text: &str| Workbench::with("envoy.yaml", text).run(&["check", "envoy.yaml"]);
    let run = check(&text).expect(0);
    assert!(run.stdout.contains("[envoy-goes-by]"), "{run:#?}");
    let nowhere = text.replace("\n        http_filters:\n", "\n        unused:\n");
    let run = check(&nowhere).expect(1);
    assert!(run.stdout.contains("[envoy-no-filter]"), "{run:#?}");
}

#[test]
fn a_list_of_capabilities_must_be_whole() {
    for (missing, code, expected) in [
        ("proxy_on_request_headers", "envoy-fail-open", 1),
        ("proxy_on_configure", "envoy-fail-open", 1),
        ("proxy_replace_header_map_value", "envoy-config", 1),
        ("proxy_set_shared_data", "envoy-config", 0),
        ("proxy_set_property", "envoy-config", 0),
    ] {
        let line = format!("                  {missing}: {{}}\n");
        let run = shipped("in-clusters.yaml", &line, "").expect(expected);
        assert!(run.stdout.contains(&format!("[{code}]")), "{run:#?}");
        assert!(run.stdout.contains(missing), "{run:#?}");
    }
    // An empty one restricts nothing.
    let mut config = bootstrap();
    let place = format!("{OURS}/typed_config/config/vm_config");
    let allows = |list: Value| json!({"allowed_capabilities": list});
    put(
        &mut config,
        &place,
        "capability_restriction_config",
        allows(json!({})),
    );
    check(&config).expect(0);
    let some = allows(json!({"proxy_on_configure": {}}));
    put(&mut config, &place, "capability_restriction_config", some);
    assert_finds(&config, "envoy-fail-open", "proxy_on_request_headers");
}
