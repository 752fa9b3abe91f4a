//! The acceptance rules and the error table for an STS's answers, one row each.

use bed::{Answer, canary};
use serde_json::{Value, json};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const INVALID_TOKEN: &str = "Bearer realm=\"mcp\", error=\"invalid_token\"";
const MIB: usize = 1024 * 1024;

/// An answer of the STS and what it leads to.
#[derive(Clone)]
pub struct Row {
    /// The name of its lane.
    pub lane: &'static str,
    /// Of the lane's `tokenExchange`.
    pub settings: Value,
    /// What the STS answers.
    pub answer: Answer,
    /// What comes of it.
    pub expected: Expected,
}

/// What comes of an answer.
#[derive(Clone)]
pub enum Expected {
    /// The request goes on with this token.
    Token(String),
    /// The request is refused.
    Refusal {
        /// With this status.
        status: u16,
        /// `www-authenticate` up to its description.
        challenge: &'static str,
        /// The CODE.
        code: &'static str,
        /// Which `sts` counter counts it.
        counted: &'static str,
        /// The word of the STS that the log line repeats.
        word: Option<&'static str>,
    },
}

fn row(lane: &'static str, answer: Answer, expected: Expected) -> Row {
    Row {
        lane,
        settings: json!({}),
        answer,
        expected,
    }
}

/// A good answer's body with some members replaced; `null` takes one out.
fn body(over: Value) -> Value {
    let mut body = Answer::token_body(&canary::token("sts_", "row"), json!(3600));
    for (key, value) in over.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(body.as_object_mut().expect("an object").remove(key)),
            value => body[key] = value.clone(),
        }
    }
    body
}

