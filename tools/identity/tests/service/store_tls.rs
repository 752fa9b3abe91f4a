//! TLS towards the store: whoever answers must be who it says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::authority::Authority;
use crate::bed::redis::free_port;
use crate::bed::service::{Bed, Directory, Service, run_config, standalone};
use crate::bed::session::{expired, get, put};

#[tokio::test]
async fn over_tls_the_store_must_be_the_one_that_the_authority_vouches_for() {
    let files = Directory::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.issue();
    let write = |name: &str, text: &str| files.write(name, text).display().to_string();
    let (ca, cert, key) = (
        write("ca.pem", &authority.pem()),
        write("cert.pem", &cert),
        write("key.pem", &key),
    );
    let other = write("other.pem", &other.pem());
    let port = free_port().to_string();
    let bed = Bed::with_redis(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    let start = async |tls: Value| {
        let mut storage = standalone(&bed.redis);
        storage["redis_config"]["addr"] = json!(format!("127.0.0.1:{port}"));
        storage["redis_config"]["tls"] = tls;
        let config = run_config(&bed.provider, &storage).to_string();
        let config = bed.directory.write("authserver-config.yaml", &config);
        let jwks = bed.provider.url("/jwks.json");
        let config = config.display().to_string();
        Service::start(&["--config", &config, "--jwks-url", &jwks]).await
    };

    // The system's authorities do not know it, and the other one has not signed it.
    for tls in [json!({}), json!({"ca_cert_file": other})] {
        let service = start(tls).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !service
            .log()
            .contains("the session store cannot be reached")
        {
            assert!(Instant::now() < deadline, "{}", service.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = service.ask(&bed.token("S"), "github", &[]).await;
        assert_eq!(answer.error(), "temporarily_unavailable");
        assert_eq!(service.admin("/readyz").await.unwrap().0, 503);
    }
    for tls in [
        json!({"ca_cert_file": ca}),
        json!({"insecure_skip_verify": true}),
    ] {
        let service = start(tls).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = service.ask(&bed.token("S"), "github", &[]).await;
            if answer.status == 200 {
                assert_eq!(answer.token(), "issued-at-1");
                break;
            }
            assert!(Instant::now() < deadline, "{}", service.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let row = get(&mut redis, "S", "github").await.unwrap();
    assert_eq!(row["refresh_token"], "issued-rt-1");
}
