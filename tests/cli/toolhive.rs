//! ToolHive's own files: two of them, one ConfigMap with both, or the auth server alone.

use crate::tool::{Run, Workbench};

const VMCP: &str = include_str!("fixtures/toolhive/config.yaml");
const AUTH_SERVER: &str = include_str!("fixtures/toolhive/authserver-config.yaml");

fn pair() -> Workbench {
    Workbench::with("config.yaml", VMCP).file("authserver-config.yaml", AUTH_SERVER)
}

fn with(from: &str, to: &str) -> Run {
    let changed = AUTH_SERVER.replacen(from, to, 1);
    assert_ne!(changed, AUTH_SERVER, "{from:?} is in there");
    Workbench::with("config.yaml", VMCP)
        .file("authserver-config.yaml", changed)
        .run(&["check", "config.yaml"])
}

fn config_map() -> String {
    let indented = |text: &str| -> String {
        let lines = text.lines();
        lines.map(|line| format!("    {line}\n")).collect()
    };
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: vmcp}}\ndata:\n  config.yaml: |\n{}  \
         authserver-config.yaml: |\n{}",
        indented(VMCP),
        indented(AUTH_SERVER)
    )
}

#[test]
fn the_file_beside_it_is_found_as_vmcp_finds_it() {
    let run = pair().run(&["check", "config.yaml"]).expect(0);
    let lines = run.lines();
    assert!(
        lines.contains(&"config.yaml: valid (read as a whole vMCP file)"),
        "{run:#?}"
    );
    assert!(
        lines.contains(&"authserver-config.yaml: valid (read as an auth server's configuration)"),
        "{run:#?}"
    );
    // Named together they are told of once.
    let both = pair()
        .run(&["check", "config.yaml", "authserver-config.yaml"])
        .expect(0);
    assert_eq!(both.stdout, run.stdout);
    // Elsewhere it has to be named.
    let apart = Workbench::with("config.yaml", VMCP).file("other.yaml", AUTH_SERVER);
    let run = apart.run(&["check", "config.yaml"]).expect(1);
    assert!(run.stdout.contains("V-01"), "{run:#?}");
    apart
        .run(&["check", "config.yaml", "--auth-server", "other.yaml"])
        .expect(0);
}

