//! Runs the tool in a directory of its own.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory with files for the tool to read; gone when dropped.
pub struct Workbench {
    directory: PathBuf,
}

/// The repository's root directory.
pub fn repository() -> &'static Path {
    // The tool's package is in tools/cli.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("two levels down")
}

/// What became of a run.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Workbench {
    /// An empty directory.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cli-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory under target");
        Self { directory }
    }

    /// The same with one file, and its name.
    pub fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        Self::new().file(name, content)
    }

    /// Adds a file.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(name), content).expect("writable");
        self
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What is in a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names of all files, sorted.
    pub fn list(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.directory)
            .expect("it is there")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    }

    /// Runs the tool in here.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, "", &[])
    }

    /// Runs the tool in here, with a standard input and environment variables of its own.
    pub fn run_with(
        &self,
        arguments: &[&str],
        stdin: impl AsRef<[u8]>,
        environment: &[(&str, &str)],
    ) -> Run {
        run_in(&self.directory, arguments, stdin.as_ref(), environment)
    }

    /// Runs the tool in here, and says how much processor time it took: whatever else runs beside it.
    pub fn measure(&self, arguments: &[&str]) -> (Run, Duration) {
        let (run, taken) = run_measured(&self.directory, arguments, &[], &[]);
        (run, taken.expect("Linux tells"))
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs the tool in a directory.
pub fn run_in(
    directory: &Path,
    arguments: &[&str],
    stdin: &[u8],
    environment: &[(&str, &str)],
) -> Run {
    run_measured(directory, arguments, stdin, environment).0
}

fn run_measured(
    directory: &Path,
    arguments: &[&str],
    stdin: &[u8],
    environment: &[(&str, &str)],
) -> (Run, Option<Duration>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_upstream-inject"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool was built");
    let mut input = child.stdin.take().expect("piped");
    let stdin = stdin.to_vec();
    // A tool that does not read its input closes it, and the write fails: that is its right.
    let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
    let mut errors = child.stderr.take().expect("piped");
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).map(|_| text)
    });
    let mut stdout = Vec::new();
    let mut output = child.stdout.take().expect("piped");
    output.read_to_end(&mut stdout).expect("readable");
    let stderr = errors.join().expect("no panic").expect("readable");
    let taken = time_taken(child.id());
    let status = child.wait().expect("it ends");
    writer.join().expect("no panic");
    let run = Run {
        code: status.code().expect("not killed by a signal"),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    };
    assert!(!run.stderr.contains("panicked"), "{arguments:?}: {run:?}");
    if run.code == 0 {
        crate::reread::product(directory, arguments, &run.stdout);
    }
    (run, taken)
}

/// The processor time of a child that has closed its output and that nobody has waited for, as Linux
/// keeps it until then: fields 14 and 15 of `stat`, in hundredths of a second.
fn time_taken(pid: u32) -> Option<Duration> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in front, in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if fields.first() == Some(&"Z") || Instant::now() > deadline {
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
            return Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10));
        }
        std::thread::yield_now();
    }
}

impl Run {
    /// Fails the test unless the run ended with this code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The lines of the standard output, but for excerpts, which are indented.
    pub fn lines(&self) -> Vec<&str> {
        let lines = self.stdout.lines();
        lines.filter(|line| !line.starts_with(' ')).collect()
    }
}
