//! What a token endpoint's answer to a refresh means.

use serde_json::{Map, Value};

use crate::http::Raw;
use crate::refresh::machine::Tokens;

/// Where providers with a dialect of their own keep what an answer says. A path that leads nowhere
/// in an answer, or is empty, is the usual place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The access token.
    pub access_token: Vec<String>,
    /// The refresh token.
    pub refresh_token: Vec<String>,
    /// The lifetime.
    pub expires_in: Vec<String>,
}

/// What an answer means. Words are from a fixed list, so that nothing of a provider's text, which
/// may hold a token, gets into a log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// New tokens.
    Tokens(Tokens),
    /// The refresh token is dead.
    Dead(&'static str),
    /// The provider refuses for another reason.
    Refused(&'static str),
    /// It talks nonsense.
    Nonsense(&'static str),
    /// It cannot answer now.
    NotNow(&'static str),
}

/// Longer lives are cut: Go's reader does it, and nothing lives longer.
const LONGEST_LIFE: i64 = i32::MAX as i64;

/// Judges an answer that arrived at `now_ms`.
#[must_use]
pub(crate) fn judge(raw: &Raw, mapping: Option<&Mapping>, now_ms: i64) -> Judged {
    if matches!(raw.status, 408 | 429 | 500..=599) {
        return Judged::NotNow(match raw.status {
            429 => "status 429",
            408 => "status 408",
            _ => "status 5xx",
        });
    }
    if (300..400).contains(&raw.status) {
        return Judged::Nonsense("a redirect");
    }
    let success = (200..300).contains(&raw.status);
    let Some(members) = members(raw) else {
        return if success {
            Judged::Nonsense("neither JSON nor a form")
        } else {
            Judged::Refused("status 4xx")
        };
    };
    if let Some(failure) = failure(&members, raw.status) {
        return failure;
    }
    if !success {
        return Judged::Refused("status 4xx");
    }
    match tokens(&members, mapping, now_ms) {
        Ok(tokens) => Judged::Tokens(tokens),
        Err(why) => Judged::Nonsense(why),
    }
}

fn failure(members: &Map<String, Value>, status: u16) -> Option<Judged> {
    const REFUSALS: [&str; 9] = [
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "access_denied",
        "interaction_required",
        "login_required",
        "consent_required",
    ];
    let text = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if text("status").eq_ignore_ascii_case("BAD_REFRESH_TOKEN") {
        return Some(Judged::Dead("bad_refresh_token"));
    }
    if !members.contains_key("error") || members.get("error") == Some(&Value::Null) {
        return None;
    }
    Some(match text("error") {
        "" if text("access_token").is_empty() => Judged::Refused("other"),
        // An empty word beside a token: some send every member always.
        "" => return None,
        "invalid_grant" => Judged::Dead("invalid_grant"),
        "bad_refresh_token" => Judged::Dead("bad_refresh_token"),
        "invalid_refresh_token" => Judged::Dead("invalid_refresh_token"),
        "token_expired" => Judged::Dead("token_expired"),
        "unauthorized_client" if matches!(status, 403 | 200) => Judged::Dead("unauthorized_client"),
        "temporarily_unavailable" | "server_error" | "slow_down" => {
            Judged::NotNow("temporarily_unavailable")
        }
        word => Judged::Refused(
            REFUSALS
                .into_iter()
                .find(|known| *known == word)
                .unwrap_or("other"),
        ),
    })
}

fn tokens(
    members: &Map<String, Value>,
    mapping: Option<&Mapping>,
    now_ms: i64,
) -> Result<Tokens, &'static str> {
    // ToolHive puts what its paths lead to over the usual members before it reads those: what is
    // mapped and not there may still be in its usual place, as in a provider's answer to a refresh
    // that differs from the one to a login. Numbers become texts then.
    let mapped = |path: fn(&Mapping) -> &Vec<String>| at(members, path(mapping?));
    let text = |value: Option<&Value>| {
        let text = match value? {
            Value::String(text) => text.clone(),
            Value::Number(number) if mapping.is_some() => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    };
    let place = |path: fn(&Mapping) -> &Vec<String>, usual: &str| {
        text(mapped(path).or_else(|| members.get(usual)))
    };
    if mapping.is_none()
        && let Some(kind) = members.get("token_type").and_then(Value::as_str)
        && !kind.is_empty()
        && !kind.eq_ignore_ascii_case("bearer")
    {
        return Err("another token type than Bearer");
    }
    let access_token =
        place(|paths| &paths.access_token, "access_token").ok_or("no access token")?;
    let life = mapped(|paths| &paths.expires_in)
        .and_then(seconds)
        .or_else(|| members.get("expires_in").and_then(seconds));
    Ok(Tokens {
        access_token,
        refresh_token: place(|paths| &paths.refresh_token, "refresh_token"),
        id_token: text(members.get("id_token")),
        expires_at: life.map_or(0, |life| {
            (now_ms / 1000).saturating_add(life.min(LONGEST_LIFE))
        }),
    })
}

/// A lifetime as a number or a text. Zero says that there is none, and so does nonsense: the token
/// has been issued, and the old refresh token may be dead.
fn seconds(value: &Value) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)] // saturates, as wanted
    let seconds = match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|seconds| seconds as i64))?,
        Value::String(text) => {
            let text = text.trim();
            text.parse::<i64>()
                .ok()
                .or_else(|| text.parse::<f64>().ok().map(|seconds| seconds as i64))?
        }
        _ => return None,
    };
    (seconds > 0).then_some(seconds)
}

