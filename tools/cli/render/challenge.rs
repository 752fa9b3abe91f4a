//! What a client is told that must log in, and where it finds out how (RFC 6750, RFC 9728).

use crate::endpoint::Endpoint;
use document::get_text;
use upstream_inject::config::Node;

/// Where RFC 9728 has the metadata of a protected resource: before the resource's own path.
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What a `Bearer` challenge says beside its error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) realm: Option<String>,
    pub(super) scope: Option<String>,
    /// The URL of the metadata document.
    pub(super) resource_metadata: Option<String>,
}

impl Challenge {
    /// From `challenge`, or from one of its `backends`, which falls back to `other`.
    pub(super) fn of(node: Option<&Node>, other: &Self) -> Self {
        let text = |key: &str, other: &Option<String>| {
            node.and_then(|node| get_text(node, key))
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .or_else(|| other.clone())
        };
        Self {
            realm: text("realm", &other.realm),
            scope: text("scope", &other.scope),
            resource_metadata: text("resourceMetadata", &other.resource_metadata),
        }
    }

    /// What follows `Bearer`, in the filter's own order: `realm="mcp", resource_metadata="https://…"`.
    pub(super) fn parameters(&self) -> String {
        let parameters = [
            ("realm", &self.realm),
            ("scope", &self.scope),
            ("resource_metadata", &self.resource_metadata),
        ];
        let parameters: Vec<String> = parameters
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}=\"{}\"", value.as_ref()?)))
            .collect();
        parameters.join(", ")
    }
}

/// Where the metadata of `resource` is.
pub(super) fn metadata_url(resource: &Endpoint) -> String {
    format!("{}{WELL_KNOWN}{}", resource.origin(), resource.path)
}

/// The resource whose metadata is at `url`, if that is a place for it.
pub(super) fn resource_of(url: &str) -> Option<Endpoint> {
    let mut resource = Endpoint::of_url(url).ok()?;
    let path = resource.path.strip_prefix(WELL_KNOWN)?;
    let is_one = path.is_empty() || path.starts_with('/');
    resource.path = if path == "/" { "" } else { path }.to_owned();
    is_one.then_some(resource)
}

/// The document that says where to get a token for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MetadataDocument {
    /// The backend; none for the gateway as a whole.
    pub(super) backend: Option<String>,
    /// The host that is asked for it, where each backend has its own.
    pub(super) host: Option<String>,
    /// What its path begins with: [`WELL_KNOWN`], and where the backend's paths begin.
    pub(super) path_prefix: String,
    /// The JSON text.
    pub(super) body: String,
}

/// The JSON text of a document. `scope` is what its challenge asks for; without one, clients ask for
/// what the auth server offers.
pub(super) fn document_body(
    resource: &Endpoint,
    issuer: &str,
    scope: Option<&str>,
    offered: &[String],
) -> String {
    let mut body = serde_json::json!({
        "resource": resource.url(),
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
    });
    let mut scopes: Vec<&str> = scope.unwrap_or_default().split_whitespace().collect();
    if scopes.is_empty() {
        scopes.extend(offered.iter().map(String::as_str));
    }
    if let (false, Some(body)) = (scopes.is_empty(), body.as_object_mut()) {
        body.insert("scopes_supported".to_owned(), scopes.into());
    }
    body.to_string()
}

/// The member of a body that names the backend, after others.
pub(super) fn backend_member(backend: &str) -> String {
    format!(",\"backend\":{}", serde_json::Value::from(backend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_and_its_metadata_lead_to_each_other() {
        for (resource, metadata) in [
            (
                "https://mcp.example.com/github/mcp",
                "https://mcp.example.com/.well-known/oauth-protected-resource/github/mcp",
            ),
            (
                "http://127.0.0.1:8080",
                "http://127.0.0.1:8080/.well-known/oauth-protected-resource",
            ),
        ] {
            let endpoint = Endpoint::of_url(resource).unwrap();
            assert_eq!(metadata_url(&endpoint), metadata);
            assert_eq!(resource_of(metadata), Some(endpoint));
        }
        for url in [
            "https://other.example/metadata",
            "https://other.example/.well-known/oauth-protected-resources",
            "https://other.example/.well-known/oauth-protected-resource/a?b=c",
        ] {
            assert_eq!(resource_of(url), None, "{url}");
        }
    }

    #[test]
    fn a_challenge_of_a_backend_says_what_the_gateways_says_unless_it_says_otherwise() {
        let gateway = Challenge {
            realm: Some("mcp".to_owned()),
            scope: Some("a b".to_owned()),
            resource_metadata: Some("https://m/x".to_owned()),
        };
        let own = Node::Map(vec![("scope".to_owned(), Node::String("c".to_owned()))]);
        assert_eq!(
            Challenge::of(Some(&own), &gateway).parameters(),
            r#"realm="mcp", scope="c", resource_metadata="https://m/x""#
        );
        assert_eq!(Challenge::default().parameters(), "");
    }
}
