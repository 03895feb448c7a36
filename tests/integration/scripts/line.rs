//! `wait.lua` and `advance.lua`, row by row, and the line in the scripts that free a key.

use std::time::Duration;

use redis::Value;

use super::{ADVANCE, Attempt, Space, WAIT, identity_of, word};
use crate::harness::{TestRedis, eventually};

/// What a sidecar is told, in the order in which it is told.
struct Ear(std::sync::mpsc::Receiver<String>);

impl Ear {
    /// A sidecar that listens.
    fn of(space: &Space, sidecar: &str) -> Ear {
        let (give, take) = std::sync::mpsc::channel();
        let mut connection = TestRedis::alone().connection();
        for channel in [format!("{}{sidecar}", space.push()), format!("{}all", space.push())] {
            redis::cmd("SSUBSCRIBE").arg(channel).query::<Value>(&mut connection).unwrap();
        }
        std::thread::spawn(move || {
            while let Ok(message) = connection.recv_response() {
                let (word, _channel, text): (String, String, String) = redis::from_redis_value(message).unwrap();
                if word != "smessage" || give.send(text).is_err() {
                    break;
                }
            }
        });
        Ear(take)
    }

    fn next(&self) -> Vec<String> {
        let text = self.0.recv_timeout(Duration::from_secs(5)).expect("a message");
        text.split('\n').map(str::to_owned).collect()
    }
}

/// A waiter as its sidecar spells it.
fn waiter(sidecar: &str, id: &str) -> String {
    format!("{sidecar}\n{id}\n60000\n{}\n\"nonce\":\"{id}\",\n,\"label\":\"L\"", identity_of(id))
}

impl Space {
    fn wait(&mut self, waiter: &str, place: &str) -> Vec<String> {
        self.run_in_line(WAIT, "k", 0, &[waiter, "5000", place, ""]).unwrap()
    }

    fn advance(&mut self, waiter: &str, silent: &str) -> Vec<String> {
        self.run_in_line(ADVANCE, "k", 0, &[waiter, silent]).unwrap()
    }

    /// Who stands in line.
    fn line(&mut self) -> Vec<String> {
        let queue = self.queue("k");
        let members: Vec<String> = self.ask("ZRANGE", &[&queue, "0", "-1"]);
        members.iter().map(|member| member.split('\n').nth(1).unwrap().to_owned()).collect()
    }

    /// A key that alice holds, and these in line before it.
    fn with_line(waiters: &[(&str, &str)]) -> (Space, u64) {
        let mut space = Space::shared();
        let token = space.granted(&Attempt::of("k", "alice", "n-1"));
        for (sidecar, id) in waiters {
            assert_eq!(word(&space.wait(&waiter(sidecar, id), "")), "waiting");
        }
        (space, token)
    }
}

#[test]
fn who_waits_for_a_held_key_stands_at_the_end_and_is_told_what_is_left_of_the_lease() {
    let (mut space, _) = Space::with_line(&[("a", "w-1")]);

    let row = space.wait(&waiter("b", "w-2"), "");

    assert_eq!((word(&row), row.len(), row[3].as_str()), ("waiting", 4, ""));
    assert!((55_000..=60_000).contains(&row[2].parse::<i64>().unwrap()), "{row:?}");
    assert_eq!(space.line(), ["w-1", "w-2"]);
    let (queue, sequence) = (space.queue("k"), space.sequence());
    assert_eq!(space.ask::<String>("GET", &[&sequence]), row[1], "a place is a sequence, and rises as it does");
    assert!((60_000..=65_000).contains(&space.ask::<i64>("PTTL", &[&queue])), "longer than anybody waits");
}

#[test]
fn who_comes_back_stands_at_its_old_place_and_only_once() {
    let (mut space, _) = Space::with_line(&[("a", "w-1"), ("a", "w-2")]);
    let first = space.wait(&waiter("a", "w-1"), "7");
    assert_eq!((word(&first), space.line()), ("waiting", vec!["w-1".to_owned(), "w-2".to_owned()]));
    assert_eq!(space.undo_of(&Attempt::of("k", "-", "-"), &waiter("a", "w-1")).unwrap(), ["nothing"]);

    space.wait(&waiter("a", "w-1"), "7");

    assert_eq!(space.line(), ["w-1", "w-2"]);
}

