//! Valid configurations, and the plan that follows.

use super::{lines, outcome};
use crate::challenge::Challenge;
use crate::plan::{BackendFrom, CachePolicy};
use std::time::Duration;

/// The example of RFC THV-0054, with the upstream that it forgot.
pub const RFC_EXAMPLE: &str = r#"{
  "authServer": {"runConfig": {
    "issuer": "https://vmcp.example.com",
    "signingKeys": [{"file": "/etc/keys/a.pem"}],
    "upstreams": [
      {"name": "github", "type": "oauth2", "oauth2Config": {"clientId": "x"}},
      {"name": "atlassian", "type": "oauth2"},
      {"name": "corporate-idp", "type": "oidc"}
    ]
  }},
  "outgoingAuth": {
    "source": "inline",
    "backends": {
      "github-tools": {"type": "upstream_inject", "upstreamInject": {"providerName": "github"}},
      "atlassian-tools": {"type": "upstream_inject", "upstreamInject": {"providerName": "atlassian"}},
      "corporate-api": {"type": "token_exchange", "tokenExchange": {
        "tokenUrl": "https://corp-sts.example.com/token",
        "audience": "https://corp-api.example.com",
        "subjectProviderName": "corporate-idp"
      }},
      "internal-api": {"type": "header_injection", "headerInjection": {
        "headerName": "X-API-Key", "headerValueEnv": "SECRET"
      }}
    }
  }
}"#;

#[test]
fn the_rfcs_example_is_a_plan_without_warnings() {
    let outcome = outcome(RFC_EXAMPLE);
    assert_eq!(lines(&outcome.errors), [""; 0]);
    assert_eq!(lines(&outcome.warnings), [""; 0]);
    let plan = outcome.plan.unwrap();
    assert_eq!(plan.backends.len(), 4);
    assert!(plan.default.is_none());
    assert_eq!(plan.exchanges.len(), 1);
    assert_eq!(plan.backend_from, BackendFrom::ClusterName);
    assert_eq!(plan.token_cache, CachePolicy::default());
    assert_eq!(plan.challenge, Challenge::default());
    let exchange = &plan.exchanges[0];
    assert_eq!(exchange.cluster, "corp-sts.example.com");
    assert_eq!(exchange.timeout, Duration::from_secs(5));
}
