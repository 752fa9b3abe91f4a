//! What is said of resources that do not convert, or not whole: where it stands, and that nothing is
//! passed over in silence.

use super::files::*;
use super::{convert, converted, types};
use crate::tool::Workbench;
use serde_json::{Value, json};

#[test]
fn what_belongs_to_another_group_is_left_out_with_a_note() {
    let text = config(
        "mail-token",
        "{type: upstreamInject, upstreamInject: {providerName: github}}",
    ) + &config(
        "parked-token",
        "{type: upstreamInject, upstreamInject: {providerName: nobody}}",
    ) + &entry("mail", ", externalAuthConfigRef: {name: mail-token}")
        + &entry("parked", ", externalAuthConfigRef: {name: parked-token}")
            .replace("name: team", "name: waiting")
        + &gateway(&format!("{OIDC}{AUTH_SERVER}"));
    let (json, run) = converted(&text);
    assert_eq!(types(&json), [("mail", "upstream_inject")]);
    assert!(!run.stderr.contains("V-02"), "{run:#?}");
    assert!(
        run.stdout
            .contains("MCPExternalAuthConfig tools/parked-token is left out"),
        "{run:#?}"
    );
}

#[test]
fn a_gateway_and_its_auth_server_must_agree() {
    let login = |issuer: &str| {
        resource(
            "MCPOIDCConfig",
            "login",
            &format!("spec: {{type: inline, inline: {{issuer: '{issuer}'}}}}"),
        )
    };
    let rest = group() + &server("a", "");
    let text =
        rest.clone() + &login("https://other.example") + &gateway(&format!("{OIDC}{AUTH_SERVER}"));
    let (_, run) = convert(&text);
    assert!(
        run.expect(1)
            .stderr
            .contains("oidcConfigRef.name: V-04: its issuer is \"https://other.example\"")
    );
    let text = rest.clone()
        + &gateway(&format!("{OIDC}{AUTH_SERVER}")).replacen(
            "audience: 'https://mcp.example/mcp'",
            "audience: else",
            1,
        );
    let (_, run) = convert(&text);
    assert!(
        run.expect(1)
            .stderr
            .contains("oidcConfigRef.audience: V-07: \"else\"")
    );
    let text = rest + &gateway(&format!("{ANONYMOUS}{AUTH_SERVER}"));
    let (_, run) = convert(&text);
    assert!(
        run.expect(1)
            .stderr
            .contains("incomingAuth.type: V-05: must be oidc")
    );
}

#[test]
fn headers_that_vmcp_adds_are_carried_or_told() {
    let headers = |more: &str| {
        format!(
            ", headerForward: {{addHeadersFromSecret: [{{headerName: X-Key, valueSecretRef: {{name: s, \
             key: k}}}}{more}]}}"
        )
    };
    let one = headers("");
    let (json, run) = converted(&(entry("a", &one) + &gateway(ANONYMOUS)));
    let backend = &json["configuration"]["outgoingAuth"]["backends"]["a"]["headerInjection"];
    assert_eq!(
        *backend,
        json!({"headerName": "X-Key", "headerValueEnv": "UPSTREAM_INJECT_A_HEADER_VALUE"})
    );
    assert_eq!(
        json["env"][0]["valueFrom"]["secretKeyRef"],
        json!({"name": "s", "key": "k"})
    );
    assert!(!run.stderr.contains("not carried"), "{run:#?}");
    // A second one, and one beside a credential, are not skipped in silence.
    let two = headers(", {headerName: Authorization, valueSecretRef: {name: t, key: k}}");
    let (json, run) = converted(&(entry("a", &two) + &gateway(ANONYMOUS)));
    assert_eq!(
        json["configuration"]["outgoingAuth"]["backends"]["a"]["headerInjection"]["headerName"],
        "Authorization"
    );
    assert!(
        run.stderr
            .contains("addHeadersFromSecret[0]: \"X-Key\" is not carried over"),
        "{run:#?}"
    );
    let text = config("sts", EXCHANGE)
        + &entry("a", &format!("{one}, externalAuthConfigRef: {{name: sts}}"))
        + &gateway(ANONYMOUS);
    let (json, run) = converted(&text);
    assert_eq!(types(&json), [("a", "token_exchange")]);
    assert!(
        run.stderr.contains("\"X-Key\" is not carried over"),
        "{run:#?}"
    );
}

#[test]
fn what_guards_users_under_vmcp_and_not_here_is_a_warning() {
    let text = group()
        + &server("a", "")
        + &gateway(
            "  incomingAuth: {type: oidc, oidcConfigRef: {name: login, audience: x}, authzConfig: \
             {type: inline, inline: {policies: [p]}}}\n  config: {rateLimiting: {perUser: \
             {maxTokens: 1}}, audit: {enabled: true}}\n  passthroughHeaders: [x-a]\n",
        );
    let (json, run) = converted(&text);
    for (place, what) in [
        ("spec.incomingAuth.authzConfig", "not enforced"),
        ("spec.config.rateLimiting", "not enforced"),
    ] {
        let line = run
            .stderr
            .lines()
            .find(|line| line.contains(place))
            .unwrap_or_default();
        assert!(
            line.contains(": warning: ") && line.contains(what),
            "{place}: {run:#?}"
        );
    }
    let notes = json["notes"].to_string();
    assert!(
        notes.contains("audit is vMCP's") && notes.contains("passthroughHeaders"),
        "{notes}"
    );
}

