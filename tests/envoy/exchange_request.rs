//! What the STS receives: the exact bytes of the token request, and whose token is in it.

use bed::{Answer, Bed, Request, canary};
use serde_json::{Value, json};

use crate::exchange_lane::{
    Lane, PROVIDER, assert_refused, exchanged, lanes, patient, patient_lanes, refused,
};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_request":
    every_parameter_arrives_byte_for_byte,
    nothing_of_the_client_goes_along,
    every_sendable_character_of_a_subject_survives,
    without_a_provider_the_subject_is_the_identity_token,
    an_identity_token_that_an_sts_hands_back_goes_to_no_backend,
    a_checked_identity_token_has_one_spelling,
    without_an_identity_token_there_is_nothing_to_exchange,
    a_missing_upstream_token_is_not_asked_for_at_the_sts,
    an_unsendable_upstream_token_is_not_sent_to_the_sts,
    the_token_can_go_into_another_header,
);

static BED: SharedBed = SharedBed::new();

const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const ACCESS_TOKEN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
/// A secret with everything that form encoding changes.
const SECRET: &str = "s: /+%&=é cAnArYcAnArY";
const ENCODED_SECRET: &str = "s%3A%20%2F%2B%25%26%3D%C3%A9%20cAnArYcAnArY";

async fn bed() -> &'static Bed {
    BED.get(|| {
        let mut all: Vec<(&str, Value)> = requests()
            .into_iter()
            .map(|row| (row.lane, row.settings))
            .collect();
        let patiently = |key: &str, value: Value| {
            let mut settings = patient();
            settings[key] = value;
            settings
        };
        let identity = patiently("subjectProviderName", Value::Null);
        all.extend(patient_lanes([
            "headers",
            "odd",
            "upstream-back",
            "missing",
            "unsendable",
        ]));
        all.extend([
            ("identity", identity.clone()),
            ("empty-name", patiently("subjectProviderName", json!(""))),
            ("identity-back", identity.clone()),
            ("identity-spelt", identity.clone()),
            ("no-identity", identity),
            (
                "elsewhere",
                patiently("externalTokenHeaderName", json!("X-Upstream-Token")),
            ),
        ]);
        lanes("exchange-request", &all, json!({}))
            .environment("STS_SECRET", SECRET)
            .start()
    })
    .await
}

/// A `tokenExchange` and what the STS is to receive for it; `SUBJECT` stands for the token.
struct Row {
    lane: &'static str,
    settings: Value,
    line: &'static str,
    host: &'static str,
    authorization: String,
    body: String,
}

