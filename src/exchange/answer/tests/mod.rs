//! Answers of a token endpoint, judged.

mod accepted;
mod any_bytes;
mod refused;
mod step_up;
mod vendors;

use super::*;
use crate::exchange::client::ClientAuth;
use crate::exchange::grant;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A call that asks for that type; `None` is a configuration that does not say.
fn call(requested_token_type: Option<&str>) -> TokenCall {
    TokenCall {
        name: "",
        token_url: "https://sts.example.com/token".to_owned(),
        cluster: "sts".to_owned(),
        authority: "sts.example.com:8443".to_owned(),
        path: "/token".to_owned(),
        client: ClientAuth::None { client_id: None },
        grant: grant::token_exchange(&grant::TokenExchange {
            subject_token_type: ACCESS_TOKEN,
            requested_token_type,
            ..grant::TokenExchange::default()
        }),
        parameters: vec![],
        sts_errors: vec![],
        timeout: TIMEOUT,
    }
}

fn judged(answer: Answer<'_>, elapsed: Duration) -> Result<Issued, Failure> {
    judge(answer, &call(Some(ACCESS_TOKEN)), elapsed, TIMEOUT)
}

fn ok(body: &str) -> Result<Issued, Failure> {
    judged(Answer::Http(200, Some(body.as_bytes())), Duration::ZERO)
}

fn answer(members: &str) -> String {
    format!(
        r#"{{"access_token":"tok","token_type":"Bearer","issued_token_type":"{ACCESS_TOKEN}"{members}}}"#
    )
}
