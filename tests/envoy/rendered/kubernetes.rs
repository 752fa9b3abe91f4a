//! What is rendered for Envoy Gateway and Istio fits the schemas and types that they publish.

use std::path::{Path, PathBuf};

use bed::{Envoy, kubernetes_verdict, repository};

use super::{read, render, rfc_with_corporate_idp, tls::Authority};
use crate::trial::trials;

trials!("rendered_kubernetes":
    the_documented_resources_fit_their_schemas,
    every_variant_fits_its_schema,
    what_does_not_fit_is_found,
    the_bootstrap_for_envoy_gateway_is_accepted_by_envoy,
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
    for (target, expected) in [
        (
            "envoy-gateway",
            "OK EnvoyProxy upstream-inject\nOK EnvoyExtensionPolicy upstream-inject\nOK SecurityPolicy upstream-inject\n",
        ),
        (
            "istio",
            "OK WasmPlugin upstream-inject\nOK ServiceEntry sts-corp-sts.example.com-443\nOK DestinationRule sts-corp-sts.example.com-443\nOK RequestAuthentication upstream-inject\nOK AuthorizationPolicy upstream-inject-authenticated\nOK AuthorizationPolicy upstream-inject-auth-server\n",
        ),
    ] {
        let file = repository().join(format!("docs/targets/rendered/{target}.yaml"));
        assert_eq!(kubernetes_verdict(&file).as_deref(), Ok(expected));
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
    for (name, configuration) in [
        ("default", nothing_but_a_default),
        ("plain", plain_sts),
        ("gaps", &rfc_with_corporate_idp()),
    ] {
        for target in ["envoy-gateway", "istio"] {
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
        ("envoy-gateway", "failOpen: false", "failOpn: false"),
        ("envoy-gateway", "type: Merge", "type: Mix"),
        (
            "istio",
            "failStrategy: FAIL_CLOSE",
            "failStrategy: FAIL_CLOSED",
        ),
        ("istio", "  resolution: DNS", "  resolutions: DNS"),
    ] {
        let rendered = read(&format!("docs/targets/rendered/{target}.yaml"));
        let broken = rendered.replacen(from, to, 1);
        assert_ne!(broken, rendered, "{from}");
        let outcome = verdict(&format!("{target}-broken"), &broken);
        assert!(outcome.is_err(), "{to}: {outcome:?}");
    }
}

async fn the_bootstrap_for_envoy_gateway_is_accepted_by_envoy() {
    let authority = Authority::new();
    let rendered = read("docs/targets/rendered/envoy-gateway.yaml");
    let (_, rest) = rendered.split_once("    value: |\n").expect("a bootstrap");
    let (bootstrap, _) = rest.split_once("\n---").expect("more resources");
    let bootstrap = bootstrap.replace(
        "/etc/ssl/certs/ca-certificates.crt",
        &authority.file().display().to_string(),
    );
    let verdict = Envoy::validate("envoy-gateway-bootstrap", &bootstrap, &[]).expect("Envoy runs");
    assert!(verdict.accepted, "{}", verdict.output);
}