fn at<'a>(members: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(members.get(first)?, |value, step| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            value => value.get(step),
        })
}

/// The members of an answer that is a JSON object or a form, whatever it calls itself.
fn members(raw: &Raw) -> Option<Map<String, Value>> {
    let body = raw.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw.body);
    if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
        return Some(members);
    }
    let is_form = raw
        .content_type
        .starts_with("application/x-www-form-urlencoded")
        || raw.content_type.starts_with("text/plain");
    if !is_form {
        return None;
    }
    let members: Map<String, Value> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    (members.contains_key("access_token") || members.contains_key("error")).then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(status: u16, content_type: &str, body: &str) -> Raw {
        Raw {
            status,
            content_type: content_type.to_owned(),
            body: body.as_bytes().to_vec(),
            retry_after: None,
        }
    }

    fn json(status: u16, body: &str) -> Judged {
        judge(&raw(status, "application/json", body), None, 1_000_000)
    }

    fn issued(judged: Judged) -> Tokens {
        match judged {
            Judged::Tokens(tokens) => tokens,
            other => panic!("{}", word(&other)),
        }
    }

    fn word(judged: &Judged) -> String {
        match judged {
            Judged::Tokens(_) => "tokens".to_owned(),
            Judged::Dead(word) => format!("dead: {word}"),
            Judged::Refused(word) => format!("refused: {word}"),
            Judged::Nonsense(word) => format!("nonsense: {word}"),
            Judged::NotNow(word) => format!("not now: {word}"),
        }
    }

    #[test]
    fn an_answer_with_everything() {
        let tokens = issued(json(
            200,
            r#"{"access_token":"a","token_type":"bearer","expires_in":60,"refresh_token":"r","id_token":"i"}"#,
        ));
        assert_eq!(tokens.access_token, "a");
        assert_eq!(tokens.refresh_token.as_deref(), Some("r"));
        assert_eq!(tokens.id_token.as_deref(), Some("i"));
        assert_eq!(tokens.expires_at, 1_060);
    }

    #[test]
    fn lifetimes_may_be_texts_missing_or_nonsense() {
        for (life, expires_at) in [
            ("\"60\"", 1_060),
            ("60.9", 1_060),
            ("\" 60 \"", 1_060),
            ("0", 0),
            ("-5", 0),
            ("\"soon\"", 0),
            ("null", 0),
            ("[]", 0),
            ("1e300", 1_000 + i64::from(i32::MAX)),
        ] {
            let body = format!("{{\"access_token\":\"a\",\"expires_in\":{life}}}");
            assert_eq!(issued(json(200, &body)).expires_at, expires_at, "{life}");
        }
        let tokens = issued(json(200, r#"{"access_token":"a"}"#));
        assert_eq!((tokens.expires_at, tokens.refresh_token), (0, None));
    }

    #[test]
    fn forms_are_answers_too() {
        for kind in [
            "application/x-www-form-urlencoded; charset=utf-8",
            "text/plain",
        ] {
            let raw = raw(
                200,
                kind,
                "access_token=a%2Bb&expires_in=60&scope=x&token_type=bearer",
            );
            let tokens = issued(judge(&raw, None, 1_000_000));
            assert_eq!(tokens.access_token, "a+b");
            assert_eq!(tokens.expires_at, 1_060);
        }
        let error = raw(
            200,
            "text/plain",
            "error=bad_refresh_token&error_description=x",
        );
        assert_eq!(word(&judge(&error, None, 0)), "dead: bad_refresh_token");
    }

    #[test]
    fn a_dead_refresh_token_has_many_names() {
        for body in [
            r#"{"error":"invalid_grant"}"#,
            r#"{"error":"bad_refresh_token"}"#,
            r#"{"error":"invalid_refresh_token"}"#,
            r#"{"error":"token_expired"}"#,
            r#"{"status":"BAD_REFRESH_TOKEN","message":"x"}"#,
        ] {
            for status in [200, 400, 401, 403] {
                assert!(
                    word(&json(status, body)).starts_with("dead"),
                    "{status} {body}"
                );
            }
            assert!(word(&json(500, body)).starts_with("not now"), "{body}");
        }
        let unauthorized = r#"{"error":"unauthorized_client"}"#;
        assert_eq!(word(&json(403, unauthorized)), "dead: unauthorized_client");
        assert_eq!(word(&json(200, unauthorized)), "dead: unauthorized_client");
        assert_eq!(
            word(&json(400, unauthorized)),
            "refused: unauthorized_client"
        );
    }

    #[test]
    fn refusals_name_a_known_word_or_none() {
        assert_eq!(
            word(&json(401, r#"{"error":"invalid_client"}"#)),
            "refused: invalid_client"
        );
        assert_eq!(
            word(&json(400, r#"{"error":"gho_SECRET"}"#)),
            "refused: other"
        );
        assert_eq!(
            word(&json(400, r#"{"error":{"code":1}}"#)),
            "refused: other"
        );
        assert_eq!(word(&json(400, "<html>")), "refused: status 4xx");
        assert_eq!(word(&json(404, "{}")), "refused: status 4xx");
        assert_eq!(
            word(&json(400, r#"{"error":"temporarily_unavailable"}"#)),
            "not now: temporarily_unavailable"
        );
        assert_eq!(word(&json(429, "")), "not now: status 429");
    }

    #[test]
    fn nonsense_is_no_token() {
        for body in [
            "<html>login</html>",
            "",
            "[]",
            "\"a\"",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":5}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
        ] {
            assert!(word(&json(200, body)).starts_with("nonsense"), "{body}");
        }
        assert!(word(&json(302, "")).starts_with("nonsense"));
        let html = raw(200, "text/html", "<html>access_token=a</html>");
        assert!(word(&judge(&html, None, 0)).starts_with("nonsense"));
    }

    #[test]
    fn a_mapped_answer_is_read_where_it_says() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mapping = Mapping {
            access_token: path("authed_user.access_token"),
            refresh_token: path("authed_user.list.1"),
            expires_in: Vec::new(),
        };
        let body = r#"{"token_type":"user","authed_user":{"access_token":"u","list":["x","r"]},"expires_in":60}"#;
        let tokens = issued(judge(
            &raw(200, "application/json", body),
            Some(&mapping),
            1_000_000,
        ));
        assert_eq!(tokens.access_token, "u");
        assert_eq!(tokens.refresh_token.as_deref(), Some("r"));
        assert_eq!(tokens.expires_at, 1_060);
    }

    #[test]
    fn what_is_mapped_and_not_there_is_read_in_its_usual_place() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mapping = Mapping {
            access_token: path("user.at"),
            refresh_token: path("user.rt"),
            expires_in: path("user.life"),
        };
        for (body, access, refresh, expires_at) in [
            (
                r#"{"access_token":"a","refresh_token":"r","expires_in":60}"#,
                "a",
                Some("r"),
                1_060,
            ),
            (
                r#"{"access_token":"bot","refresh_token":"r","expires_in":60,"user":{"at":"u"}}"#,
                "u",
                Some("r"),
                1_060,
            ),
            (
                r#"{"user":{"at":12345678901,"rt":7,"life":"60"},"expires_in":5}"#,
                "12345678901",
                Some("7"),
                1_060,
            ),
            // Only a life that is one counts instead.
            (
                r#"{"user":{"at":"u","life":0},"expires_in":"60"}"#,
                "u",
                None,
                1_060,
            ),
            // What is there counts, and what is nothing leaves the old refresh token in its place.
            (
                r#"{"user":{"at":"u","rt":null},"refresh_token":"r"}"#,
                "u",
                None,
                0,
            ),
        ] {
            let raw = raw(200, "application/json", body);
            let tokens = issued(judge(&raw, Some(&mapping), 1_000_000));
            assert_eq!(tokens.access_token, access, "{body}");
            assert_eq!(tokens.refresh_token.as_deref(), refresh, "{body}");
            assert_eq!(tokens.expires_at, expires_at, "{body}");
        }
        let empty = raw(
            200,
            "application/json",
            r#"{"user":{"at":""},"access_token":"a"}"#,
        );
        assert_eq!(
            word(&judge(&empty, Some(&mapping), 0)),
            "nonsense: no access token"
        );
    }
}
