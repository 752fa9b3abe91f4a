//! Valid configurations, and the plan that follows.

use super::{lines, outcome};
use crate::backend::BackendFrom;
use crate::challenge::{Challenge, FromBackends};
use crate::exchange::CachePolicy;
use crate::exchange::{ClientAuth, Exchange, Meaning, Purpose, Terms, TokenCall, grant};
use crate::identity::{IdentitySettings, TokenFrom};
use crate::plan::Plan;
use crate::secret::Secret;
use std::time::Duration;

/// The example of RFC THV-0054, with the upstream that it forgot.
pub(super) const RFC_EXAMPLE: &str = r#"{
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
    assert!(plan.identity.required, "there is an auth server");
    assert_eq!(
        plan.identity.issuer.as_deref(),
        Some("https://vmcp.example.com")
    );
    assert_eq!(plan.exchanges.len(), 1);
    assert_eq!(plan.backend_from, BackendFrom::ClusterName);
    assert_eq!(plan.token_cache, CachePolicy::default());
    assert_eq!(plan.challenge.default, Challenge::default());
    let exchange = &plan.exchanges[0];
    assert_eq!(exchange.first.cluster, "corp-sts.example.com");
    assert_eq!(exchange.first.timeout, Duration::from_secs(5));
}

fn planned(document: &str) -> Plan {
    let outcome = outcome(document);
    assert_eq!(lines(&outcome.errors), [""; 0]);
    outcome.plan.unwrap()
}

/// The exchange of a backend with these keys besides `tokenUrl`.
fn exchange(fields: &str) -> Exchange {
    let plan = planned(&format!(
        r#"{{"outgoingAuth":{{"backends":{{"b":{{"type":"token_exchange","tokenExchange":
            {{"tokenUrl":"https://sts.example.com:8443/token?x=1"{fields}}}}}}}}}}}"#
    ));
    plan.exchanges.into_iter().next().unwrap()
}

