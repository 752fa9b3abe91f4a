//! The hands that drive the filter.

use super::request::Request;
use super::state::{self, Call, Level, SharedData, host};
use super::stream::{Stream, assert_no_canary, check_stream};
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic;
use std::sync::Once;
use std::thread;
use std::time::Duration;
use upstream_inject::host::callbacks as filter;

pub const CONTINUE: u32 = 0;

/// The filter's callbacks, entered as a host enters them: from outside, so that the optimizer cannot
/// merge them with what calls them.
pub mod call {
    use super::filter;
    use std::hint::black_box;

    pub fn on_context_create(context: u32, root: u32) {
        black_box(filter::upstream_inject_on_context_create as extern "C" fn(_, _))(context, root);
    }

    pub fn on_configure(root: u32, size: usize) -> u32 {
        black_box(filter::upstream_inject_on_configure as extern "C" fn(_, _) -> _)(root, size)
    }

    pub fn on_tick(root: u32) {
        black_box(filter::upstream_inject_on_tick as extern "C" fn(_))(root);
    }

    pub fn on_delete(context: u32) {
        black_box(filter::upstream_inject_on_delete as extern "C" fn(_))(context);
    }

    pub fn on_request_headers(context: u32, fields: u32, end: u32) -> u32 {
        let callback = filter::upstream_inject_on_request_headers as extern "C" fn(_, _, _) -> _;
        black_box(callback)(context, fields, end)
    }

    pub fn on_request_trailers(context: u32, fields: u32) -> u32 {
        let callback = filter::upstream_inject_on_request_trailers as extern "C" fn(_, _) -> _;
        black_box(callback)(context, fields)
    }

    pub fn on_response_headers(context: u32, fields: u32, end: u32) -> u32 {
        let callback = filter::upstream_inject_on_response_headers as extern "C" fn(_, _, _) -> _;
        black_box(callback)(context, fields, end)
    }

    pub fn on_http_call_response(root: u32, call: u32, fields: u32, body_size: usize) {
        let callback = filter::upstream_inject_on_http_call_response;
        black_box(callback as extern "C" fn(_, _, _, _, u32))(root, call, fields, body_size, 0);
    }
}

/// When tests begin: late in 2023, in nanoseconds.
const START: u64 = 1_700_000_000_000_000_000;

/// Runs `test` in an Envoy worker of its own.
pub fn worker<R: Send>(test: impl FnOnce(&Envoy) -> R + Send) -> R {
    worker_of(&SharedData::default(), test)
}

/// Runs `test` in one of the workers of an Envoy, which share that data.
pub fn worker_of<R: Send>(shared: &SharedData, test: impl FnOnce(&Envoy) -> R + Send) -> R {
    let run = || {
        host(|host| host.shared = shared.clone());
        let envoy = Envoy::start(Level::Trace);
        let result = test(&envoy);
        envoy.check();
        drop(envoy);
        host(|host| {
            assert_eq!(host.violations, [""; 0]);
            let entries = "upstream_inject.cache.entries";
            let left = host.metrics.iter().find(|metric| metric.name == entries);
            assert_eq!(
                left.map_or(0, |gauge| gauge.value),
                0,
                "{entries} after the end"
            );
        });
        result
    };
    thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(reason) => panic::resume_unwind(reason),
    })
}

/// An Envoy worker with the filter's VM in it.
pub struct Envoy(());

impl Envoy {
    /// Starts the VM of this thread, in an Envoy that logs from `level` on. (The filter keeps what it
    /// is told in a static of the process: workers of one process must agree.)
    pub fn start(level: Level) -> Self {
        static FIRST: Once = Once::new();
        FIRST.call_once(|| {
            // The SDK installs a panic hook for the VM, which would swallow what a test says.
            let hook = panic::take_hook();
            filter::upstream_inject_initialize();
            panic::set_hook(hook);
        });
        filter::upstream_inject_initialize();
        host(|host| {
            host.now = START;
            host.steady = 1;
            host.log_level = level as u32;
        });
        Self(())
    }

    /// A plugin with this configuration.
    pub fn plugin(&self, configuration: &Value) -> Plugin {
        match self.configure(configuration.to_string().as_bytes()) {
            Some(plugin) => plugin,
            None => panic!("refused: {:#?}", self.log()),
        }
    }

    /// A plugin with this configuration, or `None` if the filter refuses it.
    pub fn configure(&self, configuration: &[u8]) -> Option<Plugin> {
        let root = new_context();
        host(|host| host.roots.insert(root));
        enter(root, || call::on_context_create(root, 0));
        let plugin = Plugin { root };
        plugin.configure(configuration).then_some(plugin)
    }

    /// A plugin with this configuration, under a root id of its own.
    pub fn plugin_of(&self, root_id: &str, configuration: &Value) -> Plugin {
        let root = host(|host| host.last_context + 1);
        host(|host| host.root_ids.insert(root, root_id.to_owned()));
        let plugin = self.plugin(configuration);
        assert_eq!(plugin.root, root);
        plugin
    }

