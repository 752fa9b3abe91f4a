//! What the host knows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

/// `proxy_status_t`.
pub mod status {
    pub const OK: u32 = 0;
    pub const NOT_FOUND: u32 = 1;
    pub const BAD_ARGUMENT: u32 = 2;
    pub const SERIALIZATION_FAILURE: u32 = 3;
    pub const CAS_MISMATCH: u32 = 8;
    pub const INTERNAL_FAILURE: u32 = 10;
    pub const UNIMPLEMENTED: u32 = 12;
}

/// `proxy_log_level_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl Level {
    pub fn of(raw: u32) -> Self {
        use Level::*;
        [Trace, Debug, Info, Warn, Error]
            .into_iter()
            .find(|level| *level as u32 == raw)
            .unwrap_or(Critical)
    }
}

/// Header fields, repeated ones included.
pub type Fields = Vec<(String, Vec<u8>)>;

/// One stream.
pub struct Stream {
    pub root: u32,
    /// The request's header fields, which the filter may change until the request goes on.
    pub request: Fields,
    /// Whether more than header fields follows.
    pub more: bool,
    pub went_on: bool,
    pub paused: bool,
    pub reply: Option<LocalReply>,
    /// The response's header fields, which the filter may change while it is told of them.
    pub response: Option<Fields>,
    /// The fields behind the request's body, while the filter is told of them.
    pub trailers: Option<Fields>,
    /// `xds`, `metadata`, `response`: what is read as an attribute.
    pub attributes: super::properties::Attributes,
    /// What other filters have left in the filter state, for this pass of the request.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// What the filter has left there.
    pub left: BTreeMap<String, Vec<u8>>,
}

impl Stream {
    /// A stream of the plugin `root` whose request has these header fields.
    pub fn new(root: u32, request: Fields) -> Self {
        Self {
            root,
            request,
            more: false,
            went_on: false,
            paused: false,
            reply: None,
            response: None,
            trailers: None,
            attributes: super::properties::Attributes::default(),
            filter_state: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }
}

/// What the filter answered.
#[derive(Clone)]
pub struct LocalReply {
    pub status: u32,
    pub details: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub grpc_status: i32,
}

/// A call that the filter made.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: u32,
    /// The plugin that gets the answer.
    pub root: u32,
    pub sent: Sent,
}

/// What a call carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub cluster: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout_ms: u32,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Answer {
    pub headers: Fields,
    pub body: Vec<u8>,
}

/// A metric as defined.
pub struct Metric {
    pub kind: u32,
    pub name: String,
    pub value: i64,
    pub recorded: Vec<u64>,
}

/// What all VMs of one `vm_id` share, as Envoy keeps it: nothing is ever removed.
#[derive(Clone, Default)]
pub struct SharedData(Arc<Mutex<Values>>);

#[derive(Default)]
struct Values {
    values: BTreeMap<String, (Vec<u8>, u32)>,
    versions: u32,
}

impl SharedData {
    pub fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.lock().unwrap().values.get(key).cloned()
    }

    /// Sets the value, if it is still of that version; 0 does not ask, and neither does Envoy where
    /// there is none yet.
    pub fn set(&self, key: String, value: Vec<u8>, version: u32) -> Result<(), u32> {
        let mut data = self.0.lock().unwrap();
        let is = data.values.get(&key).map(|(_, version)| *version);
        if version != 0 && is.is_some_and(|is| is != version) {
            return Err(status::CAS_MISMATCH);
        }
        data.versions += 1;
        let version = data.versions;
        data.values.insert(key, (value, version));
        Ok(())
    }

    /// All names, and how many bytes lie under each.
    pub fn sizes(&self) -> BTreeMap<String, usize> {
        let data = self.0.lock().unwrap();
        let values = data.values.iter();
        values
            .map(|(key, (value, _))| (key.clone(), value.len()))
            .collect()
    }

    /// All values, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        let data = self.0.lock().unwrap();
        data.values
            .values()
            .flat_map(|(value, _)| value.clone())
            .collect()
    }

    /// The names under which there is something.
    pub fn names(&self) -> Vec<String> {
        self.sizes().into_keys().collect()
    }
}

