//! The STS cluster that is rendered trusts the right certificate for the right host, and no other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bed::{Echo, EmbeddedAs, Envoy, EnvoyOptions, Request, Sts};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::{neighbours, render, send, start};
use crate::trial::trials;

trials!("rendered_tls":
    an_sts_with_the_right_certificate_is_asked,
    an_sts_with_a_certificate_for_another_host_is_not,
    an_sts_with_a_certificate_from_another_authority_is_not,
);

/// A certificate authority that exists as long as the test does, and the file that clients trust.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    pub(super) fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let subject = format!("authority {count} of a test");
        params.distinguished_name.push(DnType::CommonName, subject);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let name = format!("ca-{}-{count}.pem", std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&file, certificate.pem()).expect("writable");
        Self {
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// The authority's own certificate.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// A certificate for a host, and its key, as Envoy takes them.
    fn certificate(&self, host: &str) -> Value {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([host.to_owned()]).expect("a host name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        json!({
            "certificate_chain": {"inline_string": certificate.pem()},
            "private_key": {"inline_string": key.serialize_pem()},
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// An Envoy that speaks TLS in front of the STS, and serves only who names `localhost` (SNI).
async fn terminate(name: &str, certificate: Value, sts: SocketAddr) -> (Envoy, SocketAddr) {
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [certificate]},
        },
    });
    let config = json!({
        "admin": {"address": socket_address("127.0.0.1", 0)},
        "static_resources": {
            "listeners": [{
                "name": "tls",
                "address": socket_address("127.0.0.1", 0),
                "listener_filters": [{
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
                }],
                "filter_chains": [{
                    "filter_chain_match": {"server_names": ["localhost"]},
                    "transport_socket": tls,
                    "filters": [{
                        "name": "envoy.filters.network.tcp_proxy",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                            "stat_prefix": "sts",
                            "cluster": "sts",
                        },
                    }],
                }],
            }],
            "clusters": [{
                "name": "sts",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "sts", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": socket_address("127.0.0.1", sts.port())}},
                ]}]},
            }],
        },
    });
    let envoy = Envoy::start(EnvoyOptions::new(name, config.to_string()))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let address = envoy.listener("tls").await;
    (envoy, address)
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

/// What became of a request whose token is to be exchanged.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    calls: usize,
    /// Certificates that were refused: for their host, or for who signed them.
    wrong_host: u64,
    wrong_authority: u64,
}

/// A user asks a backend whose STS shows a certificate of `shown` for `host`, while the gateway
/// trusts `trusted`.
async fn exchange(name: &str, shown: &Authority, host: &str, trusted: &Authority) -> Outcome {
    let embedded_as = EmbeddedAs::start().await.expect("a free port");
    let sts = Sts::start().await.expect("a free port");
    let echo = Echo::start("api").await.expect("a free port");
    let certificate = shown.certificate(host);
    let (_front, address) = terminate(&format!("{name}-sts"), certificate, sts.address()).await;
    let configuration = format!(
        "outgoingAuth:\n  backends:\n    api:\n      type: token_exchange\n      tokenExchange: \
         {{cluster: sts, tokenUrl: \"https://localhost:{}/token\"}}\n",
        address.port()
    );
    let mut arguments = neighbours(&embedded_as, &[("api", echo.address())]);
    arguments.push(format!("--ca-file={}", trusted.file().display()));
    let (envoy, client) = start(name, render("envoy", &configuration, &arguments), &[]).await;
    let jwt = embedded_as.login("tls", json!({}));
    let reply = send(&client, || Request::get("/api/").bearer(&jwt)).await;
    if reply.status == 200 {
        let seen = reply.seen("authorization").concat();
        assert!(
            seen.starts_with("Bearer ") && !seen.contains(&jwt),
            "{seen}"
        );
    }
    Outcome {
        status: reply.status,
        calls: sts.calls(),
        wrong_host: envoy.stat("cluster.sts.ssl.fail_verify_san").await,
        wrong_authority: envoy.stat("cluster.sts.ssl.fail_verify_error").await,
    }
}

async fn an_sts_with_the_right_certificate_is_asked() {
    let authority = Authority::new();
    let outcome = exchange("tls-right", &authority, "localhost", &authority).await;
    let asked = Outcome {
        status: 200,
        calls: 1,
        wrong_host: 0,
        wrong_authority: 0,
    };
    assert_eq!(outcome, asked);
}

async fn an_sts_with_a_certificate_for_another_host_is_not() {
    let authority = Authority::new();
    let outcome = exchange(
        "tls-other-host",
        &authority,
        "other.example.com",
        &authority,
    )
    .await;
    let refused = Outcome {
        status: 503,
        calls: 0,
        wrong_host: 1,
        wrong_authority: 0,
    };
    assert_eq!(outcome, refused);
}

async fn an_sts_with_a_certificate_from_another_authority_is_not() {
    let outcome = exchange(
        "tls-other-ca",
        &Authority::new(),
        "localhost",
        &Authority::new(),
    )
    .await;
    let refused = Outcome {
        status: 503,
        calls: 0,
        wrong_host: 0,
        wrong_authority: 1,
    };
    assert_eq!(outcome, refused);
}
