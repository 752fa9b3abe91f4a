//! The page on vendors, gone by a newcomer: a block in the frame that the page shows, rendered, loaded,
//! and what the vendor's token endpoint is then sent.

use bed::{Answer, Echo, EmbeddedAs, Request, Sts, StsRequest, canary};
use serde_json::json;

use super::{neighbours, read, render, send, start, tool};
use crate::trial::trials;

trials!("rendered_providers":
    the_pages_block_on_entra_asks_on_behalf_of_the_user,
    the_pages_block_on_okta_exchanges,
    the_pages_block_on_auth0_asks_the_token_vault,
);

const PAGE: &str = "docs/providers.md";
const TOKEN_TYPES: &str = "urn:ietf:params:oauth:token-type:";

/// The first block of a section; of the page itself without a heading.
fn block(heading: Option<&str>) -> String {
    let page = read(PAGE);
    let section = heading.map_or(&*page, |heading| {
        let from = format!("\n## {heading}");
        page.split_once(&from).expect("a section of that name").1
    });
    let (_, from) = section.split_once("```yaml\n").expect("a block");
    from.split("```").next().unwrap_or_default().to_owned()
}

/// What the vendor's token endpoint was sent, when the user's token of `provider` was wanted.
async fn asked(heading: &str, host: &str, provider: &str, answer: Answer) -> StsRequest {
    let block = block(Some(heading));
    let (backend, _) = block.split_once(':').expect("the backend's name");
    // The page has Entra's block in its frame.
    let frame = self::block(None);
    let (frame, _) = frame.split_once("    graph-api:").expect("the frame");
    let frame = frame.replace("name: entra", &format!("name: {provider}"));
    let indented = block.lines().map(|line| format!("    {line}\n"));
    let configuration = frame + &indented.collect::<String>();
    let checked = tool(&["check", "--strict", "-"], &configuration);
    assert_eq!(checked.code, Some(0), "{heading}: {}", checked.stdout);

    let embedded_as = EmbeddedAs::start().await.expect("a free port");
    let sts = Sts::start().await.expect("an STS");
    sts.set_script(move |_| answer.clone());
    let echo = Echo::start(backend).await.expect("a free port");
    let url = format!("https://{host}/");
    assert!(configuration.contains(&url), "{configuration}");
    let here = configuration.replace(&url, &format!("http://{}/", sts.address()));
    let config = render(
        "envoy",
        &here,
        &neighbours(&embedded_as, &[(backend, echo.address())]),
    );
    let secret = canary::token("secret-", provider);
    let (_, variable) = block.split_once("clientSecretEnv: ").expect("a secret");
    let variable = variable.lines().next().unwrap_or_default();
    let name = format!("rendered-{provider}");
    let (_envoy, client) = start(&name, config, &[(variable, &secret)]).await;
    let tokens = json!({provider: canary::token("at_", provider)});
    let jwt = embedded_as.login("alice", json!({"upstream_tokens": tokens}));
    let path = format!("/{backend}/");
    let reply = send(&client, || Request::get(&path).bearer(&jwt)).await;
    assert_eq!(reply.status, 200, "{heading}: {}", reply.text());
    let issued = format!("Bearer {}", canary::token("issued_", "vendor"));
    assert_eq!(reply.seen("authorization"), [issued], "{heading}");
    let mut calls = sts.requests();
    assert_eq!(calls.len(), 1, "{heading}");
    calls.remove(0)
}

/// An answer with this type of token.
fn issued(issued_token_type: Option<&str>) -> Answer {
    let token = canary::token("issued_", "vendor");
    let mut body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
    if let Some(kind) = issued_token_type {
        body["issued_token_type"] = kind.into();
    }
    Answer::json(200, &body)
}

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut form: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    form.sort();
    form
}

fn sent(call: &StsRequest) -> Vec<(String, String)> {
    let mut sent = call.form();
    sent.sort();
    sent
}

async fn the_pages_block_on_entra_asks_on_behalf_of_the_user() {
    let host = "login.microsoftonline.com";
    let call = asked("Microsoft Entra", host, "entra", issued(None)).await;
    let path = "POST /contoso.onmicrosoft.com/oauth2/v2.0/token ";
    assert!(call.line().starts_with(path), "{}", call.line());
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("client_id", "11111111-2222-3333-4444-555555555555"),
        ("client_secret", &*canary::token("secret-", "entra")),
        ("assertion", &canary::token("at_", "entra")),
        ("scope", "https://graph.microsoft.com/User.Read"),
        ("requested_token_use", "on_behalf_of"),
    ];
    assert_eq!(sent(&call), form(&expected));
}

async fn the_pages_block_on_okta_exchanges() {
    let access_token = format!("{TOKEN_TYPES}access_token");
    let call = asked(
        "Okta",
        "example.okta.com",
        "okta",
        issued(Some(&access_token)),
    )
    .await;
    let path = "POST /oauth2/aus1234567890/v1/token ";
    assert!(call.line().starts_with(path), "{}", call.line());
    assert!(call.header("authorization").starts_with("Basic "));
    let expected = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", &*canary::token("at_", "okta")),
        ("subject_token_type", &access_token),
        ("requested_token_type", &access_token),
        ("audience", "api://orders"),
        ("scope", "orders.read"),
    ];
    assert_eq!(sent(&call), form(&expected));
}

async fn the_pages_block_on_auth0_asks_the_token_vault() {
    const FEDERATED: &str = "http://auth0.com/oauth/token-type/federated-connection-access-token";
    let host = "example.eu.auth0.com";
    let call = asked("Auth0", host, "auth0", issued(Some(FEDERATED))).await;
    assert!(
        call.line().starts_with("POST /oauth/token "),
        "{}",
        call.line()
    );
    let expected = [
        (
            "grant_type",
            "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token",
        ),
        ("client_id", "abc123"),
        ("client_secret", &*canary::token("secret-", "auth0")),
        ("subject_token", &canary::token("at_", "auth0")),
        ("subject_token_type", &format!("{TOKEN_TYPES}access_token")),
        ("requested_token_type", FEDERATED),
        ("connection", "google-oauth2"),
    ];
    assert_eq!(sent(&call), form(&expected));
}
