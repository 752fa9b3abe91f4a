//! The token request (RFC 8693 §2.1), as bytes.

use super::{ClientAuth, Exchange};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::time::Duration;

/// RFC 3986's unreserved characters stay as they are. A space becomes `%20`, which every decoder of
/// forms reads, where `+` failed at one provider; and `~` stays, for the servers that do not decode
/// Basic credentials at all.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Everything of a token request but the subject token, encoded once.
///
/// Has no `Debug`: it holds the client's secret.
pub struct TokenRequest {
    cluster: String,
    headers: Vec<(&'static str, String)>,
    before_subject: String,
    after_subject: String,
    timeout: Duration,
}

impl TokenRequest {
    /// The request that `exchange` describes.
    pub fn new(exchange: &Exchange) -> Self {
        let mut headers = vec![
            (":method", "POST".to_owned()),
            (":path", exchange.path.clone()),
            (":authority", exchange.authority.clone()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("accept", "application/json".to_owned()),
        ];
        if let ClientAuth::Basic {
            client_id,
            client_secret,
        } = &exchange.client
        {
            headers.push(("authorization", basic(client_id, client_secret.reveal())));
        }
        Self {
            cluster: exchange.cluster.clone(),
            headers,
            before_subject: form(&[("grant_type", GRANT_TYPE)]) + "&subject_token=",
            after_subject: format!(
                "&{}",
                form(&parameters(exchange, &exchange.scopes.join(" ")))
            ),
            timeout: exchange.timeout,
        }
    }

    /// The Envoy cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The header fields, pseudo-header fields first.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    /// The form that exchanges `subject`.
    pub fn body(&self, subject: &[u8]) -> Vec<u8> {
        let mut body = String::with_capacity(
            self.before_subject
                .len()
                .saturating_add(subject.len())
                .saturating_add(self.after_subject.len()),
        );
        body.push_str(&self.before_subject);
        body.extend(percent_encode(subject, FORM));
        body.push_str(&self.after_subject);
        body.into_bytes()
    }

    /// How long to wait for the answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn parameters<'a>(exchange: &'a Exchange, scope: &'a str) -> Vec<(&'static str, &'a str)> {
    let mut parameters = vec![("subject_token_type", exchange.subject_token_type.as_str())];
    parameters.extend(
        exchange
            .requested_token_type
            .as_deref()
            .map(|requested| ("requested_token_type", requested)),
    );
    parameters.extend(
        exchange
            .audience
            .iter()
            .map(|one| ("audience", one.as_str())),
    );
    parameters.extend(
        exchange
            .resource
            .iter()
            .map(|one| ("resource", one.as_str())),
    );
    if !scope.is_empty() {
        parameters.push(("scope", scope));
    }
    match &exchange.client {
        ClientAuth::None { client_id } => {
            parameters.extend(client_id.as_deref().map(|id| ("client_id", id)));
        }
        ClientAuth::Basic { .. } => {}
        ClientAuth::Post {
            client_id,
            client_secret,
        } => {
            parameters.push(("client_id", client_id));
            parameters.push(("client_secret", client_secret.reveal()));
        }
    }
    parameters
}

fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

/// RFC 6749 §2.3.1: both parts are form-encoded first, so that a `:` in the id stays in the id.
fn basic(client_id: &str, client_secret: &str) -> String {
    let credentials = format!("{}:{}", encode(client_id), encode(client_secret));
    format!("Basic {}", STANDARD.encode(credentials))
}

fn encode(text: &str) -> String {
    percent_encode(text.as_bytes(), FORM).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn exchange(client: ClientAuth) -> Exchange {
        Exchange {
            token_url: "https://sts.example.com/token?tenant=a%20b".to_owned(),
            cluster: "corp-sts".to_owned(),
            authority: "sts.example.com".to_owned(),
            path: "/token?tenant=a%20b".to_owned(),
            client,
            audience: vec!["https://api.example.com".to_owned(), "other api".to_owned()],
            resource: vec!["https://api.example.com/v1?x=1&y".to_owned()],
            scopes: vec!["read".to_owned(), "write".to_owned()],
            subject_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
            requested_token_type: Some("urn:ietf:params:oauth:token-type:jwt".to_owned()),
            timeout: Duration::from_secs(5),
        }
    }

    fn body(exchange: &Exchange, subject: &[u8]) -> String {
        String::from_utf8(TokenRequest::new(exchange).body(subject)).unwrap()
    }

    const COMMON: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
        &subject_token=ey.J%2B%2F%3D%3A\
        &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
        &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
        &audience=https%3A%2F%2Fapi.example.com&audience=other%20api\
        &resource=https%3A%2F%2Fapi.example.com%2Fv1%3Fx%3D1%26y\
        &scope=read%20write";

    #[test]
    fn the_whole_request_byte_for_byte() {
        let (id, secret) = ("a b:c".to_owned(), Secret::new("p@ss wörd+/:%&".to_owned()));
        let head = [
            (":method", "POST"),
            (":path", "/token?tenant=a%20b"),
            (":authority", "sts.example.com"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        ];
        // base64 of a%20b%3Ac:p%40ss%20w%C3%B6rd%2B%2F%3A%25%26
        let basic = (
            "authorization",
            "Basic YSUyMGIlM0FjOnAlNDBzcyUyMHclQzMlQjZyZCUyQiUyRiUzQSUyNSUyNg==",
        );
        let with_basic: Vec<_> = head.into_iter().chain([basic]).collect();
        for (client, headers, tail) in [
            (ClientAuth::None { client_id: None }, head.to_vec(), ""),
            (
                ClientAuth::None {
                    client_id: Some(id.clone()),
                },
                head.to_vec(),
                "&client_id=a%20b%3Ac",
            ),
            (
                ClientAuth::Basic {
                    client_id: id.clone(),
                    client_secret: secret.clone(),
                },
                with_basic,
                "",
            ),
            (
                ClientAuth::Post {
                    client_id: id,
                    client_secret: secret,
                },
                head.to_vec(),
                "&client_id=a%20b%3Ac&client_secret=p%40ss%20w%C3%B6rd%2B%2F%3A%25%26",
            ),
        ] {
            let exchange = exchange(client);
            let request = TokenRequest::new(&exchange);
            assert_eq!(request.cluster(), "corp-sts");
            assert_eq!(request.headers(), headers);
            assert_eq!(body(&exchange, b"ey.J+/=:"), format!("{COMMON}{tail}"));
        }
    }

    #[test]
    fn what_is_not_configured_is_not_sent() {
        let bare = Exchange {
            audience: vec![],
            resource: vec![],
            scopes: vec![],
            requested_token_type: None,
            ..exchange(ClientAuth::None { client_id: None })
        };
        assert_eq!(
            body(&bare, b"t"),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        );
    }
}
