//! The processes that a measurement is made of: started so that they die with the bench, pinned where that is asked
//! for, and asked what they used. Knows no lock.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a process may run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    All,
    /// Everything on the first core: then a round trip is the sum of its parts, and no wake-up crosses cores.
    One,
    /// Everything on the second core: so that what runs on the first alone is never interrupted.
    Second,
}

/// A running child; killed when dropped, and by the kernel when the bench ends in any other way.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`, with pipes for its standard input and output.
    pub fn start<S: AsRef<OsStr>>(cores: Cores, program: &str, args: impl IntoIterator<Item = S>) -> Process {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        match cores {
            Cores::All => {}
            Cores::One => drop(command.args(["taskset", "-c", "0"])),
            Cores::Second => drop(command.args(["taskset", "-c", "1"])),
        }
        // What our own processes say is why they failed; the servers' logs are of no use here.
        let is_ours = std::env::current_exe().is_ok_and(|own| own.as_os_str() == program);
        let stderr = if is_ours { Stdio::inherit() } else { Stdio::null() };
        command.arg(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        Process { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("a pipe that is taken once")
    }

    /// The processor time of all its threads so far. From the scheduler, in nanoseconds: the ticks of `stat` are too
    /// coarse for a sidecar that does little.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a process of ours");
        let times = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process of ours");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    }

    /// Waits for its end; panics where it failed.
    pub fn finish(mut self) {
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "a process of the bench failed: {status}");
    }

    /// Asks it to end, and waits: for a tool that writes what it found when it ends.
    pub fn terminate(mut self) {
        let status = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill -TERM");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until `found` has something, for 20 seconds at most.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A directory in memory for everything that the bench and its servers write, gone with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let shared = PathBuf::from("/dev/shm");
        let parent = if shared.is_dir() { shared } else { std::env::temp_dir() };
        let path = parent.join(format!("lockside-bench-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a UTF-8 path").to_owned()
    }

    /// Removes it although the bench is being stopped.
    pub fn remove_at(path: &str) {
        let _ = fs::remove_dir_all(path);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
