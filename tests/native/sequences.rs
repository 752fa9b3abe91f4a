//! Whole lives of a worker: requests, answers, ends of streams, timers, clocks and configurations in
//! any order. The judge is what must hold always: the fake host's own rules, that nobody ever gets
//! another user's or another backend's token, and that nobody waits for ever.
//!
//! `PROPTEST_CASES` says how many lives; `./build.sh fuzz` plays them for an hour.

use crate::host::{Answer, Call, Envoy, Outcome, Plugin, Request, Stream, status, worker};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::time::Duration;

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const BACKENDS: [&str; 7] = ["api", "twin", "other", "own", "inject", "key", "open"];

/// Something that Envoy tells the filter, or that happens around it.
#[derive(Clone, Debug)]
enum Event {
    /// A request; several can be attempts of one.
    Request {
        backend: usize,
        user: usize,
        began: u64,
        health_check: bool,
    },
    Answer(Index, How),
    /// A client goes away.
    Leave(Index),
    /// A backend answers.
    Respond(Index, u16),
    /// Envoy sends the request on to this backend, after that response, if there is one.
    SendOn(Index, usize, Option<u16>),
    Tick,
    Pass(u64),
    /// The wall clock is set forward or back, in seconds.
    Step(i64),
    /// A new configuration takes over; the old one drains.
    Reconfigure(usize),
    /// The oldest configuration ends, and its requests with it.
    Retire,
    /// A configuration that cannot be used arrives.
    Misconfigure,
    NextCallFails,
    ClusterExists(bool),
    /// A callback for a context that is nobody's.
    Stray(u32),
    /// A host function fails from now on, or works again.
    Fails(usize, bool),
}

/// How an STS answers.
#[derive(Clone, Debug)]
enum How {
    Token(u64),
    Rejected,
    Forbidden,
    Unavailable,
    Unreadable,
    BrokenOff,
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => prop::sample::select(vec![0, 1, 16, 60, 300, 86_400]).prop_map(How::Token),
        1 => Just(How::Rejected),
        1 => Just(How::Forbidden),
        1 => Just(How::Unavailable),
        1 => Just(How::Unreadable),
        1 => Just(How::BrokenOff),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let request = (0..BACKENDS.len(), 0..USERS.len(), 0..6u64, any::<u8>()).prop_map(
        |(backend, user, began, mark)| Event::Request {
            backend,
            user,
            began,
            health_check: mark < 10,
        },
    );
    let code = prop::sample::select(vec![200, 401, 403, 503]);
    let sent_on = prop::sample::select(vec![Some(302), Some(401), Some(503), None]);
    prop_oneof![
        12 => request,
        8 => (any::<Index>(), how()).prop_map(|(call, how)| Event::Answer(call, how)),
        3 => any::<Index>().prop_map(Event::Leave),
        5 => (any::<Index>(), code).prop_map(|(stream, code)| Event::Respond(stream, code)),
        2 => (any::<Index>(), 0..BACKENDS.len(), sent_on)
            .prop_map(|(stream, backend, code)| Event::SendOn(stream, backend, code)),
        4 => Just(Event::Tick),
        4 => prop::sample::select(vec![1, 500, 2_000, 8_000, 60_000, 400_000]).prop_map(Event::Pass),
        1 => prop::sample::select(vec![-7200, -30, 30, 7200]).prop_map(Event::Step),
        1 => (0..CONFIGURATIONS).prop_map(Event::Reconfigure),
        1 => Just(Event::Retire),
        1 => Just(Event::Misconfigure),
        1 => Just(Event::NextCallFails),
        1 => any::<bool>().prop_map(Event::ClusterExists),
        1 => (0..40u32).prop_map(Event::Stray),
    ]
}

/// What Envoy refuses only when something is wrong with a stream, or with Envoy.
const FALLIBLE: [(&str, u32); 7] = [
    ("set_effective_context", status::BAD_ARGUMENT),
    ("replace_header", status::BAD_ARGUMENT),
    ("remove_header", status::BAD_ARGUMENT),
    ("set_tick_period", status::INTERNAL_FAILURE),
    ("send_local_response", status::BAD_ARGUMENT),
    ("get_buffer", status::NOT_FOUND),
    ("get_property", status::INTERNAL_FAILURE),
];

