//! A child process that cannot outlive this one.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// A running child; stopped by [`Process::stop`], or by the kernel when this process dies.
pub(super) struct Process {
    child: Mutex<Child>,
    id: u32,
}

/// Starts a command whose process gets SIGKILL when this process ends, however it ends.
pub(super) fn spawn(command: Command) -> Result<Process, String> {
    let (answer, answered) = channel();
    SPAWNER
        .lock()
        .map_err(|_| "the spawner is gone".to_owned())?
        .send(Order { command, answer })
        .map_err(|_| "the spawner is gone".to_owned())?;
    let child = answered
        .recv()
        .map_err(|_| "the spawner is gone".to_owned())?
        .map_err(|error| format!("cannot start Envoy: {error}"))?;
    Ok(Process {
        id: child.id(),
        child: Mutex::new(child),
    })
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

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// How the child ended, if it did.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .expect("no panic in here")
            .try_wait()
            .ok()
            .flatten()
    }

    /// Asks the child to end, and kills it if it does not within three seconds.
    pub(super) fn stop(&self) {
        if self.ended().is_some() {
            return;
        }
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
        let mut child = self.child.lock().expect("no panic in here");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// User and system time of all threads, as `/proc/<pid>/stat` has it.
    pub(super) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // The command's name is in parentheses and may hold anything; fields count from after it.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks: u64 = [11, 12]
            .iter()
            .filter_map(|index| fields.get(*index)?.parse::<u64>().ok())
            .sum();
        // SAFETY: plain system call.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    }

    /// Resident memory in bytes.
    pub(super) fn resident_memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    }
}
