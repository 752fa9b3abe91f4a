//! What Envoy makes of a configuration: `--mode validate` runs the filter's own check, so that an
//! operator learns of every problem before there is any traffic.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bed::envoy::{Verdict, minor_version};
use bed::{Bed, Envoy, PluginConfig, Request, bootstrap, canary};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("configurations":
    every_problem_is_reported_at_once_with_its_path,
    a_struct_is_checked_as_a_string_is,
    without_an_auth_server_nothing_can_be_injected,
    a_secret_is_never_repeated,
    what_is_no_configuration_is_refused,
    a_huge_configuration_is_read_or_refused,
    a_warning_does_not_prevent_the_start,
    a_refused_configuration_keeps_envoy_from_starting,
    ten_thousand_backends_load_and_each_is_found,
    an_envoy_that_cannot_sign_says_so_when_the_configuration_loads,
    a_key_that_cannot_sign_is_refused_when_the_configuration_loads from 37,
    a_certificate_is_compared_with_a_key_that_lacks_its_public_half from 37,
);

/// Asks a real Envoy about a plugin configuration.
fn validate(plugin: &PluginConfig, environment: &[(String, String)]) -> Verdict {
    let filters = [
        bootstrap::wasm_filter(plugin, environment),
        bootstrap::router(),
    ];
    let config = bootstrap::bootstrap(&filters, &[], &[]).to_string();
    Envoy::validate("validate", &config, &[]).expect("Envoy runs")
}

