//! What the kernel knows of the Envoy process.

use std::time::Duration;

/// The CPU time that all threads of a process have used, to the nanosecond.
///
/// `/proc/<pid>/stat` counts in hundredths of a second, which is thousands of requests.
pub fn cpu_time(pid: u32) -> Duration {
    let mut clock: libc::clockid_t = 0;
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    // SAFETY: it writes where it is told to, and nowhere else.
    let failed = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) != 0 };
    assert!(!failed, "process {pid} has no CPU clock");
    read(clock)
}

/// The CPU time that this thread has used.
pub fn own_cpu_time() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes where it is told to, and nowhere else.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) != 0 };
    assert!(!failed, "a CPU clock cannot be read");
    Duration::new(
        u64::try_from(time.tv_sec).expect("a time"),
        u32::try_from(time.tv_nsec).expect("a time"),
    )
}

/// The linear memories of the WebAssembly VMs of a process: what is allocated of each, and what of
/// that is resident, in bytes.
///
/// V8 reserves gigabytes of addresses behind each linear memory, so that no access can miss it, and
/// makes accessible only what `memory.size` says. So a linear memory is an accessible mapping with
/// an inaccessible one of more than a gigabyte right behind it.
pub fn linear_memories(pid: u32) -> Vec<LinearMemory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process's maps");
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        match Mapping::parse(line) {
            Some(mapping) => mappings.push(mapping),
            None => {
                if let (Some(rest), Some(last)) = (line.strip_prefix("Rss:"), mappings.last_mut()) {
                    let kib: u64 = rest.trim().trim_end_matches(" kB").parse().expect("a size");
                    last.resident = kib * 1024;
                }
            }
        }
    }
    mappings
        .windows(2)
        .filter(|pair| {
            let [memory, guard] = pair else { return false };
            memory.accessible
                && !guard.accessible
                && memory.end == guard.start
                && guard.end - guard.start > 1 << 30
        })
        .map(|pair| LinearMemory {
            size: pair[0].end - pair[0].start,
            resident: pair[0].resident,
        })
        .collect()
}

/// The memory of one VM.
#[derive(Clone, Copy, Debug)]
pub struct LinearMemory {
    /// `memory.size`, in bytes.
    pub size: u64,
    /// What of it has been touched.
    pub resident: u64,
}

struct Mapping {
    start: u64,
    end: u64,
    accessible: bool,
    resident: u64,
}

impl Mapping {
    /// A line such as `7f00-7f10 rw-p 00000000 00:00 0`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            accessible: words.next()?.starts_with("rw"),
            resident: 0,
        })
    }
}

/// Cores and clock: all that is said about the machine.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let clock = info
        .lines()
        .find_map(|line| {
            line.strip_prefix("cpu MHz")?
                .split(':')
                .nth(1)?
                .trim()
                .parse::<f64>()
                .ok()
        })
        .map_or_else(
            || "unknown clock".to_owned(),
            |mhz| format!("{:.1} GHz", mhz / 1000.0),
        );
    format!("{cores} cores, {clock}")
}
