use super::*;
use crate::challenge::Challenge;
use serde_json::Value;

const ABOUT: About<'_> = About {
    backend: Some("github-tools"),
    provider: Some("github"),
    grpc: false,
};

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut values = reply.headers.iter().filter(|(n, _)| *n == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "{name} stands twice");
    value
}

#[test]
fn every_refusal_has_its_status_challenge_and_code() {
    use Refusal::*;
    let invalid = Some("Bearer error=\"invalid_token\"");
    for (refusal, status, challenge, code) in [
        (
            UpstreamTokenNotFound {
                token_presented: true,
                no_tokens_at_all: false,
            },
            401,
            invalid,
            "upstream_token_not_found",
        ),
        (
            UpstreamTokenNotFound {
                token_presented: false,
                no_tokens_at_all: true,
            },
            401,
            Some("Bearer"),
            "upstream_token_not_found",
        ),
        (
            UpstreamTokenUnavailable { retry_after: 5 },
            503,
            None,
            "upstream_token_unavailable",
        ),
        (IdentityMissing, 401, Some("Bearer"), "identity_missing"),
        (IdentityInHeader, 500, None, "identity_unreadable"),
        (
            UpstreamTokenMalformed { found: Found::Map },
            502,
            None,
            "upstream_token_malformed",
        ),
        (
            SubjectTokenMissing,
            401,
            Some("Bearer"),
            "subject_token_missing",
        ),
        (ExchangeRejected, 401, invalid, "token_exchange_rejected"),
        (ExchangeForbidden, 403, None, "token_exchange_forbidden"),
        (
            ExchangeMisconfigured,
            502,
            None,
            "token_exchange_misconfigured",
        ),
        (
            ExchangeUnavailable { retry_after: 7 },
            503,
            None,
            "token_exchange_unavailable",
        ),
        (ExchangeTimeout, 504, None, "token_exchange_timeout"),
        (
            ExchangeInvalidResponse,
            502,
            None,
            "token_exchange_invalid_response",
        ),
        (BackendNotConfigured, 500, None, "backend_not_configured"),
        (IdentityUnreadable, 500, None, "identity_unreadable"),
    ] {
        let reply = refusal.reply(&ABOUT, &Challenge::default());
        assert_eq!(reply.status, status, "{refusal:?}");
        assert_eq!(reply.code.as_str(), code);
        assert_eq!(refusal.code(), reply.code);
        let sent = header(&reply, "www-authenticate")
            .map(|value| value.split(", error_description").next().unwrap());
        assert_eq!(sent, challenge, "{refusal:?}");
        assert_eq!(header(&reply, "cache-control"), Some("no-store"));
        assert_eq!(header(&reply, "content-type"), Some("application/json"));
        let retry = match refusal {
            ExchangeUnavailable { .. } => Some("7"),
            UpstreamTokenUnavailable { .. } => Some("5"),
            _ => None,
        };
        assert_eq!(header(&reply, "retry-after"), retry);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"], code);
        assert_eq!(body["backend"], "github-tools");
        assert_eq!(body["provider"], "github");
        assert!(body["error_description"].as_str().unwrap().len() > 10);
    }
}