fn requests() -> Vec<Row> {
    use base64::Engine;
    let basic = |credentials: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
        format!("Basic {encoded}")
    };
    let row = |lane, settings, line, host, authorization, rest: &str| Row {
        lane,
        settings,
        line,
        host,
        authorization,
        body: format!("{EXCHANGE}&subject_token=SUBJECT&subject_token_type={rest}"),
    };
    let requested = format!("{ACCESS_TOKEN}&requested_token_type={ACCESS_TOKEN}");
    vec![
        row(
            "bare",
            json!({"tokenUrl": "http://localhost"}),
            "POST / HTTP/1.1",
            "localhost",
            String::new(),
            &requested,
        ),
        row(
            "basic",
            json!({
                "tokenUrl": "http://localhost:8080/oauth/token?tenant=a%20b&x=1",
                "clientId": "envoy:é 1",
                "clientSecretEnv": "STS_SECRET",
                "audience": "https://api.example.com/v1",
                "scopes": ["mcp:read", "mcp:write"],
            }),
            "POST /oauth/token?tenant=a%20b&x=1 HTTP/1.1",
            "localhost:8080",
            basic(&format!("envoy%3A%C3%A9%201:{ENCODED_SECRET}")),
            &format!(
                "{requested}&audience=https%3A%2F%2Fapi.example.com%2Fv1&scope=mcp%3Aread%20mcp%3Awrite"
            ),
        ),
        row(
            "post",
            json!({
                "tokenUrl": "http://127.0.0.1/t",
                "clientId": "envoy & co",
                "clientSecretEnv": "STS_SECRET",
                "clientAuthMethod": "client_secret_post",
                "audience": ["one", "two of them"],
                "resource": ["https://a.example.com/x?y=1&z", "urn:b"],
                "subjectTokenType": "jwt",
                "requestedTokenType": "jwt",
            }),
            "POST /t HTTP/1.1",
            "127.0.0.1",
            String::new(),
            &format!(
                "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
                 &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
                 &audience=one&audience=two%20of%20them\
                 &resource=https%3A%2F%2Fa.example.com%2Fx%3Fy%3D1%26z&resource=urn%3Ab\
                 &client_id=envoy%20%26%20co&client_secret={ENCODED_SECRET}"
            ),
        ),
        row(
            "none",
            json!({
                "tokenUrl": "http://sts.example.com/none",
                "insecureTokenUrl": true,
                "clientId": "public",
                "clientAuthMethod": "none",
                "subjectTokenType": "https://example.com/types/opaque?v=1",
                "requestedTokenType": "",
                "resource": "https://one.example.com",
            }),
            "POST /none HTTP/1.1",
            "sts.example.com",
            String::new(),
            "https%3A%2F%2Fexample.com%2Ftypes%2Fopaque%3Fv%3D1\
             &resource=https%3A%2F%2Fone.example.com&client_id=public",
        ),
    ]
}

