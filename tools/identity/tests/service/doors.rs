//! What each door takes, and what it refuses how.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::service::{Bed, SECRET, Service};
use crate::bed::session::{put, row};
use crate::bed::signer::Signer;

const SESSION: &str = "7CT2ISRQ3VG3FPS2O5Q6EHXSIS";

#[tokio::test]
async fn the_token_door_refuses_in_the_words_of_the_rfcs() {
    let bed = Bed::new().await;
    let service = bed
        .service(&[
            "--client-id",
            "envoy",
            "--client-secret-env",
            "CLIENT_SECRET",
        ])
        .await;
    let token = bed.token(SESSION);
    let good = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", token.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("audience", "github"),
        ("client_id", "envoy"),
        ("client_secret", SECRET),
    ];
    let without = |name: &str| -> Vec<(&str, &str)> {
        good.iter()
            .filter(|(key, _)| *key != name)
            .copied()
            .collect()
    };
    let with = |name: &'static str, value: &'static str| {
        let mut form = without(name);
        form.push((name, value));
        form
    };
    for (form, status, word) in [
        (good.to_vec(), 400, "upstream_token_not_found"),
        (without("grant_type"), 400, "invalid_request"),
        (
            with("grant_type", "refresh_token"),
            400,
            "unsupported_grant_type",
        ),
        (without("subject_token"), 400, "invalid_request"),
        (without("subject_token_type"), 400, "invalid_request"),
        (without("audience"), 400, "invalid_request"),
        (with("audience", "gitlab"), 400, "invalid_target"),
        (with("subject_token", "garbage"), 400, "invalid_grant"),
        (without("client_secret"), 401, "invalid_client"),
        (with("client_secret", "wrong"), 401, "invalid_client"),
        (with("client_id", "wrong"), 401, "invalid_client"),
        (
            [good.to_vec(), vec![("audience", "corp")]].concat(),
            400,
            "invalid_request",
        ),
    ] {
        let answer = service.post(&form, None).await;
        assert_eq!((answer.status, answer.error()), (status, word), "{form:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.body["error_description"].is_string());
        assert!(!answer.body.to_string().contains(&token));
    }
    let open: Vec<(&str, &str)> = good[..4].to_vec();
    let answer = service
        .post(&open, Some(("envoy", "s3cret%20of%20the%20client")))
        .await;
    assert_eq!(answer.error(), "upstream_token_not_found", "Basic");
    let answer = service.post(&open, Some(("envoy", "wrong"))).await;
    assert_eq!((answer.status, answer.error()), (401, "invalid_client"));
    assert!(answer.headers.contains_key("www-authenticate"));
    let log = service.log();
    assert!(
        !log.contains(&token) && !log.contains(SECRET) && !log.contains(SESSION),
        "{log}"
    );
}

#[tokio::test]
async fn tokens_are_verified_again() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &row("github", |_| {})).await;
    let service = bed.service(&[]).await;
    let forger = Signer::new("k1");
    let stranger = Signer::new("k2");
    let claims = || bed.claims(SESSION, 600);
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = claims();
        claims[name] = value;
        bed.signer.sign(&claims)
    };
    assert_eq!(
        service
            .ask(&bed.token(SESSION), "github", &[])
            .await
            .token(),
        "github-at"
    );
    for (what, token) in [
        ("forged", forger.sign(&claims())),
        ("of an unknown key", stranger.sign(&claims())),
        ("expired", changed("exp", json!(1_000_000_000))),
        (
            "of another issuer",
            changed("iss", json!("https://evil.example")),
        ),
        (
            "for another audience",
            changed("aud", json!(["https://other"])),
        ),
        ("for nobody", changed("aud", json!([]))),
        ("unsigned", crate::bed::signer::unsigned(&claims())),
    ] {
        let answer = service.ask(&token, "github", &[]).await;
        assert_eq!(
            (answer.status, answer.error()),
            (400, "invalid_grant"),
            "{what}"
        );
    }
    bed.provider.document("/jwks.json", 500, json!({}));
    let fresh = bed.service(&[]).await;
    let answer = fresh.ask(&bed.token(SESSION), "github", &[]).await;
    assert_eq!(
        (answer.status, answer.error()),
        (503, "temporarily_unavailable")
    );
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn without_a_checked_payload_nobody_goes_on() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &row("github", |_| {})).await;
    let service = bed
        .service(&[
            "--realm",
            "mcp",
            "--scope",
            "mcp:tools",
            "--resource-metadata",
            "https://mcp.example.com/.well-known/oauth-protected-resource",
            "--health-check-path",
            "/healthz",
        ])
        .await;
    let mut client = client(service.check_port).await;
    let mut foreign = bed.claims(SESSION, 600);
    foreign["iss"] = json!("https://other.example");
    let elsewhere = Check {
        payload_key: "payload",
        ..Check::of(bed.claims(SESSION, 600))
    };
    let no_map = Check::of(json!("text"));
    let nothing = Check {
        path: "/mcp".to_owned(),
        authorization: Some(format!("Bearer {}", bed.token(SESSION))),
        ..Check::default()
    };
    let mut of_nobody = bed.claims(SESSION, 600);
    of_nobody.as_object_mut().unwrap().remove("iss");
    for request in [
        nothing,
        elsewhere,
        no_map,
        Check::of(foreign),
        Check::of(of_nobody),
    ] {
        let Verdict::Denied(status, headers, body) = check(&mut client, &request).await else {
            panic!("{request:?} is not denied");
        };
        assert_eq!(status, 401);
        assert_eq!(
            headers["www-authenticate"],
            "Bearer realm=\"mcp\", scope=\"mcp:tools\", \
             resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource\""
        );
        assert!(body.contains("\"token_missing\""), "{body}");
    }

    let prober = |path: &str| Check {
        path: path.to_owned(),
        ..Check::default()
    };
    let health = Verdict::Goes(json!({"health_check": true}));
    for path in ["/healthz", "/healthz?verbose=1"] {
        assert_eq!(check(&mut client, &prober(path)).await, health);
    }
    for path in ["/healthz/", "/healthzz", "/mcp?/healthz", "/HEALTHZ"] {
        let verdict = check(&mut client, &prober(path)).await;
        assert!(matches!(verdict, Verdict::Denied(401, ..)), "{path}");
    }
    let both = Check {
        path: "/healthz".to_owned(),
        ..Check::of(bed.claims(SESSION, 600))
    };
    assert_eq!(
        check(&mut client, &both).await,
        Verdict::Goes(json!({"upstream_tokens": {"github": "github-at"}, "health_check": true}))
    );
}

