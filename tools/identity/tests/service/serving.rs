//! Where it listens, with what TLS, and how it ends.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::authority::Authority;
use crate::bed::provider::Script;
use crate::bed::service::{Bed, Service, command};
use crate::bed::session::{expired, get, put, row};

async fn ask_by_tls(
    port: u16,
    ca: &str,
    client: Option<&(String, String)>,
    token: &str,
) -> Result<u16, reqwest::Error> {
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let tls = match client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .build()
        .unwrap();
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("audience", "github"),
        ])
        .finish();
    let answer = http
        .post(format!("https://localhost:{port}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await?;
    Ok(answer.status().as_u16())
}

#[tokio::test]
async fn only_clients_of_the_authority_get_in_and_new_certificates_are_read() {
    let bed = Bed::new().await;
    put(
        &mut bed.redis.connect().await,
        "S",
        "github",
        &row("github", |_| {}),
    )
    .await;
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.issue();
    let path = |name: &str| bed.directory.path().join(name).display().to_string();
    bed.directory.write("cert.pem", &cert);
    bed.directory.write("key.pem", &key);
    bed.directory.write("ca.pem", &authority.pem());
    let service = bed
        .service(&[
            "--tls-cert",
            &path("cert.pem"),
            "--tls-key",
            &path("key.pem"),
            "--tls-client-ca",
            &path("ca.pem"),
        ])
        .await;
    let token = bed.token("S");
    let port = service.token_port;
    let client = authority.issue();
    let ask = async |ca: &str, client| ask_by_tls(port, ca, client, &token).await;
    assert_eq!(ask(&authority.pem(), Some(&client)).await.unwrap(), 200);
    assert!(ask(&authority.pem(), None).await.is_err(), "no certificate");
    let stranger = other.issue();
    assert!(
        ask(&authority.pem(), Some(&stranger)).await.is_err(),
        "of another authority"
    );
    assert!(
        ask(&other.pem(), Some(&client)).await.is_err(),
        "the server's is checked too"
    );

    // Half of a pair changes nothing; the pair does.
    let (cert, key) = other.issue();
    bed.directory.write("cert.pem", &cert);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(ask(&authority.pem(), Some(&client)).await.unwrap(), 200);
    bed.directory.write("key.pem", &key);
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(&other.pem(), Some(&client)).await.is_err() {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(service.log().contains("certificates were read again"));
}

#[tokio::test]
async fn what_gives_tokens_to_anybody_does_not_start() {
    let bed = Bed::new().await;
    let config = bed.config().display().to_string();
    let authority = Authority::new();
    let (cert, key) = authority.issue();
    let cert = bed.directory.write("cert.pem", &cert).display().to_string();
    let key = bed.directory.write("key.pem", &key).display().to_string();
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let client = [
        "--client-id",
        "envoy",
        "--client-secret-env",
        "CLIENT_SECRET",
    ];
    for (arguments, flag) in [
        (vec!["--exchange-listen", "0.0.0.0:0"], "--exchange-listen"),
        (
            [&["--exchange-listen", "0.0.0.0:0"][..], &client].concat(),
            "--exchange-listen",
        ),
        (
            [&["--exchange-listen", "0.0.0.0:0"][..], &tls].concat(),
            "--exchange-listen",
        ),
        (vec!["--listen", "0.0.0.0:0"], "--listen"),
        (
            [&["--listen", "[::]:0"][..], &tls, &client].concat(),
            "--listen",
        ),
        (vec!["--exchange-listen", "off"], "--exchange-listen"),
        (
            vec!["--client-id", "x", "--client-secret-env", "NOT_SET"],
            "--client-secret-env",
        ),
        (vec!["--tls-cert", &key, "--tls-key", &key], "--tls-cert"),
    ] {
        let mut all = vec!["--config", &config, "--admin", "off"];
        all.extend(&arguments);
        let output = command(&all).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {log}");
        assert!(
            log.contains(&format!("ERROR config: {flag}")),
            "{arguments:?}: {log}"
        );
    }
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes() {
    let bed = Bed::new().await;
    put(
        &mut bed.redis.connect().await,
        "S",
        "github",
        &row("github", |_| {}),
    )
    .await;
    let socket = bed.directory.path().join("token.sock");
    let address = format!("unix:{}", socket.display());
    // One that a crash left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut service = bed.service(&["--exchange-listen", &address]).await;
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={}\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=github",
        bed.token("S")
    );
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut curl = Command::new("curl");
        curl.args(["-s", version, "--unix-socket", socket.to_str().unwrap()])
            .args(["-d", &form, "http://localhost/token"]);
        let output = tokio::task::spawn_blocking(move || curl.output().expect("curl"))
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            answer.contains("\"access_token\":\"github-at\""),
            "{version}: {answer}"
        );
    }
    service.signal("-TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let bed = Bed::new().await;
    let service = bed.service(&[]).await;
    let config = bed.config().display().to_string();
    let taken = format!("127.0.0.1:{}", service.token_port);
    let output = command(&[
        "--config",
        &config,
        "--exchange-listen",
        &taken,
        "--admin",
        "off",
    ])
    .output()
    .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&taken), "{log}");
}

