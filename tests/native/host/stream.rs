//! One stream, and what became of its request.

use super::drive::{CONTINUE, call, enter};
use super::state::{self, LocalReply, host};
use super::{CANARY, TH_JWT};
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread;

/// A stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub context: u32,
}

/// What became of a request so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It went on.
    WentOn,
    /// It is paused.
    Waits,
    /// It was answered.
    Answered(Reply),
}

/// A local reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u32,
    pub details: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    fn of(reply: &LocalReply) -> Self {
        assert_eq!(reply.grpc_status, -1, "Envoy maps the status");
        let headers: BTreeMap<_, _> = reply.headers.iter().cloned().collect();
        assert_eq!(
            headers.len(),
            reply.headers.len(),
            "a header field stands twice"
        );
        Self {
            status: reply.status,
            details: reply.details.clone(),
            headers,
            body: String::from_utf8(reply.body.clone()).unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Stream {
    /// The header fields are there.
    pub fn headers(self) {
        let count = self.with(|stream| u32::try_from(stream.request.len()).unwrap());
        let end = self.with(|stream| u32::from(!stream.more));
        let action = enter(self.context, || {
            call::on_request_headers(self.context, count, end)
        });
        self.with(|stream| match action {
            CONTINUE => stream.went_on = true,
            _ => stream.paused = stream.reply.is_none(),
        });
        host(|host| {
            let stream = &host.streams[&self.context];
            let bare = !stream
                .request
                .iter()
                .any(|(name, _)| name == "authorization");
            let cannot = !host.failing.is_empty() || !host.roots.contains(&stream.root);
            if stream.paused && !bare && !cannot {
                host.violation("a request waits that is not bare");
            }
        });
        if self.with(|stream| stream.went_on && stream.reply.is_some()) {
            host(|host| host.violation("a request that was answered goes on"));
        }
    }

    pub fn outcome(self) -> Outcome {
        self.with(|stream| match &stream.reply {
            Some(reply) => Outcome::Answered(Reply::of(reply)),
            None if stream.went_on => Outcome::WentOn,
            None => Outcome::Waits,
        })
    }

    /// The local reply.
    #[track_caller]
    pub fn reply(self) -> Reply {
        match self.outcome() {
            Outcome::Answered(reply) => reply,
            other => panic!("not answered: {other:?}"),
        }
    }

    /// The CODE of the local reply, and its status.
    #[track_caller]
    pub fn refusal(self) -> (u32, String) {
        let reply = self.reply();
        let code = reply.json()["error"].as_str().unwrap().to_owned();
        (reply.status, code)
    }

    /// What the backend receives under that name.
    #[track_caller]
    pub fn received(self, name: &str) -> Vec<String> {
        assert_eq!(self.outcome(), Outcome::WentOn);
        self.carries(name)
    }

    /// What is on the request under that name now, whether it went on or waits.
    pub fn carries(self, name: &str) -> Vec<String> {
        self.with(|stream| {
            let fields = stream.request.iter().filter(|(field, _)| field == name);
            fields
                .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
                .collect()
        })
    }

    /// Another filter sends the request to another cluster.
    pub fn reroute(self, cluster: Option<&str>) {
        self.with(|stream| stream.attributes.cluster_name = cluster.map(str::to_owned));
    }

    /// What the access log says.
    pub fn filter_state(self) -> BTreeMap<String, String> {
        self.with(|stream| {
            let state = stream.left.iter();
            state
                .map(|(key, value)| (key.clone(), String::from_utf8(value.clone()).unwrap()))
                .collect()
        })
    }

    /// A response with these header fields besides `:status`; the fields that reach the client.
    pub fn respond(
        self,
        code: u16,
        details: &str,
        fields: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let status = (":status".to_owned(), code.to_string().into_bytes());
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let response: Vec<_> = std::iter::once(status).chain(fields).collect();
        let count = u32::try_from(response.len()).unwrap();
        self.with(|stream| {
            stream.attributes.response_code = Some(code.into());
            stream.attributes.response_details = Some(details.to_owned());
            stream.response = Some(response);
        });
        let action = enter(self.context, || {
            call::on_response_headers(self.context, count, 0)
        });
        assert_eq!(action, CONTINUE, "responses are never held back");
        let response = self.with(|stream| stream.response.take().unwrap());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        response
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect()
    }

    /// These fields come behind the body; those that the backend gets.
    pub fn trailers(self, fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let fields: Vec<_> = fields.collect();
        let count = u32::try_from(fields.len()).unwrap();
        self.with(|stream| stream.trailers = Some(fields));
        let action = enter(self.context, || {
            call::on_request_trailers(self.context, count)
        });
        assert_eq!(action, CONTINUE, "trailers are never held back");
        let left = self.with(|stream| stream.trailers.take().unwrap());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        left.into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect()
    }

    /// The stream ends, answered with `code` and Envoy's `details`.
    pub fn end_with(self, code: u16, details: &str) {
        self.respond(code, details, &[]);
        self.end();
    }

    /// The stream ends: its client is gone.
    pub fn end(self) {
        if !thread::panicking() {
            self.with(|stream| check_stream(stream));
        }
        enter(self.context, || call::on_delete(self.context));
        host(|host| {
            host.streams.remove(&self.context);
            host.ended.insert(self.context);
        });
    }

    fn with<R>(self, with: impl FnOnce(&mut state::Stream) -> R) -> R {
        host(|host| with(host.streams.get_mut(&self.context).unwrap()))
    }
}

pub fn check_stream(stream: &state::Stream) {
    for (name, value) in &stream.left {
        assert_no_canary(name, &String::from_utf8_lossy(value));
    }
    if let Some(reply) = &stream.reply {
        assert_no_canary("a local reply", &String::from_utf8_lossy(&reply.body));
        assert_no_canary("a local reply", &format!("{:?}", reply.headers));
        assert_no_canary("a local reply", &reply.details);
    }
    if stream.went_on {
        let values = |name: &'static str| stream.request.iter().filter(move |(n, _)| n == name);
        assert!(values("authorization").count() <= 1);
        for (name, value) in &stream.request {
            let value = String::from_utf8_lossy(value);
            assert!(!value.contains(TH_JWT), "the TH-JWT went on in {name}");
        }
    }
}

#[track_caller]
pub fn assert_no_canary(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "{what} holds a secret: {text}");
}
