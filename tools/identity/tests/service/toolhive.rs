//! ToolHive's own code as the judge: what it writes is served, what we write it reads and refreshes.
//! Needs Go; without it these tests say that they were left out, unless REQUIRE_GO=1.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bed::service::{Bed, run_config, standalone};
use crate::bed::session::{expired, get, now, row};

/// The Go program, built once; `None` without Go.
fn program() -> Option<PathBuf> {
    static BUILT: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    let mut places = ["go", "/usr/local/go/bin/go"].into_iter();
    if !places.any(|go| Command::new(go).arg("version").output().is_ok()) {
        assert_ne!(
            std::env::var("REQUIRE_GO").as_deref(),
            Ok("1"),
            "REQUIRE_GO=1, and there is no go"
        );
        eprintln!("LEFT OUT: no go on the PATH, so ToolHive's own code judges nothing here");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/toolhive/build.sh");
    let built = Command::new("bash").arg(script).output().expect("bash");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "it does not build:\n{said}");
    let printed = String::from_utf8_lossy(&built.stdout);
    printed.lines().last().map(PathBuf::from)
}

struct Judge {
    program: PathBuf,
    config: PathBuf,
}

impl Judge {
    /// ToolHive's code over the same store; of the providers only the one that needs no discovery.
    fn new(bed: &Bed) -> Option<Self> {
        let program = program()?;
        let mut config = run_config(&bed.provider, &standalone(&bed.redis));
        let upstreams = config["upstreams"].as_array_mut().unwrap();
        upstreams.remove(0);
        let oauth2 = &mut upstreams[0]["oauth2_config"];
        oauth2["allow_private_ips"] = json!(true);
        oauth2["insecure_allow_http"] = json!(true);
        oauth2["userinfo"] = json!({"endpoint_url": bed.provider.url("/user")});
        let config = bed.directory.write("toolhive.json", &config.to_string());
        Some(Self { program, config })
    }

    async fn run(&self, verb: &'static str, session: &str, input: Value) -> Value {
        let mut command = Command::new(&self.program);
        command
            .arg(verb)
            .arg(&self.config)
            .arg(session)
            .env("GITHUB_SECRET", "github secret")
            .env("REDIS_PASSWORD", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the Go program");
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.to_string().as_bytes())
                .unwrap();
            child.wait_with_output().unwrap()
        })
        .await
        .unwrap();
        assert!(
            output.status.success(),
            "{verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

#[tokio::test]
async fn rows_that_toolhives_code_wrote_are_served_and_refreshed() {
    let bed = Bed::new().await;
    let Some(toolhive) = Judge::new(&bed) else {
        return;
    };
    let good = row("github", |_| {});
    let forever = row("github", |row| row["expires_at"] = json!(0));
    let old = expired("github", "rt & <more>");
    toolhive.run("store", "GOOD", json!([good])).await;
    toolhive.run("store", "FOREVER", json!([forever])).await;
    toolhive.run("store", "OLD", json!([old])).await;
    let service = bed.service(&[]).await;
    for session in ["GOOD", "FOREVER"] {
        let answer = service.ask(&bed.token(session), "github", &[]).await;
        assert_eq!(answer.token(), "github-at");
    }
    let answer = service.ask(&bed.token("OLD"), "github", &[]).await;
    assert_eq!(answer.token(), "issued-at-1");
    assert_eq!(bed.provider.times("rt & <more>"), 1);
}

#[tokio::test]
async fn rows_that_we_wrote_are_read_and_refreshed_by_toolhives_code() {
    let bed = Bed::new().await;
    let Some(toolhive) = Judge::new(&bed) else {
        return;
    };
    let mut redis = bed.redis.connect().await;
    // A token of ours that ends at once, so that ToolHive must refresh it.
    bed.provider
        .script("rt", [crate::bed::provider::Script::Issue(3, true, None)]);
    toolhive
        .run("store", "S", json!([expired("github", "rt")]))
        .await;
    let service = bed.service(&[]).await;
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_eq!(answer.token(), "issued-at-1");
    let ours = get(&mut redis, "S", "github").await.unwrap();

    let found = toolhive.run("tokens", "S", Value::Null).await;
    let ended = now() >= ours["expires_at"].as_i64().unwrap();
    assert!(found["failed"].is_null(), "{found}");
    if !ended {
        assert_eq!(found["github"]["access_token"], "issued-at-1", "read");
    }
    let wait = ours["expires_at"].as_i64().unwrap() + 1 - now();
    tokio::time::sleep(std::time::Duration::from_secs(wait.max(0).unsigned_abs())).await;
    let found = toolhive.run("tokens", "S", Value::Null).await;
    assert!(found["failed"].is_null(), "{found}");
    assert_eq!(found["github"]["access_token"], "issued-at-2", "refreshed");
    assert_eq!(bed.provider.times("issued-rt-1"), 1);

    // Apart from the tokens and their times it is the same row, byte for byte.
    let theirs = get(&mut redis, "S", "github").await.unwrap();
    let text = |row: &Value| {
        let mut row = row.clone();
        for name in ["access_token", "refresh_token", "expires_at"] {
            row[name] = Value::Null;
        }
        row.to_string()
    };
    assert_eq!(text(&ours), text(&theirs));
    let answer = service.ask(&bed.token("S"), "github", &[]).await;
    assert_eq!(answer.token(), "issued-at-2", "and back");
}
