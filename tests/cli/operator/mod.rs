//! What ToolHive's users have, by kind: resources after the shape of every example, guide and
//! end-to-end test of its repository that holds some. Each converts, and what comes out passes
//! `check` without a warning and is rendered for every target (what Envoy says of that is a test beside
//! a real one); or it is refused for the reason that the operator's API server, or the operator, gives.

pub mod files;
mod told;

use crate::tool::{Run, Workbench};
use files::Outcome::{Converts, Refused};
use files::*;
use serde_json::{Value, json};

fn convert(text: &str) -> (Workbench, Run) {
    let bench = Workbench::with("r.yaml", text);
    let run = bench.run(&["convert", "r.yaml"]);
    (bench, run)
}

#[test]
fn every_kind_of_file_converts_or_is_refused_as_its_api_server_would() {
    for (what, text, outcome) in files() {
        let (bench, run) = convert(&text);
        assert!(
            !run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"),
            "{what}"
        );
        match outcome {
            Converts(expected) => {
                let run = run.expect(0);
                let checked = bench.run_with(&["check", "--strict", "-"], &run.stdout, &[]);
                assert_eq!(checked.code, 0, "{what}\n{}\n{checked:#?}", run.stdout);
                for target in ["envoy", "envoy-gateway", "istio"] {
                    let rendered = bench.run_with(&["render", "-t", target, "-"], &run.stdout, &[]);
                    assert_eq!(rendered.code, 0, "{what}, {target}\n{rendered:#?}");
                    assert!(!rendered.stdout.contains("hunter2"), "{what}");
                }
                let json = bench.run(&["convert", "--print", "json", "r.yaml"]);
                let json: Value = serde_json::from_str(&json.expect(0).stdout).expect("JSON");
                let mut expected = expected.to_vec();
                expected.sort_unstable(); // as JSON has them
                let mut types = types(&json);
                types.sort_unstable();
                assert_eq!(types, expected, "{what}");
                bench
                    .run_with(
                        &["check", "--as", "plugin", "-"],
                        json["configuration"].to_string(),
                        &[],
                    )
                    .expect(0);
            }
            Refused(reasons) => {
                let run = run.expect(1);
                assert_eq!(run.stdout, "", "{what}");
                let errors: Vec<_> = run
                    .stderr
                    .lines()
                    .filter(|line| line.contains(": error: "))
                    .collect();
                assert_eq!(errors.len(), reasons.len(), "{what}\n{}", run.stderr);
                for reason in reasons {
                    assert!(
                        run.stderr.contains(reason),
                        "{what}\n{reason}\n{}",
                        run.stderr
                    );
                }
            }
        }
    }
}

fn types(json: &Value) -> Vec<(&str, &str)> {
    let outgoing = &json["configuration"]["outgoingAuth"];
    let default = outgoing
        .get("default")
        .map(|strategy| ("default", strategy));
    let backends = outgoing.get("backends").and_then(Value::as_object);
    default
        .into_iter()
        .chain(
            backends
                .into_iter()
                .flatten()
                .map(|(name, strategy)| (name.as_str(), strategy)),
        )
        .map(|(name, strategy)| (name, strategy["type"].as_str().expect("a type")))
        .collect()
}

/// The conversion as JSON.
fn converted(text: &str) -> (Value, Run) {
    let bench = Workbench::with("r.yaml", text);
    let run = bench
        .run(&["convert", "--print", "json", "r.yaml"])
        .expect(0);
    (serde_json::from_str(&run.stdout).expect("JSON"), run)
}