/// Everything.
#[derive(Default)]
pub struct Host {
    /// Nanoseconds since the epoch.
    pub now: u64,
    /// Nanoseconds on the clock that only goes forward.
    pub steady: u64,
    /// How often random bytes were asked for.
    pub random: u64,
    /// P-256 keys in PKCS#8 with their public half, for those that come without.
    pub keys: Vec<Vec<u8>>,
    /// What has been signed.
    pub signed: Vec<super::signing::Signed>,
    /// What foreign functions answer instead of doing their work.
    pub foreign_answer: Option<Vec<u8>>,
    /// Whether plugins stand in the connection manager's chain, and not upstream.
    pub downstream: bool,
    pub log_level: u32,
    pub log: Vec<(Level, String)>,
    pub roots: BTreeSet<u32>,
    pub streams: BTreeMap<u32, Stream>,
    /// The properties that live as long as a client's request and are written once: by plugin and name.
    pub declared: BTreeSet<(u32, String)>,
    /// Those that are there, by request and name.
    pub of_requests: BTreeMap<(u64, String), Vec<u8>>,
    /// Streams that have ended, and whose contexts Envoy has not deleted yet: it would take host
    /// calls on them, and crash.
    pub ended: BTreeSet<u32>,
    pub last_context: u32,
    /// The context whose callback runs, and the one that host calls act on instead.
    pub current: u32,
    pub effective: Option<u32>,
    /// Whether the last turn to another context has failed: the host acts on the one before.
    pub lost: bool,
    /// The requests that were decided in this callback, by when they began: what Envoy carries out
    /// one on top of the other once it returns.
    pub decided: Vec<u64>,
    /// Whose filter the next calls run through on their way, before the function returns.
    pub on_the_way: Option<u32>,
    /// The streams of calls that did.
    pub own_calls: Vec<u32>,
    pub configuration: Vec<u8>,
    /// The root ids of plugins that have another than usual.
    pub root_ids: BTreeMap<u32, String>,
    pub tick_period_ms: BTreeMap<u32, u32>,
    pub calls: Vec<Call>,
    pub last_call: u32,
    /// What the next calls return instead of success.
    pub call_statuses: VecDeque<u32>,
    /// Clusters that do not exist.
    pub unknown_clusters: BTreeSet<String>,
    pub answer: Option<Answer>,
    /// How many bytes of answers' bodies were copied into the filter.
    pub copied: usize,
    pub metrics: Vec<Metric>,
    /// What this VM shares with others.
    pub shared: SharedData,
    /// Functions that fail with this status instead of working.
    pub failing: BTreeMap<&'static str, u32>,
    /// Every host call since this was last taken, and what it was about.
    pub seen: Vec<String>,
    /// What no correct filter does.
    pub violations: Vec<String>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Runs `with` on this worker's host. The filter must not be entered from within.
pub fn host<R>(with: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(with)
}

impl Host {
    /// The stream that host calls act on.
    pub fn stream(&mut self) -> Option<&mut Stream> {
        let context = self.effective.unwrap_or(self.current);
        self.streams.get_mut(&context)
    }

    /// The request that host calls act on.
    pub fn request(&mut self) -> Option<u64> {
        let attributes = &self.stream()?.attributes;
        Some(attributes.request.unwrap_or(attributes.began))
    }

    /// The plugin that host calls act on.
    pub fn root(&self) -> Option<u32> {
        let context = self.effective.unwrap_or(self.current);
        match self.streams.get(&context) {
            Some(stream) => Some(stream.root),
            None => self.roots.get(&context).copied(),
        }
    }

    /// Notes that something is done to the stream that host calls act on.
    pub fn act(&mut self) {
        if self.lost {
            self.violation("acts on a stream although the turn to another has failed");
        }
    }

    /// Notes that the stream that host calls act on goes on, or is answered, once the callback
    /// returns.
    pub fn decide(&mut self) {
        let began = self.stream().map_or(0, |stream| stream.attributes.began);
        if self.decided.contains(&began) {
            self.violation("decides on two attempts of one request in one callback");
        }
        self.decided.push(began);
        if self.decided.len() > 64 {
            self.violation("decides on so many streams in one callback that Envoy's stack may end");
        }
    }

    pub fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// Notes the call; fails if the test wants `function` to fail.
    pub fn enter(&mut self, function: &'static str, about: &str) -> Result<(), u32> {
        let space = if about.is_empty() { "" } else { " " };
        self.seen.push(format!("{function}{space}{about}"));
        match self.failing.get(function) {
            Some(status) => Err(*status),
            None => Ok(()),
        }
    }
}
