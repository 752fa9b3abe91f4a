//! Stores that refuse, stop, restart, fail over, lose everything.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::redis::Redis;
use crate::bed::service::{Bed, Service, run_config, standalone};
use crate::bed::session::{PREFIX, expired, get, put, row, run};

async fn until_status(service: &Service, token: &str, status: u16) {
    // A Sentinel that finds that its machine has stood still does nothing for thirty seconds.
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let answer = service.ask(token, "github", &[]).await;
        if answer.status == status {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{} {}",
            answer.status,
            answer.body
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_store_that_stops_fails_closed_and_comes_back_by_itself() {
    let mut bed = Bed::with_redis(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    put(
        &mut bed.redis.connect().await,
        "S",
        "github",
        &row("github", |_| {}),
    )
    .await;
    let service = bed.service(&[]).await;
    let token = bed.token("S");
    let mut client = client(service.check_port).await;
    assert_eq!(service.ask(&token, "github", &[]).await.status, 200);
    assert_eq!(service.admin("/readyz").await.unwrap().0, 200);

    bed.redis.kill();
    let began = Instant::now();
    let answer = service.ask(&token, "github", &[]).await;
    assert_eq!(
        (answer.status, answer.error()),
        (503, "temporarily_unavailable")
    );
    assert!(answer.headers.contains_key("retry-after"));
    let verdict = check(&mut client, &Check::of(bed.claims("S", 600))).await;
    assert!(
        matches!(verdict, Verdict::Failed(tonic::Code::Unavailable, _)),
        "{verdict:?}"
    );
    // Nobody waits for the ten seconds that a call may take here.
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(service.admin("/readyz").await.unwrap().0, 503);
    assert_eq!(service.admin("/healthz").await.unwrap().0, 200);

    bed.redis.begin();
    bed.redis.wait().await;
    until_status(&service, &token, 200).await;
}

#[tokio::test]
async fn a_slow_store_is_not_waited_for() {
    let bed = Bed::new().await;
    put(
        &mut bed.redis.connect().await,
        "S",
        "github",
        &row("github", |_| {}),
    )
    .await;
    let service = bed.service(&["--store-timeout", "300ms"]).await;
    let token = bed.token("S");
    until_status(&service, &token, 200).await;
    bed.redis.signal("-STOP");
    let mut took = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let answer = service.ask(&token, "github", &[]).await;
        assert_eq!(answer.error(), "temporarily_unavailable");
        took.push(began.elapsed());
    }
    // One or two of them may have met a machine that stood still.
    took.sort_unstable();
    assert!(took[2] < Duration::from_secs(2), "{took:?}");
    assert!(took[4] < Duration::from_secs(10), "{took:?}");
    bed.redis.signal("-CONT");
    until_status(&service, &token, 200).await;
}

#[tokio::test]
async fn a_store_that_forgets_everything_has_no_sessions() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &row("github", |_| {})).await;
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    assert_eq!(
        service.ask(&bed.token("S"), "github", &[]).await.status,
        200
    );
    run(&mut redis, &["FLUSHALL"]).await;
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_eq!(answer.error(), "upstream_token_not_found");
}

#[tokio::test]
async fn a_replica_is_read_but_loses_no_rotated_token() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    let service = bed.service(&[]).await;
    run(&mut redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_ne!(answer.status, 200, "no lock, no refresh");
    assert_eq!(bed.provider.times("rt"), 0);
    run(&mut redis, &["REPLICAOF", "NO", "ONE"]).await;
    until_status(&service, &bed.token("S"), 200).await;
    assert_eq!(bed.provider.times("rt"), 1);
}

