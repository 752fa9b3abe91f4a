//! `convert`: resources of ToolHive's operator become backends.

use crate::golden;
use crate::tool::{Run, Workbench};
use serde_json::Value;

const RFC_RESOURCE: &str = include_str!("fixtures/rfc-resource.yaml");
const RESOURCES: &str = include_str!("../../docs/targets/resources.yaml");
const RFC: &str = include_str!("fixtures/rfc.yaml");

fn convert(text: &str) -> Run {
    Workbench::with("r.yaml", text).run(&["convert", "r.yaml"])
}

/// A resource of this type, with this block.
fn resource(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: {{name: \
         {name}, namespace: ns}}\nspec: {spec}\n---\n"
    )
}

#[test]
fn the_rfcs_resource_becomes_a_backend_that_passes_check() {
    let bench = Workbench::with("r.yaml", RFC_RESOURCE).file("rfc.yaml", RFC);
    let run = bench
        .run(&[
            "convert",
            "r.yaml",
            "--auth-server",
            "rfc.yaml",
            "-o",
            "out.yaml",
        ])
        .expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    bench.run(&["check", "out.yaml"]).expect(0);
    // Without an auth server that is the one thing missing, and the output says so.
    let run = bench.run(&["convert", "r.yaml"]).expect(0);
    assert!(run.stdout.contains("# authServer is missing: "), "{run:#?}");
    let run = bench.run_with(&["check", "-"], &run.stdout, &[]).expect(1);
    assert!(run.stdout.contains("V-01"), "{run:#?}");
    assert_eq!(run.lines().len(), 2, "{run:#?}");
}

#[test]
fn every_type_is_converted_as_expected() {
    let bench = Workbench::with("r.yaml", RESOURCES);
    for (format, file) in [
        ("yaml", "tests/cli/golden/convert.yaml"),
        ("json", "tests/cli/golden/convert.json"),
        ("env", "tests/cli/golden/convert-env.yaml"),
    ] {
        let run = bench
            .run(&["convert", "--print", format, "r.yaml"])
            .expect(0);
        golden::compare(file, &run.stdout);
    }
    let run = bench.run(&["convert", "r.yaml"]).expect(0);
    bench.run_with(&["check", "-"], &run.stdout, &[]).expect(0);
    let json = bench
        .run(&["convert", "--print", "json", "r.yaml"])
        .expect(0);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let plugin = json["configuration"].to_string();
    bench.run_with(&["check", "-"], plugin, &[]).expect(0);
}

#[test]
fn what_kubectl_prints_is_understood() {
    let one = resource("a", "{type: unauthenticated}");
    let one = one.trim_end_matches("---\n");
    let item: String = one.lines().map(|line| format!("    {line}\n")).collect();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n  -\n{item}  -\n{}",
        item.replace("name: a", "name: b")
    );
    let run = convert(&list).expect(0);
    assert!(
        run.stdout.contains("\n    a:\n") && run.stdout.contains("\n    b:\n"),
        "{run:#?}"
    );
    let with_status = format!(
        "{}status: {{conditions: []}}\n",
        one.replace(
            "namespace: ns",
            "namespace: ns, uid: u, resourceVersion: \"1\""
        )
    );
    convert(&with_status).expect(0);
}

#[test]
fn an_empty_optional_text_is_absent() {
    let run = convert(&resource(
        "a",
        "{type: tokenExchange, tokenExchange: {tokenUrl: https://sts.example/t, audience: x, \
         clientId: '', subjectTokenType: '', subjectProviderName: '', externalTokenHeaderName: '', \
         scopes: []}}",
    ))
    .expect(0);
    assert!(run.stdout.contains("audience: x\n"), "{run:#?}");
    for key in [
        "clientId",
        "subjectTokenType",
        "subjectProviderName",
        "externalToken",
        "scopes",
    ] {
        assert!(!run.stdout.contains(key), "{key}: {run:#?}");
    }
}

