//! What is rendered for Envoy Gateway and Istio fits the schemas and types that they publish.

use std::path::{Path, PathBuf};

use bed::{KubernetesVerdict, kubernetes_verdicts, repository};

use super::{read, render, rfc_with_corporate_idp};
use crate::trial::trials;

trials!("rendered_kubernetes":
    the_documented_resources_fit_their_schemas,
    every_variant_fits_its_schema,
    what_does_not_fit_is_found,
);

/// A file with this content, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("{name}-{}.yaml", std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&file, content).expect("writable");
        Self(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The verdict on each of these, which have names.
fn verdicts(named: &[(String, String)]) -> Vec<KubernetesVerdict> {
    let scratch = |(name, content): &(String, String)| Scratch::new(name, content);
    let files: Vec<Scratch> = named.iter().map(scratch).collect();
    let paths: Vec<&Path> = files.iter().map(|file| file.0.as_path()).collect();
    kubernetes_verdicts(&paths).unwrap_or_else(|error| panic!("{error}"))
}

async fn the_documented_resources_fit_their_schemas() {
    let documented: [(&str, &[&str]); 2] = [
        (
            "envoy-gateway",
            &[
                "EnvoyProxy",
                "EnvoyPatchPolicy",
                "BackendTrafficPolicy",
                "HTTPRoute",
                "HTTPRouteFilter",
            ],
        ),
        (
            "istio",
            &[
                "EnvoyFilter",
                "RequestAuthentication",
                "AuthorizationPolicy",
                "ServiceEntry",
                "DestinationRule",
                "HTTPRoute",
            ],
        ),
    ];
    let files = documented
        .map(|(target, _)| repository().join(format!("docs/targets/rendered/{target}.yaml")));
    let paths: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();
    let verdicts = kubernetes_verdicts(&paths).unwrap_or_else(|error| panic!("{error}"));
    for ((target, kinds), verdict) in documented.iter().zip(verdicts) {
        assert_eq!(verdict.wrong, Vec::<String>::new(), "{target}");
        for kind in *kinds {
            let mut found = verdict.found.iter();
            let kind = format!("{kind} ");
            assert!(found.any(|it| it.starts_with(&kind)), "{kind}: {verdict:?}");
        }
    }
}

async fn every_variant_fits_its_schema() {
    let nothing_but_a_default = "outgoingAuth: {default: {type: unauthenticated}}";
    let plain_sts = "\
outgoingAuth:
  backends:
    a: {type: token_exchange, tokenExchange: {tokenUrl: \"http://localhost:8080/t\"}}
    b: {type: token_exchange, tokenExchange: {tokenUrl: \"https://[2001:db8::1]/t\"}}
    c: {type: token_exchange, tokenExchange: {tokenUrl: \"https://sts.mcp.svc.cluster.local/t\"}}
tokenCache: {maxEntries: 0, refreshAhead: false}
";
    // Istio knows services by name.
    let named_sts = plain_sts
        .replace("http://localhost:8080", "https://sts.localhost:8080")
        .replace("[2001:db8::1]", "sts.example.com");
    let mut named = Vec::new();
    for (name, configuration) in [
        ("default", nothing_but_a_default),
        ("plain", plain_sts),
        ("gaps", &rfc_with_corporate_idp()),
    ] {
        for target in ["envoy-gateway", "istio"] {
            let configuration = match (target, name) {
                ("istio", "plain") => &named_sts,
                _ => configuration,
            };
            let name = format!("{target}-{name}");
            named.push((name, render(target, configuration, &[])));
        }
    }
    for ((name, _), verdict) in named.iter().zip(verdicts(&named)) {
        assert_eq!(verdict.wrong, Vec::<String>::new(), "{name}");
    }
}

/// The test above would be worth nothing if anything passed.
async fn what_does_not_fit_is_found() {
    let broken = [
        ("envoy-gateway", "type: JSONPatch", "type: Patch"),
        ("envoy-gateway", "requestTimeout: 0s", "requestTimeouts: 0s"),
        (
            "envoy-gateway",
            "requestHeaderModifier:",
            "requestHeadersModifier:",
        ),
        ("istio", "applyTo: EXTENSION_CONFIG", "applyTo: EXTENSION"),
        ("istio", "  resolution: DNS", "  resolutions: DNS"),
    ];
    let named = broken.map(|(target, from, to)| {
        let rendered = read(&format!("docs/targets/rendered/{target}.yaml"));
        let broken = rendered.replacen(from, to, 1);
        assert_ne!(broken, rendered, "{from}");
        let name: String = to.chars().filter(char::is_ascii_alphabetic).collect();
        (format!("{target}-{name}"), broken)
    });
    for ((name, _), verdict) in named.iter().zip(verdicts(&named)) {
        assert!(!verdict.wrong.is_empty(), "{name}: {verdict:?}");
    }
}
