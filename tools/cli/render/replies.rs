//! The first challenge: what a client is told that is refused in front of the filter.

use super::challenge::{Challenge, WELL_KNOWN, backend_member};
use super::gateway::Gateway;
use super::parts::quoted;
use super::template::{block, fill, raw};

/// Where the first challenge takes its parameters from.
pub(super) enum ChallengeFrom<'a> {
    /// From the route's metadata, where [`super::parts::route_metadata`] puts them.
    Route,
    /// From the request's path, for control planes that keep a route's metadata for themselves: each
    /// backend has replies of its own, with the name that the filter knows it by; anywhere else the URL
    /// of the metadata is made of the path.
    Path(&'a Gateway, &'a dyn Fn(&str) -> String),
}

/// What requests are told of which this holds.
struct Told {
    /// The backend; a comment.
    whose: Option<String>,
    /// A CEL expression; none for all that are left.
    condition: Option<String>,
    /// What follows `Bearer`.
    parameters: String,
    /// `,"backend":…`, as a member of the body.
    member: String,
}

impl ChallengeFrom<'_> {
    /// The first that holds counts.
    fn told(&self) -> Vec<Told> {
        match self {
            Self::Route => vec![Told {
                whose: None,
                condition: None,
                parameters: "%METADATA(ROUTE:upstream_inject:challenge)%".to_owned(),
                member: "%METADATA(ROUTE:upstream_inject:backend_member)%".to_owned(),
            }],
            Self::Path(gateway, name_of) => {
                let elsewhere = Told {
                    whose: None,
                    condition: None,
                    parameters: parameters_by_path(gateway),
                    member: String::new(),
                };
                let of_backends = gateway.backends.iter().map(|backend| Told {
                    whose: Some(backend.name.clone()),
                    condition: Some(is_below(&backend.path_prefix)),
                    parameters: literal(&backend.challenge.parameters()),
                    member: literal(&backend_member(&name_of(&backend.name))),
                });
                of_backends.chain([elsewhere]).collect()
            }
        }
    }
}

/// A row of the table of refusals that Envoy's own filters give.
struct Refusal {
    comment: &'static str,
    /// A CEL expression.
    when: String,
    status: &'static str,
    code: &'static str,
    description: &'static str,
    /// The error of the challenge; no challenge at all where no login would help.
    challenge: Option<&'static str>,
}

/// In the order in which they are tried.
fn refusals(also_missing: Option<&str>) -> [Refusal; 3] {
    let missing = "response.code_details.startsWith('jwt_authn_access_denied{Jwt_is_missing')";
    [
        Refusal {
            comment: "Nobody could be asked who it is: no login would help.",
            when: "response.code_details == 'ext_authz_error' || \
                   response.code_details.startsWith('jwt_authn_access_denied{Jwks_remote_fetch')"
                .to_owned(),
            status: "503",
            code: "identity_unavailable",
            description: "it cannot be told now who this is: try again later",
            challenge: None,
        },
        Refusal {
            comment: "No token: a challenge without an error (RFC 6750, section 3.1).",
            when: match also_missing {
                Some(also) => format!("{missing} || {also}"),
                None => missing.to_owned(),
            },
            status: "401",
            code: "token_missing",
            description: "there is no bearer token: log in",
            challenge: Some(""),
        },
        Refusal {
            comment: "Expired, broken, of another issuer, or for another audience.",
            when: "response.code_details.startsWith('jwt_authn_access_denied')".to_owned(),
            status: "401",
            code: "token_invalid",
            description: "the bearer token is not accepted here: log in again",
            challenge: Some("error=\"invalid_token\", "),
        },
    ]
}

/// The content of `local_reply_config`. `also_missing` is a further CEL expression for a request
/// without a token, where something else than `jwt_authn` refuses those.
pub(super) fn local_replies(from: &ChallengeFrom<'_>, also_missing: Option<&str>) -> String {
    let mut mappers = String::new();
    for told in from.told() {
        for refusal in refusals(also_missing) {
            mappers.push_str(&refusal.mapper(&told));
        }
    }
    fill(
        include_str!("templates/parts/local-replies.yaml"),
        &[("mappers", block(mappers))],
    )
}

impl Refusal {
    fn mapper(&self, told: &Told) -> String {
        let comment = match &told.whose {
            Some(whose) => format!("{whose}: {}", self.comment),
            None => self.comment.to_owned(),
        };
        let expression = match &told.condition {
            Some(condition) => format!("{condition} && ({})", self.when),
            None => self.when.clone(),
        };
        let (header, value) = match self.challenge {
            Some(error) => (
                "www-authenticate",
                format!("Bearer {error}{}", told.parameters),
            ),
            None => ("retry-after", "5".to_owned()),
        };
        let body = format!(
            "{{\"error\":\"{}\",\"error_description\":\"{}\"{}}}",
            self.code, self.description, told.member
        );
        fill(
            include_str!("templates/parts/local-reply.yaml"),
            &[
                ("comment", raw(&comment)),
                ("expression", inline(&expression)),
                ("status", raw(self.status)),
                ("body", body_text(&body)),
                ("header", raw(header)),
                ("value", inline(&value)),
            ],
        )
    }
}

fn inline(text: &str) -> super::template::Value {
    super::template::Value::Inline(quoted(text))
}

/// JSON is easier to read in single quotes, which hold plain characters only.
fn body_text(json: &str) -> super::template::Value {
    let is_plain = json.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match is_plain {
        true => super::template::Value::Inline(format!("'{}'", json.replace('\'', "''"))),
        false => inline(json),
    }
}

/// A text that Envoy takes as it is, where it would take operators.
fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

/// Whether a request's path is this one, or below it, in CEL.
fn is_below(prefix: &str) -> String {
    let escaped = prefix.replace('\\', "\\\\").replace('\'', "\\'");
    format!("(request.url_path == '{escaped}' || request.url_path.startsWith('{escaped}/'))")
}

fn parameters_by_path(gateway: &Gateway) -> String {
    let fixed = Challenge {
        resource_metadata: None,
        ..gateway.challenge.clone()
    };
    let fixed = literal(&fixed.parameters());
    let by_path = gateway.public.as_ref().map(|public| {
        format!(
            "resource_metadata=\"{}{WELL_KNOWN}%PATH(NQ:PATH)%\"",
            literal(&public.origin())
        )
    });
    let parts: Vec<String> = [Some(fixed), by_path]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_an_expression_stays_a_text() {
        assert_eq!(
            is_below("/it's\\a"),
            r"(request.url_path == '/it\'s\\a' || request.url_path.startsWith('/it\'s\\a/'))"
        );
    }
}
