//! Callers who hang up at any moment: a lock is there if, and only if, its caller was told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::asked_for;
use crate::harness::http::raw;
use crate::harness::{Dice, Sidecar, TestRedis, eventually, heavy, unique};

/// Longer than an answer takes, so that they hang up before it, in it and after it.
const LATEST: Duration = Duration::from_millis(40);
/// How long those who wait are in line, about.
const IN_LINE: Duration = Duration::from_millis(30);

/// What a caller asks for, each on a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Acquire,
    Wait,
    Lease,
    Share,
    Bundle,
    Hold,
}

const ASKS: [Ask; 6] = [Ask::Acquire, Ask::Wait, Ask::Lease, Ask::Share, Ask::Bundle, Ask::Hold];

/// What a caller knows when it has hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    /// That it has the lock of this token.
    Token(u64),
    /// Nothing: it has had no answer, or a part of one, or a refusal.
    Nothing,
    /// As good as nothing: it closed for good before an answer had come. One may have been on its way.
    Closed,
    /// Nobody can say: it closed for good while an answer lay in its socket.
    Unread,
}

struct Caller {
    key: String,
    ask: Ask,
    knows: Knows,
}

impl Caller {
    fn call(address: &str, dice: &mut Dice) -> Caller {
        let ask = ASKS[dice.roll(ASKS.len() as u64) as usize];
        let key = unique("vanished");
        if ask == Ask::Wait {
            raw(address, &post(&format!("/v1/locks/{key}"), &format!(r#"{{"ttlMs":{}}}"#, IN_LINE.as_millis()), true));
        }
        let knows = hang_up(address, &request(ask, &key), ask, dice);
        Caller { key, ask, knows }
    }

    /// Whether the lease that lies under its key is what it knows of.
    fn is_right(&self, token: Option<u64>) -> bool {
        match self.knows {
            // Its connection has closed, and its lock has gone with it.
            _ if self.ask == Ask::Hold => token.is_none(),
            Knows::Token(told) => token == Some(told),
            Knows::Nothing | Knows::Closed => token.is_none(),
            Knows::Unread => true,
        }
    }
}

fn request(ask: Ask, key: &str) -> String {
    match ask {
        Ask::Acquire => post(&format!("/v1/locks/{key}"), r#"{"ttlMs":60000}"#, false),
        Ask::Wait => post(&format!("/v1/locks/{key}"), r#"{"ttlMs":60000,"waitMs":5000}"#, false),
        Ask::Lease => post("/cmn/leasable-locks", &format!(r#"{{"key":"{key}","leasePeriod":60}}"#), false),
        Ask::Share => post(&format!("/v1/locks/{key}"), r#"{"ttlMs":60000,"limit":3}"#, false),
        Ask::Bundle => post("/v1/bundles", &format!(r#"{{"keys":[{{"key":"{key}"}}],"ttlMs":60000}}"#), false),
        Ask::Hold => post(&format!("/v1/locks/{key}/hold"), r#"{"ttlMs":60000}"#, false),
    }
}

fn post(path: &str, body: &str, closes: bool) -> String {
    let connection = if closes { "close" } else { "keep-alive" };
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Sends `request`, or a part of it, and closes at some moment.
fn hang_up(address: &str, request: &str, ask: Ask, dice: &mut Dice) -> Knows {
    let mut stream = TcpStream::connect(address).expect("a connection");
    if dice.roll(8) == 0 {
        let part = dice.roll(request.len() as u64) as usize;
        stream.write_all(&request.as_bytes()[..part]).expect("written");
        return Knows::Nothing;
    }
    stream.write_all(request.as_bytes()).expect("written");
    // Mostly early: an answer takes a millisecond, and several when all cores are busy.
    let mut patience = LATEST.mul_f64((dice.roll(1000) as f64 / 1000.0).powi(2));
    if ask == Ask::Wait {
        patience += IN_LINE / 2;
    }
    std::thread::sleep(patience);
    let _ = stream.shutdown(Shutdown::Write);
    if dice.roll(2) == 0 {
        // Closed for good. What lies in the socket now may have been read, for all that anybody else knows.
        stream.set_nonblocking(true).expect("a socket");
        return if matches!(stream.peek(&mut [0]), Ok(1)) { Knows::Unread } else { Knows::Closed };
    }
    // It says no more, and listens on: so it knows exactly what it was told.
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    token_of(&answer).map_or(Knows::Nothing, Knows::Token)
}

/// The token in a whole answer.
fn token_of(answer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let is_granted = head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 201 ");
    // A hold has no length; what becomes of it does not hang on its answer.
    let length = head.to_lowercase().split_once("content-length: ")?.1.split("\r\n").next()?.parse::<usize>().ok()?;
    let is_whole = is_granted && body.len() == length;
    is_whole.then(|| {
        let told: Value = serde_json::from_str(body).expect("JSON");
        told["token"].as_u64().or_else(|| told["leases"][0]["token"].as_u64()).expect("a token")
    })
}

#[tokio::test]
async fn callers_who_hang_up_at_any_moment_leave_no_lock_that_they_were_not_told_of() {
    let _turn = heavy().await;
    // So many at once, and so many in all.
    let (crowd, count) = if asked_for().is_some() { (16, 10_000) } else { (4, 1_000) };
    let redis = TestRedis::start(&[]);
    let sidecar = Arc::new(Sidecar::start(&redis, &[]).await);
    let threads = (0..crowd).map(|thread| {
        let sidecar = Arc::clone(&sidecar);
        std::thread::spawn(move || {
            let mut dice = Dice(thread);
            let calls = (0..count / crowd).map(|_| Caller::call(sidecar.api_address(), &mut dice));
            calls.collect::<Vec<_>>()
        })
    });
    let threads: Vec<_> = threads.collect();
    let callers: Vec<Caller> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();

    let number = |who: fn(&Knows) -> bool| callers.iter().filter(|caller| who(&caller.knows)).count();
    let (told, nothing) = (number(|knows| matches!(knows, Knows::Token(_))), number(|knows| *knows == Knows::Nothing));
    let closed = number(|knows| *knows == Knows::Closed);
    println!("{} hung up: {told} know their token, {nothing} nothing, {closed} closed for good before", callers.len());
    assert!(told > callers.len() / 50 && nothing > callers.len() / 50, "they hang up before it, and after it");

    // An answer that was on its way when its caller closed for good cannot be known to be lost.
    let unknowable = closed / 50 + 2;
    eventually("what nobody was told of is taken back", Duration::from_secs(10), async || {
        let (lost, wrong): (Vec<&Caller>, Vec<&Caller>) =
            wrong(&callers, &redis).into_iter().partition(|caller| caller.knows == Knows::Closed);
        let some = wrong.iter().take(3).map(|caller| (&caller.key, caller.ask, caller.knows)).collect::<Vec<_>>();
        println!("{} are not right yet, and {} who closed for good: {some:?}", wrong.len(), lost.len());
        wrong.is_empty() && lost.len() <= unknowable
    })
    .await;
}

/// Those under whose keys lies what should not.
fn wrong<'a>(callers: &'a [Caller], redis: &TestRedis) -> Vec<&'a Caller> {
    let mut connection = redis.connection();
    let mut token = |key: &str| super::ledger::leases(&mut connection, key).last().map(|(token, _)| *token);
    callers.iter().filter(|caller| !caller.is_right(token(&caller.key))).collect()
}
