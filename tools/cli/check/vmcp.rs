//! The rules that concern the whole vMCP file: V-04, V-05 and V-07 of RFC THV-0054.
//!
//! The embedded auth server issues the tokens that `incomingAuth` then checks. If the two disagree
//! about issuer or audience, every login fails, long before the filter sees a request.

use super::kind;
use document::{get, get_text, items};
use upstream_inject::config::{Node, Path, Problem, Rule};

/// The auth server's configuration is written in snake case; in camel case it is understood too,
/// since that is how the rest of the file is written.
const AUDIENCES: [&str; 2] = ["allowed_audiences", "allowedAudiences"];

pub(super) fn check(root: &Node, errors: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    for key in kind::unknown_keys(root) {
        let text = "a key that vMCP is not known to have; it refuses a file with unknown keys";
        warnings.push(problem(Path::root().key(key), None, text));
    }
    let Some(run_config) = get(root, "authServer").and_then(|server| get(server, "runConfig"))
    else {
        return; // without an auth server there is nothing to agree with
    };
    let Some(incoming) = get(root, "incomingAuth") else {
        let text = "vMCP runs an auth server only with incomingAuth of type oidc, and without it \
                    issuer and audiences cannot be checked";
        warnings.push(problem(
            Path::root().key("incomingAuth"),
            Some(Rule::V05),
            text,
        ));
        return;
    };
    check_structure(run_config, errors);
    check_incoming(run_config, incoming, errors);
}

/// V-05. That there are upstreams, and no two of one name, is checked by the filter itself.
fn check_structure(run_config: &Node, errors: &mut Vec<Problem>) {
    let path = Path::root().key("authServer").key("runConfig");
    if get_text(run_config, "issuer").is_none_or(str::is_empty) {
        let text = "the auth server needs an issuer, a text that is not empty";
        errors.push(problem(path.key("issuer"), Some(Rule::V05), text));
    }
    let (key, audiences) = audiences(run_config);
    if audiences.is_empty() {
        let text = "the auth server needs at least one allowed audience: MCP clients send the \
                    resource parameter of RFC 8707";
        errors.push(problem(path.key(key), Some(Rule::V05), text));
    }
}

fn check_incoming(run_config: &Node, incoming: &Node, errors: &mut Vec<Problem>) {
    let path = Path::root().key("incomingAuth");
    if get_text(incoming, "type") != Some("oidc") {
        let text = "must be oidc: nothing else accepts the tokens that the auth server issues";
        errors.push(problem(path.key("type"), Some(Rule::V05), text));
        return;
    }
    let path = path.key("oidc");
    let Some(oidc) = get(incoming, "oidc") else {
        let text = "the oidc block is missing";
        errors.push(problem(path, Some(Rule::V05), text));
        return;
    };
    check_issuer(run_config, oidc, &path, errors);
    check_audience(run_config, oidc, &path, errors);
}

/// V-04.
fn check_issuer(run_config: &Node, oidc: &Node, path: &Path, errors: &mut Vec<Problem>) {
    let Some(issuer) = get_text(run_config, "issuer").filter(|issuer| !issuer.is_empty()) else {
        return; // V-05 has been reported
    };
    let wrong = match get_text(oidc, "issuer") {
        None | Some("") => "is missing".to_owned(),
        Some(expected) if expected != issuer => format!("is {}", quoted(expected)),
        Some(_) => return,
    };
    let text = format!(
        "{wrong}, but the auth server issues tokens as {}: every one of them would be refused",
        quoted(issuer)
    );
    errors.push(problem(path.key("issuer"), Some(Rule::V04), text));
}

/// V-07.
fn check_audience(run_config: &Node, oidc: &Node, path: &Path, errors: &mut Vec<Problem>) {
    let (_, allowed) = audiences(run_config);
    if allowed.is_empty() {
        return; // V-05 has been reported
    }
    let wrong = match get_text(oidc, "audience") {
        None | Some("") => "is missing".to_owned(),
        Some(audience) if !allowed.contains(&audience) => format!("{} is", quoted(audience)),
        Some(_) => return,
    };
    let allowed: Vec<String> = allowed.into_iter().map(quoted).collect();
    let text = if wrong == "is missing" {
        format!("is missing; the auth server allows {}", allowed.join(", "))
    } else {
        format!(
            "{wrong} not among the auth server's allowed audiences ({})",
            allowed.join(", ")
        )
    };
    errors.push(problem(path.key("audience"), Some(Rule::V07), text));
}

/// Under which key they stand, or should, and the texts among them that are not empty.
fn audiences(run_config: &Node) -> (&'static str, Vec<&str>) {
    let key = AUDIENCES
        .into_iter()
        .find(|key| get(run_config, key).is_some())
        .unwrap_or("allowed_audiences");
    let texts = get(run_config, key)
        .map(items)
        .unwrap_or_default()
        .iter()
        .filter_map(|item| match item {
            Node::String(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
        .collect();
    (key, texts)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn problem(path: Path, rule: Option<Rule>, text: impl Into<String>) -> Problem {
    Problem {
        path,
        rule,
        text: text.into(),
    }
}
