//! The configurations of `envoy/` in which the filter has no client secret: Envoy adds the
//! credential, or proves itself by a certificate, and takes a new one while it runs.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bed::scene::{Neighbours, Scene};
use bed::{Answer, Envoy, EnvoyOptions, Reply, Request, bootstrap, canary, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

use crate::exchange_lane::{assert_refused, exchanged};
use crate::trial::trials;

trials!(
    "exchange_credentials":
    the_injected_secret_reaches_the_sts_and_is_rotated_without_a_restart,
    without_an_injected_secret_nothing_leaves_for_the_sts,
    the_sts_knows_envoy_by_its_certificate_which_is_rotated_without_a_restart,
    an_sts_that_cannot_prove_itself_gets_no_token,
);

/// Starts one of the configurations in `envoy/` with these texts replaced: paths, and the STS's port
/// where it is another one.
async fn start(file: &str, neighbours: Neighbours, replaced: &[(String, String)]) -> Scene {
    let mut config = neighbours.configuration(file).expect("the file");
    for (from, to) in replaced {
        assert!(config.contains(from), "{file} has no {from}");
        config = config.replace(from, to);
    }
    let name = Path::new(file)
        .file_stem()
        .expect("a name")
        .to_string_lossy();
    Scene::with(EnvoyOptions::new(&name, config), neighbours)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A request of a user that no request was sent for before.
async fn get(scene: &Scene) -> Reply {
    static USERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let user = USERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let subject = canary::token("corp_", &format!("credentials-{user}"));
    let tokens = json!({"upstream_tokens": {"corporate-idp": subject}});
    let jwt = scene.neighbours.embedded_as.login("somebody", tokens);
    let request = Request::get("/corporate-api/x").bearer(&jwt);
    scene.client().send(request).await
}

/// Moves a new version of a file to its place, which is how Envoy notices it.
fn put(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("a writable directory");
    std::fs::rename(&draft, path).expect("a writable directory");
}

/// A Basic credential as `envoy/sds/sts-client-secret.yaml` has it.
fn basic(secret: &str) -> String {
    let credentials = format!("envoy:{}", canary::token("", secret));
    format!("Basic {}", STANDARD.encode(credentials))
}

/// The shipped SDS file with another credential in it.
fn secret_file(directory: &Path, credential: &str) -> PathBuf {
    let shipped = bed::repository().join("envoy/sds/sts-client-secret.yaml");
    let text = std::fs::read_to_string(shipped).expect("the file");
    let example = "Basic ZW52b3k6Y2hhbmdlLW1l";
    assert_eq!(text.matches(example).count(), 1);
    let path = directory.join("sts-client-secret.yaml");
    put(&path, &text.replace(example, credential));
    path
}

fn at(directory: &Path) -> [(String, String); 1] {
    [("envoy/sds".to_owned(), directory.display().to_string())]
}

/// Lets the STS accept this credential alone.
fn accept_only(neighbours: &Neighbours, credential: &str) {
    let credential = credential.to_owned();
    neighbours.sts.set_script(move |request| {
        if request.header("authorization") == credential {
            Answer::token_for(request)
        } else {
            Answer::error(401, "invalid_client")
        }
    });
}

async fn the_injected_secret_reaches_the_sts_and_is_rotated_without_a_restart() {
    let directory = bed::scratch("injected").expect("a directory");
    let (first, second) = (basic("first"), basic("second"));
    secret_file(&directory, &first);
    let neighbours = Neighbours::start().await.expect("ports");
    accept_only(&neighbours, &first);
    let file = "envoy/sts-credential-injector.yaml";
    let scene = start(file, neighbours, &at(&directory)).await;
    exchanged(&get(&scene).await);
    let request = &scene.neighbours.sts.requests()[0];
    assert_eq!(request.header("authorization"), first);
    for parameter in ["client_id", "client_secret"] {
        assert_eq!(request.parameter(parameter), "", "{parameter}");
    }

    // The STS gets a new secret, and knows the old one no longer.
    accept_only(&scene.neighbours, &second);
    assert_refused(&get(&scene).await, 502, "token_exchange_misconfigured");
    secret_file(&directory, &second);
    eventually("the new secret to be used", || async {
        (get(&scene).await.status == 200).then_some(())
    })
    .await;
    exchanged(&get(&scene).await);
    let requests = scene.neighbours.sts.requests();
    assert_eq!(requests[requests.len() - 1].header("authorization"), second);
    assert_eq!(scene.envoy.stat("server.hot_restart_epoch").await, 0);
}

async fn without_an_injected_secret_nothing_leaves_for_the_sts() {
    let directory = bed::scratch("not-injected").expect("a directory");
    put(&directory.join("sts-client-secret.yaml"), "resources: []\n");
    let neighbours = Neighbours::start().await.expect("ports");
    let file = "envoy/sts-credential-injector.yaml";
    let scene = start(file, neighbours, &at(&directory)).await;
    assert_refused(&get(&scene).await, 503, "token_exchange_unavailable");
    assert_eq!(scene.neighbours.sts.calls(), 0);
    secret_file(&directory, &basic("late"));
    eventually("the secret to be used", || async {
        (get(&scene).await.status == 200).then_some(())
    })
    .await;
}

/// A certificate authority, and what it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a certificate"))
    }

    /// Writes `<name>.crt` and `<name>.key` for this host name or common name.
    fn sign(&self, directory: &Path, name: &str, common_name: &str) {
        let mut parameters =
            CertificateParams::new(vec![common_name.to_owned()]).expect("a host name");
        parameters
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        // The certificate first: Envoy looks at both when either has moved, and takes a pair only.
        put(&directory.join(format!("{name}.crt")), &certificate.pem());
        put(&directory.join(format!("{name}.key")), &key.serialize_pem());
    }

    fn publish(&self, path: &Path) {
        put(path, &self.0.pem());
    }
}

