//! A lane: a backend, and an STS of its own that exchanges for it. Tests share an Envoy, and each
//! has lanes to itself, so that an STS can misbehave without another test noticing.

use std::time::Duration;

use bed::{Bed, Client, Echo, PluginConfig, Reply, Request, Sts, canary};
use serde_json::{Value, json};

/// The provider whose tokens are exchanged, unless a lane's settings say otherwise.
pub const PROVIDER: &str = "corp";

/// One lane of a bed.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// The bed.
    pub bed: &'a Bed,
    /// Name of the backend.
    pub name: &'a str,
}

/// A bed with a lane for each name, whose `tokenExchange` is the default with `settings` put over
/// it (`null` takes a key out). `rest` is put over the rest of the plugin configuration.
pub fn lanes<N: AsRef<str>>(name: &str, lanes: &[(N, Value)], rest: Value) -> bed::bed::Plan {
    let mut plan = Bed::with(name, PluginConfig::Json(configuration(lanes, rest)));
    for (lane, _) in lanes {
        plan = plan.backend(lane.as_ref()).sts(&sts_of(lane.as_ref()));
    }
    plan
}

/// Of a lane's settings: a busy machine may take its time for a call whose timeout is not what is
/// tested.
pub fn patient() -> Value {
    json!({"timeout": "60s"})
}

/// Lanes of these names that are [`patient`].
pub fn patient_lanes<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, Value)> {
    names.into_iter().map(|name| (name, patient())).collect()
}

/// The plugin configuration for these lanes.
pub fn configuration<N: AsRef<str>>(lanes: &[(N, Value)], rest: Value) -> Value {
    let mut backends = json!({});
    for (lane, settings) in lanes {
        let lane = lane.as_ref();
        let mut exchange = json!({
            "tokenUrl": format!("http://localhost/{lane}"),
            "cluster": sts_of(lane),
            "subjectProviderName": PROVIDER,
        });
        overlay(&mut exchange, settings);
        backends[lane] = json!({"type": "token_exchange", "tokenExchange": exchange});
    }
    let mut plugin = json!({
        "authServer": {"runConfig": {"upstreams": [{"name": PROVIDER}, {"name": "github"}]}},
        "outgoingAuth": {"backends": backends},
        "challenge": {"realm": "mcp"},
        "identity": {"tokenFrom": "filter_state"},
    });
    overlay(&mut plugin, &rest);
    plugin
}

fn sts_of(lane: &str) -> String {
    format!("sts-{lane}")
}

/// Puts the members of `over` in place of those of `under`.
pub fn overlay(under: &mut Value, over: &Value) {
    for (key, value) in over.as_object().into_iter().flatten() {
        under[key] = value.clone();
    }
}

impl<'a> Lane<'a> {
    /// The lane of that name.
    pub fn of(bed: &'a Bed, name: &'a str) -> Self {
        Self { bed, name }
    }

    /// Its STS.
    pub fn sts(&self) -> &'a Sts {
        self.bed.sts_named(&sts_of(self.name))
    }

    /// Its backend.
    pub fn backend(&self) -> &'a Echo {
        self.bed.backend(self.name)
    }

    /// Logs in a user of this lane: nobody else has the same upstream token.
    pub fn login(&self, user: &str) -> String {
        self.login_with(&canary::token("corp_", &format!("{}-{user}", self.name)))
    }

    /// Logs in a user with this upstream token.
    pub fn login_with(&self, subject: &str) -> String {
        self.bed.login("somebody", json!({PROVIDER: subject}))
    }

    /// A `GET` of this lane.
    pub fn request(&self, jwt: &str, path: &str) -> Request {
        Request::get(&format!("/{}/{path}", self.name)).bearer(jwt)
    }

    /// Sends a `GET` on a connection of its own.
    pub async fn get(&self, jwt: &str, path: &str) -> Reply {
        self.bed.http1().send(self.request(jwt, path)).await
    }

    /// Sends a `GET` and asserts that it went through; the answer is the exchanged token.
    pub async fn get_ok(&self, jwt: &str, path: &str) -> String {
        exchanged(&self.get(jwt, path).await)
    }

    /// Waits until `sts.<backend>.<result>` is `count`.
    pub async fn expect_sts(&self, result: &str, count: u64) {
        self.bed
            .envoy
            .expect_stat(&self.sts_stat(result), count)
            .await;
    }

    /// Value of `sts.<backend>.<result>` so far.
    pub async fn sts_count(&self, result: &str) -> u64 {
        self.bed.envoy.stat(&self.sts_stat(result)).await
    }

    fn sts_stat(&self, result: &str) -> String {
        format!("wasmcustom.upstream_inject.sts.{}.{result}", self.name)
    }

    /// Waits until `backend.<backend>.<outcome>` is `count`.
    pub async fn expect_outcome(&self, outcome: &str, count: u64) {
        self.bed.expect_outcome(self.name, outcome, count).await;
    }

    /// Several clients at once on this lane: each sends its request and reads its answer.
    pub async fn all_at_once(&self, requests: Vec<Request>) -> Vec<Reply> {
        self.all_with(&self.bed.http1(), requests).await
    }

    /// [`Self::all_at_once`] on the connections of `client`.
    pub async fn all_with(&self, client: &Client, requests: Vec<Request>) -> Vec<Reply> {
        let tasks: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let client = client.clone();
                tokio::spawn(async move { client.send(request).await })
            })
            .collect();
        let mut replies = Vec::new();
        for task in tasks {
            replies.push(task.await.expect("a client got its answer"));
        }
        replies
    }
}

/// What a request that was refused got.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The CODE.
    pub code: String,
    /// `www-authenticate` up to its description.
    pub challenge: String,
}

/// Asserts that the filter itself gave the reply, with everything that each refusal has.
pub fn refused(reply: &Reply) -> Refused {
    assert!(
        !reply.is_from_backend(),
        "it reached the backend: {}",
        reply.text()
    );
    assert_eq!(reply.header("cache-control"), "no-store", "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert!(body["error_description"].is_string(), "{}", reply.text());
    let code = body["error"].as_str().unwrap_or_default();
    let retry_after = reply.header("retry-after").parse::<u32>();
    if code == "token_exchange_unavailable" {
        assert!((1..=30).contains(&retry_after.expect("a number of seconds")));
    } else {
        retry_after.expect_err("no retry-after");
    }
    let challenge = reply.header("www-authenticate");
    let challenge = challenge.split(", error_description").next();
    Refused {
        status: reply.status,
        code: code.to_owned(),
        challenge: challenge.unwrap_or_default().to_owned(),
    }
}

/// Asserts that a reply is the refusal with that status and CODE.
#[track_caller]
pub fn assert_refused(reply: &Reply, status: u16, code: &str) {
    let refused = refused(reply);
    assert_eq!((refused.status, &*refused.code), (status, code));
}

/// Asserts that the backend was reached with one bearer token, and answers with it.
#[track_caller]
pub fn exchanged(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = reply.seen("authorization");
    assert_eq!(seen.len(), 1, "{seen:?}");
    let token = seen[0].strip_prefix("Bearer ").expect("a bearer token");
    token.to_owned()
}

/// How much later than its bound something may be seen on a busy machine.
pub const MARGIN: Duration = Duration::from_secs(4);