#[test]
fn a_place_rises_when_redis_has_lost_everything() {
    let (mut space, _) = Space::with_line(&[]);
    let before: u64 = space.wait(&waiter("a", "w-1"), "")[1].parse().unwrap();
    for name in [space.sequence(), space.queue("k")] {
        space.ask::<i64>("DEL", &[&name]);
    }

    let after: u64 = space.wait(&waiter("a", "w-2"), "")[1].parse().unwrap();

    assert!(after > before, "{after} after {before}");
}

#[test]
fn who_waits_for_a_free_key_is_offered_it_at_once() {
    let mut space = Space::shared();
    let ear = Ear::of(&space, "a");

    let row = space.wait(&waiter("a", "w-1"), "");

    assert_eq!((word(&row), row[3].as_str()), ("waiting", "a"));
    assert!((1000..=1500).contains(&row[2].parse::<i64>().unwrap()), "{row:?}");
    let (token, lease) = (space.indexed("k").unwrap(), space.lease("k").unwrap());
    assert_eq!(ear.next(), ["turn", "k", "w-1", &token.to_string()]);
    assert!(lease.contains("\"ttl\":60000,\"label\":\"L\",\"offered\":\"a\"}"), "{lease}");
    assert!(space.line().is_empty());
    assert_eq!(space.wait(&waiter("a", "w-1"), "7"), ["turn", &token.to_string()], "never twice in line");
    assert!(space.line().is_empty());

    let row = space.renew("k", token, &identity_of("w-1"), 90_000).unwrap();
    assert_eq!((word(&row), &row[1]), ("renewed", &lease.replace(",\"offered\":\"a\"", "")));
    assert_eq!(space.lease("k"), Some(row[1].clone()), "taken");
    assert_eq!(space.wait(&waiter("a", "w-1"), "7"), ["turn", &token.to_string()]);
}

#[test]
fn who_comes_back_to_a_free_key_leaves_it_free_and_says_so() {
    let mut space = Space::shared();
    let ear = Ear::of(&space, "a");

    assert_eq!(space.wait(&waiter("b", "w-2"), "8"), ["waiting", "8", "-2", ""]);
    assert_eq!(space.wait(&waiter("a", "w-1"), "7"), ["waiting", "7", "-2", ""]);

    assert_eq!(ear.next(), ["lost", "k", "b"]);
    assert_eq!((space.lease("k"), space.line()), (None, vec!["w-1".to_owned(), "w-2".to_owned()]));
    assert_eq!(word(&space.advance(&waiter("b", "w-2"), "")), "held");
    assert_eq!(ear.next()[..3], ["turn", "k", "w-1"]);
}

#[test]
fn a_used_up_sequence_lets_nobody_in_line() {
    let (mut space, _) = Space::with_line(&[]);
    let sequence = space.sequence();
    space.ask::<String>("SET", &[&sequence, "1e300"]);

    let error = space.run_in_line(WAIT, "k", 0, &[&waiter("a", "w-1"), "5000", "", ""]).unwrap_err();

    assert!(error.contains("used up"), "{error}");
    assert!(space.line().is_empty());
}

#[test]
fn whoever_frees_a_key_offers_it_to_the_first_in_line() {
    for freed_by in ["release", "release of a key", "force", "undo"] {
        let (mut space, token) = Space::with_line(&[("a", "w-1"), ("gone", "w-2"), ("b", "w-3")]);
        let ear = Ear::of(&space, "a");

        let row = match freed_by {
            "release" => space.release("k", Some(token), &identity_of("alice")),
            "release of a key" => space.release("k", None, &identity_of("alice")),
            "force" => space.force("k", None),
            _ => space.undo(&Attempt::of("k", "alice", "n-1")),
        };

        assert!(["released", "forced", "undone"].contains(&word(&row.unwrap())), "{freed_by}");
        if freed_by == "force" {
            assert_eq!(ear.next(), ["forced", "k", &token.to_string()]);
        }
        let next = space.indexed("k").unwrap();
        assert!(next > token, "{next} after {token}");
        assert_eq!(ear.next(), ["turn", "k", "w-1", &next.to_string()], "{freed_by}");
        assert_eq!(ear.next(), ["offer", "k", "1500", "a"], "{freed_by}");
        assert_eq!(space.line(), ["w-2", "w-3"], "{freed_by}");
    }
}

