//! Other people's clients, as they are published: `make clients` installs them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients");

/// Runs a script of `tests/integration/` with Node.js and what `tests/clients/package.json` lists, to its end.
/// Panics where it fails; returns what it printed.
pub async fn node(script: &str, args: &[&str]) -> String {
    let mut command = Command::new(format!("{CLIENTS}/python/bin/node"));
    command.env("NODE_PATH", format!("{CLIENTS}/node_modules"));
    run(command, script, args).await
}

async fn run(mut command: Command, script: &str, args: &[&str]) -> String {
    command.arg(format!("{}/tests/integration/{script}", env!("CARGO_MANIFEST_DIR"))).args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs to its end");
    let output = output.expect("the clients are installed; run `make clients`");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A script that reads lines and answers each with one, in the order in which they come.
#[derive(Clone)]
pub struct Peer(Arc<Mutex<Talk>>);

struct Talk {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script of `tests/integration/`, by Node.js or Python as its name says.
    pub fn start(script: &str, args: &[&str]) -> Peer {
        let interpreter = if script.ends_with(".js") { "node" } else { "python" };
        // Tied to our life by the kernel, so that nothing is left running whatever becomes of the tests.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", &format!("{CLIENTS}/python/bin/{interpreter}")]);
        command.env("NODE_PATH", format!("{CLIENTS}/node_modules"));
        command.arg(format!("{}/tests/integration/{script}", env!("CARGO_MANIFEST_DIR"))).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("setpriv starts");
        let says = BufReader::new(child.stdout.take().expect("a pipe"));
        Peer(Arc::new(Mutex::new(Talk { child, says })))
    }

    pub async fn ask(&self, line: &str) -> String {
        let (talk, line) = (Arc::clone(&self.0), format!("{line}\n"));
        let answer = tokio::task::spawn_blocking(move || {
            let mut talk = talk.lock().expect("nobody panicked in the middle of a question");
            let ear = talk.child.stdin.as_mut().expect("a pipe");
            ear.write_all(line.as_bytes()).expect("the clients are installed; run `make clients`");
            let mut answer = String::new();
            talk.says.read_line(&mut answer).expect("a line");
            answer
        });
        let answer = answer.await.expect("an answer");
        assert!(answer.ends_with('\n'), "the peer has ended; are the clients installed? run `make clients`");
        answer.trim_end().to_owned()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
