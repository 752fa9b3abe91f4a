//! `check`: the filter's rules with positions, the whole-file rules of vMCP, and advice.

use crate::tool::{Run, Workbench};
use serde_json::Value;

const RFC: &str = include_str!("fixtures/rfc.yaml");

/// A vMCP file in which everything agrees.
const VMCP: &str = "\
name: my-vmcp
groupRef: my-group
incomingAuth:
  type: oidc
  oidc:
    issuer: https://vmcp.example.com
    clientId: vmcp
    audience: https://mcp.example.com
authServer:
  runConfig:
    issuer: https://vmcp.example.com
    upstreams: [{name: github, type: oauth2}]
    allowed_audiences: [https://mcp.example.com]
outgoingAuth:
  source: inline
  backends:
    github-tools:
      type: upstream_inject
      upstreamInject: {providerName: github}
aggregation: {conflictResolution: prefix}
";

fn check(text: &str) -> Run {
    Workbench::with("config.yaml", text).run(&["check", "config.yaml"])
}

#[test]
fn the_rfcs_example_lacks_an_upstream_and_passes_once_it_is_there() {
    let run = check(RFC).expect(1);
    assert_eq!(
        run.lines(),
        [
            "config.yaml:31:9: error: config: \
             outgoingAuth.backends.corporate-api.tokenExchange.subjectProviderName: V-02: provider \
             \"corporate-idp\" is not in authServer.runConfig.upstreams (github, atlassian)",
            "config.yaml: invalid (read as a plugin configuration): 1 error, 0 warnings",
        ]
    );
    assert_eq!(run.stderr, "");
    let fixed = RFC.replace(
        "- name: github\n",
        "- name: corporate-idp\n      - name: github\n",
    );
    let run = check(&fixed).expect(0);
    assert_eq!(
        run.lines(),
        ["config.yaml: valid (read as a plugin configuration)"]
    );
}

#[test]
fn json_is_shown_by_line_and_column_too() {
    let json =
        "{\n  \"outgoingAuth\": {\"backends\": {\n    \"a.b\": {\"type\": \"nothing\"}\n  }}\n}\n";
    let run = Workbench::with("config.json", json).run(&["check", "config.json"]);
    let run = run.expect(1);
    assert!(
        run.stdout
            .starts_with("config.json:3:13: error: config: outgoingAuth.backends[\"a.b\"].type: "),
        "{run:#?}"
    );
}

#[test]
fn yaml_may_begin_like_json() {
    let text = "{\"outgoingAuth\": {default: {type: unauthenticated}}, # nobody in particular\n}\n";
    check(text).expect(0);
    let run = Workbench::with("config.json", text).run(&["check", "config.json"]);
    assert!(run.expect(2).stdout.contains("broken JSON"));
}

#[test]
fn a_whole_vmcp_file_is_read_as_one() {
    let run = check(VMCP).expect(0);
    let lines = run.lines();
    assert_eq!(lines.len(), 2, "{run:#?}");
    // The filter takes both halves from one file; vMCP does not.
    assert!(
        lines[0].starts_with("config.yaml:9:1: note: config: authServer: vMCP itself refuses"),
        "{run:#?}"
    );
    assert_eq!(lines[1], "config.yaml: valid (read as a whole vMCP file)");
    // As a plugin configuration its other keys are errors.
    let bench = Workbench::with("config.yaml", VMCP);
    let run = bench
        .run(&["check", "--as", "plugin", "config.yaml"])
        .expect(1);
    assert!(run.stdout.contains("config: incomingAuth: "), "{run:#?}");
}

#[test]
fn the_two_halves_of_a_vmcp_file_must_agree() {
    for (from, to, expected) in [
        (
            "    issuer: https://vmcp.example.com\n    clientId",
            "    issuer: https://other.example.com\n    clientId",
            "6:5: error: config: incomingAuth.oidc.issuer: V-04: is \"https://other.example.com\"",
        ),
        (
            "    issuer: https://vmcp.example.com\n    clientId",
            "    clientId",
            "5:3: error: config: incomingAuth.oidc.issuer: V-04: is missing",
        ),
        (
            "    issuer: https://vmcp.example.com\n    upstreams",
            "    upstreams",
            "10:3: error: config: authServer.runConfig.issuer: V-05: ",
        ),
        (
            "    upstreams: [{name: github, type: oauth2}]",
            "    upstreams: [{name: github}, {name: github}]",
            "12:34: error: config: authServer.runConfig.upstreams[1].name: V-05: ",
        ),
        (
            "    allowed_audiences: [https://mcp.example.com]\n",
            "    allowed_audiences: []\n",
            "13:5: error: config: authServer.runConfig.allowed_audiences: V-05: ",
        ),
        (
            "    allowed_audiences: [https://mcp.example.com]\n",
            "",
            "10:3: error: config: authServer.runConfig.allowed_audiences: V-05: ",
        ),
        (
            "  type: oidc\n",
            "  type: anonymous\n",
            "4:3: error: config: incomingAuth.type: V-05: must be oidc",
        ),
        (
            "    audience: https://mcp.example.com\n",
            "    audience: https://other.example.com\n",
            "8:5: error: config: incomingAuth.oidc.audience: V-07: \"https://other.example.com\" is \
             not among",
        ),
        (
            "aggregation:",
            "agregation:",
            "20:1: warning: config: agregation: a key that vMCP is not known to have",
        ),
    ] {
        let changed = VMCP.replacen(from, to, 1);
        assert_ne!(changed, VMCP, "{from:?} is in there");
        let run = check(&changed);
        assert!(
            run.lines()
                .iter()
                .any(|line| line.starts_with(&format!("config.yaml:{expected}"))),
            "{expected}\n{run:#?}"
        );
        assert_eq!(run.code, i32::from(expected.contains("error")), "{run:#?}");
    }
}

#[test]
fn camel_case_audiences_are_understood() {
    check(&VMCP.replace("allowed_audiences", "allowedAudiences")).expect(0);
}

#[test]
fn an_auth_server_without_incoming_auth_is_worth_a_warning() {
    let without = VMCP.replace("incomingAuth:", "metadata:");
    let run = check(&without).expect(0);
    assert!(
        run.stdout.contains("warning: config: incomingAuth: V-05: "),
        "{run:#?}"
    );
}

#[test]
fn unwise_settings_are_named() {
    let text = "\
authServer: {runConfig: {issuer: https://a.example, upstreams: [{name: github}, {}]}}
outgoingAuth:
  default: {type: token_exchange, tokenExchange: {tokenUrl: https://sts.example/t, insecureTokenUrl: true}}
  backends:
    a.b: {type: upstream_inject, upstreamInject: {providerName: github}}
    a/b:
      type: header_injection
      headerInjection: {headerName: X-Tenant, headerValue: hunter2}
    sts:
      type: token_exchange
      tokenExchange:
        tokenUrl: http://sts.internal/token
        insecureTokenUrl: true
        clientId: me
        clientSecret: hunter3
        externalTokenHeaderName: X-Version
        subjectProviderName: github
    env: {type: header_injection, headerInjection: {headerName: X-API-Key, headerValueEnv: my-key}}
";
    let run = check(text).expect(0);
    for expected in [
        "1:81: warning: config: authServer.runConfig.upstreams[1]: no backend uses the provider \
         \"default\"",
        "outgoingAuth.default.tokenExchange.subjectProviderName: V-03: ",
        "3:84: warning: config: outgoingAuth.default.tokenExchange.insecureTokenUrl: allows what",
        "6:5: warning: config: outgoingAuth.backends[\"a/b\"]: shares its stats, as a_b, with the \
         backend \"a.b\"",
        "outgoingAuth.backends[\"a/b\"].headerInjection.headerName: where the filter stands \
         before the router",
        "outgoingAuth.backends[\"a/b\"].headerInjection.headerValue: a secret in plain text",
        "13:9: warning: config: outgoingAuth.backends.sts.tokenExchange.insecureTokenUrl: users' \
         tokens",
        "outgoingAuth.backends.sts.tokenExchange.clientSecret: a secret in plain text",
        "outgoingAuth.backends.sts.tokenExchange.externalTokenHeaderName: where the filter stands",
        "outgoingAuth.backends.env.headerInjection.headerValueEnv: no shell",
    ] {
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
    }
    assert_eq!(run.lines().len(), 11, "{}", run.stdout);
    assert!(!run.stdout.contains("hunter"), "{}", run.stdout);
}

#[test]
fn variables_must_be_set_here_only_if_asked() {
    let text = "outgoingAuth: {backends: {a: {type: header_injection, headerInjection: \
                {headerName: X-API-Key, headerValueEnv: CLI_TEST_KEY}}}}";
    let bench = Workbench::with("config.yaml", text);
    bench.run(&["check", "config.yaml"]).expect(0);
    let run = bench.run(&["check", "--env", "config.yaml"]).expect(1);
    assert!(run.stdout.contains("CLI_TEST_KEY"), "{run:#?}");
    let set = [("CLI_TEST_KEY", "hunter2")];
    bench
        .run_with(&["check", "--env", "config.yaml"], "", &set)
        .expect(0);
}

#[test]
fn several_files_get_a_line_each_and_the_worst_decides() {
    let bench = Workbench::with("good.yaml", VMCP)
        .file("bad.yaml", "outgoingAuth: {}")
        .file("broken.yaml", "a: [");
    let run = bench
        .run(&["check", "good.yaml", "bad.yaml", "broken.yaml"])
        .expect(2);
    assert_eq!(
        run.lines().last().copied(),
        Some("3 files: 1 valid, 1 invalid, 1 unreadable")
    );
    bench.run(&["check", "good.yaml", "bad.yaml"]).expect(1);
    bench.run(&["check", "good.yaml", "good.yaml"]).expect(0);
}

#[test]
fn a_dash_is_the_standard_input() {
    let bench = Workbench::new();
    let run = bench.run_with(&["check", "-"], VMCP, &[]).expect(0);
    let last = run.lines().last().copied();
    assert_eq!(
        last,
        Some("(standard input): valid (read as a whole vMCP file)")
    );
}

#[test]
fn machines_get_json() {
    let bench = Workbench::with("config.yaml", RFC).file("broken.yaml", "a: [");
    let run = bench.run(&[
        "check",
        "--format",
        "json",
        "config.yaml",
        "broken.yaml",
        "none.yaml",
    ]);
    let run = run.expect(2);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["verdict"], "unreadable");
    let finding = &report["files"][0]["findings"][0];
    assert_eq!(report["files"][0]["file"], "config.yaml");
    assert_eq!(report["files"][0]["kind"], "plugin");
    assert_eq!(report["files"][0]["verdict"], "invalid");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["line"], 31);
    assert_eq!(finding["column"], 9);
    assert_eq!(finding["rule"], "V-02");
    assert_eq!(
        finding["path"],
        "outgoingAuth.backends.corporate-api.tokenExchange.subjectProviderName"
    );
    assert_eq!(finding["code"], "V-02");
    assert_eq!(finding["help"], "docs/findings.md#v-02");
    assert_eq!(
        finding["excerpt"],
        "        subjectProviderName: corporate-idp"
    );
    assert_eq!(report["files"][1]["verdict"], "unreadable");
    assert_eq!(report["files"][2]["findings"][0]["line"], Value::Null);
    assert_eq!(run.stderr, "");
}

#[test]
fn colours_come_when_asked_for_or_on_a_terminal() {
    let bench = Workbench::with("config.yaml", VMCP);
    let plain = bench.run(&["check", "config.yaml"]).expect(0);
    assert!(!plain.stdout.contains('\u{1b}'), "{plain:#?}");
    let painted = bench
        .run(&["check", "--color", "always", "config.yaml"])
        .expect(0);
    assert!(painted.stdout.contains("\u{1b}["), "{painted:#?}");
}

#[test]
fn what_explain_hides_by_its_name_is_called_a_plain_secret() {
    let text = "\
outgoingAuth:
  backends:
    a:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example/t?api_key=hunter2&tenant=x
        parameters: {connection: github, subscription_key: hunter2, auth_type: x, token_handler: x}
    b: {type: token_exchange, tokenExchange: {tokenUrl: \"https://sts.example/t?tenant=x\"}}
";
    let run = check(text).expect(0);
    for expected in [
        "6:9: warning: config: outgoingAuth.backends.a.tokenExchange.tokenUrl: in its query a secret by its",
        "7:42: warning: config: outgoingAuth.backends.a.tokenExchange.parameters.subscription_key: a secret \
         by its name",
    ] {
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
    }
    assert_eq!(run.stdout.matches("by its name").count(), 2, "{run:#?}");
    assert!(!run.stdout.contains("hunter2"), "{run:#?}");
}

#[test]
fn the_call_to_the_identity_service_gets_the_advice_that_strategies_get() {
    let text = "\
authServer: {runConfig: {issuer: https://a.example, upstreams: [{name: github}]}}
outgoingAuth: {default: {type: upstream_inject, upstreamInject: {providerName: github}}}
identity:
  source: exchange
  exchange:
    tokenUrl: http://identity.example.com/token?api_key=hunter2
    insecureTokenUrl: true
    clientId: envoy
    clientSecret: hunter2
    parameters: {api_key: hunter2}
";
    let run = check(text).expect(0);
    for expected in [
        "6:5: warning: config: identity.exchange.tokenUrl: in its query a secret by its name",
        "7:5: warning: config: identity.exchange.insecureTokenUrl: users' tokens",
        "9:5: warning: config: identity.exchange.clientSecret: a secret in plain text; clientSecretEnv",
        "10:18: warning: config: identity.exchange.parameters.api_key: a secret by its name",
    ] {
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
    }
    assert!(!run.stdout.contains("hunter2"), "{run:#?}");
    let variable = text.replace("clientSecret: hunter2", "clientSecretEnv: my-key");
    let run = check(&variable).expect(0);
    assert!(
        run.stdout
            .contains("identity.exchange.clientSecretEnv: no shell"),
        "{run:#?}"
    );
    // `render` writes the switch itself for a Service.
    let service = text.replace("identity.example.com", "identity.mcp.svc");
    let run = check(&service).expect(0);
    assert!(!run.stdout.contains("insecureTokenUrl"), "{run:#?}");
}

#[test]
fn what_belongs_to_a_signature_and_no_key_is_pointed_out() {
    let text = "\
authServer: {runConfig: {issuer: https://a.example, upstreams: [{name: a}]}}
outgoingAuth:
  backends:
    a:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example/t
        subjectProviderName: a
        clientId: me
        clientKeyId: k1
        clientCertificateEnv: CERT
        clientAssertionAudience: https://sts.example
    b:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example/t
        subjectProviderName: a
        clientId: me
        clientKeyId: k1
        clientKeyEnv: KEY
identity:
  source: exchange
  exchange: {tokenUrl: https://i.example/token, clientId: me, clientKeyId: k1}
";
    let run = check(text).expect(0);
    let a = "warning: config: outgoingAuth.backends.a.tokenExchange";
    for at in [
        format!("10:9: {a}.clientKeyId"),
        format!("11:9: {a}.clientCertificateEnv"),
        format!("12:9: {a}.clientAssertionAudience"),
        "warning: config: identity.exchange.clientKeyId".to_owned(),
    ] {
        let expected =
            format!("{at}: belongs to a signed assertion, and without clientKeyEnv nothing is");
        assert!(run.stdout.contains(&expected), "{expected}\n{}", run.stdout);
    }
    assert_eq!(
        run.stdout.matches("nothing is signed").count(),
        4,
        "{run:#?}"
    );
}

/// In the router, where `render` puts the filter, nothing is routed anew.
#[test]
fn a_header_that_routes_may_match_on_is_a_note_where_nobody_knows_where_the_filter_stands() {
    let text = "outgoingAuth: {backends: {a: {type: header_injection, headerInjection: {headerName: \
                X-Tenant, headerValueEnv: TENANT}}}}";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "--strict", "c.yaml"])
        .expect(0);
    assert!(
        run.stdout.contains("note: config: outgoingAuth.backends.a"),
        "{run:#?}"
    );
    assert!(run.stdout.contains("[routed-header]"), "{run:#?}");
}
