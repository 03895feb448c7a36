//! What a sidecar answers and what it sends to Redis, taken down once: for the bare server, which answers the same
//! bytes, and for the commands that go straight to Redis. So neither can drift from what lockside does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::bare::{Answer, Answers};
use crate::process::{Cores, eventually};
use crate::servers::{Lockside, Redis, ask, token_in};

const PATH: &str = "/v1/locks/bench-recorded";
const LEASE: &str = r#"{"ttlMs":30000}"#;

/// What lockside answers to an acquire (POST), a renewal (PUT) and a release (DELETE).
pub fn answers(lockside: &Lockside) -> Answers {
    let post = answer(lockside, "POST", PATH, LEASE);
    let path = format!("{PATH}?token={}", token_in(&post.body));
    let put = answer(lockside, "PUT", &path, LEASE);
    let delete = answer(lockside, "DELETE", &path, "");
    Answers::from([("POST".to_owned(), post), ("PUT".to_owned(), put), ("DELETE".to_owned(), delete)])
}

/// What lockside answers to an acquire of a key that is held.
pub fn refusal(lockside: &Lockside) -> Answers {
    let lease = answer(lockside, "POST", PATH, LEASE);
    let refusal = answer(lockside, "POST", PATH, LEASE);
    assert_eq!(refusal.status, 409, "{}", refusal.body);
    answer(lockside, "DELETE", &format!("{PATH}?token={}", token_in(&lease.body)), "");
    Answers::from([("POST".to_owned(), refusal)])
}

fn answer(lockside: &Lockside, method: &str, path: &str, body: &str) -> Answer {
    let (status, body) = ask(&lockside.api, method, path, body).expect("an answer");
    Answer { status, body }
}

/// An acquire and its release, as they went over the wire to Redis.
pub struct Recorded {
    pub acquire: Vec<u8>,
    pub release: Vec<u8>,
    /// The one granted then, which the release gives back.
    pub token: u64,
}

/// Records a pair by a sidecar of its own, which reaches `redis` through us.
pub fn commands(redis: &Redis) -> Recorded {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (tape, to) = (Arc::clone(&heard), redis.port);
    thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(to) = TcpStream::connect(("127.0.0.1", to)) else { return };
            let (back_from, back_to) = (to.try_clone().expect("a socket"), from.try_clone().expect("a socket"));
            let tape = Arc::clone(&tape);
            thread::spawn(move || copy(from, to, Some(&tape)));
            thread::spawn(move || copy(back_from, back_to, None));
        }
    });
    // A command says until when it may run: the deadline that is recorded must outlast a round.
    let lockside = Lockside::patient(Cores::All, &[], port, "60s");
    // Once before, so that Redis knows the scripts.
    answers(&lockside);
    let taken = |method: &str, path: &str, body: &str| {
        heard.lock().expect("no panic while held").clear();
        let answer = answer(&lockside, method, path, body);
        let command = eventually("the command was recorded", || {
            let tape = heard.lock().expect("no panic while held");
            commands_in(&tape).into_iter().find(|command| contains(command, b"bench-recorded")).map(<[u8]>::to_vec)
        });
        (answer, command)
    };
    let (lease, acquire) = taken("POST", PATH, LEASE);
    let token = token_in(&lease.body);
    let (_, release) = taken("DELETE", &format!("{PATH}?token={token}"), "");
    Recorded { acquire, release, token }
}

fn copy(mut from: TcpStream, mut to: TcpStream, tape: Option<&Mutex<Vec<u8>>>) {
    let mut buffer = [0; 65536];
    while let Ok(read) = from.read(&mut buffer) {
        if let Some(tape) = tape {
            tape.lock().expect("no panic while held").extend(&buffer[..read]);
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// The whole commands in what a client sent: arrays of strings, one after another.
fn commands_in(tape: &[u8]) -> Vec<&[u8]> {
    let number = |at: usize| {
        let line = tape.get(at..)?.split(|byte| *byte == b'\r').next()?;
        let number: usize = std::str::from_utf8(line.get(1..)?).ok()?.parse().ok()?;
        Some((number, at + line.len() + 2))
    };
    let end_of = |at: usize| {
        let (words, mut at) = number(at)?;
        for _ in 0..words {
            let (length, begin) = number(at)?;
            at = begin + length + 2;
        }
        (at <= tape.len()).then_some(at)
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(end) = end_of(at) {
        found.push(&tape[at..end]);
        at = end;
    }
    found
}

fn contains(command: &[u8], text: &[u8]) -> bool {
    command.windows(text.len()).any(|part| part == text)
}
