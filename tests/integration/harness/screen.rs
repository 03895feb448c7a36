//! A terminal, made by `script` of bsdutils.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Sidecar;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell on a terminal of its own, and what it shows.
pub struct Screen {
    script: Child,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    /// Runs a command line in an interactive bash, where $LOCKSIDE is the binary.
    pub fn bash(sidecar: &Sidecar) -> Screen {
        let url = format!("http://{}", sidecar.api_address());
        let mut command = std::process::Command::new("script");
        command.args(["-qec", "bash --norc --noprofile -i", "/dev/null"]);
        command.env("LOCKSIDE", env!("CARGO_BIN_EXE_lockside")).env("LOCKSIDE_URL", url).env("PS1", "$ ");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().expect("script starts");
        let shown = Arc::new(Mutex::new(String::new()));
        let mut output = script.stdout.take().expect("a pipe");
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Screen { script, shown }
    }

    pub fn press(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().expect("a pipe");
        stdin.write_all(keys.as_bytes()).and_then(|()| stdin.flush()).expect("pressed");
    }

    /// Waits for a number after `name` and before a comma.
    pub async fn number(&self, name: &str) -> u32 {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            {
                let shown = self.shown.lock().unwrap();
                let found = shown.split(name).skip(1).find_map(|rest| rest.split_once(',')?.0.parse().ok());
                if let Some(number) = found {
                    return number;
                }
                assert!(std::time::Instant::now() < deadline, "no `{name}` in:\n{shown}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for a text, and forgets everything up to it.
    pub async fn see(&self, text: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            {
                let mut shown = self.shown.lock().unwrap();
                if let Some(at) = shown.find(text) {
                    return shown.drain(..at + text.len()).collect();
                }
                assert!(std::time::Instant::now() < deadline, "`{text}` is not in:\n{shown}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
