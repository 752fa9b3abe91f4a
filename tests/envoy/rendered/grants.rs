//! ToolHive's own resources of the types `obo` and `xaa`: converted, rendered, run, and what each token
//! endpoint is sent.

use bed::{Answer, Echo, EmbeddedAs, Request, Sts, canary, identity_assertion};
use serde_json::json;

use super::{neighbours, render, send, start, tool};
use crate::trial::trials;

trials!("rendered_grants":
    toolhives_resources_of_entra_and_cross_app_access_go_all_the_way,
);

const RESOURCES: &str = "tests/cli/fixtures/toolhive/grants.yaml";

async fn toolhives_resources_of_entra_and_cross_app_access_go_all_the_way() {
    let embedded_as = EmbeddedAs::start().await.expect("a free port");
    let sts = Sts::start().await.expect("a free port");
    let graph = Echo::start("graph").await.expect("a free port");
    let files = Echo::start("files").await.expect("a free port");
    let assertion = identity_assertion(
        "alice",
        "https://as.partner.example",
        "https://mcp.partner.example/mcp",
        &canary::token("", "assertion"),
    );
    let issued = assertion.clone();
    sts.set_script(move |request| match request.line().split(' ').nth(1) {
        Some("/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token") => {
            Answer::token(&canary::token("graph_", "alice"))
        }
        Some("/idp/token") => Answer::assertion(&issued),
        Some("/partner/token") => Answer::token(&canary::token("partner_", "alice")),
        _ => Answer::error(404, "not_found"),
    });

    let converted = tool(&["convert", RESOURCES], "");
    assert_eq!(converted.code, Some(0), "{}", converted.stderr);
    let checked = tool(&["check", "--strict", "-"], &converted.stdout);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    let at = format!("http://{}", sts.address());
    let mut here = converted.stdout.clone();
    for (theirs, ours) in [
        (
            "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2",
            format!("{at}/11111111-2222-3333-4444-555555555555/oauth2"),
        ),
        ("https://idp.example.com/token", format!("{at}/idp/token")),
        (
            "https://as.partner.example/token",
            format!("{at}/partner/token"),
        ),
    ] {
        assert!(here.contains(theirs), "{here}");
        here = here.replace(theirs, &ours);
    }
    let backends = [("graph", graph.address()), ("files", files.address())];
    // One login serves both: the auth server issues tokens for the gateway as a whole.
    let mut arguments = neighbours(&embedded_as, &backends);
    arguments.push("--shared-audience".to_owned());
    let config = render("envoy", &here, &arguments);
    let secrets = [
        "ENTRA_OBO_CLIENT",
        "PARTNER_XAA_IDP_CLIENT",
        "PARTNER_XAA_TARGET_CLIENT",
    ]
    .map(|whose| {
        let variable = format!("UPSTREAM_INJECT_{whose}_SECRET");
        assert!(config.contains(&variable), "{variable}");
        (variable, canary::token("secret-", whose))
    });
    let environment = secrets
        .each_ref()
        .map(|(variable, secret)| (variable.as_str(), secret.as_str()));
    let (_envoy, client) = start("rendered-grants", config, &environment).await;

    let entra = canary::token("entra_", "alice");
    let id_token = canary::token("id_", "alice");
    let session = json!({
        "upstream_tokens": {"entra": entra, "corp": canary::token("corp_", "alice")},
        "upstream_id_tokens": {"corp": id_token},
    });
    let jwt = embedded_as.login("alice", session);
    for (backend, prefix) in [("graph", "graph_"), ("files", "partner_")] {
        let path = format!("/{backend}/");
        let reply = send(&client, || Request::get(&path).bearer(&jwt)).await;
        assert_eq!(reply.status, 200, "{backend}: {}", reply.text());
        let expected = format!("Bearer {}", canary::token(prefix, "alice"));
        assert_eq!(reply.seen("authorization"), [expected], "{backend}");
    }

    let calls = sts.requests();
    let basic = |id: &str, of: usize| {
        use base64::Engine as _;
        let pair = format!("{id}:{}", secrets[of].1);
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        format!("Basic {pair}")
    };
    let [of_entra, of_idp, of_partner] = &calls[..] else {
        panic!("{} calls", calls.len());
    };
    for (call, parameters) in [
        (
            of_entra,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("requested_token_use", "on_behalf_of"),
                ("assertion", &entra),
                ("scope", "https://graph.microsoft.com/.default"),
                ("client_id", "envoy-at-entra"),
                ("client_secret", &secrets[0].1),
            ][..],
        ),
        (
            of_idp,
            &[
                (
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ),
                (
                    "requested_token_type",
                    "urn:ietf:params:oauth:token-type:id-jag",
                ),
                ("subject_token", &id_token),
                (
                    "subject_token_type",
                    "urn:ietf:params:oauth:token-type:id_token",
                ),
                ("audience", "https://as.partner.example"),
                ("resource", "https://mcp.partner.example/mcp"),
            ],
        ),
        (
            of_partner,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
                ("scope", "files.read"),
            ],
        ),
    ] {
        for (name, value) in parameters {
            assert_eq!(call.parameter(name), *value, "{}: {name}", call.line());
        }
    }
    assert_eq!(of_idp.header("authorization"), basic("corp-login", 1));
    assert_eq!(
        of_partner.header("authorization"),
        basic("envoy-at-partner", 2)
    );
}
