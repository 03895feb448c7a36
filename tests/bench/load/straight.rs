//! Straight to Redis, without a sidecar between: raw commands, raw replies.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::looped::{Clock, Seen};
use super::{Load, Report};

struct Straight {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Straight {
    async fn open(load: &Load) -> Straight {
        let stream = TcpStream::connect(&load.targets[0]).await.expect("a connection to redis");
        stream.set_nodelay(true).expect("a socket");
        Straight { stream, buffer: Vec::new() }
    }

    /// Sends commands in one write, and reads that many replies.
    async fn ask(&mut self, commands: &[u8], count: usize) -> &[u8] {
        self.stream.write_all(commands).await.expect("an open connection");
        self.buffer.clear();
        let (mut at, mut replies) = (0, 0);
        while replies < count {
            match reply_end(&self.buffer, at) {
                Some(end) => {
                    assert_ne!(self.buffer[at], b'-', "{}", String::from_utf8_lossy(&self.buffer[at..end]));
                    (at, replies) = (end, replies + 1);
                }
                None => {
                    let read = self.stream.read_buf(&mut self.buffer).await.expect("an open connection");
                    assert!(read > 0, "redis closed the connection");
                }
            }
        }
        &self.buffer
    }
}

/// Where the reply that begins at `at` ends, once all of it is there.
fn reply_end(buffer: &[u8], at: usize) -> Option<usize> {
    let rest = buffer.get(at..)?;
    let line = rest.windows(2).position(|two| two == b"\r\n")?;
    let number = || std::str::from_utf8(&rest[1..line]).ok()?.parse::<i64>().ok();
    let after = at + line + 2;
    match rest[0] {
        b'$' => {
            let end = after + number().filter(|length| *length >= 0).map_or(0, |length| length as usize + 2);
            (buffer.len() >= end).then_some(end)
        }
        b'*' => (0..number()?.max(0)).try_fold(after, |at, _| reply_end(buffer, at)),
        _ => Some(after),
    }
}

/// A sidecar's own commands for an acquire and for its release, again and again. `granted` is the token that the
/// recorded release gives back; each time it is replaced by the one just granted.
pub async fn sidecars(load: &Load, acquire: &[u8], release: &[u8], granted: u64) -> Report {
    let granted = granted.to_string();
    let width = granted.len();
    let at = release.windows(width).position(|part| part == granted.as_bytes()).expect("the token in the release");
    let mut release = release.to_vec();
    let mut redis = Straight::open(load).await;
    let clock = Clock::start(load);
    let mut seen = Seen::default();
    while clock.runs(&mut seen) {
        let asked = Instant::now();
        let reply = redis.ask(acquire, 1).await;
        let is_token = |part: &&[u8]| part.len() == width && part.iter().all(u8::is_ascii_digit);
        let token = reply.split(|byte| *byte == b'\r' || *byte == b'\n').find(is_token);
        let token = token.unwrap_or_else(|| panic!("no token granted: {}", String::from_utf8_lossy(reply)));
        release[at..at + width].copy_from_slice(token);
        seen.answer(asked);
        let asked = Instant::now();
        redis.ask(&release, 1).await;
        seen.answer(asked);
    }
    clock.report(vec![seen])
}

/// What a lock on one Redis needs at the least, as scripts.
pub async fn bare(load: &Load, depth: usize) -> Report {
    const ACQUIRE: &str = "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])";
    const RELEASE: &str =
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";
    let mut redis = Straight::open(load).await;
    let mut digests = Vec::new();
    for script in [ACQUIRE, RELEASE] {
        let mut command = Vec::new();
        push(&mut command, &["SCRIPT", "LOAD", script]);
        let reply = String::from_utf8_lossy(redis.ask(&command, 1).await).into_owned();
        digests.push(reply.split("\r\n").nth(1).expect("a digest").to_owned());
    }
    let clock = Clock::start(load);
    let (mut seen, mut number) = (Seen::default(), 0_u64);
    let (mut acquires, mut releases) = (Vec::new(), Vec::new());
    while clock.runs(&mut seen) {
        acquires.clear();
        releases.clear();
        for _ in 0..depth {
            number += 1;
            let (key, token) = (format!("bench-{number}"), format!("{:016}", number));
            push(&mut acquires, &["EVALSHA", &digests[0], "1", &key, &token, "30000"]);
            push(&mut releases, &["EVALSHA", &digests[1], "1", &key, &token]);
        }
        for commands in [&acquires, &releases] {
            let asked = Instant::now();
            redis.ask(commands, depth).await;
            for _ in 0..depth {
                seen.answer(asked);
            }
        }
    }
    clock.report(vec![seen])
}

fn push(buffer: &mut Vec<u8>, words: &[&str]) {
    buffer.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        buffer.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}
