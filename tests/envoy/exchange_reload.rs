//! What lives on when Envoy gives the filter a new configuration, and what is left when its VM has
//! died.

use std::path::{Path, PathBuf};

use bed::{Answer, Bed, PluginConfig, Request, canary, eventually};
use serde_json::{Value, json};
use walrus::ir::BinaryOp;
use walrus::{ExportItem, FunctionBuilder, Module};

use crate::exchange_lane::{Lane, configuration, exchanged, lanes, patient_lanes};
use crate::trial::trials;

trials!(
    "exchange_reload":
    tokens_live_on_where_the_exchange_is_unchanged,
    a_new_secret_in_the_environment_makes_all_tokens_anew from 39,
    a_refused_configuration_leaves_the_old_one_at_work,
    a_trapped_vm_lets_nothing_through_and_comes_back,
    requests_that_wait_when_the_vm_traps_are_not_forwarded,
);

/// A request with as many header fields makes the altered filter trap, and so does an answer.
const TRIPWIRE: i32 = 60;

fn two_lanes(secret: Value) -> [(&'static str, Value); 2] {
    let mut changing = json!({"clientId": "envoy", "timeout": "60s"});
    for (key, value) in secret.as_object().into_iter().flatten() {
        changing[key] = value.clone();
    }
    [
        ("steady", json!({"audience": "steady", "timeout": "60s"})),
        ("changing", changing),
    ]
}

fn inline(secret: &str) -> [(&'static str, Value); 2] {
    two_lanes(json!({"clientSecret": canary::token("", secret)}))
}

fn plugin(lanes: &[(&str, Value)], rest: Value) -> PluginConfig {
    PluginConfig::Json(configuration(lanes, rest))
}

/// Sends requests of both lanes until those of `changing` have an answer that `is_new`. A new
/// listener takes over a moment after Envoy has accepted it.
async fn until_new(bed: &Bed, jwts: [&str; 2], is_new: impl Fn(&str) -> bool) -> String {
    let changing = Lane::of(bed, "changing");
    let token = eventually("the new configuration to be at work", || async {
        let token = changing.get_ok(jwts[1], "x").await;
        is_new(&token).then_some(token)
    })
    .await;
    Lane::of(bed, "steady").get_ok(jwts[0], "x").await;
    token
}

async fn tokens_live_on_where_the_exchange_is_unchanged() {
    let bed = lanes("reload", &inline("first"), json!({}))
        .reloadable()
        .start()
        .await;
    let (steady, changing) = (Lane::of(&bed, "steady"), Lane::of(&bed, "changing"));
    let (one, other) = (steady.login("alice"), changing.login("alice"));
    let kept = steady.get_ok(&one, "x").await;
    let old = changing.get_ok(&other, "x").await;

    assert!(
        bed.reconfigure(plugin(&inline("second"), json!({})), &[])
            .await
    );
    let new = until_new(&bed, [&one, &other], |token| token != old).await;
    assert_eq!(steady.get_ok(&one, "y").await, kept);
    assert_eq!(steady.sts().calls(), 1, "a token was thrown away");
    assert_eq!(changing.sts().calls(), 2);
    let authorization = |call: usize| changing.sts().requests()[call].header("authorization");
    assert_ne!(
        authorization(0),
        authorization(1),
        "the new secret was not used"
    );

    // A third configuration, whose backends come in another order and whose cache is smaller.
    let [steady_lane, changing_lane] = inline("second");
    let turned = [
        ("new", json!({"cluster": "sts-steady"})),
        changing_lane,
        steady_lane,
    ];
    let turned = plugin(
        &turned,
        json!({"tokenCache": {"maxTtl": "30m"}, "challenge": {"realm": "third"}}),
    );
    assert!(bed.reconfigure(turned, &[]).await);
    eventually("the third configuration to be at work", || async {
        let refused = steady.get(&bed.login("nobody", json!({})), "x").await;
        let challenge = refused.header("www-authenticate");
        challenge.contains("realm=\"third\"").then_some(())
    })
    .await;
    assert_eq!(steady.get_ok(&one, "z").await, kept);
    assert_eq!(changing.get_ok(&other, "z").await, new);
    assert_eq!((steady.sts().calls(), changing.sts().calls()), (1, 2));
}

async fn a_new_secret_in_the_environment_makes_all_tokens_anew() {
    let of_environment = two_lanes(json!({"clientSecretEnv": "SECRET"}));
    let first = canary::token("", "first");
    let second = canary::token("", "second");
    let bed = lanes("reload-environment", &of_environment, json!({}))
        .environment("SECRET", &first)
        .reloadable()
        .start()
        .await;
    let (steady, changing) = (Lane::of(&bed, "steady"), Lane::of(&bed, "changing"));
    let (one, other) = (steady.login("alice"), changing.login("alice"));
    steady.get_ok(&one, "x").await;
    let old = changing.get_ok(&other, "x").await;

    let same = plugin(&of_environment, json!({}));
    assert!(bed.reconfigure(same, &[("SECRET", &second)]).await);
    until_new(&bed, [&one, &other], |token| token != old).await;
    assert_eq!(changing.sts().calls(), 2);
    let authorization = |call: usize| changing.sts().requests()[call].header("authorization");
    assert_ne!(
        authorization(0),
        authorization(1),
        "the new secret was not used"
    );
}

async fn a_refused_configuration_leaves_the_old_one_at_work() {
    let bed = lanes("reload-refused", &inline("first"), json!({}))
        .reloadable()
        .start()
        .await;
    let steady = Lane::of(&bed, "steady");
    let jwt = steady.login("alice");
    let token = steady.get_ok(&jwt, "x").await;
    let wrong = [("steady", json!({"subjectProviderName": "nobody"}))];
    assert!(
        !bed.reconfigure(plugin(&wrong, json!({})), &[]).await,
        "accepted"
    );
    let line = "config: outgoingAuth.backends.steady.tokenExchange.subjectProviderName: V-02:";
    assert!(
        bed.envoy.log().contains(line),
        "the error is not in the log"
    );
    for _ in 0..5 {
        assert_eq!(steady.get_ok(&jwt, "y").await, token);
    }
    assert_eq!(steady.sts().calls(), 1);
}

/// The artifact with one thing added: it traps where a request, or the answer to a call, has
/// [`TRIPWIRE`] header fields or more. The artifact itself has no input that is known to trap it.
pub fn with_tripwire(name: &str) -> PathBuf {
    let mut module = Module::from_file(bed::artifact()).expect("the artifact");
    trip(&mut module, "proxy_on_request_headers", 1);
    trip(&mut module, "proxy_on_http_call_response", 2);
    let path = bed::scratch(name)
        .expect("a directory")
        .join("tripwire.wasm");
    module.emit_wasm_file(&path).expect("a writable directory");
    Path::new(&path).to_owned()
}

/// Puts a check of its `fields`-th parameter before an exported function.
fn trip(module: &mut Module, name: &str, fields: usize) {
    let export = module.exports.iter().find(|export| export.name == name);
    let (id, function) = match export.map(|export| (export.id(), export.item)) {
        Some((id, ExportItem::Function(function))) => (id, function),
        _ => panic!("the artifact exports no function {name}"),
    };
    let kind = module.types.get(module.funcs.get(function).ty());
    let (parameters, results) = (kind.params().to_vec(), kind.results().to_vec());
    let arguments: Vec<_> = parameters
        .iter()
        .map(|kind| module.locals.add(*kind))
        .collect();
    let mut wrapper = FunctionBuilder::new(&mut module.types, &parameters, &results);
    let mut body = wrapper.func_body();
    body.local_get(arguments[fields])
        .i32_const(TRIPWIRE)
        .binop(BinaryOp::I32GeU)
        .if_else(
            None,
            |tripped| {
                tripped.unreachable();
            },
            |_| {},
        );
    for argument in &arguments {
        body.local_get(*argument);
    }
    body.call(function);
    let wrapper = wrapper.finish(arguments, &mut module.funcs);
    module.exports.get_mut(id).item = ExportItem::Function(wrapper);
}

/// The header fields that trip the wire.
pub fn tripping(request: Request) -> Request {
    (0..TRIPWIRE).fold(request, |request, n| request.header(&format!("x-{n}"), "x"))
}

async fn a_trapped_vm_lets_nothing_through_and_comes_back() {
    let bed = lanes("trap-request", &patient_lanes(["trap"]), json!({}))
        .artifact(with_tripwire("trap-request"))
        .start()
        .await;
    let lane = Lane::of(&bed, "trap");
    let jwt = lane.login("alice");
    for trap in 1..=2 {
        lane.get_ok(&jwt, "before").await;
        let calls = lane.sts().calls();
        let reply = bed.http1().send(tripping(lane.request(&jwt, "trip"))).await;
        assert_eq!(reply.status, 503);
        assert!(!reply.is_from_backend());
        let served = eventually("the VM to come back", || async {
            let reply = lane.get(&jwt, "after").await;
            match reply.status {
                503 => {
                    assert!(!reply.is_from_backend());
                    None
                }
                _ => Some(reply),
            }
        })
        .await;
        exchanged(&served);
        assert_eq!(lane.sts().calls(), calls, "the token outlives the VM");
        let reloads = bed.envoy.stats("vm_reload_success").await;
        assert_eq!(
            reloads.iter().map(|(_, count)| count).sum::<u64>(),
            trap,
            "{reloads:?}"
        );
    }
    assert_only_exchanged(lane);
}

/// Nothing but requests with an exchanged token has reached the backend.
fn assert_only_exchanged(lane: Lane<'_>) {
    for request in lane.backend().requests() {
        let sent = request.values("authorization");
        assert_eq!(sent.len(), 1, "{}", request.path);
        assert!(sent[0].starts_with("Bearer sts_"), "{}", request.path);
        assert!(
            !request.path.ends_with("/trip"),
            "forwarded by a trapped VM"
        );
    }
}

async fn requests_that_wait_when_the_vm_traps_are_not_forwarded() {
    let bed = lanes(
        "trap-answer",
        // What the VM leaves under way keeps the next one waiting for so long, and 2 s more.
        &[("trap", json!({"timeout": "10s"}))],
        json!({}),
    )
    .artifact(with_tripwire("trap-answer"))
    .start()
    .await;
    let lane = Lane::of(&bed, "trap");
    let answer = Answer::token(&canary::token("sts_", "trip"));
    let answer = (0..TRIPWIRE).fold(answer, |answer, n| answer.header(&format!("x-{n}"), "x"));
    lane.sts().answer_next(answer);
    lane.sts().hold();
    let jwt = lane.login("alice");
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (client, request) = (bed.http1(), lane.request(&jwt, "trip"));
            tokio::spawn(async move {
                client
                    .try_send(request)
                    .await
                    .map(|reply| reply.status)
                    .ok()
            })
        })
        .collect();
    lane.expect_sts("joined", 19).await;
    lane.sts().release();
    // Whoever comes before that waits with them, for as long as they do.
    eventually("the VM to trap", || async {
        let line = "proxy_on_http_call_response failed";
        bed.envoy.log().contains(line).then_some(())
    })
    .await;
    eventually("the VM to come back", || async {
        (lane.get(&jwt, "after").await.status == 200).then_some(())
    })
    .await;
    // Envoy 1.40 leaves them to its own timeouts (stream_idle_timeout); another may answer with 503.
    // Neither forwards them.
    for request in waiting {
        if request.is_finished() {
            assert_eq!(request.await.expect("no panic"), Some(503));
        } else {
            request.abort();
        }
    }
    assert_only_exchanged(lane);
}
