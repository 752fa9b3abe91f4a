//! What must not stand beside the filter, wherever it stands: in Envoy's configuration, in a patch of
//! a control plane.

use super::filter::Known;
use super::part::{Part, is_key};
use super::routes::is_auth_servers;
use super::view::is_left_out;
use crate::check::said::Notes;
use crate::codes;
use upstream_inject::config::Node;

/// In the name of every type that lets clients choose where requests go.
pub(super) const FORWARD_PROXY: &str = ".dynamic_forward_proxy.";

/// The object of the filter state that keeps the client's token.
pub(super) const TOKEN_OBJECT: &str = "upstream_inject.identity_token";

/// Judges every map of the tree.
///
/// `excused` is where the client's token may be put on again: the auth server's own clusters.
pub(super) fn on(root: &Part<'_>, known: &Known, excused: &[Part<'_>], notes: &mut Notes) {
    let mut redirects = false;
    let mut lenient = Vec::new();
    let mut in_log = false;
    visit(root, &mut in_log, &mut |part, is_log| {
        redirects |= on_redirects(part, notes);
        let is_excused = excused
            .iter()
            .any(|cluster| part.path.steps().starts_with(cluster.path.steps()));
        if !is_excused {
            on_operators(part, notes);
        }
        on_failure_mode(part, notes);
        on_plain_keys(part, notes);
        for key in ["allow_missing", "allow_missing_or_failed"] {
            if part.get(key).is_some() {
                lenient.push(part.path_of(key));
            }
        }
        if is_log {
            on_log(part, known, notes);
        }
    });
    if redirects {
        for path in lenient {
            let text = "requests without a valid token go on, and a redirect inside Envoy makes of one \
                        request another: together they send a credential for nobody";
            notes.error(&codes::ENVOY_LENIENT, path, text);
        }
    }
}

fn visit<'a>(part: &Part<'a>, in_log: &mut bool, look: &mut dyn FnMut(&Part<'a>, bool)) {
    match part.node {
        Node::Map(_) => {
            look(part, *in_log);
            for (key, inner) in part.entries() {
                if is_left_out(part, key) {
                    continue;
                }
                let before = *in_log;
                *in_log = before || is_key(key, "access_log") || is_key(key, "access_logs");
                visit(&inner, in_log, look);
                *in_log = before;
            }
        }
        Node::List(_) => {
            for item in part.items() {
                visit(&item, in_log, look);
            }
        }
        _ => {}
    }
}

fn on_redirects(part: &Part<'_>, notes: &mut Notes) -> bool {
    let mut found = false;
    if part.get("internal_redirect_policy").is_some() {
        let text = "the second pass of a redirect inside Envoy has lost its filter state, and carries \
                    what the first one set: a key, or an exchanged token as subject; take it out";
        notes.error(
            &codes::ENVOY_REDIRECT,
            part.path_of("internal_redirect_policy"),
            text,
        );
        found = true;
    }
    if part.is("RedirectPolicy") {
        let text = "custom_response sends the request on a second pass, without its filter state; take \
                    it off these routes";
        notes.error(&codes::ENVOY_REDIRECT, part.path.clone(), text);
        found = true;
    }
    let is_forward_proxy = part.text("name") == Some("envoy.filters.http.dynamic_forward_proxy")
        || part
            .at(&["typed_config", "@type"])
            .is_some_and(|kind| kind.any_text(&|kind| kind.contains(FORWARD_PROXY)));
    if is_forward_proxy {
        let text = "a dynamic forward proxy lets the client choose who gets the credential";
        notes.error(&codes::ENVOY_TARGET, part.path_of("name"), text);
    }
    found
}

/// Header fields that put the client's token on again, or a credential into an answer.
fn on_operators(part: &Part<'_>, notes: &mut Notes) {
    for (key, text) in [
        ("request_headers_to_add", AGAIN),
        ("request_mutations", AGAIN),
        ("response_headers_to_add", BACK),
        ("response_mutations", BACK),
    ] {
        for item in part.list(key) {
            if item.any_text(&names_token) && !is_auth_servers(part) {
                notes.error(&codes::ENVOY_OPERATOR, item.path.clone(), text);
            }
        }
    }
}