#[test]
fn addresses_and_who_may_come_in_reach_render() {
    let text = group()
        + &resource(
            "MCPOIDCConfig",
            "login",
            "spec: {type: inline, inline: {issuer: 'https://login.example', jwksUrl: 'https://login.example/keys?v=1'}}",
        )
        + &server("plain", "")
        + &server("spoken", ", transport: stdio, proxyMode: sse").replacen(
            "transport: streamable-http, ",
            "",
            1,
        )
        + &(server("told", "").trim_end().to_owned()
            + "\nstatus: {url: 'http://elsewhere:1/sse#told'}\n")
        + &entry("remote", "")
        + &resource(
            "MCPRemoteProxy",
            "proxied",
            "spec: {remoteUrl: 'https://r.example', proxyPort: 9090, groupRef: {name: team}}",
        )
        + &gateway(OIDC);
    let (json, _) = converted(&text);
    assert_eq!(
        json["backends"],
        json!([
            {"name": "plain", "url": "http://mcp-plain-proxy.tools.svc.cluster.local:8080/mcp", "transport": "streamable-http"},
            {"name": "spoken", "url": "http://mcp-spoken-proxy.tools.svc.cluster.local:8080/sse", "transport": "sse"},
            {"name": "told", "url": "http://elsewhere:1/sse", "transport": "streamable-http"},
            {"name": "remote", "url": "https://remote.example/mcp", "transport": "streamable-http"},
            {"name": "proxied", "url": "http://mcp-proxied-remote-proxy.tools.svc.cluster.local:9090", "transport": "streamable-http"},
        ])
    );
    assert_eq!(
        json["incomingAuth"],
        json!({"type": "oidc", "oidc": {
            "issuer": "https://login.example",
            "audience": "https://mcp.example/mcp",
            "resource": "https://mcp.example/mcp",
            "jwksUrl": "https://login.example/keys?v=1",
        }})
    );
    // The same in the file that check and render read.
    let (bench, run) = convert(&text);
    let checked = bench
        .run_with(&["check", "--format", "json", "-"], &run.stdout, &[])
        .expect(0);
    assert!(
        checked.stdout.contains("\"kind\": \"vmcp\""),
        "{checked:#?}"
    );
    assert!(
        run.stdout.contains("audience: https://mcp.example/mcp\n"),
        "{run:#?}"
    );
}

#[test]
fn an_absent_subject_is_the_first_upstream_and_written_out() {
    let rest =
        group() + &config("sts", EXCHANGE) + &server("a", ", externalAuthConfigRef: {name: sts}");
    let (json, _) = converted(&(rest.clone() + &gateway(&format!("{OIDC}{AUTH_SERVER}"))));
    let exchange = &json["configuration"]["outgoingAuth"]["backends"]["a"]["tokenExchange"];
    assert_eq!(exchange["subjectProviderName"], "github");
    assert!(
        json["notes"].to_string().contains("the first upstream"),
        "{json:#}"
    );
    // Without an auth server there is none, and the client's own token is exchanged as before.
    let (json, _) = converted(&(rest.clone() + &gateway(OIDC)));
    let exchange = &json["configuration"]["outgoingAuth"]["backends"]["a"]["tokenExchange"];
    assert_eq!(exchange.get("subjectProviderName"), None);
    // Of several, ToolHive does not guess whose ID token is meant.
    let xaa = config(
        "sts",
        "{type: xaa, xaa: {idpTokenUrl: 'https://idp.example/t', targetTokenUrl: \
         'https://as.example/t', targetAudience: x}}",
    ) + &server("a", ", externalAuthConfigRef: {name: sts}");
    let two = xaa.clone() + &gateway(&format!("{OIDC}{AUTH_SERVER}"));
    let (_, run) = convert(&two);
    assert!(
        run.expect(1).stderr.contains(
            "spec.xaa.subjectProviderName: is required: whose ID token, of github, corp?"
        )
    );
    let one = two.replace("      - name: corp\n        type: oidc\n        oidcConfig: {issuerUrl: 'https://idp.example', clientId: b}\n", "");
    let (json, _) = converted(&one);
    let xaa = &json["configuration"]["outgoingAuth"]["backends"]["a"]["xaa"];
    assert_eq!(xaa["subjectProviderName"], "github");
}

