//! A request as the filter would find it: the attributes that its decision reads, made of what the
//! command line gives.

use super::message;
use document::get;
use upstream_inject::attributes::{Attribute, AttributePath, Attributes};
use upstream_inject::config::Node;
use upstream_inject::identity::{IDENTITY_TOKEN, IdentitySettings, TokenFrom};

const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";

/// The request.
pub(super) struct Offline {
    /// `filter_metadata`: a map of namespaces.
    metadata: Node,
    message: Vec<u8>,
    /// The `authorization` field, wherever the filter looks for it.
    authorization: Option<String>,
    token_from: TokenFrom,
    cluster: String,
}

impl Offline {
    /// A request to `backend`, with what `ext_authz` would have answered and a token that `jwt_authn`
    /// would have accepted.
    pub(super) fn new(
        settings: &IdentitySettings,
        backend: &str,
        identity: Option<&Node>,
        bearer: Option<&str>,
    ) -> Self {
        let mut namespaces: Vec<(String, Node)> = Vec::new();
        match identity {
            // Written out with its namespaces, as Envoy has it.
            Some(Node::Map(entries))
                if entries.iter().any(|(key, _)| is_namespace(key, settings)) =>
            {
                namespaces.extend(entries.iter().cloned());
            }
            Some(node) => namespaces.push((settings.metadata_namespace.clone(), node.clone())),
            None => {}
        }
        let has_payload = namespaces.iter().any(|(name, _)| name == JWT_AUTHN);
        if let Some(bearer) = bearer.filter(|_| !has_payload) {
            let issuer = issuer_of(bearer)
                .or_else(|| settings.issuer.clone())
                .unwrap_or_else(|| "https://issuer.invalid".to_owned());
            let payload = Node::Map(vec![("iss".to_owned(), Node::String(issuer))]);
            let checked = Node::Map(vec![(settings.payload_key.clone(), payload)]);
            namespaces.push((JWT_AUTHN.to_owned(), checked));
        }
        let metadata = Node::Map(namespaces);
        Self {
            message: message::metadata(&metadata),
            metadata,
            authorization: bearer.map(|bearer| format!("Bearer {bearer}")),
            token_from: settings.token_from,
            cluster: backend.to_owned(),
        }
    }

    fn leaf(&self, way: &[&str]) -> Attribute {
        let node = way.iter().try_fold(&self.metadata, |node, key| match node {
            Node::Map(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        });
        match node {
            None => Attribute::Absent,
            Some(Node::String(text)) if text.is_empty() => Attribute::Absent,
            Some(Node::String(text)) => Attribute::Bytes(text.clone().into_bytes()),
            Some(Node::Number(number)) => Attribute::Bytes(number.to_le_bytes().to_vec()),
            Some(Node::Bool(truth)) => Attribute::Bytes(vec![u8::from(*truth)]),
            Some(node) if holds_null(node) => Attribute::Unpackable,
            // A packed form of its own, which is no text.
            Some(_) => Attribute::Bytes(vec![0; 12]),
        }
    }
}

impl Attributes for Offline {
    fn read(&self, path: &AttributePath) -> Attribute {
        let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
        let segments: Vec<&str> = text.split('\0').collect();
        let field = || match &self.authorization {
            Some(field) => Attribute::Bytes(field.clone().into_bytes()),
            None => Attribute::Absent,
        };
        match segments.as_slice() {
            ["metadata"] => Attribute::Bytes(self.message.clone()),
            ["metadata", "filter_metadata", way @ ..] => self.leaf(way),
            ["request", "headers", "authorization"] => match self.token_from {
                TokenFrom::Authorization => field(),
                TokenFrom::FilterState => Attribute::Absent,
            },
            ["filter_state", object] if *object == IDENTITY_TOKEN => match self.token_from {
                TokenFrom::Authorization => Attribute::Absent,
                TokenFrom::FilterState => field(),
            },
            // Where the token stays in its header, the filter can only stand downstream.
            ["upstream", "request_attempt_count"] => Attribute::Bytes(match self.token_from {
                TokenFrom::Authorization => vec![0; 8],
                TokenFrom::FilterState => 1u64.to_le_bytes().to_vec(),
            }),
            ["xds", "cluster_name"] => Attribute::Bytes(self.cluster.clone().into_bytes()),
            _ => Attribute::Absent,
        }
    }
}

fn is_namespace(key: &str, settings: &IdentitySettings) -> bool {
    key == settings.metadata_namespace || key == JWT_AUTHN
}

fn holds_null(node: &Node) -> bool {
    match node {
        Node::Null => true,
        Node::List(items) => items.iter().any(holds_null),
        Node::Map(entries) => entries.iter().any(|(_, value)| holds_null(value)),
        _ => false,
    }
}

/// `iss` of a JWT; nothing is verified here.
fn issuer_of(token: &str) -> Option<String> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Whether the identity that was given, under whatever namespace it stands, says anything of upstream
/// tokens: it may be about the client alone.
pub(super) fn says_of_tokens(settings: &IdentitySettings, identity: &Node) -> bool {
    let inner = get(identity, &settings.metadata_namespace).unwrap_or(identity);
    [
        &settings.upstream_tokens_key,
        &settings.upstream_id_tokens_key,
        &settings.upstream_unavailable_key,
    ]
    .iter()
    .any(|key| get(inner, key).is_some())
}
