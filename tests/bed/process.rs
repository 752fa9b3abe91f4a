//! Child processes: none outlives this process, none is waited for without an end, and one that ends
//! or stands still by itself is named when a test fails that has to do with it.

use std::cell::RefCell;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::waiting::Waiting;

/// A running child; stopped by [`Process::stop`], or by the kernel when this process dies.
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
    id: u32,
    /// Whether this process has told it to end.
    told_to_end: AtomicBool,
}

/// Where processes serve.
static SERVING: Mutex<Vec<(SocketAddr, Weak<Process>)>> = Mutex::new(Vec::new());

thread_local! {
    /// The processes that this thread's test has started or asked, for [`mishaps`].
    static MET: RefCell<Vec<Arc<Process>>> = const { RefCell::new(Vec::new()) };
}

/// The ends of a child's pipes, as far as its command asks for some.
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
}

/// Starts a command whose process gets SIGKILL when this process ends, however it ends.
pub(crate) fn spawn(name: &str, command: Command) -> Result<Arc<Process>, String> {
    spawn_with_pipes(name, command).map(|(process, _)| process)
}

/// [`spawn`] for a command whose standard input or output is a pipe.
pub(crate) fn spawn_with_pipes(
    name: &str,
    command: Command,
) -> Result<(Arc<Process>, Pipes), String> {
    let mut child = start(command).map_err(|error| format!("cannot start {name}: {error}"))?;
    let pipes = Pipes {
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
    };
    let process = Arc::new(Process {
        name: name.to_owned(),
        id: child.id(),
        child: Mutex::new(child),
        told_to_end: AtomicBool::new(false),
    });
    process.meet();
    Ok((process, pipes))
}

/// Runs a command to its end and answers with all it printed. What it has started in turn and left
/// behind ends as well.
///
/// # Errors
/// It cannot be started, or takes longer than `limit`; what it printed so far is in the message.
pub(crate) fn output(what: &str, limit: Duration, mut command: Command) -> Result<Output, String> {
    let _waiting = Waiting::new(what);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = start(command).map_err(|error| format!("{what}: {error}"))?;
    let group = child.id();
    let stdout = Collected::from(child.stdout.take());
    let stderr = Collected::from(child.stderr.take());
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => break None,
        }
    };
    if status.is_none() {
        kill_group(group);
        // Only now does the id become free for another process.
        let _ = child.wait();
    }
    // The pipes end with the last process that holds them.
    if !stdout.is_whole() || !stderr.is_whole() {
        kill_group(group);
        // Whoever reads them may have been late.
        let _ = stdout.is_whole() && stderr.is_whole();
    }
    let (stdout, stderr) = (stdout.bytes(), stderr.bytes());
    match status {
        Some(status) => Ok(Output {
            status,
            stdout,
            stderr,
        }),
        None => Err(format!(
            "{what} did not end within {limit:?}; it had printed:\n{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )),
    }
}

/// A test begins on this thread, and has to do with no process yet.
pub fn begin_test() {
    MET.take();
}

/// The processes that this thread's test has started or asked, and that are not as they should be
/// although nobody stopped them: those that have ended, and those that stand still. What is wrong
/// with those of other tests, which may do that to them on purpose, explains nothing.
#[must_use]
pub fn mishaps() -> Vec<String> {
    MET.with_borrow(|met| met.iter().filter_map(|process| process.mishap()).collect())
}

/// This thread's test asks whoever serves at this address.
pub(crate) fn asks(address: SocketAddr) {
    let serving = SERVING.lock().expect("no panic in here");
    let there = serving.iter().find(|(at, _)| *at == address);
    let process = there.and_then(|(_, process)| process.upgrade());
    drop(serving);
    if let Some(process) = process {
        process.meet();
    }
}

impl Process {
    /// This thread's test has to do with it.
    pub(crate) fn meet(self: &Arc<Self>) {
        MET.with_borrow_mut(|met| {
            if !met.iter().any(|other| Arc::ptr_eq(other, self)) {
                met.push(Arc::clone(self));
            }
        });
    }

    /// It serves at this address: who asks there asks this process.
    pub(crate) fn serves(self: &Arc<Self>, address: SocketAddr) {
        let mut serving = SERVING.lock().expect("no panic in here");
        serving.retain(|(at, process)| *at != address && process.strong_count() > 0);
        serving.push((address, Arc::downgrade(self)));
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("no panic in here")
    }

    /// How the child ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// How the child ended although nobody told it to.
    pub(crate) fn ended_by_itself(&self) -> Option<String> {
        let status = self.ended()?;
        let told = self.told_to_end.load(Ordering::Relaxed);
        (!told).then(|| format!("{self} has ended by itself: {status}"))
    }

    /// What is wrong with a child that should be running: it has ended although nobody told it to,
    /// or stands still.
    pub(crate) fn mishap(&self) -> Option<String> {
        if self.ended().is_some() {
            return self.ended_by_itself();
        }
        self.stands_still()
            .then(|| format!("{self} stands still (SIGSTOP?)"))
    }

    pub(crate) fn stands_still(&self) -> bool {
        // T for stopped, t for traced.
        let fields = self.stat_fields();
        fields
            .first()
            .is_some_and(|it| it.eq_ignore_ascii_case("t"))
    }

    /// Asks the child to end, and kills it if it does not within three seconds.
    pub(crate) fn stop(&self) {
        if self.ended().is_some() {
            return;
        }
        self.told_to_end.store(true, Ordering::Relaxed);
        if let Ok(pid) = libc::pid_t::try_from(self.id) {
            // SAFETY: plain system call; the child is not yet waited for, so the id is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// Ends the child at once.
    pub(crate) fn kill(&self) {
        self.told_to_end.store(true, Ordering::Relaxed);
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// The fields of `/proc/<pid>/stat` from the state on. The command's name before it is in
    /// parentheses and may hold anything.
    fn stat_fields(&self) -> Vec<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().map(str::to_owned).collect()
    }

    /// User and system time of all threads, as `/proc/<pid>/stat` has it.
    pub(crate) fn cpu_time(&self) -> Duration {
        let fields = self.stat_fields();
        let ticks: u64 = [11, 12]
            .iter()
            .filter_map(|index| fields.get(*index)?.parse::<u64>().ok())
            .sum();
        // SAFETY: plain system call.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.id)
    }
}

/// What a child prints into one of its pipes, read as it comes so that it never blocks.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Collected {
    fn from(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (at_end, end) = channel();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let _at_end: Sender<()> = at_end;
            let mut pipe = pipe;
            let mut buffer = [0; 16 * 1024];
            while let Some(Ok(length @ 1..)) = pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
                let piece = buffer.get(..length).unwrap_or_default();
                kept.lock().expect("no panic in here").extend(piece);
            }
        });
        Self { bytes, end }
    }

    /// Waits a little for the end of the pipe.
    fn is_whole(&self) -> bool {
        let pause = Duration::from_secs(5);
        self.end.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("no panic in here").clone()
    }
}