#[tokio::test]
async fn the_three_forms_of_authentication() {
    let users = [
        "--user",
        "default",
        "on",
        ">password",
        "~*",
        "&*",
        "+@all",
        "--user",
        "thv",
        "on",
        ">acl password",
        "~thv:auth:*",
        "&*",
        "+@read",
        "+@write",
        "+@keyspace",
        "+@scripting",
        "+@transaction",
        "+@connection",
    ];
    let bed = Bed::with_redis(&users).await;
    let mut admin = bed.redis.connect().await;
    run(&mut admin, &["AUTH", "password"]).await;
    put(&mut admin, "S", "github", &expired("github", "rt")).await;
    let config = |acl: Value| {
        let mut storage = standalone(&bed.redis);
        storage["redis_config"]["acl_user_config"] = acl;
        let config = run_config(&bed.provider, &storage);
        bed.directory
            .write("authserver-config.yaml", &config.to_string())
            .display()
            .to_string()
    };
    let start = |config: &str, user: &str, password: &str| {
        let jwks = bed.provider.url("/jwks.json");
        Service::spawn(
            &["--config", config, "--jwks-url", &jwks],
            &[("REDIS_USER", user), ("REDIS_PASSWORD", password)],
        )
    };
    let with_user = json!({"username_env_var": "REDIS_USER", "password_env_var": "REDIS_PASSWORD"});
    let without = json!({"password_env_var": "REDIS_PASSWORD"});
    for (acl, user, password, status) in [
        (with_user.clone(), "thv", "acl password", 200),
        (without.clone(), "", "password", 200),
        (with_user, "thv", "wrong", 503),
        (without, "", "", 503),
    ] {
        let service = start(&config(acl), user, password);
        service.wait_until_it_serves().await;
        until_status(&service, &bed.token("S"), status).await;
        if status == 503 {
            let told =
                |log: &str| log.contains(" ERROR ") && log.contains("authentication refused");
            let deadline = Instant::now() + Duration::from_secs(20);
            while !told(&service.log()) {
                assert!(Instant::now() < deadline, "{}", service.log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(service.admin("/readyz").await.unwrap().0, 503);
        }
        let log = service.log();
        assert!(
            !log.contains("acl password") && !log.contains("wrong"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn a_cluster_serves_and_is_written() {
    let bed = Bed::with_redis(&["--cluster-enabled", "yes"]).await;
    let mut redis = bed.redis.connect().await;
    run(&mut redis, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let info: String = redis::cmd("CLUSTER")
            .arg("INFO")
            .query_async(&mut redis)
            .await
            .unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(Instant::now() < deadline, "{info}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    put(&mut redis, "S", "github", &expired("github", "rt")).await;
    put(&mut redis, "T", "github", &row("github", |_| {})).await;
    let mut storage = standalone(&bed.redis);
    storage["redis_config"]["cluster_mode"] = json!(true);
    let config = run_config(&bed.provider, &storage);
    let config = bed
        .directory
        .write("authserver-config.yaml", &config.to_string());
    let jwks = bed.provider.url("/jwks.json");
    let service = Service::start(&[
        "--config",
        &config.display().to_string(),
        "--jwks-url",
        &jwks,
    ])
    .await;
    until_status(&service, &bed.token("T"), 200).await;
    assert_eq!(
        service.ask(&bed.token("S"), "github", &[]).await.token(),
        "issued-at-1"
    );
    let row = get(&mut redis, "S", "github").await.unwrap();
    assert_eq!(row["refresh_token"], "issued-rt-1");
}

#[tokio::test]
async fn behind_sentinel_the_new_primary_is_found() {
    let mut bed = Bed::new().await;
    let primary = bed.redis.port.to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary]).await;
    put(
        &mut bed.redis.connect().await,
        "S",
        "github",
        &row("github", |_| {}),
    )
    .await;
    put(
        &mut bed.redis.connect().await,
        "T",
        "github",
        &expired("github", "rt"),
    )
    .await;
    let directory = bed.directory.path().join("sentinel.conf");
    std::fs::write(
        &directory,
        format!(
            "sentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 3000\nsentinel failover-timeout main 3000\n"
        ),
    )
    .unwrap();
    let sentinel = Sentinel::start(directory.to_str().unwrap()).await;
    sentinel.wait_for_replica().await;
    let storage = json!({"type": "redis", "redis_config": {
        "sentinel_config": {
            "master_name": "main", "sentinel_addrs": [format!("127.0.0.1:{}", sentinel.port)],
        },
        "auth_type": "aclUser",
        "acl_user_config": {"password_env_var": "REDIS_PASSWORD"}, "key_prefix": PREFIX,
    }});
    let config = run_config(&bed.provider, &storage);
    let config = bed
        .directory
        .write("authserver-config.yaml", &config.to_string());
    let jwks = bed.provider.url("/jwks.json");
    let service = Service::start(&[
        "--config",
        &config.display().to_string(),
        "--jwks-url",
        &jwks,
    ])
    .await;
    until_status(&service, &bed.token("S"), 200).await;

    // Everything has reached the replica.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut copy = replica.connect().await;
    while get(&mut copy, "T", "github").await.is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bed.redis.kill();
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_eq!(answer.error(), "temporarily_unavailable");
    until_status(&service, &bed.token("S"), 200).await;
    until_status(&service, &bed.token("T"), 200).await;
    assert_eq!(bed.provider.times("rt"), 1);
    let mut primary = replica.connect().await;
    let row = get(&mut primary, "T", "github").await.unwrap();
    assert_eq!(
        row["refresh_token"], "issued-rt-1",
        "written at the new primary"
    );
}

/// A Sentinel: redis-server in another role.
struct Sentinel {
    port: u16,
    child: std::process::Child,
}

impl Sentinel {
    async fn start(config: &str) -> Self {
        let port = crate::bed::redis::free_port();
        let child = std::process::Command::new("redis-server")
            .args([
                config,
                "--sentinel",
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
            ])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("redis-server (Debian: apt-get install redis-server)");
        Self { port, child }
    }

    async fn wait_for_replica(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(client) = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port))
                && let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && let Ok(redis::Value::Array(replicas)) = redis::cmd("SENTINEL")
                    .arg(&["REPLICAS", "main"])
                    .query_async::<redis::Value>(&mut connection)
                    .await
                && !replicas.is_empty()
            {
                return;
            }
            assert!(Instant::now() < deadline, "Sentinel sees no replica");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