#[tokio::test]
async fn where_the_issuer_is_not_known_a_payload_names_one() {
    let bed = Bed::new().await;
    let sessions = json!({"sessions": {SESSION: {"github": "github-at"}}});
    let sessions = bed.directory.write("sessions.yaml", &sessions.to_string());
    let jwks = bed.provider.url("/jwks.json");
    let sessions = sessions.display().to_string();
    let service = Service::start(&["--sessions", &sessions, "--jwks-url", &jwks]).await;
    let mut client = client(service.check_port).await;
    let payload = |issuer: serde_json::Value| {
        let mut claims = bed.claims(SESSION, 600);
        claims["iss"] = issuer;
        Check::of(claims)
    };
    assert_eq!(
        check(&mut client, &payload(json!("https://any.example"))).await,
        Verdict::Goes(json!({"upstream_tokens": {"github": "github-at"}}))
    );
    for issuer in [
        json!(null),
        json!(""),
        json!(5),
        json!(["https://any.example"]),
    ] {
        let verdict = check(&mut client, &payload(issuer.clone())).await;
        assert!(matches!(verdict, Verdict::Denied(401, ..)), "{issuer}");
    }
}

#[tokio::test]
async fn a_route_names_the_providers_that_it_wants() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &row("github", |_| {})).await;
    put(&mut redis, SESSION, "corp", &row("corp", |_| {})).await;
    let service = bed.service(&["--payload-key", "payload"]).await;
    let mut client = client(service.check_port).await;
    for (providers, tokens) in [
        (
            "github",
            json!({"upstream_tokens": {"github": "github-at"}}),
        ),
        (
            " corp , nobody",
            json!({"upstream_tokens": {"corp": "corp-at"}}),
        ),
        ("", json!({})),
        (" , ", json!({})),
        ("nobody", json!({})),
    ] {
        let request = Check {
            payload_key: "payload",
            providers: Some(providers.to_owned()),
            ..Check::of(bed.claims(SESSION, 600))
        };
        assert_eq!(
            check(&mut client, &request).await,
            Verdict::Goes(tokens),
            "{providers:?}"
        );
    }
}

#[tokio::test]
async fn grpc_that_is_no_check_is_told_so() {
    use tonic::codegen::http::uri::PathAndQuery;
    let bed = Bed::new().await;
    let service = bed.service(&[]).await;
    let endpoint = format!("http://127.0.0.1:{}", service.check_port);
    let channel = tonic::transport::Endpoint::from_shared(endpoint)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let call = async |path: &'static str, body: &'static [u8]| {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        grpc.unary(
            tonic::Request::new(bytes::Bytes::from_static(body)),
            PathAndQuery::from_static(path),
            crate::bed::check::AsBytes,
        )
        .await
        .map(|response: tonic::Response<bytes::Bytes>| response.into_inner())
        .map_err(|status| status.code())
    };
    let method = "/envoy.service.auth.v3.Authorization/Check";
    for garbage in [
        &b"\xff\xff\xff"[..],
        b"\x0a\x7f",
        b"\x0b",
        b"\x0a\x02\x22\xff",
    ] {
        assert_eq!(
            call(method, garbage).await,
            Err(tonic::Code::InvalidArgument)
        );
    }
    for other in [
        "/envoy.service.auth.v3.Authorization/Other",
        "/grpc.health.v1.Health/Watch",
    ] {
        assert_eq!(call(other, b"").await, Err(tonic::Code::Unimplemented));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let health = call("/grpc.health.v1.Health/Check", b"").await.unwrap();
        if &health[..] == b"\x08\x01" {
            break;
        }
        assert_eq!(&health[..], b"\x08\x02", "the store has not been seen yet");
        assert!(Instant::now() < deadline, "never serving");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn grpc_health_says_whether_the_store_is_there() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let mut bed = Bed::new().await;
    // For now it says nothing.
    bed.redis.signal("-STOP");
    let service = bed.service(&[]).await;
    let address = format!("http://127.0.0.1:{}", service.check_port);
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
    let client = HealthClient::new(endpoint.connect().await.unwrap());
    let names = ["", "envoy.service.auth.v3.Authorization"];
    let status = async |name: &str| {
        let service = name.to_owned();
        let asked = client.clone().check(HealthCheckRequest { service }).await;
        asked.unwrap().get_ref().status()
    };
    let until = async |wanted: ServingStatus| {
        let deadline = Instant::now() + Duration::from_secs(60);
        for name in names {
            while status(name).await != wanted {
                assert!(Instant::now() < deadline, "{name:?} is not {wanted:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    for name in names {
        let unknown = status(name).await;
        assert_eq!(unknown, ServingStatus::NotServing, "{name:?}");
    }
    bed.redis.signal("-CONT");
    until(ServingStatus::Serving).await;
    bed.redis.kill();
    until(ServingStatus::NotServing).await;
    bed.redis.begin();
    until(ServingStatus::Serving).await;
}