    /// Calls run through the filter of this plugin from now on, as where the cluster of an STS has
    /// it.
    pub fn calls_run_through(&self, plugin: Plugin) {
        host(|host| host.on_the_way = Some(plugin.root));
    }

    /// Envoy makes another attempt of the call that `first` was the first attempt of. They share what the
    /// filter has left.
    pub fn attempts_again(&self, first: Stream) -> Stream {
        let context = new_context();
        let root = host(|host| {
            let first = &host.streams[&first.context];
            let stream = state::Stream {
                left: first.left.clone(),
                ..state::Stream::new(first.root, first.request.clone())
            };
            let root = stream.root;
            host.streams.insert(context, stream);
            root
        });
        enter(context, || call::on_context_create(context, root));
        let stream = Stream { context };
        stream.headers();
        stream
    }

    /// The streams of the calls that did.
    pub fn own_calls(&self) -> Vec<Stream> {
        let contexts = host(|host| std::mem::take(&mut host.own_calls));
        let streams = contexts.into_iter().map(|context| Stream { context });
        streams.collect()
    }

    /// Time passes.
    pub fn advance(&self, duration: Duration) {
        host(|host| {
            let nanos = u64::try_from(duration.as_nanos()).unwrap();
            host.now += nanos;
            host.steady += nanos;
        });
    }

    /// The clock on the wall is set forward.
    pub fn set_forward(&self, duration: Duration) {
        host(|host| host.now += u64::try_from(duration.as_nanos()).unwrap());
    }

    /// Plugins stand in the connection manager's chain from now on.
    pub fn downstream(&self) {
        host(|host| host.downstream = true);
    }

    /// The clock is set back.
    pub fn set_back(&self, duration: Duration) {
        host(|host| host.now -= u64::try_from(duration.as_nanos()).unwrap());
    }

    /// Seconds since the epoch.
    pub fn now(&self) -> u64 {
        host(|host| host.now / 1_000_000_000)
    }

    /// The log since it was last asked for, at `level` and above.
    pub fn log_from(&self, level: Level) -> Vec<String> {
        let lines = host(|host| std::mem::take(&mut host.log));
        lines
            .iter()
            .for_each(|(_, line)| assert_no_canary("a log line", line));
        let wanted = lines.into_iter().filter(|(at, _)| *at >= level);
        wanted.map(|(_, line)| line).collect()
    }

    /// Everything logged since the log was last asked for.
    pub fn log(&self) -> Vec<String> {
        self.log_from(Level::Trace)
    }

    /// WARN lines and worse since the log was last asked for.
    pub fn warnings(&self) -> Vec<String> {
        self.log_from(Level::Warn)
    }

    /// The counters and gauges that are not zero.
    pub fn metrics(&self) -> BTreeMap<String, i64> {
        host(|host| {
            let metrics = host.metrics.iter().filter(|metric| metric.value != 0);
            metrics
                .map(|metric| (metric.name.clone(), metric.value))
                .collect()
        })
    }

    /// One counter or gauge; 0 if there is none.
    pub fn metric(&self, name: &str) -> i64 {
        self.metrics().get(name).copied().unwrap_or(0)
    }

    /// The values of a histogram.
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        host(|host| {
            let metric = host.metrics.iter().find(|metric| metric.name == name);
            metric
                .map(|metric| metric.recorded.clone())
                .unwrap_or_default()
        })
    }

    /// The calls made since last asked.
    pub fn calls(&self) -> Vec<Call> {
        host(|host| std::mem::take(&mut host.calls))
    }

    /// The one call made since last asked.
    #[track_caller]
    pub fn call(&self) -> Call {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "exactly one call to the STS");
        calls.remove(0)
    }

    /// The next call returns this status.
    pub fn next_call_returns(&self, status: u32) {
        host(|host| host.call_statuses.push_back(status));
    }

    /// There is no such cluster, or there is one again.
    pub fn cluster_exists(&self, cluster: &str, exists: bool) {
        host(|host| match exists {
            true => host.unknown_clusters.remove(cluster),
            false => host.unknown_clusters.insert(cluster.to_owned()),
        });
    }

    /// A host function fails with this status from now on, or works again.
    pub fn fails(&self, function: &'static str, status: Option<u32>) {
        host(|host| match status {
            Some(status) => host.failing.insert(function, status),
            None => host.failing.remove(function),
        });
    }

    /// Foreign functions answer this, whatever they are asked.
    pub fn foreign_functions_answer(&self, answer: &[u8]) {
        host(|host| host.foreign_answer = Some(answer.to_vec()));
    }

    /// Envoy's cryptography works out the public half of this key.
    pub fn knows_key(&self, pkcs8: &[u8]) {
        host(|host| host.keys.push(pkcs8.to_vec()));
    }

    /// The host calls since last asked, without log lines.
    pub fn host_calls(&self) -> Vec<String> {
        let seen = host(|host| std::mem::take(&mut host.seen));
        seen.into_iter().filter(|call| call != "log").collect()
    }

    /// How many bytes of answers were copied into the VM so far.
    pub fn copied(&self) -> usize {
        host(|host| host.copied)
    }

    /// Callbacks of contexts that do not exist, or no longer.
    pub fn stray_callbacks(&self, context: u32) {
        enter(context, || call::on_tick(context));
        enter(context, || call::on_delete(context));
        enter(context, || call::on_http_call_response(context, 1, 1, 0));
        let action = enter(context, || call::on_request_headers(context, 1, 1));
        assert_ne!(action, CONTINUE, "nothing is forwarded that is not known");
    }

    /// What holds for every test: the filter did nothing that Envoy would refuse or that would
    /// trap, and no token or secret is in a log line, a metric's name, a local reply or a filter
    /// state; no request that went on carries the TH-JWT or an `authorization` field twice.
    pub fn check(&self) {
        self.log();
        host(|host| {
            assert_eq!(host.violations, [""; 0]);
            for metric in &host.metrics {
                assert_no_canary("a metric", &metric.name);
            }
            host.streams.values().for_each(check_stream);
        });
    }
}