#[test]
fn a_problem_is_told_at_the_field_that_the_value_came_from() {
    let text = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: \
                {name: as}\nspec:\n  type: embeddedAuthServer\n  embeddedAuthServer:\n    issuer: \
                https://a.example\n    upstreamProviders:\n      - name: corp\n      - name: \
                corp\n---\napiVersion: toolhive.stacklok.dev/v1beta1\nkind: \
                MCPExternalAuthConfig\nmetadata: {name: wiki}\nspec:\n  type: upstreamInject\n  \
                upstreamInject:\n    providerName: crop\n---\napiVersion: \
                toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: {name: \
                tickets}\nspec:\n  type: tokenExchange\n  tokenExchange:\n    tokenUrl: \
                sts.example/t\n    audience: x\n    scopes:\n      - a\n      - b c\n---\napiVersion: \
                toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata:\n  name: \"{{ \
                .Release.Name }}\"\nspec: {type: unauthenticated}\n";
    let (_, run) = convert(text);
    let run = run.expect(1);
    for expected in [
        "r.yaml:10:9: error: MCPExternalAuthConfig as: spec.embeddedAuthServer.upstreamProviders[1].name: V-05: ",
        "r.yaml:18:5: error: MCPExternalAuthConfig wiki: spec.upstreamInject.providerName: V-02: ",
        "(as outgoingAuth.backends.wiki.upstreamInject.providerName)",
        "r.yaml:26:5: error: MCPExternalAuthConfig tickets: spec.tokenExchange.tokenUrl: ",
        "r.yaml:30:9: error: MCPExternalAuthConfig tickets: spec.tokenExchange.scopes[1]: ",
        "r.yaml:35:3: error: metadata.name: \"{{ .Release.Name }}\" is a template",
    ] {
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    }
}

#[test]
fn a_key_given_twice_hides_nothing_else() {
    let text = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: \
                {name: a}\nspec:\n  type: tokenExchange\n  tokenExchange:\n    tokenUrl: \
                sts.example/t\n    audience: x\n    audience: y\n    scopes: [a]\n    scopes: [b]\n";
    let (_, run) = convert(text);
    let run = run.expect(1);
    for expected in [
        "r.yaml:7:5: error: MCPExternalAuthConfig a: spec.tokenExchange.tokenUrl: ",
        "r.yaml:9:5: error: MCPExternalAuthConfig a: spec.tokenExchange.audience: given twice",
        "r.yaml:11:5: error: MCPExternalAuthConfig a: spec.tokenExchange.scopes: given twice",
        "[given-twice]",
    ] {
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    }
}

#[test]
fn a_problem_of_the_filters_rules_keeps_its_own_code() {
    let text = config(
        "a",
        "{type: upstreamInject, upstreamInject: {providerName: crop}}",
    ) + &config("b", &EXCHANGE.replace("https://sts.example/token", "sts"))
        + &config(
            "as",
            "{type: embeddedAuthServer, embeddedAuthServer: {issuer: 'https://i.example', \
             upstreamProviders: [{name: corp}]}}",
        );
    let bench = Workbench::with("r.yaml", &text);
    let run = bench
        .run(&["convert", "--format", "json", "r.yaml"])
        .expect(1);
    let report: Value = serde_json::from_str(&run.stderr).expect("JSON");
    let findings = report["files"][0]["findings"].as_array().expect("a list");
    let codes: Vec<_> = findings.iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, ["V-02", "token-url"], "{report:#}");
}

#[test]
fn resources_one_behind_the_other_are_all_read() {
    let of = |name: &str| {
        json!({"apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPExternalAuthConfig",
               "metadata": {"name": name}, "spec": {"type": "unauthenticated"}})
        .to_string()
    };
    for between in ["\n", "", "\n---\n", "\n--- # next\n"] {
        let (json, _) = converted(&format!("{}{between}{}", of("a"), of("b")));
        let backends = json["configuration"]["outgoingAuth"]["backends"].as_object();
        assert_eq!(backends.map(serde_json::Map::len), Some(2), "{between:?}");
    }
    let (_, run) = convert(&format!("{}\n {{\"a\": 1,}}", of("a")));
    let run = run.expect(2);
    assert!(
        run.stderr.contains("r.yaml:2:10: error: broken JSON: "),
        "{run:#?}"
    );
}

#[test]
fn a_server_of_which_nobody_says_anything_is_named() {
    let text = secret() + &server("alone", "").replace(", groupRef: {name: team}", "");
    let (_, run) = convert(&text);
    let run = run.expect(1);
    let expected = "error: MCPServer tools/alone: spec: no resource in here becomes a backend: it is \
                    in no group, and refers to no MCPExternalAuthConfig";
    assert!(run.stderr.contains(expected), "{run:#?}");
    assert!(!run.stderr.contains("Secret"), "{run:#?}");
}