fn event_in_a_failing_host() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => event(),
        1 => (0..FALLIBLE.len(), any::<bool>()).prop_map(|(which, fails)| Event::Fails(which, fails)),
    ]
}

const CONFIGURATIONS: usize = 4;

fn configuration(which: usize) -> Value {
    let exchange = |audience: &str| {
        json!({"type": "token_exchange", "tokenExchange": {
            "tokenUrl": "https://sts.example.com/token",
            "cluster": "corp-sts",
            "subjectProviderName": "corp",
            "audience": audience,
        }})
    };
    let mut configuration = json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}, {"name": "github"}]}},
        "outgoingAuth": {"backends": {
            "api": exchange("one"),
            "twin": exchange("one"),
            "other": exchange("two"),
            "own": exchange("own"),
            "inject": {"type": "upstream_inject", "upstreamInject": {"providerName": "github"}},
            "key": {"type": "header_injection", "headerInjection": {
                "headerName": "x-api-key", "headerValue": "CANARY-key",
            }},
            "open": {"type": "unauthenticated"},
        }},
        "identity": {"tokenFrom": "filter_state"},
    });
    let own = &mut configuration["outgoingAuth"]["backends"]["own"]["tokenExchange"];
    own["subjectProviderName"] = Value::Null;
    match which {
        0 => {}
        1 => configuration["tokenCache"] = json!({"maxEntries": 2, "negativeTtl": "1s"}),
        2 => configuration["tokenCache"] = json!({"maxEntries": 0}),
        _ => {
            configuration["outgoingAuth"]["backends"]["other"] = exchange("three");
            configuration["tokenCache"] = json!({"refreshAhead": false});
        }
    }
    configuration
}

/// A stream whose end has not come.
struct Open {
    stream: Stream,
    plugin: Plugin,
    user: &'static str,
    backend: &'static str,
    began: u64,
    health_check: bool,
    request: Request,
    decided: bool,
}

struct Life<'e> {
    envoy: &'e Envoy,
    /// The newest last.
    plugins: Vec<(Plugin, usize)>,
    open: Vec<Open>,
    calls: Vec<Call>,
    issued: u64,
}

impl<'e> Life<'e> {
    fn begin(envoy: &'e Envoy) -> Self {
        let mut life = Self {
            envoy,
            plugins: Vec::new(),
            open: Vec::new(),
            calls: Vec::new(),
            issued: 0,
        };
        life.reconfigure(0);
        life
    }

    fn reconfigure(&mut self, which: usize) {
        // Only a few drain at once.
        if self.plugins.len() >= 3 {
            self.retire();
        }
        // A host that fails may not hand it over: the old one stays.
        let bytes = configuration(which).to_string();
        if let Some(plugin) = self.envoy.configure(bytes.as_bytes()) {
            self.plugins.push((plugin, which));
        }
    }