#[test]
fn entra_and_cross_app_access_are_carried_field_by_field() {
    let text = config(
        "graph",
        "{type: obo, obo: {tenantId: 11111111-2222-3333-4444-555555555555, authority: \
         'https://login.example/b2c', clientId: a, clientSecretRef: {name: entra, key: k}, audience: \
         'api://b', cacheSkew: 1m30s}}",
    ) + &config(
        "partner",
        "{type: xaa, xaa: {idpTokenUrl: 'https://idp.example/t', idpClientId: a, idpClientSecretRef: \
         {name: x, key: i}, targetTokenUrl: 'http://as.ns.svc/t', insecureTargetTokenUrl: true, \
         targetClientId: b, targetAudience: c, targetResource: 'https://d.example', scopes: [e], \
         subjectProviderName: f, subjectTokenType: 'urn:ietf:params:oauth:token-type:id_token'}}",
    );
    let (json, run) = converted(&text);
    let backends = &json["configuration"]["outgoingAuth"]["backends"];
    assert_eq!(
        backends["graph"]["obo"],
        json!({
            "tokenUrl": "https://login.example/b2c/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token",
            "clientId": "a",
            "clientSecretEnv": "UPSTREAM_INJECT_GRAPH_CLIENT_SECRET",
            "audience": "api://b",
            "cacheSkewSeconds": 90,
        })
    );
    assert_eq!(
        backends["partner"]["xaa"],
        json!({
            "idpTokenUrl": "https://idp.example/t",
            "idpClientId": "a",
            "idpClientSecretEnv": "UPSTREAM_INJECT_PARTNER_IDP_CLIENT_SECRET",
            "targetTokenUrl": "http://as.ns.svc/t",
            "targetClientId": "b",
            "targetClientAuthMethod": "none",
            "targetAudience": "c",
            "targetResource": "https://d.example",
            "scopes": ["e"],
            "subjectProviderName": "f",
            "subjectTokenType": "urn:ietf:params:oauth:token-type:id_token",
            "insecureTargetTokenUrl": true,
        })
    );
    assert!(
        run.stderr.contains(
            "warning: MCPExternalAuthConfig tools/partner: spec.xaa.insecureTargetTokenUrl"
        )
    );
    for (field, wrong, reason) in [
        (
            "tenantId: 11111111-2222-3333-4444-555555555555",
            "tenantId: common",
            "obo.tenantId: must be the tenant's GUID",
        ),
        (
            "tenantId: 11111111-2222-3333-4444-555555555555, ",
            "",
            "obo.tenantId: is required",
        ),
        (
            "'https://login.example/b2c'",
            "'https://login.example/'",
            "obo.authority: must be an https URL",
        ),
        (
            "'https://login.example/b2c'",
            "'https://a@b.example'",
            "obo.authority: must be an https URL",
        ),
        (
            ", clientSecretRef: {name: entra, key: k}",
            "",
            "obo.clientSecretRef: is required",
        ),
        (
            ", audience: 'api://b'",
            "",
            "obo.scopes: is required, or audience",
        ),
        (
            "cacheSkew: 1m30s",
            "cacheSkew: -1s",
            "obo.cacheSkew: must be a duration",
        ),
        (
            "cacheSkew: 1m30s",
            "cacheSkew: 11m",
            "obo.cacheSkew: must be a duration",
        ),
        (
            "cacheSkew: 1m30s",
            "subjectTokenProviderName: A_b",
            "obo.subjectTokenProviderName: must be",
        ),
        (
            "'https://idp.example/t'",
            "'http://idp.example/t'",
            "xaa.idpTokenUrl: must begin with https://",
        ),
        (
            "token-type:id_token",
            "token-type:jwt",
            "xaa.subjectTokenType: must be",
        ),
        ("targetAudience: c, ", "", "xaa.targetAudience: is required"),
        ("insecureTargetTokenUrl: true, ", "", "xaa.targetTokenUrl: "),
    ] {
        let (_, run) = convert(&text.replacen(field, wrong, 1));
        let run = run.expect(1);
        assert!(run.stderr.contains(reason), "{reason}\n{run:#?}");
    }
}

#[test]
fn a_plain_token_url_gets_through_within_the_cluster_only() {
    let text = |url: &str| config("a", &EXCHANGE.replace("https://sts.example/token", url));
    let (json, run) = converted(&text("http://sts.auth.svc.cluster.local:8080/token"));
    let exchange = &json["configuration"]["outgoingAuth"]["backends"]["a"]["tokenExchange"];
    assert_eq!(exchange["insecureTokenUrl"], true);
    assert!(run.stderr.contains("r.yaml:7:45: ") && run.stderr.contains("warning: MCPExternalAuthConfig tools/a: spec.tokenExchange.tokenUrl: is called without TLS"), "{run:#?}");
    let (_, run) = convert(&text("http://sts.example.com/token"));
    assert!(
        run.expect(1)
            .stderr
            .contains("spec.tokenExchange.tokenUrl: ")
    );
}

