//! A security token service that does what a test tells it, down to the bytes on the socket.
//!
//! By default it behaves: every exchange gets a token of its own. A test replaces that by a script
//! of its own ([`Sts::set_script`]), puts single answers in front of it ([`Sts::answer_next`]),
//! holds all answers back ([`Sts::hold`]) or lets connections be refused ([`Sts::refuse`]).

mod answer;
pub(crate) mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::{eventually, runtime, wait_for};
pub use answer::{Answer, identity_assertion};
pub use wire::StsRequest;

type Script = dyn Fn(&StsRequest) -> Answer + Send + Sync;

/// A running STS.
pub struct Sts {
    address: SocketAddr,
    state: Arc<State>,
    /// While refusing: a socket that keeps the port without listening on it.
    placeholder: Mutex<Option<TcpSocket>>,
}

struct State {
    seen: Mutex<Vec<StsRequest>>,
    script: Mutex<Arc<Script>>,
    next: Mutex<VecDeque<Answer>>,
    held: watch::Sender<bool>,
    /// Counts the times that the door was shut: connections of earlier openings end.
    shut: watch::Sender<u64>,
}

impl Sts {
    /// Starts an STS on a free port.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        let state = Arc::new(State {
            seen: Mutex::default(),
            script: Mutex::new(Arc::new(Answer::token_for)),
            next: Mutex::default(),
            held: watch::Sender::new(false),
            shut: watch::Sender::new(0),
        });
        let sts = Self {
            address,
            state,
            placeholder: Mutex::new(None),
        };
        sts.listen(socket)?;
        Ok(sts)
    }

    /// Where it listens, or would.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<StsRequest> {
        self.state.seen.lock().expect("no panic in here").clone()
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state.seen.lock().expect("no panic in here").len()
    }

    /// Waits until this many requests have arrived since the start.
    pub async fn reached(&self, calls: usize) {
        eventually(&format!("{calls} calls at the STS"), || async {
            (self.calls() >= calls).then_some(())
        })
        .await;
    }

    /// Forgets the requests so far, for runs of millions.
    pub fn forget(&self) {
        self.state.seen.lock().expect("no panic in here").clear();
    }

    /// Replaces the default behaviour.
    pub fn set_script(&self, script: impl Fn(&StsRequest) -> Answer + Send + Sync + 'static) {
        self.scripting().set(script);
    }

    /// A handle with which a task can change the behaviour.
    #[must_use]
    pub fn scripting(&self) -> Scripting {
        Scripting(Arc::clone(&self.state))
    }

    /// Back to the default behaviour, with no answers queued, nothing held, connections accepted.
    ///
    /// # Errors
    /// The port cannot be listened on again.
    pub fn behave(&self) -> std::io::Result<()> {
        self.set_script(Answer::token_for);
        self.state.next.lock().expect("no panic in here").clear();
        self.release();
        self.accept()
    }

    /// Queues an answer for one request, before the script is asked again.
    pub fn answer_next(&self, answer: Answer) {
        self.state
            .next
            .lock()
            .expect("no panic in here")
            .push_back(answer);
    }

    /// Lets all requests wait for their answer until [`Self::release`].
    pub fn hold(&self) {
        self.state.held.send_replace(true);
    }

    /// Ends [`Self::hold`].
    pub fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// From now on connections are refused, and those that are open are closed.
    ///
    /// # Errors
    /// The port cannot be kept.
    pub async fn refuse(&self) -> Result<(), String> {
        if self.placeholder().is_some() {
            return Ok(());
        }
        self.state.shut.send_modify(|count| *count += 1);
        // The listening socket is closed by the task that it belongs to, when that has its turn.
        let socket = wait_for("the STS's port to be free", || async {
            bind(self.address).ok()
        })
        .await?;
        *self.placeholder() = Some(socket);
        Ok(())
    }

    /// Ends [`Self::refuse`].
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub fn accept(&self) -> std::io::Result<()> {
        let socket = self.placeholder().take();
        socket.map_or(Ok(()), |socket| self.listen(socket))
    }

    fn placeholder(&self) -> MutexGuard<'_, Option<TcpSocket>> {
        self.placeholder.lock().expect("no panic in here")
    }

    fn listen(&self, socket: TcpSocket) -> std::io::Result<()> {
        let _in_runtime = runtime::enter();
        let listener = socket.listen(1024)?;
        let state = Arc::clone(&self.state);
        let mut shut = state.shut.subscribe();
        runtime::spawn(async move {
            loop {
                tokio::select! {
                    _ = shut.changed() => return,
                    stream = runtime::accept(&listener) => {
                        runtime::spawn(serve(stream, Arc::clone(&state)));
                    }
                }
            }
        });
        Ok(())
    }
}

/// Changes how an STS behaves.
pub struct Scripting(Arc<State>);

impl Scripting {
    /// Replaces the behaviour so far.
    pub fn set(&self, script: impl Fn(&StsRequest) -> Answer + Send + Sync + 'static) {
        *self.0.script.lock().expect("no panic in here") = Arc::new(script);
    }
}

impl Drop for Sts {
    fn drop(&mut self) {
        self.state.shut.send_modify(|count| *count += 1);
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves one connection until it ends, one answer says so, or the door is shut.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut shut = state.shut.subscribe();
    let conversation = async {
        let mut unread = Vec::new();
        while let Some(request) = wire::read_request(&mut stream, &mut unread).await {
            let answer = state.answer_to(request);
            let mut held = state.held.subscribe();
            if held.wait_for(|held| !held).await.is_err() {
                return;
            }
            if !answer.send(&mut stream).await {
                return;
            }
        }
    };
    tokio::select! {
        _ = shut.changed() => {}
        () = conversation => {}
    }
}

impl State {
    fn answer_to(&self, request: StsRequest) -> Answer {
        let queued = self.next.lock().expect("no panic in here").pop_front();
        let script = Arc::clone(&self.script.lock().expect("no panic in here"));
        let answer = queued.unwrap_or_else(|| script(&request));
        self.seen.lock().expect("no panic in here").push(request);
        answer
    }
}