const AGAIN: &str = "puts the client's token on again, which the door takes off: it goes to whatever this \
                     leads to";
const BACK: &str = "puts the credential that the backend got into its answer: the client sees a key that \
                    is not its own";

/// Whether an operator of `text` yields the client's token: `%REQ(authorization)%`, also as what stands
/// in for another header or in a CEL expression, or the filter state's object.
fn names_token(text: &str) -> bool {
    if text.contains(TOKEN_OBJECT) {
        return true;
    }
    let text = text.to_ascii_lowercase();
    let is_of_name =
        |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let mut rest = text.as_str();
    while let Some((_, begun)) = rest.split_once('%') {
        let Some((operator, behind)) = begun.split_once('%') else {
            break; // a percent sign by itself
        };
        let mut words = operator.split(|character| !is_of_name(character));
        if words.any(|word| word == "authorization") {
            return true;
        }
        rest = behind;
    }
    false
}

/// Who can answer for the issuer's keys is the issuer.
fn on_plain_keys(part: &Part<'_>, notes: &mut Notes) {
    let Some(uri) = part.at(&["remote_jwks", "http_uri"]) else {
        return;
    };
    let host = uri.text("uri").and_then(|uri| uri.strip_prefix("http://"));
    let host = host.map(|rest| rest.split(['/', ':', '?']).next().unwrap_or_default());
    let is_here = |host: &str| {
        host == "localhost"
            || host.ends_with(".localhost")
            || host.starts_with("127.")
            || host == "["
    };
    if host.is_some_and(|host| !is_here(host)) {
        let text = "the issuer's keys come in plain text: whoever is in between can be any user";
        notes.warn(&codes::ENVOY_PLAIN, uri.path_of("uri"), text);
    }
}

fn on_failure_mode(part: &Part<'_>, notes: &mut Notes) {
    if part.is_on("failure_mode_allow") {
        let text = "when nobody can be asked, requests go on unchecked; write false, and \
                    status_on_error: {code: ServiceUnavailable}";
        notes.error(
            &codes::ENVOY_FAIL_OPEN,
            part.path_of("failure_mode_allow"),
            text,
        );
    }
}

fn on_log(part: &Part<'_>, known: &Known, notes: &mut Notes) {
    let is_grpc = part.is("HttpGrpcAccessLogConfig");
    if is_grpc && known.in_metadata {
        let text = "gRPC access logs ship all dynamic metadata, users' upstream tokens included; with \
                    identity.source: exchange nothing is there";
        notes.warn(&codes::ENVOY_LOG, part.path.clone(), text);
    }
    for (key, inner) in part.entries() {
        let Node::String(text) = inner.node else {
            continue;
        };
        let has_token = text.contains("%DYNAMIC_METADATA(envoy.filters.http.ext_authz)")
            || text.contains("%DYNAMIC_METADATA(envoy.filters.http.ext_authz:upstream_tokens")
            || text.contains("%DYNAMIC_METADATA(envoy.filters.http.ext_authz:upstream_id_tokens")
            || names_token(text);
        if has_token {
            let text = "writes users' tokens into the log";
            notes.warn(&codes::ENVOY_LOG, part.path_of(key), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names_token;

    #[test]
    fn the_clients_token_has_several_names() {
        for (text, is_token) in [
            ("%REQ(authorization)%", true),
            ("Bearer %REQ(Authorization):10%", true),
            ("%REQ(X-A?AUTHORIZATION)%", true),
            ("%CEL(request.headers['authorization'])%", true),
            ("%FILTER_STATE(upstream_inject.identity_token:PLAIN)%", true),
            ("%REQ(x-authorization-id)%", false),
            ("%REQ(:path)% authorization", false),
            ("authorization", false),
            ("100% authorization", false),
        ] {
            assert_eq!(names_token(text), is_token, "{text}");
        }
    }
}
