//! `lockside exec`, as a shell sees it: what it runs, what it answers, and that nothing it ran outlives its lock.

mod descendants;
mod loss;
mod outcomes;
mod refusals;
mod several;
mod shared;
mod signals;
mod terminal;
mod terms;
mod waiting;

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::SignalKind;

use crate::harness::{Answer, Sidecar, TestRedis, eventually, unique};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn sidecar() -> Sidecar {
    handle_what_is_ignored();
    Sidecar::start(TestRedis::shared(), &[]).await
}

/// Tests that a script runs in the background, or `nohup`, ignore some signals, and so would their children. A signal
/// that is handled has its default action in a child.
fn handle_what_is_ignored() {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a SigIgn line");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()] {
        if ignored >> (kind.as_raw_value() - 1) & 1 == 1 {
            drop(tokio::signal::unix::signal(kind).expect("a handler"));
        }
    }
}

fn url(sidecar: &Sidecar) -> String {
    format!("http://{}", sidecar.api_address())
}

/// A `lockside exec` under way.
struct Exec {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How it ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Exec {
    fn start(sidecar: &Sidecar, args: &[&str]) -> Exec {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.arg("exec").args(args).env("LOCKSIDE_URL", url(sidecar));
        Exec::of(command)
    }

    /// A shell script under the lock `key` with further flags.
    fn script(sidecar: &Sidecar, flags: &[&str], key: &str, script: &str) -> Exec {
        Exec::start(sidecar, &[flags, &[key, "--", "sh", "-c", script]].concat())
    }

    fn of(mut command: Command) -> Exec {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Exec { child, lines }
    }

    /// The next line that the command prints.
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time");
        line.expect("UTF-8").expect("a line before the end")
    }

    /// The next line, a process id.
    async fn pid(&mut self) -> u32 {
        self.line().await.parse().expect("a process id")
    }

    fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    async fn end(mut self) -> Ended {
        let mut stdout = String::new();
        let mut stderr = String::new();
        let work = async {
            while let Some(line) = self.lines.next_line().await.expect("UTF-8") {
                stdout += &format!("{line}\n");
            }
            self.child.stderr.take().expect("a pipe").read_to_string(&mut stderr).await.expect("UTF-8");
            self.child.wait().await.expect("it ends")
        };
        let status = tokio::time::timeout(PATIENCE, work).await.expect("an end in time");
        Ended { code: status.code(), stdout, stderr }
    }
}

/// Runs `lockside exec` to its end.
async fn exec(sidecar: &Sidecar, args: &[&str]) -> Ended {
    Exec::start(sidecar, args).end().await
}

fn signal(name: &str, pid: u32) {
    let status = std::process::Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.expect("kill runs").success(), "kill -{name} {pid}");
}

/// The fields of `/proc/PID/stat` after the name: state, parent, group, session, terminal, foreground group …
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Whether it could still do something.
fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat[0].as_str(), "Z" | "X"))
}

fn parent(pid: u32) -> u32 {
    stat(pid).expect("a process")[1].parse().expect("a process id")
}

async fn show(sidecar: &Sidecar, key: &str) -> Value {
    sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()
}

/// Waits for the lock at a sidecar, as somebody else would.
async fn wait_for(sidecar: &Sidecar, key: &str) -> Answer {
    let body = json!({"ttlMs": 60_000, "waitMs": 20_000});
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer
}

/// Waits until somebody waits for the lock.
async fn until_waiting(sidecar: &Sidecar, key: &str) {
    eventually("somebody waits", PATIENCE, async || show(sidecar, key).await["waiters"] == 1).await;
}