/// What of an auth server only shows beside a configuration.
#[test]
fn an_auth_server_is_judged_beside_its_configuration_in_whatever_order_the_files_come() {
    let (before, rest) = AUTH_SERVER.split_once("allowed_audiences:").expect("there");
    let (_, rest) = rest.split_once("upstreams:").expect("behind it");
    let without = format!("{before}upstreams:{rest}");
    let bench = Workbench::with("config.yaml", VMCP)
        .file("authserver-config.yaml", &without)
        .file("a.yaml", "outgoingAuth: {default: {type: unauthenticated}}");
    let alone = bench.run(&["check", "config.yaml"]).expect(1);
    let findings = |run: &Run| {
        let lines = run.lines().into_iter();
        let mut lines: Vec<String> = lines
            .filter(|line| line.starts_with("authserver-config.yaml"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert!(alone.stdout.contains("V-05"), "{alone:#?}");
    let sorted = bench
        .run(&["check", "authserver-config.yaml", "config.yaml"])
        .expect(1);
    assert_eq!(findings(&sorted), findings(&alone));
    // A folder, and a configuration in it that comes first.
    let folder = bench.run(&["check", "."]).expect(1);
    assert_eq!(folder.stdout.matches("V-05: ").count(), 1, "{folder:#?}");
    let broken = Workbench::with("config.yaml", VMCP).file("authserver-config.yaml", "a: [\n");
    let run = broken
        .run(&["check", "authserver-config.yaml", "config.yaml"])
        .expect(2);
    assert_eq!(run.stdout.matches(": error: ").count(), 1, "{run:#?}");
}

#[test]
fn a_config_map_with_one_of_the_two_files_is_that_file() {
    let vmcp = "name: a\noutgoingAuth: {backends: {a: {type: unauthenticated}}}\n";
    let config_map = |text: &str| {
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n{lines}")
    };
    let bench = Workbench::with("cm.yaml", config_map(vmcp));
    let run = bench.run(&["check", "cm.yaml"]).expect(0);
    assert!(
        run.stdout
            .contains("cm.yaml: valid (read as a whole vMCP file)"),
        "{run:#?}"
    );
    bench
        .run(&["explain", "cm.yaml", "--backend", "a"])
        .expect(0);
    // Its findings have their place in the ConfigMap.
    let wrong = config_map(&vmcp.replace("unauthenticated", "unauthentic"));
    let run = Workbench::with("cm.yaml", wrong)
        .run(&["check", "cm.yaml"])
        .expect(1);
    assert!(
        run.stdout
            .starts_with("cm.yaml:6:35: error: config: outgoingAuth.backends.a"),
        "{run:#?}"
    );
    // Neither file: the key that is missing is named.
    let neither = "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n";
    let run = Workbench::with("cm.yaml", neither)
        .run(&["check", "--as", "vmcp", "cm.yaml"])
        .expect(1);
    assert!(
        run.stdout
            .contains("cm.yaml:3:1: error: data[\"authserver-config.yaml\"]: missing"),
        "{run:#?}"
    );
}

#[test]
fn what_is_broken_in_a_config_map_is_said_with_the_file_and_the_key() {
    for (text, line) in [
        (
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: 'a: [b'\n",
            "cm.yaml:4:3: error: data[\"config.yaml\"]: ",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  authserver-config.yaml: |\n    issuer: x\n    \
             upstreams: ]\n",
            "cm.yaml:6:16: error: data[\"authserver-config.yaml\"]: ",
        ),
    ] {
        let bench = Workbench::with("cm.yaml", text);
        let run = bench.run(&["check", "cm.yaml"]).expect(2);
        assert!(run.stdout.starts_with(line), "wanted {line} in {run:#?}");
        let run = bench
            .run(&["check", "--format", "json", "cm.yaml"])
            .expect(2);
        assert!(run.stdout.contains("\"file\": \"cm.yaml\""), "{run:#?}");
    }
}

#[test]
fn a_vmcp_file_without_its_auth_server_says_where_that_is() {
    let text = "name: a\noutgoingAuth: {backends: {a: {type: upstream_inject, upstreamInject: \
                {providerName: b}}}}\n";
    let run = Workbench::with("config.yaml", text)
        .run(&["check", "config.yaml"])
        .expect(1);
    assert!(run.stdout.contains("V-01"), "{run:#?}");
    assert!(
        run.stdout
            .contains("note: config: authServer: missing: vMCP keeps it in authserver-config.yaml"),
        "{run:#?}"
    );
    let run = Workbench::with(
        "config.yaml",
        text.replace(
            "upstream_inject, upstreamInject: {providerName: b}",
            "unauthenticated",
        ),
    )
    .run(&["check", "config.yaml"])
    .expect(0);
    assert!(!run.stdout.contains("authServer"), "{run:#?}");
}

#[test]
fn an_absent_subject_is_the_first_upstream_and_check_says_so() {
    let run = pair().run(&["check", "config.yaml"]).expect(0);
    assert!(
        run.stdout.contains(
            "note: config: outgoingAuth.backends.default-subject.tokenExchange: no \
             subjectProviderName: vMCP takes the first upstream, \"corporate-idp\""
        ),
        "{run:#?}"
    );
    assert!(!run.stdout.contains("V-03"), "{run:#?}");
}

#[test]
fn one_config_map_with_both_is_read_with_its_own_lines() {
    let text = config_map();
    let run = Workbench::with("cm.yaml", &text)
        .run(&["check", "cm.yaml"])
        .expect(0);
    assert!(
        run.stdout
            .contains("cm.yaml: valid (read as a whole vMCP file)"),
        "{run:#?}"
    );
    let wrong = text.replace("providerName: github", "providerName: githib");
    let run = Workbench::with("cm.yaml", &wrong)
        .run(&["check", "cm.yaml"])
        .expect(1);
    let line = wrong
        .lines()
        .position(|line| line.contains("githib"))
        .expect("there");
    assert!(
        run.stdout.contains(&format!("cm.yaml:{}:", line + 1)),
        "{run:#?}"
    );
    assert!(run.stdout.contains("V-02: provider \"githib\""), "{run:#?}");
}

/// Go knows what each key holds.
#[test]
fn plain_scalars_are_what_toolhives_reader_makes_of_them() {
    let text = AUTH_SERVER
        .replace("client_id: thv-corporate-idp", "client_id: 012")
        .replace("client_id: thv-github", "client_id: 1795.20")
        .replace("    - repo\n", "    - 12345\n    - true\n")
        .replace(
            "    auth_type: aclUser\n",
            "    auth_type: aclUser\n    cluster_mode: no\n",
        )
        .replace("insecure_allow_http: true", "insecure_allow_http: YES");
    let bench = Workbench::with("config.yaml", VMCP).file("authserver-config.yaml", &text);
    let run = bench.run(&["check", "config.yaml"]).expect(0);
    assert!(!run.stdout.contains("must be"), "{run:#?}");
    let map = config_map().replace("- name: github", "- name: 012");
    let vmcp = map.replace("providerName: github", "providerName: \"012\"");
    let run = Workbench::with("cm.yaml", vmcp).run(&["check", "cm.yaml"]);
    run.expect(0);
    for (from, to, expected) in [
        (
            "cluster_mode: no",
            "cluster_mode: 5",
            "must be a boolean, not a number",
        ),
        (
            "client_id: 012",
            "client_id: [a]",
            "must be a text, not a list",
        ),
    ] {
        let bench = Workbench::with("config.yaml", VMCP)
            .file("authserver-config.yaml", text.replace(from, to));
        let run = bench.run(&["check", "config.yaml"]).expect(1);
        assert!(run.stdout.contains(expected), "{run:#?}");
    }
    let resource = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: {name: \
                    a}\nspec: {type: upstreamInject, upstreamInject: {providerName: \"012\"}}\n";
    let bench = Workbench::with("r.yaml", resource)
        .file("cm.yaml", map)
        .file(
            "as.yaml",
            AUTH_SERVER.replace("- name: github", "- name: 012"),
        );
    for name in ["cm.yaml", "as.yaml"] {
        bench
            .run(&["convert", "r.yaml", "--auth-server", name])
            .expect(0);
    }
    // Our own form is the filter's too, which has no such reader.
    let ours = "authServer: {runConfig: {issuer: https://a.example, storage: {type: memory}, upstreams: [{name: a, \
                type: oidc, oidc_config: {issuer_url: https://b.example, client_id: 12}}]}}\noutgoingAuth: {default: \
                {type: unauthenticated}}\n";
    let run = Workbench::with("c.yaml", ours)
        .run(&["check", "c.yaml"])
        .expect(1);
    assert!(
        run.stdout
            .contains("must be a text, not a number: quote it"),
        "{run:#?}"
    );
}

/// A neighbour of the operator's ConfigMap, as any application has one.
const NEIGHBOUR: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata:\n  config.yaml: |\n    \
                         server: {port: 80}\n";

fn in_a_list(kind: &str, config_maps: &[&str]) -> String {
    let items: String = config_maps
        .iter()
        .map(|text| {
            let lines = text.lines().enumerate();
            let lines =
                lines.map(|(at, line)| format!("{}{line}\n", if at == 0 { "- " } else { "  " }));
            lines.collect::<String>()
        })
        .collect();
    format!("apiVersion: v1\nkind: {kind}\nitems:\n{items}")
}

#[test]
fn the_operators_config_map_is_found_among_others_and_in_lists() {
    let ours = config_map();
    for text in [
        format!("{NEIGHBOUR}---\n{ours}"),
        format!("{ours}---\n{}", NEIGHBOUR.replace("config.yaml", "key")),
        in_a_list("List", &[&ours]),
        in_a_list("ConfigMapList", &[NEIGHBOUR, &ours]),
    ] {
        let bench = Workbench::with("cm.yaml", &text).file("config.yaml", VMCP);
        let run = bench.run(&["check", "cm.yaml"]).expect(0);
        assert!(
            run.stdout
                .contains("cm.yaml: valid (read as a whole vMCP file)"),
            "{run:#?}"
        );
        bench
            .run(&["explain", "cm.yaml", "--backend", "github-tools"])
            .expect(0);
        bench.run(&["render", "-t", "envoy", "cm.yaml"]).expect(0);
        // And where it is named for its auth server.
        let run = bench
            .run(&["check", "config.yaml", "--auth-server", "cm.yaml"])
            .expect(0);
        assert!(!run.stdout.contains("unknown"), "{run:#?}");
        let resource = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: \
                        {name: a}\nspec: {type: upstreamInject, upstreamInject: {providerName: github}}\n";
        let bench = bench.file("r.yaml", resource);
        let run = bench.run(&["convert", "r.yaml", "--auth-server", "cm.yaml"]);
        assert!(run.expect(0).stdout.contains("name: corporate-idp"));
    }
    let two = format!("{ours}---\n{ours}");
    let run = Workbench::with("cm.yaml", two).run(&["check", "cm.yaml"]);
    let run = run.expect(1);
    assert!(run.stdout.contains("a second vMCP's ConfigMap"), "{run:#?}");
}

/// vMCP does not start with it, and of two nobody knows which is meant.
#[test]
fn an_auth_server_within_the_vmcp_file_of_a_config_map_is_refused() {
    let inner = "    authServer: {runConfig: {issuer: https://other.example, upstreams: [{name: other}]}}\n";
    let both = config_map().replace("    name: trial\n", &format!("    name: trial\n{inner}"));
    let (alone, _) = both
        .split_once("  authserver-config.yaml: |")
        .expect("there");
    for (text, expected) in [
        (
            both.as_str(),
            "cm.yaml:5:3: error: data[\"config.yaml\"]: an auth server here, and another one in \
             authserver-config.yaml",
        ),
        (
            alone,
            "cm.yaml:5:3: error: data[\"config.yaml\"]: authServer here, which vMCP refuses",
        ),
    ] {
        let bench = Workbench::with("cm.yaml", text);
        let run = bench.run(&["check", "cm.yaml"]).expect(1);
        assert!(run.stdout.starts_with(expected), "{expected}\n{run:#?}");
        let run = bench.run(&["render", "-t", "envoy", "cm.yaml"]).expect(1);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn an_auth_server_alone_is_judged_as_one() {
    let run = Workbench::with("a.yaml", AUTH_SERVER)
        .run(&["check", "a.yaml"])
        .expect(0);
    assert!(
        run.stdout
            .contains("a.yaml: valid (read as an auth server's configuration)"),
        "{run:#?}"
    );
}

#[test]
fn what_shows_only_after_a_login_is_said_before() {
    for (from, to, code, expected) in [
        (
            "allowed_audiences:",
            "alowed_audiences:",
            "auth-server-key",
            "did you mean allowed_audiences?",
        ),
        (
            "issuer: http://127.0.0.1:17500\n",
            "issuer: http://127.0.0.1:17500/\n",
            "issuer",
            "ends in a slash",
        ),
        (
            "issuer: http://127.0.0.1:17500\n",
            "issuer: $ISSUER\n",
            "issuer",
            "a placeholder that nobody has filled",
        ),
        (
            "    redirect_uri: http://127.0.0.1:17500/oauth/callback\n",
            "",
            "redirect-uri",
            "missing",
        ),
        (
            "    redirect_uri: http://127.0.0.1:17500/oauth/callback\n",
            "    redirect_uri: http://localhost:17500/oauth/callback\n",
            "redirect-uri",
            "does not begin with the issuer",
        ),
        (
            "- http://127.0.0.1:17500\n",
            "",
            "allowed-audience",
            "\"http://127.0.0.1:17500\" is not in",
        ),
        (
            "hmac_secret_files:\n- keys/hmac\n",
            "",
            "signing-keys",
            "each start makes HMAC secrets of its own",
        ),
        (
            "hmac_secret_files:\n- keys/hmac\n",
            "hmac_secret_files: []\n",
            "signing-keys",
            "hmac_secret_files: without a file: each start makes HMAC secrets",
        ),
        (
            "  signing_key_file: signing.pem\n",
            "",
            "signing-keys",
            "signing_key_config.signing_key_file: missing: each start makes a signing key",
        ),
        (
            "type: redis",
            "type: memory",
            "storage-memory",
            "the identity service cannot read it there",
        ),
    ] {
        let run = with(from, to);
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
        assert!(
            run.stdout.contains(&format!("[{code}]")),
            "{code}\n{}",
            run.stdout
        );
    }
}

#[test]
fn what_keeps_the_identity_service_from_starting_is_an_error_here_too() {
    let run = with("    addr: 127.0.0.1:17379\n", "    addr: nowhere\n").expect(1);
    assert!(run.stdout.contains("must be HOST:PORT"), "{run:#?}");
    let run = with("  type: oidc\n", "  type: openid\n").expect(1);
    assert!(run.stdout.contains("unknown type \"openid\""), "{run:#?}");
}

#[test]
fn an_auth_server_file_that_is_broken_is_not_passed_over() {
    let bench = Workbench::with("config.yaml", VMCP).file("authserver-config.yaml", "a: [\n");
    let run = bench.run(&["check", "config.yaml"]).expect(2);
    assert!(
        run.stdout.contains("authserver-config.yaml:2:1: error: "),
        "{run:#?}"
    );
}

#[test]
fn the_two_lists_of_backends_are_compared() {
    let text = "\
name: tools
groupRef: tools
incomingAuth: {type: oidc, oidc: {issuer: \"https://login.example.net\", clientId: vmcp, audience: tools}}
outgoingAuth:
  source: inline
  backends:
    wki: {type: header_injection, headerInjection: {headerName: X-Key, headerValueEnv: WIKI_KEY}}
backends:
  - {name: wiki, url: \"https://wiki.example.net/mcp\", transport: streamable-http}
  - {name: fetch, url: \"http://127.0.0.1:21001/mcp\", transport: streamable-http}
  - {name: fetch, url: \"ftp://127.0.0.1:21002/mcp\", transport: streamable-http}
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(0);
    for expected in [
        "7:5: warning: config: outgoingAuth.backends.wki: is not among the backends of this file; did \
         you mean wiki?",
        "9:6: warning: config: backends[0].name: \"wiki\" has no strategy",
        "11:6: warning: config: backends[2].name: \"fetch\" is listed twice",
        "11:19: warning: config: backends[2].url: must be an absolute http or https URL",
    ] {
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
    }
}

#[test]
fn what_guards_users_at_vmcp_and_not_here_is_named() {
    let text = "\
name: tools
groupRef: tools
incomingAuth:
  type: oidc
  oidc:
    issuer: https://login.example.net
    clientId: vmcp
    audience: tools
    jwksUrl: https://login.example.net/realms/x/certs
    caBundlePath: /ca.pem
    introspectionUrl: https://login.example.net/introspect
  authz: {type: cedar, policies: ['permit(principal, action, resource);']}
rateLimiting: {perUser: {maxTokens: 10, refillPeriod: 1m}}
outgoingAuth: {source: inline, default: {type: unauthenticated}}
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(0);
    for key in [
        "incomingAuth.authz",
        "rateLimiting",
        "incomingAuth.oidc.jwksUrl",
        "incomingAuth.oidc.caBundlePath",
        "incomingAuth.oidc.introspectionUrl",
    ] {
        assert!(
            run.stdout.contains(&format!("warning: config: {key}: ")),
            "{key}\n{}",
            run.stdout
        );
    }
}

#[test]
fn what_vmcp_has_and_the_filter_has_not_is_explained_once() {
    let text = "\
name: tools
groupRef: tools
incomingAuth: {type: anonymous}
outgoingAuth:
  source: discovered
  backends:
    cloud: {type: aws_sts, awsSts: {region: eu-central-1}}
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(1);
    assert_eq!(run.lines().len(), 3, "{run:#?}");
    assert!(
        run.stdout.contains("AWS signs each request as a whole"),
        "{run:#?}"
    );
    assert!(run.stdout.contains("`upstream-inject convert`"), "{run:#?}");
}

#[test]
fn yaml_that_envoy_reads_otherwise_is_named() {
    let text = "\
outgoingAuth:
  backends:
    wiki:
      type: token_exchange
      tokenExchange: &sts {tokenUrl: \"https://sts.example.net/token\", clientId: no, clientSecretEnv: S}
    tickets:
      type: token_exchange
      tokenExchange: {<<: *sts, clientId: !!str 012}
tokenCache: {maxEntries: 1e3}
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(0);
    assert_eq!(
        run.stdout.matches("[reads-otherwise]").count(),
        4,
        "{run:#?}"
    );
}

#[test]
fn a_bracket_in_its_keys_column_is_read_as_everybody_reads_it() {
    let text = "\
outgoingAuth:
  backends:
    wiki:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example.net/token
        scopes: [
          \"read\",
          \"write write\"
        ]
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(1);
    assert!(run.stdout.contains("tokenExchange.scopes[1]: "), "{run:#?}");
}

#[test]
fn placeholders_and_schemes_and_vendors_are_warned_of() {
    let text = "\
authServer: {runConfig: {issuer: https://a.example, upstreams: [{name: corp, oidc_config: {client_id: login}}]}}
outgoingAuth:
  backends:
    a: {type: header_injection, headerInjection: {headerName: Authorization, headerValue: \"${TOKEN}\"}}
    b: {type: header_injection, headerInjection: {headerName: Authorization, headerValue: Bearer Bearer x}}
    c:
      type: token_exchange
      tokenExchange: {tokenUrl: https://login.microsoftonline.com/t/oauth2/v2.0/token, subjectProviderName: corp}
    d:
      type: xaa
      xaa:
        idpTokenUrl: https://example.okta.com/oauth2/v1/token
        idpClientId: other
        idpClientSecretEnv: A
        targetTokenUrl: https://as.partner.example/token
        targetClientId: x
        targetClientSecretEnv: B
        targetAudience: https://as.partner.example
        subjectProviderName: corp
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(0);
    for expected in [
        "backends.a.headerInjection.headerValue: a placeholder (${…})",
        "backends.a.headerInjection.headerValue: is sent as it stands, without a scheme",
        "backends.b.headerInjection.headerValue: has two schemes",
        "backends.c.tokenExchange.tokenUrl: Entra has no RFC 8693 token exchange: use type obo \
         (docs/providers.md#microsoft-entra)",
        "backends.d.xaa.idpClientId: is not \"login\", the client_id of the upstream \"corp\"",
    ] {
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
    }
}

#[test]
fn a_key_by_reference_is_no_error() {
    let text = "\
outgoingAuth:
  backends:
    a:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example/t
        clientId: x
        clientAuthMethod: private_key_jwt
        clientKeyEnv: KEY
        clientCertificateEnv: CERTIFICATE
";
    Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(0);
}
