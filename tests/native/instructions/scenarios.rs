//! The requests that are counted.

use crate::host::{Answer, Envoy, Level, Plugin, Request, Stream};
use serde_json::{Value, json};

/// One kind of request.
pub struct Scenario {
    pub name: &'static str,
    /// How many backends are configured besides the one in use.
    others: usize,
    request: fn() -> Request,
    /// What must have become of it.
    served: fn(Stream) -> bool,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "no_backend",
        others: 0,
        request: Request::nowhere,
        served: |stream| stream.received("authorization").is_empty(),
    },
    Scenario {
        name: "unauthenticated",
        others: 0,
        request: || to("open"),
        served: |stream| stream.received("authorization").is_empty(),
    },
    Scenario {
        name: "header_injection",
        others: 0,
        request: || to("internal-api"),
        served: |stream| stream.received("x-api-key") == ["CANARY-key"],
    },
    Scenario {
        name: "upstream_inject",
        others: 0,
        request: || to("github-tools"),
        served: injected,
    },
    Scenario {
        name: "upstream_inject_of_10000_backends",
        others: 10_000,
        request: || to("github-tools"),
        served: injected,
    },
    Scenario {
        name: "cached_exchange",
        others: 0,
        request: || to("corporate-api"),
        served: |stream| stream.received("authorization") == ["Bearer CANARY-exchanged"],
    },
    Scenario {
        name: "refused",
        others: 0,
        request: || Request::to("github-tools").authenticated(),
        served: |stream| stream.reply().status == 401,
    },
];

fn injected(stream: Stream) -> bool {
    stream.received("authorization") == [format!("Bearer {}", token())]
}

/// As long as a token of GitHub's.
fn token() -> String {
    format!("CANARY_{}", "x".repeat(33))
}

fn to(backend: &str) -> Request {
    let tokens = json!({"github": token(), "corporate-idp": "y".repeat(1000)});
    Request::to(backend).authenticated().tokens(&tokens)
}

fn configuration(others: usize) -> Value {
    let mut backends = json!({
        "open": {"type": "unauthenticated"},
        "github-tools": {"type": "upstream_inject", "upstreamInject": {"providerName": "github"}},
        "internal-api": {
            "type": "header_injection",
            "headerInjection": {"headerName": "X-API-Key", "headerValue": "CANARY-key"},
        },
        "corporate-api": {
            "type": "token_exchange",
            "tokenExchange": {
                "tokenUrl": "https://sts.example.com/token",
                "subjectProviderName": "corporate-idp",
            },
        },
    });
    for n in 0..others {
        backends[format!("backend-{n}")] = backends["github-tools"].clone();
    }
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}, {"name": "corporate-idp"}]}},
        "outgoingAuth": {"backends": backends},
    })
}

/// Sends so many requests of that kind.
pub fn run(name: &str, requests: u64) {
    let scenario = SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .unwrap();
    // As most Envoys do.
    let envoy = Envoy::start(Level::Warn);
    let plugin = envoy.plugin(&configuration(scenario.others));
    obtain(&envoy, plugin);
    let request = (scenario.request)();
    for _ in 0..requests {
        let stream = plugin.request(&request);
        assert!((scenario.served)(stream), "{name}");
        stream.end_with(200, "via_upstream");
        envoy.host_calls();
    }
}

/// Has the token that a cached exchange needs.
fn obtain(envoy: &Envoy, plugin: Plugin) {
    let stream = plugin.request(&to("corporate-api"));
    envoy
        .call()
        .answer(&Answer::token("CANARY-exchanged", 3600));
    stream.end();
}