/// Waits until nobody gets in any more.
async fn until_closed(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "{port} is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn sigterm_finishes_what_is_under_way() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    bed.provider.script("rt", [Script::Held(3600, true)]);
    let mut service = bed.service(&["--refresh-wait", "100ms"]).await;
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_eq!(answer.status, 503);
    service.signal("-TERM");
    until_closed(service.token_port).await;
    bed.provider.release();
    assert_eq!(service.ended().await.code(), Some(0), "{}", service.log());
    let row = get(&mut redis, "S", "github").await.unwrap();
    assert_eq!(
        row["refresh_token"], "issued-rt-1",
        "the rotated token was kept"
    );
}

#[tokio::test]
async fn sigterm_answers_who_waits_and_lets_nobody_in() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    bed.provider.script("rt", [Script::Held(3600, true)]);
    let mut service = bed.service(&["--refresh-wait", "60s"]).await;
    let token = bed.token("S");
    let ports = [service.token_port, service.check_port];
    let is_answered = std::cell::Cell::new(false);
    let asked = async {
        let answer = service.ask(&token, "github", &[]).await;
        is_answered.set(true);
        answer
    };
    let ending = async {
        bed.provider.until_asked("rt").await;
        service.signal("-TERM");
        for port in ports {
            until_closed(port).await;
        }
        // With the process they would close as well.
        assert!(!is_answered.get(), "a port was open until the answer");
        bed.provider.release();
    };
    let (answer, ()) = tokio::join!(asked, ending);
    assert_eq!(answer.token(), "issued-at-1");
    assert_eq!(service.ended().await.code(), Some(0), "{}", service.log());
}

#[tokio::test]
async fn log_lines_can_be_json() {
    let bed = Bed::new().await;
    let service = bed.service(&["--log-format", "json"]).await;
    service.ask("garbage", "github", &[]).await;
    let log = service.log();
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(
            record["time"].is_string() && record["level"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn sessions_from_a_file_need_no_store() {
    let bed = Bed::new().await;
    let sessions = json!({
        "issuer": crate::bed::service::ISSUER,
        "sessions": {"DEMO": {"github": "gho_demo", "corp": {"access_token": "c", "id_token": "i"},
            // As ToolHive writes it, and two that it has not.
            "linear": {
                "provider_id": "linear", "access_token": "l", "refresh_token": "r", "id_token": "",
                "expires_at": null, "session_expires_at": 4_102_444_800_u64, "user_id": "u",
                "upstream_subject": "u", "client_id": "c",
            },
            "gone": null,
        }},
    });
    let sessions = bed.directory.write("sessions.yaml", &sessions.to_string());
    let jwks = bed.provider.url("/jwks.json");
    let service = Service::start(&[
        "--sessions",
        sessions.to_str().unwrap(),
        "--jwks-url",
        &jwks,
    ])
    .await;
    assert_eq!(
        service.ask(&bed.token("DEMO"), "github", &[]).await.token(),
        "gho_demo"
    );
    assert_eq!(
        service.ask(&bed.token("DEMO"), "corp", &[]).await.token(),
        "c"
    );
    assert_eq!(
        service.ask(&bed.token("DEMO"), "linear", &[]).await.token(),
        "l"
    );
    let answer = service.ask(&bed.token("NOBODY"), "corp", &[]).await;
    assert_eq!(answer.error(), "upstream_token_not_found");
    assert_eq!(service.admin("/readyz").await.unwrap().0, 200);
}

#[tokio::test]
async fn no_proxy_stands_between_processes_of_one_machine() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    let config = bed.config().display().to_string();
    let jwks = bed.provider.url("/jwks.json");
    let nobody = "http://127.0.0.1:1";
    let service = Service::spawn(
        &["--config", &config, "--jwks-url", &jwks],
        &[
            ("HTTP_PROXY", nobody),
            ("http_proxy", nobody),
            ("ALL_PROXY", nobody),
        ],
    );
    service.wait_until_it_serves().await;
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_eq!(answer.token(), "issued-at-1");
}

#[tokio::test]
async fn whoever_says_nothing_keeps_nothing_open() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S1", "github", &row("github", |_| {})).await;
    let service = bed.service(&[]).await;
    let head = "POST /token HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    let health = "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
                  content-type: application/grpc\r\n\r\n\0";
    let said = [
        (service.token_port, String::new()),
        (service.token_port, "P".to_owned()),
        (service.token_port, "PRI * HTTP/2.0\r\n".to_owned()),
        (service.token_port, format!("{head}grant_type=")),
        (service.check_port, health.to_owned()),
    ];
    let heard = said.iter().map(async |(port, said)| {
        let address = ("127.0.0.1", *port);
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = String::new();
        let end = stream.read_to_string(&mut heard);
        let ended = tokio::time::timeout(Duration::from_secs(60), end).await;
        ended
            .unwrap_or_else(|_| panic!("{said:?} is still open"))
            .unwrap();
        heard
    });
    let asked = async {
        let token = bed.token("S1");
        assert_eq!(service.ask(&token, "github", &[]).await.status, 200);
    };
    let (heard, ()) = tokio::join!(futures_util::future::join_all(heard), asked);
    assert_eq!(heard[..3], [""; 3]);
    assert!(heard[3].starts_with("HTTP/1.1 400 "), "{}", heard[3]);
    assert!(heard[4].contains("grpc-status: 13\r\n"), "{}", heard[4]);
}