/// The VM ends: in a worker's thread its statics end after each other, in no order that they can rely
/// on, so that what they hold must be gone by then.
impl Drop for Envoy {
    fn drop(&mut self) {
        let streams: Vec<u32> = host(|host| host.streams.keys().copied().collect());
        for context in streams {
            Stream { context }.end();
        }
        let roots: Vec<u32> = host(|host| host.roots.iter().copied().collect());
        for root in roots {
            Plugin { root }.end();
        }
    }
}

fn new_context() -> u32 {
    host(|host| {
        host.last_context += 1;
        host.last_context
    })
}

/// Runs a callback of `context`.
pub fn enter<R>(context: u32, callback: impl FnOnce() -> R) -> R {
    host(|host| {
        host.current = context;
        host.effective = None;
        host.lost = false;
        host.decided.clear();
    });
    let result = callback();
    host(|host| {
        host.current = 0;
        host.effective = None;
    });
    result
}

/// A call with these header fields runs through the filter of the plugin `root`, while another of its
/// callbacks is under way.
pub fn on_its_way(root: u32, fields: Vec<(String, String)>) {
    let context = new_context();
    let fields: state::Fields = fields
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect();
    let (count, stream) = (
        u32::try_from(fields.len()).unwrap(),
        state::Stream::new(root, fields.clone()),
    );
    let before = host(|host| {
        host.streams.insert(context, stream);
        host.own_calls.push(context);
        let before = (host.current, host.effective.take());
        host.current = context;
        before
    });
    call::on_context_create(context, root);
    let action = call::on_request_headers(context, count, 0);
    host(|host| {
        (host.current, host.effective) = before;
        let stream = host.streams.get_mut(&context).unwrap();
        stream.went_on = action == CONTINUE;
        if !stream.went_on || stream.request != fields || stream.reply.is_some() {
            host.violation("does something to a call of its own");
        }
    });
}

/// A plugin configuration in the worker.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    pub root: u32,
}

impl Plugin {
    /// A request arrives.
    pub fn request(self, request: &Request) -> Stream {
        let stream = self.arrive(request);
        stream.headers();
        stream
    }

    /// A stream begins, and its header fields are not there yet.
    pub fn arrive(self, request: &Request) -> Stream {
        let context = new_context();
        let mut stream = state::Stream {
            more: request.more,
            attributes: request.attributes.clone(),
            filter_state: request.filter_state.clone(),
            ..state::Stream::new(self.root, request.fields.clone())
        };
        if stream.attributes.began == 0 {
            stream.attributes.began = context.into();
        }
        host(|host| host.streams.insert(context, stream));
        enter(context, || call::on_context_create(context, self.root));
        Stream { context }
    }

    /// The plugin is given another configuration; false if the filter refuses it.
    pub fn configure(self, configuration: &[u8]) -> bool {
        host(|host| host.configuration = configuration.to_vec());
        let accepted = enter(self.root, || {
            call::on_configure(self.root, configuration.len())
        });
        accepted != 0
    }

    /// The timer goes off.
    pub fn tick(self) {
        enter(self.root, || call::on_tick(self.root));
    }

    /// How often the timer goes off.
    pub fn tick_period(self) -> Option<Duration> {
        let millis = host(|host| host.tick_period_ms.get(&self.root).copied())?;
        Some(Duration::from_millis(millis.into()))
    }

    /// The plugin ends.
    pub fn end(self) {
        enter(self.root, || call::on_delete(self.root));
        host(|host| {
            host.roots.remove(&self.root);
            // Envoy would let it go off for ever.
            if host.tick_period_ms.remove(&self.root).unwrap_or(0) != 0 {
                host.violation("a timer outlives its plugin");
            }
        });
    }
}