/// What a step-up hands on goes where clients look for it: into the challenge, and the link into the body.
#[test]
fn a_step_up_tells_the_client_what_it_must_do() {
    let claims = StepUp {
        claims: Some("eyJhIjoxfQ==".to_owned()),
        interaction_uri: Some("https://sts.example.com/more?x=1".to_owned()),
        ..StepUp::default()
    };
    let authentication = StepUp {
        insufficient_authentication: true,
        max_age: Some("300".to_owned()),
        acr_values: Some("a b".to_owned()),
        ..StepUp::default()
    };
    let with_uri = Challenge {
        authorization_uri: Some("https://login.example.com/authorize".to_owned()),
        ..Challenge::default()
    };
    const SAID: &str = "error_description=\"the token service asks for more than this login: log in again as it asks\"";
    for (step_up, challenge, error, parameters, link) in [
        (
            StepUp::default(),
            Challenge::default(),
            "insufficient_claims",
            "",
            None,
        ),
        (
            claims.clone(),
            Challenge::default(),
            "insufficient_claims",
            ", claims=\"eyJhIjoxfQ==\"",
            Some("https://sts.example.com/more?x=1"),
        ),
        (
            claims,
            with_uri.clone(),
            "insufficient_claims",
            ", claims=\"eyJhIjoxfQ==\", authorization_uri=\"https://login.example.com/authorize\"",
            Some("https://sts.example.com/more?x=1"),
        ),
        (
            authentication,
            with_uri,
            "insufficient_user_authentication",
            ", max_age=\"300\", acr_values=\"a b\"",
            None,
        ),
    ] {
        let refusal = Refusal::StepUp(Rc::new(step_up));
        let reply = refusal.reply(&ABOUT, &challenge);
        let expected = format!("Bearer error=\"{error}\", {SAID}{parameters}");
        assert_eq!(header(&reply, "www-authenticate"), Some(&*expected));
        assert_eq!(
            (reply.status, reply.code.as_str()),
            (401, "step_up_required")
        );
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"], "step_up_required");
        assert_eq!(body.get("interaction_uri").and_then(Value::as_str), link);
        let grpc = refusal.reply(
            &About {
                grpc: true,
                ..ABOUT
            },
            &challenge,
        );
        assert_eq!(header(&grpc, "www-authenticate"), Some(&*expected));
    }
}

#[test]
fn a_body_names_only_what_there_is() {
    let about = About {
        backend: None,
        provider: None,
        grpc: false,
    };
    let reply = Refusal::IdentityUnreadable.reply(&about, &Challenge::default());
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"error":"identity_unreadable","error_description":"the identity of this request cannot be read"}"#
    );
}

#[test]
fn odd_names_cannot_break_out_of_the_challenge_or_the_body() {
    let about = About {
        backend: Some("a\"b\\c\r\nx: y"),
        provider: Some("p\"ö\\\n"),
        grpc: false,
    };
    let refusal = Refusal::UpstreamTokenNotFound {
        token_presented: true,
        no_tokens_at_all: false,
    };
    let reply = refusal.reply(&about, &Challenge::default());
    assert_eq!(
        header(&reply, "www-authenticate"),
        Some(
            "Bearer error=\"invalid_token\", error_description=\"the upstream token of \
             provider p???? was not found: log in again\""
        )
    );
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["backend"], "a\"b\\c\r\nx: y");
    assert_eq!(body["provider"], "p\"ö\\\n");
}

#[test]
fn a_grpc_client_gets_the_description_alone() {
    let about = About {
        grpc: true,
        ..ABOUT
    };
    let reply = Refusal::SubjectTokenMissing.reply(&about, &Challenge::default());
    assert_eq!(
        String::from_utf8(reply.body.clone()).unwrap(),
        "the request carries no bearer token to exchange: log in"
    );
    assert_eq!(header(&reply, "content-type"), None);
    assert_eq!(header(&reply, "www-authenticate"), Some("Bearer"));
}

#[test]
fn the_configured_challenge_is_part_of_every_bearer_challenge() {
    let challenge = Challenge {
        realm: Some("mcp".to_owned()),
        resource_metadata: Some("https://mcp.example.com/meta".to_owned()),
        scope: Some("mcp:tools".to_owned()),
        authorization_uri: None,
    };
    let value = |refusal: Refusal| {
        let reply = refusal.reply(&ABOUT, &challenge);
        header(&reply, "www-authenticate").map(str::to_owned)
    };
    assert_eq!(
        value(Refusal::SubjectTokenMissing).unwrap(),
        "Bearer realm=\"mcp\", scope=\"mcp:tools\", resource_metadata=\"https://mcp.example.com/meta\""
    );
    assert_eq!(
        value(Refusal::ExchangeRejected).unwrap(),
        "Bearer realm=\"mcp\", error=\"invalid_token\", error_description=\"the token service \
         refused the subject token: log in again\", scope=\"mcp:tools\", \
         resource_metadata=\"https://mcp.example.com/meta\""
    );
    assert_eq!(value(Refusal::ExchangeForbidden), None);
}
