//! The rules that concern the whole vMCP file: V-04, V-05 and V-07 of RFC THV-0054.
//!
//! The embedded auth server issues the tokens that `incomingAuth` then checks. If the two disagree
//! about issuer or audience, every login fails, long before the filter sees a request.

use super::kind;
use super::run_config::wrong_issuer;
use super::said::{Notes, Said, quoted};
use crate::codes;
use crate::report::Severity;
use document::configuration::Form;
use document::{get, get_text, items};
use upstream_inject::config::{Node, Path, Rule};

/// The auth server's configuration is written in snake case; in our own form camel case is understood
/// too, since that is how the rest of the file is written.
const AUDIENCES: [&str; 2] = ["allowed_audiences", "allowedAudiences"];

pub(super) fn check(root: &Node, form: Form, notes: &mut Notes) {
    for key in kind::unknown_keys(root) {
        let text = "a key that vMCP is not known to have; it refuses a file with unknown keys";
        notes.warn(&codes::UNKNOWN_KEY, Path::root().key(key), text);
    }
    let oidc = get(root, "incomingAuth").and_then(|incoming| get(incoming, "oidc"));
    let issuer = oidc.and_then(|oidc| get_text(oidc, "issuer"));
    if let Some(wrong) = issuer
        .filter(|issuer| !issuer.is_empty())
        .and_then(wrong_issuer)
    {
        let path = Path::root().key("incomingAuth").key("oidc").key("issuer");
        notes.warn(&codes::ISSUER, path, wrong);
    }
    let Some(run_config) = get(root, "authServer").and_then(|server| get(server, "runConfig"))
    else {
        let is_missed = |said: &Said| said.problem.rule == Some(Rule::V01);
        if notes.0.iter().any(is_missed) {
            let text = "missing: vMCP keeps it in authserver-config.yaml beside this file, where it is \
                        found; name it with --auth-server FILE if it is elsewhere";
            notes.note(&codes::AUTH_SERVER, Path::root().key("authServer"), text);
        }
        return; // without an auth server there is nothing to agree with
    };
    let Some(incoming) = get(root, "incomingAuth") else {
        let text = "vMCP runs an auth server only with incomingAuth of type oidc, and without it \
                    issuer and audiences cannot be checked";
        let path = Path::root().key("incomingAuth");
        notes.rule(Severity::Warning, Rule::V05, path, text);
        return;
    };
    if form == Form::Own && get_text(incoming, "type") == Some("oidc") {
        let text = "vMCP itself refuses this key here: since its v0.14.0 the auth server stands in a \
                    file of its own, authserver-config.yaml beside this one";
        notes.note(&codes::VMCP_REFUSES, Path::root().key("authServer"), text);
    }
    let run_config = RunConfig {
        node: run_config,
        form,
    };
    check_structure(&run_config, notes);
    check_incoming(&run_config, incoming, notes);
}

/// The auth server's part, and how it is to be read.
struct RunConfig<'a> {
    node: &'a Node,
    form: Form,
}

/// V-05. That there are upstreams, and no two of one name, is checked by the filter itself.
fn check_structure(run_config: &RunConfig<'_>, notes: &mut Notes) {
    let path = Path::root().key("authServer").key("runConfig");
    if get_text(run_config.node, "issuer").is_none_or(str::is_empty) {
        let text = "the auth server needs an issuer, a text that is not empty";
        notes.rule(Severity::Error, Rule::V05, path.key("issuer"), text);
    }
    let (key, audiences) = audiences(run_config);
    if audiences.is_empty() {
        let text = "the auth server needs at least one allowed audience: MCP clients send the \
                    resource parameter of RFC 8707";
        notes.rule(Severity::Error, Rule::V05, path.key(key), text);
    }
}

fn check_incoming(run_config: &RunConfig<'_>, incoming: &Node, notes: &mut Notes) {
    let path = Path::root().key("incomingAuth");
    if get_text(incoming, "type") != Some("oidc") {
        let text = "must be oidc: nothing else accepts the tokens that the auth server issues";
        notes.rule(Severity::Error, Rule::V05, path.key("type"), text);
        return;
    }
    let path = path.key("oidc");
    let Some(oidc) = get(incoming, "oidc") else {
        let text = "the oidc block is missing";
        notes.rule(Severity::Error, Rule::V05, path, text);
        return;
    };
    check_issuer(run_config, oidc, &path, notes);
    check_audience(run_config, oidc, &path, notes);
}

/// V-04.
fn check_issuer(run_config: &RunConfig<'_>, oidc: &Node, path: &Path, notes: &mut Notes) {
    let Some(issuer) = get_text(run_config.node, "issuer").filter(|issuer| !issuer.is_empty())
    else {
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
    notes.rule(Severity::Error, Rule::V04, path.key("issuer"), text);
}

/// V-07.
fn check_audience(run_config: &RunConfig<'_>, oidc: &Node, path: &Path, notes: &mut Notes) {
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
    notes.rule(Severity::Error, Rule::V07, path.key("audience"), text);
}

/// Under which key they stand, or should, and the texts among them that are not empty.
fn audiences<'a>(run_config: &RunConfig<'a>) -> (&'static str, Vec<&'a str>) {
    let known = match run_config.form {
        Form::Own => &AUDIENCES[..],
        Form::ToolHive => AUDIENCES.get(..1).unwrap_or_default(),
    };
    let key = known
        .iter()
        .copied()
        .find(|key| get(run_config.node, key).is_some())
        .unwrap_or("allowed_audiences");
    let texts = get(run_config.node, key)
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