#[test]
fn a_resource_of_several_workloads_is_their_strategy_with_one_secret() {
    let text = config("sts", EXCHANGE)
        + &server("one", ", externalAuthConfigRef: {name: sts}")
        + &server("two", ", externalAuthConfigRef: {name: sts}");
    for text in [text.clone(), text + &gateway(ANONYMOUS)] {
        let (json, _) = converted(&text);
        assert_eq!(
            types(&json),
            [("one", "token_exchange"), ("two", "token_exchange")]
        );
        assert_eq!(json["env"].as_array().map(Vec::len), Some(1), "{json:#}");
        assert_eq!(json["env"][0]["name"], "UPSTREAM_INJECT_STS_CLIENT_SECRET");
    }
}

#[test]
fn equal_names_of_two_namespaces_are_told_apart() {
    let here = config("api", EXCHANGE);
    let text = here.clone() + &here.replace("namespace: tools", "namespace: others");
    let (json, _) = converted(&text);
    assert_eq!(
        types(&json),
        [
            ("others/api", "token_exchange"),
            ("tools/api", "token_exchange")
        ]
    );
    assert_eq!(json["env"].as_array().map(Vec::len), Some(2), "{json:#}");
    assert_ne!(json["env"][0]["name"], json["env"][1]["name"]);
    let notes = json["notes"].to_string();
    assert!(
        notes.contains("Secrets in the namespace others: sts")
            && notes.contains("named NAMESPACE/NAME: api"),
        "{notes}"
    );
    let (bench, run) = convert(&text);
    bench.run_with(&["check", "-"], &run.stdout, &[]).expect(0);
}

#[test]
fn one_of_several_gateways_can_be_chosen() {
    let both = |name: &str, issuer: &str| {
        gateway(&format!("{OIDC}{AUTH_SERVER}"))
            .replace("name: gateway", &format!("name: {name}"))
            .replace("issuer: https://mcp.example", &format!("issuer: {issuer}"))
    };
    let text = group()
        + &server("a", "")
        + &both("one", "https://one.example")
        + &both("two", "https://two.example");
    let bench = Workbench::with("r.yaml", &text);
    let run = bench.run(&["convert", "r.yaml"]).expect(1);
    assert!(
        run.stderr.contains("a second auth server") && run.stderr.contains("--virtual-server"),
        "{run:#?}"
    );
    for given in ["two", "tools/two"] {
        let run = bench
            .run(&["convert", "--virtual-server", given, "r.yaml"])
            .expect(0);
        assert!(
            run.stdout.contains("issuer: https://two.example\n"),
            "{run:#?}"
        );
    }
    bench
        .run(&["convert", "--virtual-server", "three", "r.yaml"])
        .expect(1);
}

#[test]
fn the_auth_servers_own_file_and_the_operators_config_map_are_read() {
    let inject = config(
        "a",
        "{type: upstreamInject, upstreamInject: {providerName: corp}}",
    );
    let own = "schema_version: v0.1.0\nissuer: https://mcp.example\nupstreams: [{name: corp}]\n\
               allowed_audiences: [x]\n";
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  authserver-config.yaml: |\n    {}\n",
        own.replace('\n', "\n    ").trim_end()
    );
    for text in [own, map.as_str()] {
        let bench = Workbench::with("r.yaml", &inject).file("as.yaml", text);
        let run = bench
            .run(&["convert", "--auth-server", "as.yaml", "r.yaml"])
            .expect(0);
        assert!(
            run.stdout.contains("issuer: https://mcp.example\n"),
            "{run:#?}"
        );
        let wrong = text.replace("name: corp", "name: crop");
        let bench = Workbench::with("r.yaml", &inject).file("as.yaml", wrong);
        let run = bench
            .run(&["convert", "--auth-server", "as.yaml", "r.yaml"])
            .expect(1);
        assert!(run.stderr.contains("V-02"), "{run:#?}");
    }
}
