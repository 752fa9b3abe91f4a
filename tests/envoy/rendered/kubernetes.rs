//! What is rendered for Envoy Gateway and Istio fits the schemas and types that they publish.

use std::path::{Path, PathBuf};

use bed::{kubernetes_verdict, repository};

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

fn verdict(name: &str, content: &str) -> Result<String, String> {
    kubernetes_verdict(&Scratch::new(name, content).0)
}

async fn the_documented_resources_fit_their_schemas() {
    for (target, kinds) in [
        (
            "envoy-gateway",
            &[
                "EnvoyProxy",
                "EnvoyPatchPolicy",
                "BackendTrafficPolicy",
                "HTTPRoute",
                "HTTPRouteFilter",
            ][..],
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
    ] {
        let file = repository().join(format!("docs/targets/rendered/{target}.yaml"));
        let verdict = kubernetes_verdict(&file).unwrap_or_else(|error| panic!("{error}"));
        for kind in kinds {
            assert!(
                verdict.contains(&format!("OK {kind} ")),
                "{kind}: {verdict}"
            );
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
            let rendered = render(target, configuration, &[]);
            if let Err(error) = verdict(&format!("{target}-{name}"), &rendered) {
                panic!("{target} {name}: {error}");
            }
        }
    }
}

/// The test above would be worth nothing if anything passed.
async fn what_does_not_fit_is_found() {
    for (target, from, to) in [
        ("envoy-gateway", "type: JSONPatch", "type: Patch"),
        ("envoy-gateway", "requestTimeout: 0s", "requestTimeouts: 0s"),
        (
            "envoy-gateway",
            "requestHeaderModifier:",
            "requestHeadersModifier:",
        ),
        ("istio", "applyTo: EXTENSION_CONFIG", "applyTo: EXTENSION"),
        ("istio", "  resolution: DNS", "  resolutions: DNS"),
    ] {
        let rendered = read(&format!("docs/targets/rendered/{target}.yaml"));
        let broken = rendered.replacen(from, to, 1);
        assert_ne!(broken, rendered, "{from}");
        let outcome = verdict(&format!("{target}-broken"), &broken);
        assert!(outcome.is_err(), "{to}: {outcome:?}");
    }
}