#[test]
fn what_is_absent_has_the_documented_default() {
    assert_eq!(
        exchange(""),
        Exchange {
            purpose: Purpose::Backend,
            first: TokenCall {
                name: "",
                token_url: "https://sts.example.com:8443/token?x=1".to_owned(),
                cluster: "sts.example.com:8443".to_owned(),
                authority: "sts.example.com:8443".to_owned(),
                path: "/token?x=1".to_owned(),
                client: ClientAuth::None { client_id: None },
                grant: grant::token_exchange(&grant::TokenExchange {
                    subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
                    ..grant::TokenExchange::default()
                }),
                parameters: vec![],
                sts_errors: vec![],
                timeout: Duration::from_secs(5),
            },
            second: None,
            subject_is_identity_token: true,
            has_actor: false,
            terms: Terms::default(),
        }
    );
    let plan = planned(r#"{"outgoingAuth":{"default":{"type":"unauthenticated"}}}"#);
    assert_eq!(plan.identity, IdentitySettings::default());
    assert_eq!(plan.token_cache, CachePolicy::default());
    assert_eq!(plan.challenge.default, Challenge::default());
    assert_eq!(plan.backend_from, BackendFrom::ClusterName);
    assert!(plan.default.is_some());
}

#[test]
fn every_parameter_of_an_exchange_takes_effect() {
    assert_eq!(
        exchange(
            r#","cluster":"corp-sts","clientId":"id","clientSecretEnv":"SECRET_WITH_LINE_END",
               "clientAuthMethod":"client_secret_post","audience":["a","b"],"resource":"urn:r",
               "scopes":["read","write"],"subjectTokenType":"jwt","requestedTokenType":"",
               "timeout":"1.5s","parameters":{"p":["x","y"],"q":"z","none":null},
               "stsErrors":{"not_linked":"step_up"},"assumedLifetime":"5m","refreshAhead":false,
               "grantType":"urn:vault""#
        ),
        Exchange {
            purpose: Purpose::Backend,
            first: TokenCall {
                name: "",
                token_url: "https://sts.example.com:8443/token?x=1".to_owned(),
                cluster: "corp-sts".to_owned(),
                authority: "sts.example.com:8443".to_owned(),
                path: "/token?x=1".to_owned(),
                client: ClientAuth::Post {
                    client_id: "id".to_owned(),
                    client_secret: Secret::new("CANARY-s3cr3t".to_owned()),
                },
                grant: grant::token_exchange(&grant::TokenExchange {
                    grant_type: Some("urn:vault"),
                    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
                    requested_token_type: Some(""),
                    audience: &["a".to_owned(), "b".to_owned()],
                    resource: &["urn:r".to_owned()],
                    scope: "read write",
                    actor_token_type: None,
                }),
                parameters: [("p", "x"), ("p", "y"), ("q", "z")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .to_vec(),
                sts_errors: vec![("not_linked".to_owned(), Meaning::StepUp)],
                timeout: Duration::from_millis(1500),
            },
            second: None,
            subject_is_identity_token: true,
            has_actor: false,
            terms: Terms {
                assumed_lifetime: Some(Duration::from_secs(300)),
                refresh_ahead: Some(false),
                ..Terms::default()
            },
        }
    );
}

#[test]
fn on_behalf_of_asks_for_the_scopes_or_for_the_default_of_the_audience() {
    for (fields, scope) in [
        (r#""audience":"api://b""#, "api://b/.default"),
        // Entra names some resources with a slash at their end, and wants both.
        (
            r#""audience":"https://db.example.com/""#,
            "https://db.example.com//.default",
        ),
        (r#""scopes":["a","b"]"#, "a b"),
        (r#""scopes":["a"],"audience":"api://b""#, "a"),
        (r#""scopes":[],"audience":"api://b""#, "api://b/.default"),
    ] {
        let plan = planned(&format!(
            r#"{{"outgoingAuth":{{"backends":{{"b":{{"type":"obo","obo":{{"tokenUrl":"https://sts/t",
                "clientId":"id","clientSecret":"s",{fields}}}}}}}}}}}"#
        ));
        let grant = &plan.exchanges[0].first.grant;
        let expected = grant::on_behalf_of(scope);
        assert_eq!(*grant, expected, "{fields}");
    }
}

#[test]
fn on_behalf_of_has_a_skew_of_its_own_if_it_says_so() {
    for (fields, seconds) in [
        ("", None),
        (r#","cacheSkewSeconds":0"#, Some(0)),
        (r#","cacheSkewSeconds":30"#, Some(30)),
    ] {
        let plan = planned(&format!(
            r#"{{"outgoingAuth":{{"backends":{{"b":{{"type":"obo","obo":{{"tokenUrl":"https://sts/t",
                "clientId":"id","clientSecret":"s","audience":"api://b"{fields}}}}}}}}}}}"#
        ));
        let skew = plan.exchanges[0].terms.expiry_skew;
        assert_eq!(skew, seconds.map(Duration::from_secs), "{fields}");
    }
}