/// It may be about to listen again; if it is not, the line behind its waiters has waited once for all of them.
#[tokio::test]
async fn a_sidecar_that_does_not_listen_is_offered_the_key_for_a_moment_and_its_waiters_leave_the_line() {
    let (mut space, token) = Space::with_line(&[("gone", "w-1"), ("a", "w-2"), ("gone", "w-3"), ("a", "w-4")]);
    let ear = Ear::of(&space, "a");

    space.release("k", Some(token), &identity_of("alice")).unwrap();

    assert_eq!(ear.next(), ["offer", "k", "700", "gone"]);
    assert!(space.lease("k").unwrap().ends_with(",\"offered\":\"gone\"}"));
    assert_eq!(space.line(), ["w-2", "w-4"]);
    space.wait(&waiter("gone", "w-3"), "3");
    assert_eq!(space.line(), ["w-3", "w-2", "w-4"], "back at its place if it lives");
    space.expired("k").await;
    assert_eq!(space.advance(&waiter("a", "w-2"), "gone")[0], "held");
    assert_eq!(ear.next()[..3], ["turn", "k", "w-2"]);
    assert_eq!(space.line(), ["w-4"]);
}

#[tokio::test]
async fn an_acquire_overtakes_nobody_who_waits() {
    for listens in [true, false] {
        let mut space = Space::shared();
        space.granted(&Attempt { ttl_ms: 30, ..Attempt::of("k", "alice", "n-1") });
        for id in ["w-1", "w-2"] {
            space.wait(&waiter("a", id), "");
        }
        let _ear = listens.then(|| Ear::of(&space, "a"));
        space.expired("k").await;

        let row = space.acquire(&Attempt::of("k", "bob", "n-2")).unwrap();

        assert_eq!(word(&row), "held", "{row:?}");
        assert!(row[1].contains("\"owner\":\"w-1\""), "{row:?}");
        space.expired("k").await;
        let row = space.acquire(&Attempt::of("k", "bob", "n-2")).unwrap();
        assert_eq!(word(&row), if listens { "held" } else { "granted" }, "who is gone holds nobody up twice: {row:?}");
    }
}

#[test]
fn an_undo_gives_up_the_place_in_line_and_leaves_the_others() {
    let (mut space, _) = Space::with_line(&[("a", "w-1"), ("a", "w-2")]);
    let attempt = Attempt { identity: identity_of("w-1"), ..Attempt::of("k", "", "w-1") };

    assert_eq!(space.undo_of(&attempt, &waiter("a", "w-1")).unwrap(), ["nothing"], "it has no lease");

    assert_eq!(space.line(), ["w-2"]);
}

#[test]
fn an_undo_of_a_turn_that_came_meanwhile_hands_the_key_on() {
    let (mut space, token) = Space::with_line(&[("a", "w-1"), ("b", "w-2")]);
    let (_first, second) = (Ear::of(&space, "a"), Ear::of(&space, "b"));
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    let attempt = Attempt { identity: identity_of("w-1"), ..Attempt::of("k", "", "w-1") };

    assert_eq!(space.undo_of(&attempt, &waiter("a", "w-1")).unwrap(), ["undone"]);

    assert_eq!(second.next(), ["offer", "k", "1500", "a"]);
    assert_eq!(second.next()[..3], ["turn", "k", "w-2"]);
}

#[tokio::test]
async fn advance_moves_the_line_on_after_an_expiry_and_drops_the_waiters_of_who_was_silent() {
    let mut space = Space::shared();
    space.granted(&Attempt { ttl_ms: 500, ..Attempt::of("k", "alice", "n-1") });
    for (sidecar, id) in [("x", "w-1"), ("a", "w-2"), ("x", "w-3"), ("a", "w-4")] {
        space.wait(&waiter(sidecar, id), "");
    }
    let (ear, frozen) = (Ear::of(&space, "a"), Ear::of(&space, "x"));
    let held = space.advance(&waiter("a", "w-2"), "x");
    if held[1].contains("alice") {
        assert_eq!((word(&held), held[3].as_str()), ("held", "queued"), "while it is held nobody is dropped");
        assert_eq!(space.line().len(), 4);
    }
    space.expired("k").await;

    let row = space.advance(&waiter("a", "w-4"), "x");

    assert_eq!((word(&row), row[3].as_str()), ("held", "queued"));
    assert!(row[1].contains("\"owner\":\"w-2\""), "{row:?}");
    assert_eq!(ear.next()[..3], ["turn", "k", "w-2"]);
    assert_eq!(frozen.next(), ["dropped", "k"]);
    assert_eq!(space.line(), ["w-4"]);
}

