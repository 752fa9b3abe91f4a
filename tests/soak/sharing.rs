//! One exchange for the whole Envoy, again and again: each time as many users as never came before send
//! requests to four workers, each on a connection of its own, and the STS may see one call of each user.

use std::collections::{BTreeSet, HashSet};
use std::io::{IsTerminal, Write};

use bed::{Bed, PluginConfig, Reply, Request, canary};
use serde_json::json;

const WORKERS: u32 = 4;
const USERS: usize = 40;
/// Requests of each user.
const ROUNDS: usize = 25;
const BACKEND: &str = "exchange";

/// So many runs, up to the first that costs another number of calls; the flaws of that one.
pub async fn again_and_again(runs: usize) -> Vec<String> {
    let bed = start().await;
    for run in 0..runs {
        if let Err(flaw) = once(&bed, run).await {
            return vec![format!("run {} of {runs}: {flaw}", run + 1)];
        }
        let said = format!(
            "{} of {runs} runs: {} requests of {USERS} users on {WORKERS} workers cost {USERS} calls",
            run + 1,
            USERS * ROUNDS
        );
        // On a terminal one line is enough.
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{said}");
            // A progress line that cannot be written is no reason to stop.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{said}");
        }
    }
    eprintln!();
    shared_between_workers(&bed)
        .await
        .err()
        .into_iter()
        .collect()
}

async fn start() -> Bed {
    let configuration = json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {BACKEND: {"type": "token_exchange", "tokenExchange": {
            "tokenUrl": "http://localhost:9/token",
            "cluster": "sts",
            "subjectProviderName": "corp",
            // What is tried here takes as long as the machine is busy.
            "timeout": "60s",
        }}}},
    });
    Bed::with("soak-sharing", PluginConfig::Json(configuration))
        .concurrency(WORKERS)
        .backend(BACKEND)
        .options(|options| {
            options.component_log_level = "wasm:warning,main:warning".to_owned();
        })
        .start()
        .await
}

async fn once(bed: &Bed, run: usize) -> Result<(), String> {
    bed.sts.forget();
    bed.backend(BACKEND).forget();
    let users: Vec<String> = (0..USERS)
        .map(|user| {
            let name = format!("user-{run}-{user}");
            bed.login(&name, json!({"corp": canary::token("corp_", &name)}))
        })
        .collect();
    let mut tokens = vec![BTreeSet::new(); USERS];
    for round in 0..ROUNDS {
        let path = format!("/{BACKEND}/{round}");
        let requests: Vec<_> = users
            .iter()
            .map(|jwt| {
                let (client, request) = (bed.http1(), Request::get(&path).bearer(jwt));
                tokio::spawn(async move { client.try_send(request).await })
            })
            .collect();
        for (of_user, request) in tokens.iter_mut().zip(requests) {
            let answered = request.await.map_err(|error| error.to_string())?;
            let reply = answered.map_err(|error| error.to_string())?;
            of_user.insert(credential(&reply)?);
        }
    }
    let calls = bed.sts.calls();
    if calls != USERS {
        return Err(format!("{calls} calls instead of {USERS}"));
    }
    let all: HashSet<&String> = tokens.iter().flatten().collect();
    if all.len() != USERS || tokens.iter().any(|of_user| of_user.len() != 1) {
        return Err("a user was served with more than one token, or with another's".to_owned());
    }
    Ok(())
}

/// What the backend saw.
fn credential(reply: &Reply) -> Result<String, String> {
    match &reply.seen("authorization")[..] {
        [one] if reply.status == 200 => Ok(one.clone()),
        _ => Err(format!("{}: {}", reply.status, reply.text())),
    }
}

/// All of it would hold of one worker that gets everything.
async fn shared_between_workers(bed: &Bed) -> Result<(), String> {
    let name = format!("wasmcustom.upstream_inject.sts.{BACKEND}.shared");
    bed::wait_for("a token to be another worker's", || async {
        (bed.envoy.stat(&name).await > 0).then_some(())
    })
    .await
}