#[test]
fn client_authentication_follows_from_what_is_there() {
    let id = || "id".to_owned();
    let secret = || Secret::new("s".to_owned());
    let basic = ClientAuth::Basic {
        client_id: id(),
        client_secret: secret(),
    };
    for (fields, client) in [
        ("", ClientAuth::None { client_id: None }),
        (
            r#","clientId":"id""#,
            ClientAuth::None {
                client_id: Some(id()),
            },
        ),
        (r#","clientId":"id","clientSecret":"s""#, basic.clone()),
        (
            r#","clientId":"id","clientSecret":"s","clientAuthMethod":"client_secret_basic""#,
            basic,
        ),
        (
            r#","clientId":"id","clientSecret":"s","clientAuthMethod":"client_secret_post""#,
            ClientAuth::Post {
                client_id: id(),
                client_secret: secret(),
            },
        ),
    ] {
        assert_eq!(exchange(fields).first.client, client, "{fields}");
    }
}

#[test]
fn every_setting_around_the_strategies_takes_effect() {
    let plan = planned(
        r#"{"outgoingAuth":{"default":{"type":"unauthenticated"}},
            "backendFrom":"route_metadata",
            "identity":{"metadataNamespace":"ns","upstreamTokensKey":"tokens","healthCheckKey":"hc",
                "upstreamUnavailableKey":"down","payloadKey":"payload","required":true,"tokenFrom":"filter_state"},
            "challenge":{"realm":"mcp","resourceMetadata":"https://mcp/rm","scope":"a b",
                "authorizationUri":"https://login/a","fromBackends":"keep",
                "backends":{"one":{"resourceMetadata":"https://mcp/rm/one","scope":"c"},"two":null,"three":{}}},
            "tokenCache":{"maxEntries":7,"maxBytes":"2KiB","share":false,"maxTtl":"2h","expirySkew":0,"refreshAhead":false,"negativeTtl":"250ms"}}"#,
    );
    assert_eq!(plan.backend_from, BackendFrom::RouteMetadata);
    assert_eq!(
        plan.identity,
        IdentitySettings {
            metadata_namespace: "ns".to_owned(),
            upstream_tokens_key: "tokens".to_owned(),
            upstream_id_tokens_key: "upstream_id_tokens".to_owned(),
            upstream_unavailable_key: "down".to_owned(),
            health_check_key: "hc".to_owned(),
            payload_key: "payload".to_owned(),
            issuer: None,
            required: true,
            token_from: TokenFrom::FilterState,
            tokens_in_metadata: true,
        }
    );
    let usual = Challenge {
        realm: Some("mcp".to_owned()),
        resource_metadata: Some("https://mcp/rm".to_owned()),
        scope: Some("a b".to_owned()),
        authorization_uri: Some("https://login/a".to_owned()),
    };
    let challenges = plan.challenge;
    assert_eq!(challenges.from_backends, FromBackends::Keep);
    for (backend, expected) in [
        (
            "one",
            Challenge {
                resource_metadata: Some("https://mcp/rm/one".to_owned()),
                scope: Some("c".to_owned()),
                ..usual.clone()
            },
        ),
        ("two", usual.clone()),
        ("three", usual.clone()),
        ("another", usual),
    ] {
        assert_eq!(*challenges.of(backend), expected, "{backend}");
    }
    assert_eq!(
        plan.token_cache,
        CachePolicy {
            max_entries: 7,
            max_bytes: 2048,
            share: false,
            max_ttl: Duration::from_secs(7200),
            expiry_skew: Duration::ZERO,
            refresh_ahead: false,
            negative_ttl: Duration::from_millis(250),
        }
    );
}

#[test]
fn the_token_goes_to_authorization_unless_another_header_is_named() {
    for (fields, header) in [
        ("", "authorization"),
        (
            r#","externalTokenHeaderName":"X-Upstream-Token""#,
            "x-upstream-token",
        ),
    ] {
        let plan = planned(&format!(
            r#"{{"outgoingAuth":{{"backends":{{"b":{{"type":"token_exchange","tokenExchange":{{"tokenUrl":"https://sts"{fields}}}}}}}}}}}"#
        ));
        let strategy = format!("{:?}", plan.backends.get("b").unwrap());
        assert!(
            strategy.contains(&format!("header: \"{header}\"")),
            "{strategy}"
        );
    }
}

#[test]
fn a_provider_is_looked_up_under_the_configured_keys() {
    let with = |identity: &str| {
        planned(&format!(
            r#"{{"outgoingAuth":{{"backends":{{"b":{{"type":"upstream_inject","upstreamInject":{{"providerName":"github"}}}}}}}},
                "authServer":{{"runConfig":{{"upstreams":[{{"name":"github"}}]}}}}{identity}}}"#
        ))
    };
    let default = format!("{:?}", with("").backends.get("b").unwrap());
    let other = with(r#","identity":{"metadataNamespace":"my.namespace"}"#);
    assert_ne!(default, format!("{:?}", other.backends.get("b").unwrap()));
    assert_eq!(other.backends.get("b").unwrap().provider(), Some("github"));
}

