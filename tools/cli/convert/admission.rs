//! What an API server admits: the rules of the `MCPExternalAuthConfig` CRD.

use super::block::{Wrongs, meant, unknown_field};
use document::{entries, get, get_text};
use upstream_inject::config::{Node, Path};

/// `spec.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    UpstreamInject,
    TokenExchange,
    OnBehalfOf,
    CrossAppAccess,
    HeaderInjection,
    BearerToken,
    Unauthenticated,
    EmbeddedAuthServer,
    /// A type that this filter cannot serve, and why not.
    Unsupported(&'static str),
}

/// Every type, and the block it needs, which has the same name; `unauthenticated` needs none.
const TYPES: [(&str, Type); 9] = [
    ("upstreamInject", Type::UpstreamInject),
    ("tokenExchange", Type::TokenExchange),
    ("obo", Type::OnBehalfOf),
    ("xaa", Type::CrossAppAccess),
    ("headerInjection", Type::HeaderInjection),
    ("bearerToken", Type::BearerToken),
    ("unauthenticated", Type::Unauthenticated),
    ("embeddedAuthServer", Type::EmbeddedAuthServer),
    (
        "awsSts",
        Type::Unsupported(
            "AWS signs each request as a whole (SigV4), and this filter sets one header; Envoy's own \
             envoy.filters.http.aws_request_signing does it, with temporary keys by \
             AssumeRoleWithWebIdentity, in the same place (the cluster's upstream filters)",
        ),
    ),
];

/// The type of a spec, or everything that keeps it from being admitted.
pub(super) fn admit(spec: &Node) -> Result<(&'static str, Type), Wrongs> {
    let path = Path::root().key("spec");
    let Some(word) = get_text(spec, "type") else {
        let text = format!("is required, one of {}", words());
        return Err(vec![(path.key("type"), text)]);
    };
    let Some((name, found)) = TYPES.into_iter().find(|(name, _)| *name == word) else {
        let hint = meant(word, TYPES.iter().map(|(name, _)| *name))
            .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        let text = format!(
            "{} is not one of {}{hint}",
            serde_json::Value::from(word),
            words()
        );
        return Err(vec![(path.key("type"), text)]);
    };
    let mut wrongs = Wrongs::new();
    for (block, block_type) in TYPES {
        let is_set = get(spec, block).is_some();
        let is_own = block == name && block_type != Type::Unauthenticated;
        if is_set != is_own {
            let text = if block_type == Type::Unauthenticated {
                unknown_field(None)
            } else {
                format!("must be set if and only if type is {block}")
            };
            wrongs.push((path.key(block), text));
        }
    }
    for (key, _) in entries(spec) {
        if key != "type" && !TYPES.iter().any(|(block, _)| block == key) {
            let known = TYPES.iter().map(|(block, _)| *block).chain(["type"]);
            let meant = meant(key, known);
            // One line for one slip.
            let missing = meant.map(|meant| path.key(meant));
            wrongs.retain(|(at, _)| Some(at) != missing.as_ref());
            wrongs.push((path.key(key), unknown_field(meant)));
        }
    }
    if wrongs.is_empty() {
        Ok((name, found))
    } else {
        Err(wrongs)
    }
}

fn words() -> String {
    TYPES.map(|(name, _)| name).join(", ")
}