/// An Envoy that makes the scripted STS a TLS server: it asks for a client certificate and tells the
/// STS whose it was in `x-forwarded-client-cert`.
async fn tls_before(neighbours: &Neighbours, directory: &Path, clients: &Path) -> Envoy {
    let sts = bootstrap::cluster("scripted", neighbours.sts.address(), false, &[]);
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "scripted"}});
    let mut listener = bootstrap::listener(&[bootstrap::router()], &[route]);
    let chain = &mut listener["filter_chains"][0];
    chain["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": directory.join("server.crt")},
                    "private_key": {"filename": directory.join("server.key")},
                }],
                "validation_context": {"trusted_ca": {"filename": clients}},
            },
        },
    });
    let manager = &mut chain["filters"][0]["typed_config"];
    manager["forward_client_cert_details"] = json!("SANITIZE_SET");
    manager["set_current_client_cert_details"] = json!({"subject": true});
    // A connection for each request, so that a new certificate is seen with the next one.
    manager["common_http_protocol_options"]["max_requests_per_connection"] = json!(1);
    let config = bootstrap::bootstrap_of(&[listener], &[sts]).to_string();
    Envoy::start(EnvoyOptions::new("exchange-tls", config))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The scene of `envoy/sts-mtls.yaml` with an STS whose certificate is for `server_name`, signed by
/// `authority`; Envoy trusts `trusted`, and so does the STS.
async fn mutual(
    directory: &Path,
    authority: &Authority,
    trusted: &Authority,
    server_name: &str,
) -> (Scene, Envoy) {
    let neighbours = Neighbours::start().await.expect("ports");
    let client = directory.join("client");
    std::fs::create_dir_all(&client).expect("a writable directory");
    trusted.publish(&client.join("ca.crt"));
    trusted.sign(&client, "tls", "envoy.example.com");
    authority.sign(directory, "server", server_name);
    let tls = tls_before(&neighbours, directory, &client.join("ca.crt")).await;

    let moved = [("/etc/envoy/sts".to_owned(), client.display().to_string())];
    let shipped = bed::repository().join("envoy/sds/sts-client-certificate.yaml");
    let sds = std::fs::read_to_string(shipped).expect("the file");
    let sds = sds.replace(&moved[0].0, &moved[0].1);
    put(&directory.join("sts-client-certificate.yaml"), &sds);
    let port = |address: std::net::SocketAddr| format!("port_value: {}}}", address.port());
    let mut replaced = moved.to_vec();
    replaced.extend(at(directory));
    replaced.push((
        port(neighbours.sts.address()),
        port(tls.listener("main").await),
    ));
    (
        start("envoy/sts-mtls.yaml", neighbours, &replaced).await,
        tls,
    )
}

async fn the_sts_knows_envoy_by_its_certificate_which_is_rotated_without_a_restart() {
    let directory = bed::scratch("mutual").expect("a directory");
    let authority = Authority::new();
    let (scene, _tls) = mutual(&directory, &authority, &authority, "corp-sts.example.com").await;
    exchanged(&get(&scene).await);
    let request = &scene.neighbours.sts.requests()[0];
    let subject = request.header("x-forwarded-client-cert");
    assert!(subject.contains("CN=envoy.example.com"), "{subject}");
    assert_eq!(request.parameter("client_id"), "envoy");
    assert_eq!(request.header("host"), "corp-sts.example.com");
    assert_eq!(request.parameter("client_secret"), "");
    assert_eq!(request.header("authorization"), "");

    authority.sign(&directory.join("client"), "tls", "envoy-2.example.com");
    eventually("the new certificate to be used", || async {
        exchanged(&get(&scene).await);
        let requests = scene.neighbours.sts.requests();
        let last = requests[requests.len() - 1].header("x-forwarded-client-cert");
        last.contains("CN=envoy-2.example.com").then_some(())
    })
    .await;
}

async fn an_sts_that_cannot_prove_itself_gets_no_token() {
    let trusted = Authority::new();
    for (case, authority, name) in [
        ("stranger", &Authority::new(), "corp-sts.example.com"),
        ("other-name", &trusted, "other.example.com"),
    ] {
        let directory = bed::scratch(case).expect("a directory");
        let (scene, _tls) = mutual(&directory, authority, &trusted, name).await;
        assert_refused(&get(&scene).await, 503, "token_exchange_unavailable");
        assert_eq!(scene.neighbours.sts.requests().len(), 0, "{case}");
        let backend = &scene.neighbours.backends[2];
        assert!(backend.requests().is_empty(), "{case}");
        let failures = scene.envoy.stats("ssl.fail_verify").await;
        assert!(
            failures.iter().any(|(_, count)| *count > 0),
            "{case}: {failures:?}"
        );
    }
}