#[test]
fn advance_tells_who_is_missing_and_leaves_a_free_key_to_those_in_line() {
    let mut space = Space::shared();
    let _ear = Ear::of(&space, "a");
    space.wait(&waiter("a", "w-1"), "7");

    assert_eq!(space.advance(&waiter("b", "w-2"), ""), ["free", "missing"]);

    assert_eq!((space.lease("k"), space.line()), (None, vec!["w-1".to_owned()]));
}

#[test]
fn advance_knows_a_stranger() {
    let mut space = Space::shared();
    let lock = space.lock("k");
    space.ask::<i64>("LPUSH", &[&lock, "x"]);
    let row = space.wait(&waiter("a", "w-1"), "");
    assert_eq!((word(&row), row[2].as_str()), ("waiting", "-1"));
    assert_eq!(space.advance(&waiter("a", "w-1"), ""), ["stranger", "queued"]);
    assert_eq!(space.advance(&waiter("a", "w-2"), ""), ["stranger", "missing"]);
}

#[test]
fn a_renewal_that_shortens_a_lease_is_said_to_all_and_one_that_lengthens_it_is_not() {
    let (mut space, token) = Space::with_line(&[("a", "w-1")]);
    let ear = Ear::of(&space, "a");
    space.renew("k", token, &identity_of("alice"), 90_000).unwrap();
    space.renew("k", token, &identity_of("alice"), 5_000).unwrap();
    assert_eq!(ear.next(), ["offer", "k", "5000", ""]);
    space.acquire(&Attempt { own: "renew", ttl_ms: 70_000, ..Attempt::of("k", "alice", "n-2") }).unwrap();
    space.acquire(&Attempt { own: "extend", ttl_ms: 3_000, ..Attempt::of("k", "alice", "n-2") }).unwrap();
    space.acquire(&Attempt { own: "renew", ttl_ms: 4_000, ..Attempt::of("k", "alice", "n-2") }).unwrap();
    assert_eq!(ear.next(), ["offer", "k", "4000", ""]);
}

#[test]
fn what_is_no_line_holds_nobody_up() {
    let (mut space, token) = Space::with_line(&[]);
    let queue = space.queue("k");
    space.ask::<i64>("LPUSH", &[&queue, "x"]);

    let error = space.run_in_line(WAIT, "k", 0, &[&waiter("a", "w-1"), "5000", "", ""]).unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(word(&space.renew("k", token, &identity_of("alice"), 500).unwrap()), "renewed");
    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);
    let attempt = Attempt::of("k", "alice", "n-2");
    space.granted(&attempt);
    assert_eq!(space.undo_of(&attempt, &waiter("a", "w-1")).unwrap(), ["undone"]);
    let queue: Value = space.ask("LRANGE", &[&queue, "0", "-1"]);
    assert_eq!(queue, Value::Array(vec![Value::BulkString(b"x".to_vec())]), "and stays");
}

#[test]
fn a_refused_grant_leaves_the_first_in_line_where_it_stands() {
    let (mut space, token) = Space::with_line(&[("a", "w-1")]);
    let _ear = Ear::of(&space, "a");
    let sequence = space.sequence();
    space.ask::<i64>("DEL", &[&sequence]);
    space.ask::<i64>("LPUSH", &[&sequence, "x"]);

    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);

    assert_eq!((space.lease("k"), space.line()), (None, vec!["w-1".to_owned()]));
    assert_eq!(space.advance(&waiter("a", "w-1"), ""), ["free", "queued"]);
}

#[tokio::test]
async fn out_of_memory_the_line_moves_on() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    space.wait(&waiter("a", "w-1"), "");
    let mut ear = redis.connection();
    redis::cmd("SSUBSCRIBE").arg(format!("{}a", space.push())).query::<Value>(&mut ear).unwrap();
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);

    eventually("the next has it", Duration::from_secs(1), async || redis.ask::<u64>("DBSIZE", &[]) > 0).await;
    let next = space.indexed("k").unwrap();
    assert_eq!(word(&space.renew("k", next, &identity_of("w-1"), 90_000).unwrap()), "renewed");
    assert!(!space.lease("k").unwrap().contains("offered"));
}