fn kill_group(leader: u32) {
    if let Ok(group) = libc::pid_t::try_from(leader) {
        // SAFETY: plain system call; a group keeps its id as long as it has a member.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

fn start(command: Command) -> Result<Child, String> {
    let gone = || "the spawner is gone".to_owned();
    let (answer, answered) = channel();
    SPAWNER
        .lock()
        .map_err(|_| gone())?
        .send(Order { command, answer })
        .map_err(|_| gone())?;
    let child = answered.recv().map_err(|_| gone())?;
    child.map_err(|error| error.to_string())
}

struct Order {
    command: Command,
    answer: Sender<std::io::Result<Child>>,
}

/// The thread that starts children. The kernel sends the death signal when the *thread* that forked
/// ends, and a test's thread ends long before the program does; this one never does.
static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (sender, orders) = channel::<Order>();
    std::thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for mut order in orders {
                die_with_parent(&mut order.command);
                // The one who asked may be gone; its child then dies with the dropped answer's process.
                let _ = order.answer.send(order.command.spawn());
            }
        })
        .expect("a thread");
    Mutex::new(sender)
});

fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe system calls are made.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The parent may have died before the call above.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_and_its_last_words_are_told() {
        // A busy machine may need longer until it speaks.
        for milliseconds in [300, 3_000, 20_000] {
            let started = Instant::now();
            let limit = Duration::from_millis(milliseconds);
            let sleeper = shell("echo so far; sleep 1000");
            let error = output("the sleeper", limit, sleeper).unwrap_err();
            let reason = format!("the sleeper did not end within {limit:?}");
            assert!(error.contains(&reason), "{error}");
            assert!(started.elapsed() < limit + Duration::from_secs(30));
            if error.contains("so far") {
                return;
            }
        }
        panic!("its last words are not told");
    }

    #[test]
    fn what_a_command_leaves_behind_does_not_keep_anybody_waiting() {
        let script = "sleep 1000 & echo $!";
        let said = output("the parent", Duration::from_secs(60), shell(script)).unwrap();
        assert!(said.status.success());
        let left_behind = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        let state = || std::fs::read_to_string(format!("/proc/{left_behind}/stat"));
        let gone = || state().map_or(true, |stat| stat.contains(") Z "));
        let end = Instant::now() + Duration::from_secs(10);
        while !gone() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(gone(), "process {left_behind} still runs");
    }

    #[test]
    fn a_process_that_stands_still_or_has_ended_is_named() {
        let process = spawn("the patient", shell("sleep 1000")).unwrap();
        assert_eq!(process.mishap(), None);
        let pid = libc::pid_t::try_from(process.id()).unwrap();
        // SAFETY: plain system call; the child is this test's own.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let end = Instant::now() + Duration::from_secs(10);
        while process.mishap().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ours = || mishaps().join("\n");
        assert!(ours().contains(&format!("the patient (process {pid}) stands still")));
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        let end = Instant::now() + Duration::from_secs(10);
        while process.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(
            ours().contains("has ended by itself: signal: 9"),
            "{}",
            ours()
        );
        process.kill();
        assert!(!ours().contains("the patient"), "it was told to");
    }

    /// A process that stands still, of another thread's test.
    fn stopped_by_another(name: &'static str) -> Arc<Process> {
        let started = std::thread::spawn(move || {
            let process = spawn(name, shell("kill -STOP $$; sleep 1000")).unwrap();
            let end = Instant::now() + Duration::from_secs(10);
            while !process.stands_still() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(mishaps(), [format!("{process} stands still (SIGSTOP?)")]);
            process
        });
        started.join().expect("it stands still")
    }

    #[test]
    fn of_other_tests_processes_only_those_are_named_that_were_asked() {
        let (asked, strange) = (stopped_by_another("asked"), stopped_by_another("strange"));
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        asked.serves(address(1));
        strange.serves(address(2));
        begin_test();
        assert_eq!(mishaps(), [""; 0]);
        asks(address(1));
        asks(address(1));
        asks(address(3));
        assert_eq!(mishaps(), [format!("{asked} stands still (SIGSTOP?)")]);
        // The port is another's by now.
        begin_test();
        strange.serves(address(1));
        asks(address(1));
        assert_eq!(mishaps(), [format!("{strange} stands still (SIGSTOP?)")]);
        asked.kill();
        strange.kill();
    }
}
