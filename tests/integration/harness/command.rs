//! The binary run to its end, as a shell would.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Both streams, for what must be in neither.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The names of the subcommands that `--help` lists, but `help`.
pub async fn subcommands() -> Vec<String> {
    let help = lockside(&["--help"]).await.stdout;
    let listed = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let names =
        listed.lines().filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() > 8, "{help}");
    names
}

/// Runs `lockside` with `args` and waits for its end.
pub async fn lockside(args: &[&str]) -> Finished {
    lockside_with(args, &[]).await
}

/// Runs `lockside` with `args` and variables of its environment; panics where it goes on running.
pub async fn lockside_with(args: &[&str], variables: &[(&str, &str)]) -> Finished {
    run(args, variables, &[]).await
}

/// Runs `lockside` with `args` and what it reads on standard input.
pub async fn lockside_fed(args: &[&str], input: impl AsRef<[u8]>) -> Finished {
    run(args, &[], input.as_ref()).await
}

async fn run(args: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.args(args).envs(variables.iter().copied()).stdin(stdin).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("lockside starts");
    let stdin = child.stdin.take();
    let fed = async {
        if let Some(mut stdin) = stdin {
            // A command that has ended reads no more.
            let _ = stdin.write_all(input).await;
        }
    };
    let ended = async { tokio::join!(fed, child.wait_with_output()).1 };
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    let output = ended.unwrap_or_else(|_| panic!("still running: {args:?}")).expect("lockside runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