#[test]
fn equal_exchanges_are_one_and_different_ones_are_not() {
    let variants = [
        r#""cluster":"c""#,
        r#""cluster":"d""#,
        r#""cluster":"c","clientId":"id""#,
        r#""cluster":"c","clientId":"id","clientSecret":"s""#,
        r#""cluster":"c","clientId":"id","clientSecret":"t""#,
        r#""cluster":"c","clientId":"id","clientSecret":"s","clientAuthMethod":"client_secret_post""#,
        r#""cluster":"c","audience":"a""#,
        r#""cluster":"c","resource":"urn:a""#,
        r#""cluster":"c","scopes":["a"]"#,
        r#""cluster":"c","scopes":["a","b"]"#,
        r#""cluster":"c","subjectTokenType":"jwt""#,
        r#""cluster":"c","requestedTokenType":"jwt""#,
        r#""cluster":"c","requestedTokenType":"""#,
        r#""cluster":"c","timeout":"1s""#,
        r#""cluster":"c","tokenUrl":"https://other""#,
    ];
    // Each variant three times; where the token goes to is no part of the exchange.
    let backends: Vec<String> = (0..3)
        .flat_map(|copy| {
            variants.iter().enumerate().map(move |(index, fields)| {
                let url = if fields.contains("tokenUrl") { "" } else { r#""tokenUrl":"https://sts","# };
                format!(
                    r#""b{copy}-{index}":{{"type":"token_exchange","tokenExchange":{{{url}{fields},"externalTokenHeaderName":"x-{copy}"}}}}"#
                )
            })
        })
        .collect();
    let plan = planned(&format!(
        r#"{{"outgoingAuth":{{"backends":{{{}}}}}}}"#,
        backends.join(",")
    ));
    assert_eq!(plan.backends.len(), 3 * variants.len());
    assert_eq!(plan.exchanges.len(), variants.len());
    for (index, exchange) in plan.exchanges.iter().enumerate() {
        assert!(!plan.exchanges[..index].contains(exchange));
    }
}

#[test]
fn an_sts_that_must_trust_the_auth_server_is_warned_about() {
    const WARNING: &str = "outgoingAuth.backends.b.tokenExchange.subjectProviderName: V-03: missing, so that the STS must trust the tokens of the embedded auth server; name a provider to exchange its token";
    const AUTH_SERVER: &str = r#""authServer":{"runConfig":{"upstreams":[{"name":"github"}]}},"#;
    for (auth_server, fields, warnings) in [
        (AUTH_SERVER, "", &[WARNING][..]),
        (AUTH_SERVER, r#","subjectProviderName":"""#, &[WARNING]),
        (AUTH_SERVER, r#","subjectProviderName":"github""#, &[]),
        (AUTH_SERVER, r#","subjectProviderName":7"#, &[]),
        ("", "", &[]),
    ] {
        let outcome = outcome(format!(
            r#"{{{auth_server}"outgoingAuth":{{"backends":{{"b":{{"type":"token_exchange","tokenExchange":{{"tokenUrl":"https://sts"{fields}}}}}}}}}}}"#
        ));
        assert_eq!(lines(&outcome.warnings), warnings, "{fields}");
    }
}

#[test]
fn problems_of_all_kinds_are_reported_at_once_and_in_the_order_of_their_paths() {
    let outcome = outcome(
        r#"{
          "outgoingAuth": {"backends": {
            "z": {"type": "upstream_inject", "upstreamInject": {"providerName": "githib"}},
            "a.b": {"type": "token_exchange", "tokenExchange": {"tokenUrl": "https://sts", "scopes": ["ok", ""]}},
            "m": {"type": "header_injection", "headerInjection": {"headerName": "host", "headerValueEnv": "NOT_SET"}}
          }, "source": "discovered"},
          "authServer": {"runConfig": {"upstreams": [{"name": "github"}, {"name": "github"}]}},
          "tokenCache": {"maxEntries": -1},
          "challenge": {"realm": "\""}
        }"#,
    );
    assert!(outcome.plan.is_none());
    assert_eq!(
        lines(&outcome.errors),
        [
            r#"authServer.runConfig.upstreams[1].name: V-05: another upstream is already called "github""#,
            r#"challenge.realm: must be a string of visible ASCII, spaces and tabs without " and \, not empty"#,
            r#"outgoingAuth.backends["a.b"].tokenExchange.scopes[1]: must be one scope: visible ASCII without blanks, " and \ (RFC 6749 section 3.3)"#,
            "outgoingAuth.backends.m.headerInjection.headerName: must not be host: hop-by-hop headers, host and content-length cannot be set",
            "outgoingAuth.backends.m.headerInjection.headerValueEnv: environment variable NOT_SET is not set, empty, or not UTF-8",
            r#"outgoingAuth.backends.z.upstreamInject.providerName: V-02: provider "githib" is not in authServer.runConfig.upstreams (github)"#,
            r#"outgoingAuth.source: must be inline, not "discovered""#,
            "tokenCache.maxEntries: must be a whole number from 0 to 1000000",
        ]
    );
    assert_eq!(
        lines(&outcome.warnings),
        [
            r#"outgoingAuth.backends["a.b"].tokenExchange.subjectProviderName: V-03: missing, so that the STS must trust the tokens of the embedded auth server; name a provider to exchange its token"#
        ]
    );
}

#[test]
fn ten_thousand_backends_and_upstreams_are_a_plan() {
    let upstreams: Vec<_> = (0..10_000)
        .map(|i| format!(r#"{{"name":"p{i}"}}"#))
        .collect();
    let backends: Vec<_> = (0..10_000)
        .map(|i| {
            format!(
                r#""b{i}":{{"type":"upstream_inject","upstreamInject":{{"providerName":"p{i}"}}}}"#
            )
        })
        .collect();
    let plan = planned(&format!(
        r#"{{"authServer":{{"runConfig":{{"upstreams":[{}]}}}},"outgoingAuth":{{"backends":{{{}}}}}}}"#,
        upstreams.join(","),
        backends.join(",")
    ));
    assert_eq!(plan.backends.len(), 10_000);
    assert_eq!(
        plan.backends.get("b9999").unwrap().provider(),
        Some("p9999")
    );
}

#[test]
fn a_long_list_of_upstreams_is_cut() {
    let upstreams: Vec<_> = (0..60).map(|i| format!(r#"{{"name":"p{i}"}}"#)).collect();
    let outcome = outcome(format!(
        r#"{{"authServer":{{"runConfig":{{"upstreams":[{}]}}}},"outgoingAuth":{{"default":
            {{"type":"upstream_inject","upstreamInject":{{"providerName":"x"}}}}}}}}"#,
        upstreams.join(",")
    ));
    let line = lines(&outcome.errors).concat();
    assert!(line.contains("(p0, p1, p2,"), "{line}");
    assert!(line.ends_with(", p49, and 10 more)"), "{line}");
}

/// The keys of a `Struct` come in any order: a token must not be lost for it, or asked for twice.
#[test]
fn the_order_of_a_maps_keys_makes_no_other_exchange() {
    let one = exchange(
        r#","parameters":{"b":["2","1"],"a":"3"},"stsErrors":{"x":"rejected","w":"forbidden"}"#,
    );
    let other = exchange(
        r#","parameters":{"a":"3","b":["2","1"]},"stsErrors":{"w":"forbidden","x":"rejected"}"#,
    );
    assert_eq!(one, other);
    assert_eq!(one.to_bytes(), other.to_bytes());
    let values = exchange(
        r#","parameters":{"a":"3","b":["1","2"]},"stsErrors":{"w":"forbidden","x":"rejected"}"#,
    );
    assert_ne!(one, values, "a list has an order");
}