    fn retire(&mut self) {
        if self.plugins.len() < 2 {
            return;
        }
        // A timer that the host does not stop outlives its plugin, whatever that does.
        self.envoy.fails("set_tick_period", None);
        let (plugin, _) = self.plugins.remove(0);
        // Envoy ends a plugin after its streams, and drops the answers to its calls.
        let (its, others) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open| open.plugin.root == plugin.root);
        self.open = others;
        let its: Vec<Open> = its;
        its.iter().for_each(|open| open.stream.end());
        self.calls.retain(|call| call.root != plugin.root);
        plugin.end();
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Request {
                backend,
                user,
                began,
                health_check,
            } => self.request(BACKENDS[*backend], USERS[*user], *began, *health_check),
            Event::Answer(which, how) if !self.calls.is_empty() => {
                let call = self.calls.remove(which.index(self.calls.len()));
                self.answer(&call, how);
            }
            Event::Leave(which) if !self.open.is_empty() => {
                let open = self.open.remove(which.index(self.open.len()));
                open.stream.end();
            }
            Event::Respond(which, code) => self.respond(which, *code),
            Event::SendOn(which, backend, code) => self.send_on(which, BACKENDS[*backend], *code),
            Event::Tick => self.tick(),
            Event::Pass(millis) => self.envoy.advance(Duration::from_millis(*millis)),
            Event::Step(seconds) => {
                let step = Duration::from_secs(seconds.unsigned_abs());
                match seconds.is_negative() {
                    true => self.envoy.set_back(step),
                    false => self.envoy.set_forward(step),
                }
            }
            Event::Reconfigure(which) => self.reconfigure(*which),
            Event::Retire => self.retire(),
            Event::Misconfigure => {
                let plugin = self.plugins.last().expect("there is one").0;
                assert!(!plugin.configure(b"{\"outgoingAuth\": {}}"));
            }
            Event::NextCallFails => self.envoy.next_call_returns(status::INTERNAL_FAILURE),
            Event::ClusterExists(exists) => self.envoy.cluster_exists("corp-sts", *exists),
            // Those of contexts that exist are no strays.
            Event::Stray(context) => self.envoy.stray_callbacks(1_000_000 + context),
            Event::Fails(which, fails) => {
                let (function, status) = FALLIBLE[*which];
                self.envoy.fails(function, fails.then_some(status));
            }
            Event::Answer(..) | Event::Leave(_) => {}
        }
        self.look();
    }

    fn request(
        &mut self,
        backend: &'static str,
        user: &'static str,
        began: u64,
        health_check: bool,
    ) {
        let plugin = self.plugins.last().expect("there is one").0;
        let tokens = json!({
            "corp": format!("CANARY-corp-{user}"), "github": format!("CANARY-gho-{user}"),
        });
        let mut identity = json!({"upstream_tokens": tokens});
        if health_check {
            identity = json!({"health_check": true});
        }
        // Attempts of one request are for one user and backend.
        let began = 1 + began * 100 + backend.len() as u64 * 10 + user.len() as u64;
        let place = USERS.iter().position(|known| *known == user);
        let request = Request::to(backend)
            .kept(&format!("Bearer CANARY-th-{user}"))
            .identity(identity)
            .attempt_of(began)
            .of_request(began * 10 + place.expect("a user") as u64);
        let stream = plugin.request(&request);
        self.opened(Open {
            stream,
            plugin,
            user,
            backend,
            began,
            health_check,
            request,
            // What is decided in its own callback is nobody else's turn.
            decided: stream.outcome() != Outcome::Waits,
        });
    }

    fn opened(&mut self, open: Open) {
        self.judge(&open);
        self.open.push(open);
    }

    /// A request that went on comes back, with what is on it in the TH-JWT's place.
    fn send_on(&mut self, which: &Index, backend: &'static str, code: Option<u16>) {
        let Some(first) = self.take_one_that_went_on(which) else {
            return;
        };
        let lent = first.stream.received("authorization").pop();
        match code {
            Some(code) => first.stream.end_with(code, "via_upstream"),
            None => first.stream.end(),
        }
        let plugin = self.plugins.last().expect("there is one").0;
        let mut request = Request::to(backend)
            .attempt_of(first.began)
            .kept(&lent.unwrap_or_default());
        request.attributes.request = first.request.attributes.request;
        let stream = plugin.request(&request);
        if backend == "own" {
            // Nobody asks the STS with anything that the filter has set.
            assert_ne!(stream.outcome(), Outcome::WentOn);
        }
        self.opened(Open {
            stream,
            backend,
            plugin,
            request,
            decided: stream.outcome() != Outcome::Waits,
            ..first
        });
    }

    fn answer(&mut self, call: &Call, how: &How) {
        let user = call.parameter("subject_token").expect("a subject");
        let own = user.strip_prefix("CANARY-th-");
        let user = own.or_else(|| user.strip_prefix("CANARY-corp-"));
        let user = user.expect("a user's own token, and none that was obtained");
        let audience = call.parameter("audience").expect("an audience");
        self.issued += 1;
        let answer = match how {
            How::Token(seconds) => Answer::token(
                &format!("CANARY-sts-{user}-{audience}-{}", self.issued),
                *seconds,
            ),
            How::Rejected => Answer::error(400, "invalid_grant"),
            How::Forbidden => Answer::error(403, "access_denied"),
            How::Unavailable => Answer::new(503, "CANARY"),
            How::Unreadable => Answer::new(200, "CANARY, and no JSON"),
            How::BrokenOff => Answer::reset(),
        };
        call.answer(&answer);
    }

    fn respond(&mut self, which: &Index, code: u16) {
        if let Some(open) = self.take_one_that_went_on(which) {
            open.stream.end_with(code, "via_upstream");
        }
    }

    fn take_one_that_went_on(&mut self, which: &Index) -> Option<Open> {
        let went_on = |open: &Open| open.stream.outcome() == Outcome::WentOn;
        let places: Vec<usize> = (0..self.open.len())
            .filter(|place| went_on(&self.open[*place]))
            .collect();
        let places = (!places.is_empty()).then_some(places)?;
        Some(self.open.remove(places[which.index(places.len())]))
    }

    fn tick(&self) {
        self.plugins.iter().for_each(|(plugin, _)| plugin.tick());
    }

    /// Looks at what has become of everybody.
    fn look(&mut self) {
        self.calls.extend(self.envoy.calls());
        let mut served = Vec::new();
        for place in 0..self.open.len() {
            let open = &self.open[place];
            if open.decided || open.stream.outcome() == Outcome::Waits {
                continue;
            }
            self.judge(open);
            // Carrying out one attempt's refusal ends the others: Envoy crashes on a second one.
            let attempt_of = (open.plugin.root, open.began);
            assert!(
                !served.contains(&attempt_of),
                "two attempts in one callback"
            );
            served.push(attempt_of);
            self.open[place].decided = true;
        }
    }

    /// Whoever goes on has their own credential, of that backend, and no other.
    fn judge(&self, open: &Open) {
        if open.stream.outcome() != Outcome::WentOn {
            return;
        }
        let authorization = open.stream.received("authorization");
        let key = open.stream.received("x-api-key");
        let (user, backend) = (open.user, open.backend);
        if open.health_check || backend == "open" {
            assert_eq!((authorization.len(), key.len()), (0, 0), "{backend}");
            return;
        }
        if backend == "key" {
            assert_eq!(
                (authorization.len(), &key[..]),
                (0, &["CANARY-key".to_owned()][..])
            );
            return;
        }
        assert!(key.is_empty());
        let [authorization] = &authorization[..] else {
            panic!("{user} goes on to {backend} with {authorization:?}");
        };
        let configured = self
            .plugins
            .iter()
            .find(|(plugin, _)| plugin.root == open.plugin.root);
        let audience = match (backend, configured.map_or(0, |(_, which)| *which)) {
            ("api" | "twin", _) => "one",
            ("own", _) => "own",
            (_, 3) => "three",
            _ => "two",
        };
        let expected = match backend {
            "inject" => format!("Bearer CANARY-gho-{user}"),
            _ => format!("Bearer CANARY-sts-{user}-{audience}-"),
        };
        assert!(
            authorization.starts_with(&expected),
            "{authorization} is not {expected}"
        );
    }

    /// Everything works again and every call is answered: nobody may still be waiting.
    fn end(mut self) {
        for (function, _) in FALLIBLE {
            self.envoy.fails(function, None);
        }
        self.envoy.cluster_exists("corp-sts", true);
        for _ in 0..40 {
            for call in std::mem::take(&mut self.calls) {
                self.answer(&call, &How::Unavailable);
            }
            self.envoy.advance(Duration::from_millis(500));
            for (plugin, _) in &self.plugins {
                plugin.tick();
                // One callback after the other.
                self.envoy.log();
            }
            self.calls.extend(self.envoy.calls());
        }
        for open in &self.open {
            let outcome = open.stream.outcome();
            assert_ne!(
                outcome,
                Outcome::Waits,
                "{} for {}",
                open.user,
                open.backend
            );
        }
    }
}

proptest! {
    #[test]
    fn any_life_of_a_worker(events in vec(event(), 1..150)) {
        worker(|envoy| {
            let mut life = Life::begin(envoy);
            events.iter().for_each(|event| life.play(event));
            life.end();
        });
    }

    /// Requests may have to wait for Envoy's own timeout then, and nothing else.
    #[test]
    fn any_life_of_a_worker_in_a_host_that_fails(
        events in vec(event_in_a_failing_host(), 1..150),
    ) {
        worker(|envoy| {
            let mut life = Life::begin(envoy);
            events.iter().for_each(|event| life.play(event));
            for (function, _) in FALLIBLE {
                envoy.fails(function, None);
            }
        });
    }
}
