//! `lockside watch`: what happens to a lock, or to all whose keys begin alike, as it happens.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use clap::{ArgGroup, Args};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::client::{Sidecar, encoded, path_of};
use super::failure::{Failure, Problem};
use super::sidecar_flags::SidecarFlags;
use super::view::{Holder, printable, printable_json};
use super::{complain, run_client};

/// Pause before the sidecar is connected to again, unless its stream said another one, and the longest one.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest silence of a stream: the sidecar gives a sign of life every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(40);
/// Longest time for the beginning of the answer.
const BEGINS: Duration = Duration::from_secs(10);
/// Longest event, bytes: a lease has 1 KiB of `meta`, and a name.
const LONGEST_EVENT: usize = 64 * 1024;

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["key", "prefix"])))]
pub struct WatchFlags {
    /// The lock to watch
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// All locks whose keys begin with this; all locks where it is empty
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// An object a line, for machines: the data of each event, and its name as `event`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sidecar: SidecarFlags,
}

pub const HELP: &str = "\
First the state, then each change, until Ctrl-C (exit code 130). When the sidecar or Redis was unavailable, a line with gap \
says that changes may be missing, and the state comes again. Exit code 69 if there is no sidecar at the start, 77 if \
watching is not allowed.

Example: lockside watch orders/1234
Example: lockside watch --prefix orders/ --json | jq -r .key";

pub fn run(flags: &WatchFlags) -> ExitCode {
    run_client(async {
        let sidecar = flags.sidecar.sidecar()?;
        let path = match (&flags.key, &flags.prefix) {
            (Some(key), _) => format!("{}/events", path_of(key)),
            (None, prefix) => format!("/v1/events?prefix={}", encoded(prefix.as_deref().unwrap_or_default())),
        };
        watch(&sidecar, &path, flags.json).await
    })
}

/// Only the first connection must succeed: a sidecar may restart while it is watched.
async fn watch(sidecar: &Sidecar, path: &str, is_json: bool) -> Result<(), Failure> {
    let (mut has_begun, mut last, mut pause) = (false, String::new(), PAUSE);
    loop {
        match Stream::open(sidecar, path).await {
            Ok(mut stream) => {
                let is_read = !has_begun || print("gap", b"{}", is_json);
                (has_begun, last) = (true, String::new());
                while let Some((name, data)) = stream.event().await {
                    if !is_read || !print(&name, &data, is_json) {
                        return Ok(());
                    }
                }
                pause = stream.retry.unwrap_or(pause);
            }
            Err(failure) if has_begun && may_pass(&failure) => {
                let text = failure.to_string();
                if text != last {
                    complain(&text);
                    last = text;
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(pause).await;
    }
}

fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::NoSidecar(_) | Failure::Broken(_) => true,
        Failure::Refused(problem) => problem.status == 429 || problem.status >= 500,
        Failure::Usage(_) | Failure::Declined(_) => false,
    }
}

/// A stream of events.
struct Stream {
    body: Incoming,
    buffer: BytesMut,
    /// The pause that it asks for before it is opened again: another one for each reader.
    retry: Option<Duration>,
}

impl Stream {
    async fn open(sidecar: &Sidecar, path: &str) -> Result<Stream, Failure> {
        let connection = sidecar.connect().await?;
        let answered = tokio::time::timeout(BEGINS, connection.send("GET", path, Bytes::new())).await;
        let answer = answered.unwrap_or_else(|_| Err(sidecar.silent(&"it is frozen, or overloaded")))?;
        if !answer.status().is_success() {
            return Err(Failure::Refused(Box::new(Problem::read(answer).await)));
        }
        Ok(Stream { body: answer.into_body(), buffer: BytesMut::new(), retry: None })
    }

    /// The next event, its name and its data; `None` when the stream has ended.
    async fn event(&mut self) -> Option<(String, Vec<u8>)> {
        let (mut name, mut data) = (String::new(), Vec::new());
        loop {
            let line = self.line().await?;
            if line.is_empty() && !name.is_empty() {
                return Some((name, data));
            }
            if let Some(text) = line.strip_prefix(b"event: ") {
                name = String::from_utf8_lossy(text).into_owned();
            } else if let Some(text) = line.strip_prefix(b"data: ") {
                data = text.to_vec();
            } else if let Some(text) = line.strip_prefix(b"retry: ") {
                self.retry = pause(text).or(self.retry);
            }
        }
    }

    async fn line(&mut self) -> Option<BytesMut> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return Some(line);
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await.ok()??.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
            if self.buffer.len() > LONGEST_EVENT && !self.buffer.contains(&b'\n') {
                return None;
            }
        }
    }
}