async fn every_parameter_arrives_byte_for_byte() {
    for row in requests() {
        let lane = Lane::of(bed().await, row.lane);
        if row.lane == "post" {
            // This one asks for a JWT, so that the answer has to be one.
            let token = canary::token("sts_", "a-jwt");
            let mut body = bed::Answer::token_body(&token, json!(60));
            body["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:jwt");
            lane.sts().answer_next(bed::Answer::json(200, &body));
        }
        let subject = canary::token("corp_", row.lane);
        lane.get_ok(&lane.login_with(&subject), "x").await;
        let [request] = &lane.sts().requests()[..] else {
            panic!("{}: not one call", row.lane);
        };
        let body = row.body.replace("SUBJECT", &subject);
        assert_eq!(request.body, body, "{}", row.lane);
        assert_eq!(request.line(), row.line);
        let mut headers = vec![
            ("host", row.host.to_owned()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("accept", "application/json".to_owned()),
            (
                "user-agent",
                concat!("upstream-inject/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ];
        if !row.authorization.is_empty() {
            headers.push(("authorization", row.authorization));
        }
        headers.extend(added_by_envoy(body.len()));
        let sent = request.headers();
        let sent: Vec<_> = sent.iter().map(|(n, v)| (&**n, v.clone())).collect();
        assert_eq!(sent, headers, "{}", row.lane);
    }
}

/// What Envoy adds to every call of a filter.
fn added_by_envoy(length: usize) -> Vec<(&'static str, String)> {
    vec![
        ("content-length", length.to_string()),
        ("x-envoy-internal", "true".to_owned()),
        ("x-envoy-expected-rq-timeout-ms", "5000".to_owned()),
    ]
}

async fn nothing_of_the_client_goes_along() {
    let lane = Lane::of(bed().await, "headers");
    lane.get_ok(&lane.login("quiet"), "x").await;
    let mut request =
        Request::post("/headers/x?secret=1", "the client's body").bearer(&lane.login("loud"));
    for name in [
        "cookie",
        "mcp-session-id",
        "traceparent",
        "baggage",
        "x-request-id",
        "x-forwarded-for",
        "user-agent",
        "accept",
        "accept-language",
        "origin",
        "x-api-key",
        "dpop",
        "proxy-authorization",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-max-retries",
    ] {
        request = request.header(name, "7");
    }
    exchanged(&lane.bed.http1().send(request).await);
    let requests = lane.sts().requests();
    let but_for_the_length = |index: usize| {
        let headers = requests[index].headers();
        headers
            .into_iter()
            .filter(|(name, _)| name != "content-length")
            .collect::<Vec<_>>()
    };
    assert_eq!(but_for_the_length(0), but_for_the_length(1));
    assert_eq!(requests[1].form().len(), requests[0].form().len());
    assert_eq!(requests[1].line(), requests[0].line());
}

async fn every_sendable_character_of_a_subject_survives() {
    let lane = Lane::of(bed().await, "odd");
    let odd: String = ('!'..='~').filter(|c| !"\",;\\".contains(*c)).collect();
    let subject = format!("{}{odd}", canary::token("corp_", "odd"));
    lane.get_ok(&lane.login_with(&subject), "x").await;
    assert_eq!(lane.sts().requests()[0].parameter("subject_token"), subject);

    let longest = format!("{:x<16384}", canary::token("corp_", "long"));
    lane.get_ok(&lane.login_with(&longest), "x").await;
    assert_eq!(lane.sts().requests()[1].parameter("subject_token"), longest);
}

async fn without_a_provider_the_subject_is_the_identity_token() {
    for name in ["identity", "empty-name"] {
        let lane = Lane::of(bed().await, name);
        let jwt = lane.login("alice");
        let reply = lane.get(&jwt, "x").await;
        assert_ne!(exchanged(&reply), jwt);
        assert_eq!(lane.sts().requests()[0].parameter("subject_token"), jwt);
        let types = ["subject_token_type", "requested_token_type"];
        for parameter in types.map(|name| lane.sts().requests()[0].parameter(name)) {
            assert_eq!(parameter, "urn:ietf:params:oauth:token-type:access_token");
        }
    }
    // V-03 is a warning at start.
    let log = bed().await.envoy.log();
    let line = "config: outgoingAuth.backends.identity.tokenExchange.subjectProviderName: V-03: ";
    assert!(log.contains(line), "no V-03 line");
}

async fn an_identity_token_that_an_sts_hands_back_goes_to_no_backend() {
    let hands_back = |lane: &Lane<'_>| {
        lane.sts()
            .set_script(|request| Answer::token(&request.parameter("subject_token")));
    };
    let lane = Lane::of(bed().await, "identity-back");
    hands_back(&lane);
    let jwt = lane.login("alice");
    for _ in 0..2 {
        let reply = lane.get(&jwt, "x").await;
        assert_refused(&reply, 502, "token_exchange_invalid_response");
    }
    assert_eq!(lane.sts().calls(), 2);
    assert!(lane.backend().requests().is_empty());
    lane.expect_sts("invalid_response", 2).await;

    // A provider's token is not the gateway's own: some services hand out what they were given.
    let lane = Lane::of(bed().await, "upstream-back");
    hands_back(&lane);
    let token = lane.get_ok(&lane.login("alice"), "x").await;
    assert_eq!(lane.sts().requests()[0].parameter("subject_token"), token);
}

async fn a_checked_identity_token_has_one_spelling() {
    let lane = Lane::of(bed().await, "identity-spelt");
    let jwt = lane.login("alice");
    lane.get_ok(&jwt, "x").await;
    // 64 bytes of signature are 85 characters and two bits of one more, whose other four nobody looks at.
    let alphabet: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let (all_but_last, last) = jwt.split_at(jwt.len() - 1);
    let place = alphabet.iter().position(|&it| last == it.to_string());
    let place = place.expect("base64url");
    for bits in 1..16 {
        let other = format!("{all_but_last}{}", alphabet[place ^ bits]);
        let reply = lane.get(&other, "x").await;
        assert_refused(&reply, 401, "subject_token_missing");
    }
    assert_eq!(lane.sts().calls(), 1);
}

async fn without_an_identity_token_there_is_nothing_to_exchange() {
    let lane = Lane::of(bed().await, "no-identity");
    lane.bed.embedded_as.set_session("", json!({}));
    let jwt = lane.login("alice");
    let path = "/no-identity/x";
    let several = Request::get(path).bearer("a.b.c").bearer("d.e.f");
    for request in [
        Request::get(path),
        Request::get(path).header("authorization", "Basic YTpi"),
        Request::get(path).header("authorization", "Bearer"),
        Request::get(path).header("authorization", "Bearer a b"),
        Request::get(path).header("authorization", format!("Bearer {jwt}, Bearer {jwt}")),
        several,
    ] {
        let shown = format!("{request:?}").replace(&jwt, "JWT");
        let reply = lane.bed.http1().send(request).await;
        assert_refused(&reply, 401, "subject_token_missing");
        assert_eq!(refused(&reply).challenge, "Bearer realm=\"mcp\"", "{shown}");
        assert_eq!(reply.json()["provider"], Value::Null);
    }
    assert_eq!(lane.sts().calls(), 0);
    assert!(lane.backend().requests().is_empty());
    lane.expect_outcome("subject_token_missing", 6).await;
    assert_eq!(
        lane.bed.access_log_of(path).await["outcome"],
        "subject_token_missing"
    );
}

async fn a_missing_upstream_token_is_not_asked_for_at_the_sts() {
    let lane = Lane::of(bed().await, "missing");
    lane.bed.embedded_as.set_session("", json!({}));
    for tokens in [
        json!({}),
        json!({PROVIDER: ""}),
        json!({PROVIDER: null}),
        json!({"github": "x"}),
    ] {
        let reply = lane.get(&lane.bed.login("bob", tokens), "x").await;
        assert_refused(&reply, 401, "upstream_token_not_found");
        assert!(
            refused(&reply)
                .challenge
                .ends_with("error=\"invalid_token\"")
        );
        assert_eq!(reply.json()["provider"], PROVIDER);
        assert!(reply.header("www-authenticate").contains("provider corp"));
    }
    let nobody = lane.bed.http1().send(Request::get("/missing/x")).await;
    assert_refused(&nobody, 401, "upstream_token_not_found");
    assert_eq!(refused(&nobody).challenge, "Bearer realm=\"mcp\"");
    assert_eq!(lane.sts().calls(), 0);
    assert!(lane.backend().requests().is_empty());
    let line = "upstream_token_not_found: backend \"missing\", provider \"corp\"";
    assert!(lane.bed.envoy.log().contains(line), "no WARN line");
}

async fn an_unsendable_upstream_token_is_not_sent_to_the_sts() {
    let lane = Lane::of(bed().await, "unsendable");
    let too_long = format!("{:x<16385}", canary::token("corp_", "long"));
    for token in [
        json!("a b"),
        json!("a\nb"),
        json!("a,b"),
        json!("a;b"),
        json!("a\"b"),
        json!("a\\b"),
        json!("tö"),
        json!(too_long),
        json!(12345678),
        json!(true),
        json!({"a": "b"}),
        json!(["a"]),
    ] {
        let jwt = lane.bed.login("bob", json!({PROVIDER: token}));
        let reply = lane.get(&jwt, "x").await;
        assert_refused(&reply, 502, "upstream_token_malformed");
    }
    assert_eq!(lane.sts().calls(), 0);
    assert!(lane.backend().requests().is_empty());
}

async fn the_token_can_go_into_another_header() {
    let lane = Lane::of(bed().await, "elsewhere");
    let request = lane
        .request(&lane.login("alice"), "x")
        .header("x-upstream-token", "Bearer forged")
        .header("x-upstream-token", "Bearer forged again");
    let reply = lane.bed.http1().send(request).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.seen("authorization"), Vec::<String>::new());
    let seen = reply.seen("x-upstream-token");
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("Bearer sts_"), "{seen:?}");
    lane.expect_outcome("exchanged", 1).await;
}