#[test]
fn what_an_api_server_would_refuse_is_refused() {
    let exchange = "tokenUrl: https://sts.example/t, audience: x";
    for (spec, expected) in [
        ("{}", "spec.type: is required"),
        (
            "{type: upstream_inject}",
            "spec.type: \"upstream_inject\" is not one of upstreamInject,",
        ),
        (
            "{type: upstreamInject}",
            "spec.upstreamInject: must be set if and only if type is upstreamInject",
        ),
        (
            "{type: unauthenticated, upstreamInject: {providerName: x}}",
            "spec.upstreamInject: must be set if and only if type is upstreamInject",
        ),
        (
            "{type: upstreamInject, upstreamInject: {providerName: x}, awsSts: {}}",
            "spec.awsSts: must be set if and only if type is awsSts",
        ),
        (
            "{type: unauthenticated, unauthenticated: {}}",
            "spec.unauthenticated: an unknown field",
        ),
        (
            "{type: unauthenticated, upstreaminject: {}}",
            "spec.upstreaminject: an unknown field",
        ),
        (
            "{type: upstreamInject, upstreamInject: {}}",
            "spec.upstreamInject.providerName: is required",
        ),
        (
            "{type: upstreamInject, upstreamInject: {providerName: ''}}",
            "spec.upstreamInject.providerName: must not be empty",
        ),
        (
            "{type: upstreamInject, upstreamInject: {providerName: 1}}",
            "spec.upstreamInject.providerName: is a number, not a string",
        ),
        (
            "{type: upstreamInject, upstreamInject: []}",
            "spec.upstreamInject: is a list, not a map",
        ),
        (
            "{type: tokenExchange, tokenExchange: {audience: x}}",
            "spec.tokenExchange.tokenUrl: is required",
        ),
        (
            "{type: tokenExchange, tokenExchange: {tokenUrl: https://sts.example/t}}",
            "spec.tokenExchange.audience: is required",
        ),
        (
            &format!(
                "{{type: tokenExchange, tokenExchange: {{{exchange}, subjectTokenType: saml2}}}}"
            ),
            "spec.tokenExchange.subjectTokenType: must be access_token, id_token or jwt",
        ),
        (
            &format!("{{type: tokenExchange, tokenExchange: {{{exchange}, clientSecret: x}}}}"),
            "spec.tokenExchange.clientSecret: an unknown field",
        ),
        (
            &format!(
                "{{type: tokenExchange, tokenExchange: {{{exchange}, clientSecretRef: {{name: x}}}}}}"
            ),
            "spec.tokenExchange.clientSecretRef.key: is required",
        ),
        (
            &format!("{{type: tokenExchange, tokenExchange: {{{exchange}, scopes: read}}}}"),
            "spec.tokenExchange.scopes: is a string, not a list",
        ),
        (
            "{type: headerInjection, headerInjection: {headerName: X}}",
            "spec.headerInjection.valueSecretRef: is required",
        ),
        (
            "{type: bearerToken, bearerToken: {}}",
            "spec.bearerToken.tokenSecretRef: is required",
        ),
        // What the API server lets through and the filter does not.
        (
            &format!(
                "{{type: tokenExchange, tokenExchange: {{{exchange}, clientSecretRef: {{name: x, key: y}}}}}}"
            ),
            "as outgoingAuth.backends.a.tokenExchange",
        ),
        (
            "{type: headerInjection, headerInjection: {headerName: host, valueSecretRef: {name: x, key: y}}}",
            "as outgoingAuth.backends.a.headerInjection.headerName",
        ),
    ] {
        let run = convert(&resource("a", spec)).expect(1);
        assert!(
            run.stderr.contains(expected),
            "{spec}\n{expected}\n{}",
            run.stderr
        );
        assert!(
            run.stderr.starts_with("r.yaml:")
                && run.stderr.contains("MCPExternalAuthConfig ns/a: "),
            "{}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn resources_that_are_none_or_not_known_are_named() {
    let good = resource("a", "{type: unauthenticated}");
    for (text, expected) in [
        (
            good.replace("toolhive.stacklok.dev/v1beta1", "toolhive.stacklok.dev/v2"),
            "cannot be converted",
        ),
        (
            good.replace("toolhive.stacklok.dev", "example.com"),
            "cannot be converted",
        ),
        (
            good.replace("MCPExternalAuthConfig", "MCPServer"),
            "no resource in here becomes a backend",
        ),
        (
            good.replace("MCPExternalAuthConfig", "MCPGroup"),
            "kind \"MCPGroup\"",
        ),
        (
            good.replace("kind: MCPExternalAuthConfig\n", ""),
            "apiVersion and kind are missing",
        ),
        (good.replace("name: a", "name: A_b"), "metadata.name"),
        (good.replace("name: a, ", ""), "metadata.name"),
        (format!("{good}{good}"), "another resource has this name"),
        (
            good.replace("spec:", "spec: {type: unauthenticated}\nspec:"),
            "spec: given twice",
        ),
    ] {
        let run = convert(&text).expect(1);
        assert!(
            run.stderr.contains(expected),
            "{text}\n{expected}\n{}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn types_that_the_filter_cannot_serve_are_named_with_the_reason() {
    let good = resource("good", "{type: unauthenticated}");
    for (kind, reason) in [
        ("awsSts", "SigV4"),
        ("awsSts", "envoy.filters.http.aws_request_signing"),
    ] {
        let text = format!(
            "{good}{}",
            resource("bad", &format!("{{type: {kind}, {kind}: {{}}}}"))
        );
        let bench = Workbench::with("r.yaml", text);
        let run = bench
            .run(&["convert", "r.yaml", "-o", "out.yaml"])
            .expect(1);
        assert!(run.stderr.contains(reason), "{}", run.stderr);
        assert_eq!(bench.list(), ["r.yaml"], "nothing is written");
        let run = bench
            .run(&["convert", "--skip-unsupported", "r.yaml"])
            .expect(0);
        assert!(run.stderr.contains("warning: "), "{}", run.stderr);
        assert!(
            run.stdout.contains("bad is left out") && !run.stdout.contains("\n    bad:"),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn an_auth_server_supplies_the_names_of_the_upstreams() {
    let inject = resource(
        "a",
        "{type: upstreamInject, upstreamInject: {providerName: github}}",
    );
    let embedded = |name: &str| {
        resource(
            "as",
            &format!(
                "{{type: embeddedAuthServer, embeddedAuthServer: {{issuer: https://a.example, \
                 signingKeySecretRefs: [{{name: s, key: k}}], upstreamProviders: [{{name: {name}, \
                 type: oidc, oidcConfig: {{issuerUrl: https://b.example}}}}]}}}}"
            ),
        )
    };
    let run = convert(&format!("{inject}{}", embedded("github"))).expect(0);
    assert!(
        run.stdout.contains("issuer: https://a.example\n"),
        "{run:#?}"
    );
    Workbench::new()
        .run_with(&["check", "-"], &run.stdout, &[])
        .expect(0);
    let run = convert(&format!("{inject}{}", embedded("gitlab"))).expect(1);
    assert!(run.stderr.contains("V-02: provider \"github\""), "{run:#?}");
    // The same block in a VirtualMCPServer.
    let server = embedded("gitlab")
        .replace("MCPExternalAuthConfig", "VirtualMCPServer")
        .replace(
            "type: embeddedAuthServer, embeddedAuthServer:",
            "authServerConfig:",
        );
    let run = convert(&format!("{inject}{server}")).expect(1);
    assert!(run.stderr.contains("V-02: provider \"github\""), "{run:#?}");
    let run = convert(&format!("{inject}{server}{}", embedded("github"))).expect(1);
    assert!(run.stderr.contains("a second auth server"), "{run:#?}");
    // By itself it is what the operator's own proxy does with it: the upstream's token is put in.
    let run = convert(&embedded("github")).expect(0);
    assert!(
        run.stdout
            .contains("\n    as:\n      type: upstream_inject\n"),
        "{run:#?}"
    );
    let run = convert(&format!(
        "{inject}{}",
        embedded("github").replace("upstreamProviders", "upstreams")
    ));
    assert!(
        run.expect(1)
            .stderr
            .contains("upstreamProviders: at least one")
    );
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let bench = Workbench::with("r.yaml", resource("a", "{type: unauthenticated}"))
        .file("bad.yaml", resource("b", "{}"))
        .file("out.yaml", "what was there before");
    bench
        .run(&["convert", "r.yaml", "bad.yaml", "-o", "out.yaml"])
        .expect(1);
    bench
        .run(&["convert", "r.yaml", "missing.yaml", "-o", "out.yaml"])
        .expect(2);
    assert_eq!(bench.read("out.yaml"), "what was there before");
    bench
        .run(&["convert", "r.yaml", "-o", "out.yaml"])
        .expect(0);
    assert!(bench.read("out.yaml").contains("unauthenticated"));
    assert_eq!(bench.list(), ["bad.yaml", "out.yaml", "r.yaml"]);
    let run = bench
        .run(&["convert", "r.yaml", "-o", "nowhere/out.yaml"])
        .expect(2);
    assert!(run.stderr.contains("cannot be written"), "{run:#?}");
}

#[test]
fn what_convert_cannot_take_is_told_with_the_next_step() {
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vmcp}\ndata:\n  config.yaml: |\n    \
                      outgoingAuth: {}\n";
    let resource = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: \
                    {name: 12}\nspec: {type: unauthenticated}\n";
    for (text, expected) in [
        (
            config_map,
            "`upstream-inject check` and `render` read it as it is",
        ),
        (
            resource,
            "r.yaml:3:12: error: metadata.name: must be a text, not a number: quote it",
        ),
    ] {
        let bench = Workbench::with("r.yaml", text);
        let run = bench.run(&["convert", "r.yaml"]).expect(1);
        assert!(run.stderr.contains(expected), "{run:#?}");
    }
}