/// Of milliseconds.
fn pause(text: &[u8]) -> Option<Duration> {
    let ms = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(Duration::from_millis(ms).min(LONGEST_PAUSE))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    key: String,
    #[serde(default)]
    token: u64,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    holder: Option<Holder>,
    #[serde(default)]
    shared_by: Option<u64>,
    #[serde(default)]
    waiters: Option<u64>,
}

/// Whether what reads our output goes on to.
fn print(name: &str, data: &[u8], is_json: bool) -> bool {
    let line = if is_json {
        for_machines(name, &printable_json(&String::from_utf8_lossy(data)))
    } else {
        serde_json::from_slice(data).map_or_else(|_| printable(name), |told| for_people(name, &told))
    };
    writeln!(std::io::stdout(), "{line}").is_ok()
}

/// The data as it came, with the name before it: `meta` may allow more than a reader of JSON does.
fn for_machines(name: &str, data: &str) -> String {
    let rest = data.trim_start().strip_prefix('{').unwrap_or("}");
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"event\":\"{name}\"{comma}{rest}")
}

fn for_people(name: &str, told: &Told) -> String {
    let shown = if name == "state" { told.state.as_deref().unwrap_or("free") } else { name };
    let mut line = format!("{shown:8}  {}", told.key);
    if let Some(count) = told.shared_by.filter(|count| *count > 1) {
        line += &format!("  shared by {count}");
    } else {
        if let Some(holder) = &told.holder {
            line += &format!("  {holder}");
        }
        if told.token != 0 {
            line += &format!("  token {}", told.token);
        }
    }
    if let Some(waiters) = told.waiters.filter(|waiters| *waiters > 0 || name == "waiting") {
        line += &format!("  {waiters} waiting");
    }
    printable(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_machines_is_the_data_with_the_name_of_the_event() {
        assert_eq!(for_machines("synced", "{}"), r#"{"event":"synced"}"#);
        assert_eq!(for_machines("granted", r#"{"key":"a"}"#), r#"{"event":"granted","key":"a"}"#);
    }

    #[test]
    fn a_pause_is_taken_as_it_is_asked_for_but_not_for_ever() {
        assert_eq!(pause(b"950"), Some(Duration::from_millis(950)));
        assert_eq!(pause(b"86400000"), Some(LONGEST_PAUSE));
        assert_eq!((pause(b""), pause(b"-1"), pause(b"1.5"), pause(b"\xff")), (None, None, None, None));
    }

    #[test]
    fn a_change_is_one_line_without_what_a_terminal_obeys() {
        let told: Told = serde_json::from_str(
            r#"{"key":"a\u202eb","token":7,"holder":{"owner":"web-3","validForMs":30000},"waiters":2}"#,
        )
        .expect("an event");
        assert_eq!(for_people("granted", &told), "granted   a\u{fffd}b  `web-3` for another 30s  token 7  2 waiting");
        let told: Told = serde_json::from_str(r#"{"key":"a","token":0,"state":"free","waiters":0}"#).expect("an event");
        assert_eq!(for_people("state", &told), "free      a");
    }
}
