//! MCP's own conformance suite: every check ends alike at the server itself and through Envoy with the
//! filter.

use bed::bootstrap::{self, PluginConfig};
use bed::{Bed, Counterpart, Program, canary, mcp_conformance};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("mcp_conformance": every_check_ends_alike_through_the_filter);

/// Checks of the suite that a server may end well or not; at least so many there are.
const CHECKS_AT_LEAST: usize = 30;

async fn every_check_ends_alike_through_the_filter() {
    let server = Counterpart::start(Program::Everything, &json!({}))
        .unwrap_or_else(|error| panic!("{error}"));
    let exchange = json!({"type": "token_exchange", "tokenExchange": {
        "tokenUrl": "http://localhost/token", "cluster": "sts", "subjectProviderName": "corp",
    }});
    let config = plugin::config(
        &["github", "corp"],
        json!({"injected": plugin::inject("github"), "exchanged": exchange}),
    );
    let mut plan = Bed::with("mcp-conformance", PluginConfig::Json(config));
    for name in ["injected", "exchanged"] {
        plan = plan
            .cluster(bootstrap::cluster(name, server.address(), false, &[]))
            .route(json!({
                "match": {"prefix": format!("/{name}/")},
                "route": {"cluster": name, "prefix_rewrite": "/", "timeout": "0s"},
            }));
    }
    let bed = plan.start().await;
    // The suite cannot present a token: its requests are those of one session all the same.
    let tokens = json!({
        "github": canary::token("gho_", "suite"), "corp": canary::token("corp_", "suite"),
    });
    bed.embedded_as
        .set_session("", json!({"upstream_tokens": tokens}));

    let run = |url: String| mcp_conformance(&url).unwrap_or_else(|error| panic!("{error}"));
    let direct = outcomes(&run(server.ready("url").to_owned()));
    assert!(
        direct.len() >= CHECKS_AT_LEAST,
        "only {} checks",
        direct.len()
    );
    assert!(
        direct
            .iter()
            .any(|(_, ended)| ended.to_string().contains("SUCCESS")),
        "nothing works: {direct:?}"
    );
    for (name, outcome) in [("injected", "injected"), ("exchanged", "exchanged")] {
        let through = outcomes(&run(format!("http://{}/{name}/mcp", bed.address())));
        let differences: Vec<_> = direct
            .iter()
            .filter(|it| !through.contains(it))
            .map(|it| (it, through.iter().find(|other| other.0 == it.0)))
            .collect();
        assert!(differences.is_empty(), "{name}: {differences:#?}");
        assert_eq!(through.len(), direct.len(), "{name}");
        let counter = bed.outcome(name, outcome).await;
        assert!(
            counter as usize >= CHECKS_AT_LEAST,
            "{name}: {counter} requests"
        );
    }
}

/// How each check ended. What was wrong is left out where it names a port, or a session's id.
fn outcomes(result: &Value) -> Vec<(String, Value)> {
    let checks = result.as_object().into_iter().flatten();
    checks
        .map(|(name, ended)| {
            let statuses = ended.as_array().into_iter().flatten();
            (name.clone(), statuses.map(|it| it[0].clone()).collect())
        })
        .collect()
}