/// Refused, and with exactly these lines, in any order, up to what the message says further on.
fn assert_refused(verdict: &Verdict, expected: &[&str]) {
    assert!(!verdict.accepted, "accepted: {}", verdict.output);
    let lines = verdict.config_lines();
    for line in expected {
        assert!(
            lines.iter().any(|l| l.starts_with(line)),
            "no line {line}\nin {lines:#?}"
        );
    }
    let unexpected: Vec<_> = lines
        .iter()
        .filter(|l| !expected.iter().any(|line| l.starts_with(line)))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

fn full_of_mistakes() -> Value {
    let mut config = plugin::config(
        &["github", "corporate-idp"],
        json!({
            "github-tools": plugin::inject("githib"),
            "no-name": plugin::inject(""),
            "no.block": {"type": "upstream_inject"},
            "foreign": {
                "type": "unauthenticated",
                "headerInjection": {"headerName": "x", "headerValue": "y"},
            },
            "unset": {
                "type": "header_injection",
                "headerInjection": {"headerName": "x", "headerValueEnv": "NOT_SET"},
            },
            "host": plugin::header("Host", "evil.example.com"),
            "sts": {"type": "token_exchange", "tokenExchange": {
                "tokenUrl": "http://sts.example.com/token",
                "timeout": "61s",
                "subjectProviderName": "okta",
            }},
            "teapot": {"type": "teapot"},
        }),
    );
    config["outgoingAuth"]["source"] = json!("discovered");
    config["outgoingAuth"]["sauce"] = json!("inline");
    config["backendFrom"] = json!(7);
    config["tokenCache"] = json!({"maxEntries": 1_000_001, "maxTtl": "1d"});
    config["challenge"] = json!({"realm": "a\nb", "resourceMetadata": "/relative"});
    config
}

const MISTAKES: [&str; 17] = [
    "config: outgoingAuth.backends.github-tools.upstreamInject.providerName: V-02: provider \
     \"githib\" is not in authServer.runConfig.upstreams (github, corporate-idp)",
    "config: outgoingAuth.backends.no-name.upstreamInject.providerName: V-06: ",
    "config: outgoingAuth.backends[\"no.block\"].upstreamInject: ",
    "config: outgoingAuth.backends.foreign.headerInjection: ",
    "config: outgoingAuth.backends.unset.headerInjection.headerValueEnv: ",
    "config: outgoingAuth.backends.host.headerInjection.headerName: ",
    "config: outgoingAuth.backends.sts.tokenExchange.tokenUrl: ",
    "config: outgoingAuth.backends.sts.tokenExchange.timeout: ",
    "config: outgoingAuth.backends.sts.tokenExchange.subjectProviderName: V-02: ",
    "config: outgoingAuth.backends.teapot.type: ",
    "config: outgoingAuth.source: ",
    "config: outgoingAuth.sauce: ",
    "config: backendFrom: ",
    "config: tokenCache.maxEntries: ",
    "config: tokenCache.maxTtl: ",
    "config: challenge.realm: ",
    "config: challenge.resourceMetadata: ",
];

async fn every_problem_is_reported_at_once_with_its_path() {
    let verdict = validate(&PluginConfig::Json(full_of_mistakes()), &[]);
    assert_refused(&verdict, &MISTAKES);
    for line in verdict
        .output
        .lines()
        .filter(|line| line.contains("config: "))
    {
        assert!(line.contains("[error][wasm]"), "not at ERROR: {line}");
    }
}

async fn a_struct_is_checked_as_a_string_is() {
    assert_refused(
        &validate(&PluginConfig::Struct(full_of_mistakes()), &[]),
        &MISTAKES,
    );
}

async fn without_an_auth_server_nothing_can_be_injected() {
    let mut config = plugin::config(
        &[],
        json!({
            "a": plugin::inject("github"),
            "b": {"type": "token_exchange", "tokenExchange": {
                "tokenUrl": "https://sts.example.com",
                "subjectProviderName": "github",
            }},
            "c": plugin::open(),
        }),
    );
    config
        .as_object_mut()
        .expect("an object")
        .remove("authServer");
    assert_refused(
        &validate(&PluginConfig::Json(config.clone()), &[]),
        &[
            "config: outgoingAuth.backends.a: V-01: ",
            "config: outgoingAuth.backends.b: V-01: ",
        ],
    );
    // Without those two, the same file is fine: Mode A.
    let backends = config["outgoingAuth"]["backends"]
        .as_object_mut()
        .expect("an object");
    backends.remove("a");
    backends.remove("b");
    let verdict = validate(&PluginConfig::Json(config), &[]);
    assert!(verdict.accepted, "{}", verdict.output);
    assert_eq!(verdict.config_lines(), [""; 0]);
}

async fn a_secret_is_never_repeated() {
    let secret = canary::token("s3cret ", "in config");
    let config = plugin::config(
        &["github"],
        json!({
            "a": {"type": "header_injection", "headerInjection": {
                "headerName": "x", "headerValue": format!("{secret}\n"), "headerValueEnv": "SECRET",
            }},
            "b": {"type": "token_exchange", "tokenExchange": {
                "tokenUrl": format!("https://user:{}@sts.example.com/", canary::token("p", "url")),
                "clientSecret": secret, "clientSecretEnv": "SECRET", "clientAuthMethod": "none",
            }},
            "c": {"type": "header_injection", "headerInjection": {"headerName": "x", "headerValue": [secret]}},
            "d": {"type": "token_exchange", "tokenExchange": {
                "tokenUrl": "https://sts.example.com", "clientSecret": {secret.clone(): secret},
            }},
        }),
    );
    let environment = [(
        "SECRET".to_owned(),
        canary::token("\u{7f}", "in environment"),
    )];
    for plugin in [
        PluginConfig::Json(config.clone()),
        PluginConfig::Struct(config.clone()),
    ] {
        let verdict = validate(&plugin, &environment);
        assert!(!verdict.accepted);
        assert!(verdict.config_lines().len() >= 4, "{}", verdict.output);
        assert_eq!(canary::find(&verdict.output), None);
    }
    // Cut off in the middle of the secret: the parser must not quote what it stumbled over.
    let text = config.to_string();
    let end = text.find(&secret).expect("it is there") + secret.len() - 3;
    let verdict = validate(&PluginConfig::Text(text[..end].to_owned()), &environment);
    assert!(!verdict.accepted);
    assert_eq!(canary::find(&verdict.output), None);
}

async fn what_is_no_configuration_is_refused() {
    let nested = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let nested_keys = format!("{}1{}", r#"{"authServer":"#.repeat(1000), "}".repeat(1000));
    for (what, text) in [
        ("nothing", ""),
        ("spaces", " \n\t "),
        ("a word", "hello"),
        ("YAML", "outgoingAuth:\n  backends: {}\n"),
        ("null", "null"),
        ("a list", "[]"),
        ("a string", "\"{}\""),
        ("an unclosed object", "{\"outgoingAuth\": {"),
        ("something after the end", "{} {}"),
        ("a number out of range", "{\"outgoingAuth\": 1e400}"),
        ("lists a thousand deep", &nested),
        ("objects a thousand deep", &nested_keys),
        (
            "a key twice",
            r#"{"outgoingAuth": {"default": {"type": "unauthenticated"}}, "outgoingAuth": {}}"#,
        ),
    ] {
        let verdict = validate(&PluginConfig::Text(text.to_owned()), &[]);
        assert!(!verdict.accepted, "{what} was accepted");
        assert!(
            !verdict.config_lines().is_empty(),
            "{what}: nothing was said\n{}",
            verdict.output
        );
        assert_no_trap(what, &verdict);
    }
}

async fn a_huge_configuration_is_read_or_refused() {
    let huge = "x".repeat(5_000_000);
    let garbage = validate(&PluginConfig::Text(huge.clone()), &[]);
    assert!(!garbage.accepted);
    assert!(
        garbage.output.len() < 1_000_000,
        "the configuration is repeated in the log"
    );
    assert_no_trap("5 MB of garbage", &garbage);

    let mut config = plugin::config(&["github"], json!({"one": plugin::inject("github")}));
    config["authServer"]["runConfig"]["issuer"] = json!(huge);
    let verdict = validate(&PluginConfig::Json(config.clone()), &[]);
    assert!(
        verdict.accepted,
        "{}",
        verdict.output.chars().take(2000).collect::<String>()
    );

    config["outgoingAuth"]["backends"]["one"]["upstreamInject"]["providerName"] = json!(huge);
    let verdict = validate(&PluginConfig::Json(config), &[]);
    assert!(!verdict.accepted);
    assert_no_trap("a 5 MB provider", &verdict);
}

/// The filter said no; its VM did not die.
fn assert_no_trap(what: &str, verdict: &Verdict) {
    for sign in [
        "panicked",
        "Uncaught RuntimeError",
        "wasm trap",
        "unreachable",
        "Proxy-Wasm plugin in-VM backtrace",
    ] {
        assert!(
            !verdict.output.contains(sign),
            "{what} trapped the VM:\n{}",
            verdict.output
        );
    }
}

async fn a_warning_does_not_prevent_the_start() {
    let config = plugin::config(
        &["github"],
        json!({"sts": {"type": "token_exchange", "tokenExchange": {
            "tokenUrl": "https://sts.example.com",
        }}}),
    );
    let verdict = validate(&PluginConfig::Json(config), &[]);
    assert!(verdict.accepted, "{}", verdict.output);
    let warning = verdict.output.lines().find(|line| line.contains("V-03"));
    let warning = warning.unwrap_or_else(|| panic!("no warning in {}", verdict.output));
    assert!(
        warning.contains("[warning][wasm]") && warning.contains("sts"),
        "{warning}"
    );
}

async fn a_refused_configuration_keeps_envoy_from_starting() {
    let config = plugin::config(&["github"], json!({"one": plugin::inject("gitlab")}));
    let filters = [
        bootstrap::wasm_filter(&PluginConfig::Json(config), &[]),
        bootstrap::router(),
    ];
    let text = bootstrap::bootstrap(&filters, &[], &[]).to_string();
    let Err(error) = Envoy::start(bed::EnvoyOptions::new("refused", text)).await else {
        panic!("Envoy started with a configuration that the filter refused");
    };
    assert!(error.contains("V-02: provider \"gitlab\""), "{error}");
}

async fn ten_thousand_backends_load_and_each_is_found() {
    let mut backends = json!({});
    for index in 0..10_000 {
        backends[format!("backend-{index}")] =
            plugin::header("x-key", &canary::token("k", &index.to_string()));
    }
    let config = plugin::config(&["github"], backends);
    let bed = Bed::with("ten-thousand", PluginConfig::Struct(config))
        .backend("backend-0")
        .backend("backend-5000")
        .backend("backend-9999")
        .backend("backend-10000")
        .start()
        .await;
    let jwt = bed.login("alice", json!({}));
    for index in [0, 5000, 9999] {
        let reply = bed
            .http1()
            .send(Request::get(&format!("/backend-{index}/a")).bearer(&jwt))
            .await;
        assert_eq!(
            reply.seen("x-key"),
            [canary::token("k", &index.to_string())]
        );
    }
    let reply = bed
        .http1()
        .send(Request::get("/backend-10000/a").bearer(&jwt))
        .await;
    assert_eq!(reply.json()["error"], "backend_not_configured");
    bed.expect_outcome("backend-9999", "header_injected", 1)
        .await;
    // Counters exist for backends that had traffic, not for all ten thousand.
    let counters = bed
        .envoy
        .stats("^wasmcustom\\.upstream_inject\\.backend")
        .await;
    assert!(counters.len() < 100, "{} counters", counters.len());
}

/// A client that signs with what is in `KEY`; further settings go into its block.
fn signing(settings: &Value) -> PluginConfig {
    let mut block = json!({
        "tokenUrl": "https://sts.example.com/token",
        "clientId": "envoy",
        "clientAuthMethod": "private_key_jwt",
        "clientKeyEnv": "KEY",
        "subjectProviderName": "github",
    });
    bootstrap::merge(&mut block, settings);
    let backends = json!({"api": {"type": "token_exchange", "tokenExchange": block}});
    PluginConfig::Json(plugin::config(&["github"], backends))
}

fn variable(name: &str, text: &str) -> (String, String) {
    for line in text.lines().filter(|line| !line.starts_with('-')) {
        canary::remember(line);
    }
    (name.to_owned(), text.to_owned())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

const KEY_LINE: &str = "config: outgoingAuth.backends.api.tokenExchange.clientKeyEnv: ";

/// Signing is Envoy's since 1.37: nobody is to find out at the first request.
async fn an_envoy_that_cannot_sign_says_so_when_the_configuration_loads() {
    let key = KeyPair::generate().expect("a key").serialize_pem();
    let verdict = validate(&signing(&json!({})), &[variable("KEY", &key)]);
    if minor_version() < 37 {
        let line =
            format!("{KEY_LINE}this Envoy cannot sign: private_key_jwt needs Envoy 1.37 or later");
        assert_refused(&verdict, &[&line]);
    } else {
        assert!(verdict.accepted, "{}", verdict.output);
    }
}

async fn a_key_that_cannot_sign_is_refused_when_the_configuration_loads() {
    let ours = KeyPair::generate().expect("a key");
    let other = KeyPair::generate().expect("a key");
    let pem_of_ours = ours.serialize_pem();
    // The public half, 65 bytes, ends the file.
    let mut mixed = ours.serialize_der();
    let end = mixed.len() - other.public_key_raw().len();
    mixed.truncate(end);
    mixed.extend_from_slice(other.public_key_raw());
    let cut = &pem_of_ours[..pem_of_ours.len() / 2];
    let certificate = CertificateParams::default()
        .self_signed(&other)
        .expect("a certificate")
        .pem();
    let problems = [
        (
            "of two keys a half each",
            json!({}),
            pem("PRIVATE KEY", &mixed),
            format!(
                "{KEY_LINE}Envoy does not sign with this key: its numbers do not belong together"
            ),
        ),
        (
            "cut off",
            json!({}),
            cut.to_owned(),
            format!("{KEY_LINE}what is in that environment variable "),
        ),
        (
            "a certificate",
            json!({}),
            certificate.clone(),
            format!("{KEY_LINE}what is in that environment variable is a certificate; "),
        ),
        (
            "with a certificate of another key",
            json!({"clientCertificateEnv": "CERTIFICATE"}),
            pem_of_ours.clone(),
            "config: outgoingAuth.backends.api.tokenExchange.clientCertificateEnv: is not the \
             certificate of the key in clientKeyEnv"
                .to_owned(),
        ),
    ];
    for (what, settings, key, line) in problems {
        let environment = [variable("KEY", &key), variable("CERTIFICATE", &certificate)];
        let verdict = validate(&signing(&settings), &environment);
        assert!(!verdict.accepted, "{what}");
        assert_refused(&verdict, &[&line]);
        assert_eq!(canary::find(&verdict.output), None, "{what}");
        assert_no_trap(what, &verdict);
    }
}

/// `ECPrivateKey` (RFC 5915) without the point: whose certificate it is, only a signature tells.
async fn a_certificate_is_compared_with_a_key_that_lacks_its_public_half() {
    let ours = KeyPair::generate().expect("a key");
    let other = KeyPair::generate().expect("a key");
    let der = ours.serialize_der();
    let mut sec1 = vec![0x30, 0x31, 2, 1, 1, 4, 32];
    sec1.extend_from_slice(&der[36..68]);
    sec1.extend_from_slice(&[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let key = variable("KEY", &pem("EC PRIVATE KEY", &sec1));
    let plugin = signing(&json!({"clientCertificateEnv": "CERTIFICATE"}));
    for (owner, fits) in [(&ours, true), (&other, false)] {
        let certificate = CertificateParams::default()
            .self_signed(owner)
            .expect("a certificate");
        let environment = [key.clone(), variable("CERTIFICATE", &certificate.pem())];
        let verdict = validate(&plugin, &environment);
        assert_eq!(verdict.accepted, fits, "{}", verdict.output);
        if !fits {
            let line = "config: outgoingAuth.backends.api.tokenExchange.clientCertificateEnv: is \
                        not the certificate of the key in clientKeyEnv";
            assert_refused(&verdict, &[line]);
        }
    }
}
