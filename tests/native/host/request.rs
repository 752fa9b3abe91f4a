//! What reaches the filter: requests, and answers of an STS.

use super::TH_JWT;
use super::drive::{call, enter};
use super::properties::Attributes;
use super::state::{Answer, Call, Fields, host};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A request as it reaches the filter.
#[derive(Clone, Default)]
pub struct Request {
    pub fields: Fields,
    pub more: bool,
    pub attributes: Attributes,
    pub filter_state: BTreeMap<String, Vec<u8>>,
}

impl Request {
    /// A request to a cluster, without any identity.
    pub fn to(cluster: &str) -> Self {
        let mut request = Self::default();
        request.attributes.cluster_name = Some(cluster.to_owned());
        request.field(":method", "POST").field(":path", "/mcp")
    }

    /// A request that Envoy answers itself.
    pub fn nowhere() -> Self {
        let mut request = Self::to("");
        request.attributes.cluster_name = None;
        request
    }

    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With more than header fields: a body, or an upgrade's stream.
    pub fn with_more(mut self) -> Self {
        self.more = true;
        self
    }

    /// With the TH-JWT in its header.
    pub fn authenticated(self) -> Self {
        self.field("authorization", format!("Bearer {TH_JWT}"))
    }

    /// With the TH-JWT in the filter state, where the door has put it.
    pub fn through_the_door(self) -> Self {
        self.kept(&format!("Bearer {TH_JWT}"))
    }

    /// With this in the filter state, in the TH-JWT's place.
    pub fn kept(mut self, value: &str) -> Self {
        let object = "upstream_inject.identity_token".to_owned();
        self.filter_state.insert(object, value.into());
        self
    }

    /// With a payload that `jwt_authn` has checked.
    pub fn checked(mut self, payload: &Value) -> Self {
        self.attributes.metadata["envoy.filters.http.jwt_authn"]["th_jwt"] = payload.clone();
        self
    }

    /// Another attempt of the request that began at that moment.
    pub fn attempt_of(mut self, began: u64) -> Self {
        self.attributes.began = began;
        self
    }

    /// A pass or an attempt of this request of the client's, whenever it began.
    pub fn of_request(mut self, request: u64) -> Self {
        self.attributes.request = Some(request);
        self
    }

    /// The copy of a request that goes to a mirror: it came over no connection.
    pub fn mirrored(mut self) -> Self {
        self.attributes.without_connection = true;
        self
    }

    /// With these upstream tokens in the metadata.
    pub fn tokens(self, tokens: &Value) -> Self {
        self.identity(json!({"upstream_tokens": tokens}))
    }

    /// With this in the namespace of the identity.
    pub fn identity(self, identity: Value) -> Self {
        self.metadata(json!({"envoy.filters.http.ext_authz": identity}))
    }

    pub fn metadata(mut self, metadata: Value) -> Self {
        for (namespace, fields) in metadata.as_object().into_iter().flatten() {
            self.attributes.metadata[namespace] = fields.clone();
        }
        self
    }
}

impl Call {
    /// The answer to this call arrives.
    pub fn answer(&self, answer: &Answer) {
        host(|host| host.answer = Some(answer.clone()));
        let count = u32::try_from(answer.headers.len()).unwrap();
        enter(self.root, || {
            call::on_http_call_response(self.root, self.id, count, answer.body.len());
        });
        host(|host| host.answer = None);
    }

    /// The connection breaks, while the host still hands out what another call was answered.
    pub fn breaks_beside(&self, answer: &Answer) {
        host(|host| host.answer = Some(answer.clone()));
        enter(self.root, || {
            call::on_http_call_response(self.root, self.id, 0, 0);
        });
        host(|host| host.answer = None);
    }

    /// A parameter of the form.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self
            .sent
            .body
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .next()
    }
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let mut answer = Self::of_envoy(status, body);
        let took = ("x-envoy-upstream-service-time".to_owned(), b"3".to_vec());
        answer.headers.push(took);
        answer
    }

    /// Envoy answers in the STS's place, and does not say how long the STS took.
    pub fn of_envoy(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![(":status".to_owned(), status.to_string().into_bytes())];
        let body = body.into();
        Self { headers, body }
    }

    /// Envoy's timer has run out.
    pub fn timeout() -> Self {
        Self::of_envoy(504, "upstream request timeout")
    }

    /// The STS issues `token` for `expires_in` seconds.
    pub fn token(token: &str, expires_in: u64) -> Self {
        Self::json(
            200,
            &json!({
                "access_token": token,
                "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "expires_in": expires_in,
            }),
        )
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string())
    }

    /// The STS says an error word.
    pub fn error(status: u16, word: &str) -> Self {
        let description = "CANARY-in-the-words-of-the-STS";
        Self::json(
            status,
            &json!({"error": word, "error_description": description}),
        )
    }

    /// The connection broke after the header.
    pub fn reset() -> Self {
        Self {
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}