/// Answers that bring a token: the acceptance rules, from their good side.
pub fn usable() -> Vec<Row> {
    let token = canary::token("sts_", "row");
    let ok = |lane, over| {
        let answer = Answer::json(200, &body(over));
        row(lane, answer, Expected::Token(token.clone()))
    };
    let raw =
        |lane, text: String| row(lane, Answer::raw(200, text), Expected::Token(token.clone()));
    let plain = body(json!({})).to_string();
    let longest = format!("{token:x<16384}");
    let padding = MIB - plain.len() - r#","p":"""#.len();
    let mut other_type = ok("requested-nothing", json!({"issued_token_type": "urn:x"}));
    other_type.settings = json!({"requestedTokenType": ""});
    let mut no_type = ok("no-issued-type", json!({"issued_token_type": null}));
    no_type.settings = other_type.settings.clone();
    vec![
        ok("type-in-lower-case", json!({"token_type": "bearer"})),
        ok("type-in-upper-case", json!({"token_type": "BEARER"})),
        ok("lifetime-as-a-text", json!({"expires_in": "3600"})),
        ok("lifetime-is-nonsense", json!({"expires_in": {"soon": [1]}})),
        ok("no-lifetime", json!({"expires_in": null})),
        ok(
            "unknown-members",
            json!({"refresh_token": canary::token("", "r"), "x": [{}, 1.5e3]}),
        ),
        raw(
            "number-beyond-all-bounds",
            plain.replacen('{', r#"{"x":1e400,"#, 1),
        ),
        raw("lifetime-beyond-all-bounds", plain.replace("3600", "1e400")),
        raw(
            "whitespace-and-no-content-type",
            format!(" \r\n\t{plain}\n "),
        ),
        raw("escapes", plain.replace("sts_", r"\u0073ts_")),
        raw(
            "a-whole-mebibyte",
            plain.replacen('}', &format!(r#","p":"{}"}}"#, "x".repeat(padding)), 1),
        ),
        row(
            "the-longest-token",
            Answer::json(200, &body(json!({"access_token": longest}))),
            Expected::Token(longest),
        ),
        other_type,
        no_type,
    ]
}

/// Answers of success that bring none: the acceptance rules, from their bad side.
pub fn unusable() -> Vec<Row> {
    let invalid = Expected::Refusal {
        status: 502,
        challenge: "",
        code: "token_exchange_invalid_response",
        counted: "invalid_response",
        word: None,
    };
    let bad = |lane, over| row(lane, Answer::json(200, &body(over)), invalid.clone());
    let raw = |lane, status, text: String| row(lane, Answer::raw(status, text), invalid.clone());
    let plain = body(json!({})).to_string();
    let token = canary::token("sts_", "row");
    vec![
        bad("issued-type-missing", json!({"issued_token_type": null})),
        bad(
            "issued-type-is-another",
            json!({"issued_token_type": format!("{ACCESS_TOKEN}2")}),
        ),
        bad("issued-type-is-a-number", json!({"issued_token_type": 1})),
        bad("type-missing", json!({"token_type": null})),
        bad("type-n-a", json!({"token_type": "N_A"})),
        bad("type-dpop", json!({"token_type": "DPoP"})),
        bad("type-is-a-list", json!({"token_type": ["Bearer"]})),
        bad("token-missing", json!({"access_token": null})),
        bad("token-empty", json!({"access_token": ""})),
        bad("token-is-a-number", json!({"access_token": 12345678})),
        bad(
            "token-with-a-space",
            json!({"access_token": format!("{token} x")}),
        ),
        bad(
            "token-with-a-line-feed",
            json!({"access_token": format!("{token}\r\nx: y")}),
        ),
        bad(
            "token-with-a-comma",
            json!({"access_token": format!("{token},x")}),
        ),
        bad(
            "token-not-ascii",
            json!({"access_token": format!("{token}ö")}),
        ),
        bad(
            "token-too-long",
            json!({"access_token": format!("{token:x<16385}")}),
        ),
        raw(
            "an-error-with-200",
            200,
            r#"{"error":"invalid_grant"}"#.to_owned(),
        ),
        raw("empty", 200, String::new()),
        raw("html", 200, "<html>log in</html>".to_owned()),
        raw("a-list", 200, format!("[{plain}]")),
        raw("cut-off", 200, plain[..plain.len() - 1].to_owned()),
        raw("two-documents", 200, format!("{plain}{plain}")),
        raw(
            "token-twice",
            200,
            plain.replacen('{', r#"{"access_token":"other","#, 1),
        ),
        raw(
            "deeply-nested",
            200,
            format!("{}{}", r#"{"x":"#, "[".repeat(100_000)),
        ),
        raw(
            "over-a-mebibyte",
            200,
            format!("{plain}{}", " ".repeat(MIB + 1 - plain.len())),
        ),
        raw("status-201", 201, plain.clone()),
        raw("status-202", 202, plain.clone()),
        row("status-204", Answer::raw(204, ""), invalid.clone()),
    ]
}

/// Refusals with a word that is known: the error table.
pub fn words() -> Vec<Row> {
    let word = |lane, status, word, (code, expected, challenge), counted| {
        let expected = Expected::Refusal {
            status: expected,
            challenge,
            code,
            counted,
            word: Some(word),
        };
        row(lane, Answer::error(status, word), expected)
    };
    let rejected = ("token_exchange_rejected", 401, INVALID_TOKEN);
    let target = ("token_exchange_forbidden", 403, "");
    let client = ("token_exchange_misconfigured", 502, "");
    vec![
        word(
            "invalid-request",
            400,
            "invalid_request",
            rejected,
            "rejected",
        ),
        word("invalid-grant", 400, "invalid_grant", rejected, "rejected"),
        word("invalid-token", 401, "invalid_token", rejected, "rejected"),
        word(
            "invalid-grant-with-403",
            403,
            "invalid_grant",
            rejected,
            "rejected",
        ),
        word(
            "invalid-grant-with-429",
            429,
            "invalid_grant",
            rejected,
            "rejected",
        ),
        word("invalid-scope", 400, "invalid_scope", target, "forbidden"),
        word(
            "insufficient-scope",
            403,
            "insufficient_scope",
            target,
            "forbidden",
        ),
        word("invalid-target", 400, "invalid_target", target, "forbidden"),
        word("access-denied", 403, "access_denied", target, "forbidden"),
        word(
            "access-denied-with-404",
            404,
            "access_denied",
            target,
            "forbidden",
        ),
        word(
            "invalid-client",
            401,
            "invalid_client",
            client,
            "misconfigured",
        ),
        word(
            "invalid-client-with-400",
            400,
            "invalid_client",
            client,
            "misconfigured",
        ),
        word(
            "unauthorized-client",
            400,
            "unauthorized_client",
            client,
            "misconfigured",
        ),
        word(
            "unsupported-grant-type",
            400,
            "unsupported_grant_type",
            client,
            "misconfigured",
        ),
    ]
}

/// Everything else, which is judged by its status.
pub fn statuses() -> Vec<Row> {
    let refusal = |status, code, counted| Expected::Refusal {
        status,
        challenge: "",
        code,
        counted,
        word: None,
    };
    let misconfigured = refusal(502, "token_exchange_misconfigured", "misconfigured");
    let unavailable = refusal(503, "token_exchange_unavailable", "unavailable");
    let wrong = |lane, answer| row(lane, answer, misconfigured.clone());
    let down = |lane, answer| row(lane, answer, unavailable.clone());
    let redirect =
        |status| Answer::raw(status, "").header("location", "http://localhost/elsewhere");
    vec![
        wrong("unknown-word", Answer::error(400, "another_word")),
        wrong("word-in-another-case", Answer::error(400, "Invalid_Grant")),
        wrong(
            "word-is-a-number",
            Answer::json(400, &json!({"error": 400})),
        ),
        wrong(
            "word-twice",
            Answer::raw(400, r#"{"error":"invalid_grant","error":"x"}"#),
        ),
        wrong("no-body", Answer::raw(401, "")),
        wrong("not-found-page", Answer::raw(404, "<html>")),
        wrong(
            "refusal-over-a-mebibyte",
            Answer::raw(
                400,
                format!(r#"{{"error":"invalid_grant"}}{}"#, " ".repeat(MIB)),
            ),
        ),
        wrong("redirect-301", redirect(301)),
        wrong("redirect-302", redirect(302)),
        wrong("redirect-307", redirect(307)),
        wrong("redirect-308", redirect(308)),
        down("too-many-requests", Answer::raw(429, "")),
        down("request-timeout", Answer::raw(408, "")),
        down("status-500", Answer::raw(500, "oops")),
        down(
            "status-500-with-a-word",
            Answer::error(500, "invalid_grant"),
        ),
        down("status-502", Answer::raw(502, "")),
        down("status-503", Answer::error(503, "temporarily_unavailable")),
        down("status-504-at-once", Answer::raw(504, "")),
        down("status-599", Answer::raw(599, "")),
    ]
}
