//! The smoke test: what to call after loading what was rendered, and what must come of it.

use super::gateway::Gateway;
use crate::endpoint::Endpoint;
use std::fmt::Write as _;
use upstream_inject::observe::counters::stat_name;

/// What the filter knows a backend by.
pub(super) type Name<'a> = &'a dyn Fn(&str) -> String;

/// A command, and what it must show.
struct Step {
    command: String,
    expected: String,
}

/// The steps for a gateway that listens here.
fn steps(
    gateway: &Gateway,
    listen: &Endpoint,
    admin: Option<&Endpoint>,
    name: Name<'_>,
) -> Vec<Step> {
    let Some(backend) = gateway.backends.first() else {
        return Vec::new();
    };
    let base = listen.origin();
    let host = match &backend.host {
        Some(host) => format!(" -H {}", quoted(&format!("host: {host}"))),
        None => String::new(),
    };
    let url = quoted(&format!("{base}{}", backend.called));
    let mut steps = Vec::new();
    if gateway.authentication.is_some() {
        let metadata = match &backend.challenge.resource_metadata {
            Some(url) => format!(" with resource_metadata=\"{url}\""),
            None => String::new(),
        };
        steps.push(Step {
            command: format!("curl -i{host} {url}"),
            expected: format!("401, and www-authenticate: Bearer{metadata}"),
        });
    }
    if let Some(document) = gateway
        .documents
        .iter()
        .find(|document| document.backend.as_deref() == Some(backend.name.as_str()))
    {
        let url = quoted(&format!("{base}{}", document.path_prefix));
        steps.push(Step {
            command: format!("curl -s{host} {url}"),
            expected: "JSON with the resource and its authorization server".to_owned(),
        });
    }
    steps.push(Step {
        command: format!("curl -i{host} -H \"authorization: Bearer $TH_JWT\" {url}"),
        expected: format!(
            "the answer of {} itself, TH_JWT being a token for it",
            backend.name
        ),
    });
    if let Some(admin) = admin {
        steps.push(Step {
            command: format!(
                "curl -s {}",
                quoted(&format!(
                    "{}/stats?filter=wasmcustom.upstream_inject.backend.{}",
                    admin.origin(),
                    stat_name(&name(&backend.name))
                ))
            ),
            expected: "a counter has risen; if none has, the filter is not where requests go"
                .to_owned(),
        });
    }
    steps
}

/// For the screen.
pub(super) fn notes(
    gateway: &Gateway,
    listen: &Endpoint,
    admin: Option<&Endpoint>,
    name: Name<'_>,
) -> Vec<String> {
    steps(gateway, listen, admin, name)
        .into_iter()
        .map(|step| format!("try it: {}  # {}", step.command, step.expected))
        .collect()
}

/// For the head of a file.
pub(super) fn comment(
    gateway: &Gateway,
    listen: &Endpoint,
    admin: Option<&Endpoint>,
    name: Name<'_>,
) -> String {
    let mut text = String::new();
    for step in steps(gateway, listen, admin, name) {
        if text.is_empty() {
            text.push_str("#\n# Try it:\n");
        }
        let _ = write!(
            text,
            "#   {}\n#     {}\n",
            crate::report::printable(&step.command),
            crate::report::printable(&step.expected)
        );
    }
    text
}

/// For a shell.
fn quoted(text: &str) -> String {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:%".contains(&byte));
    if is_plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
