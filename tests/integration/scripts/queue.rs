//! `queue_join.lua`, `queue_advance.lua` and `queue_decline.lua`, row by row, and the queue in the scripts that free a key.

use std::time::Duration;

use redis::Value;

use super::{ADVANCE, Attempt, DECLINE, JOIN, Space, UNDO, identity_of, word};
use crate::harness::{TestRedis, eventually};

/// What a sidecar is told, in the order in which it is told.
pub struct Subscriber(std::sync::mpsc::Receiver<String>);

impl Subscriber {
    /// A sidecar that listens.
    pub fn of(space: &Space, sidecar: &str) -> Subscriber {
        Subscriber::on(TestRedis::alone(), space, sidecar)
    }

    /// A sidecar that listens at this Redis.
    pub fn on(redis: &TestRedis, space: &Space, sidecar: &str) -> Subscriber {
        let (give, take) = std::sync::mpsc::channel();
        let mut connection = redis.connection();
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
        Subscriber(take)
    }

    /// Whether nothing more was said by the time that a message of our own arrives.
    fn is_silent(&self, space: &mut Space, sidecar: &str) -> bool {
        let channel = format!("{}{sidecar}", space.push());
        space.ask::<i64>("SPUBLISH", &[&channel, "the end"]);
        self.next() == ["the end"]
    }

    /// All that was said by the time that a message of our own arrives.
    pub fn so_far(&self, space: &mut Space, sidecar: &str) -> Vec<Vec<String>> {
        let channel = format!("{}{sidecar}", space.push());
        space.ask::<i64>("SPUBLISH", &[&channel, "the end"]);
        std::iter::from_fn(|| Some(self.next()).filter(|message| message[..] != ["the end"])).collect()
    }

    pub fn next(&self) -> Vec<String> {
        let text = self.0.recv_timeout(Duration::from_secs(5)).expect("a message");
        text.split('\n').map(str::to_owned).collect()
    }
}

/// A waiter as its sidecar spells it.
fn waiter(sidecar: &str, id: &str) -> String {
    format!("{sidecar}\n{id}\n60000\n{}\n\"nonce\":\"{id}\",\n,\"label\":\"L\"", identity_of(id))
}

impl Space {
    pub fn wait(&mut self, waiter: &str, place: &str) -> Vec<String> {
        let id = waiter.split('\n').nth(1).unwrap().to_owned();
        self.run_in_line(JOIN, "k", 0, &[waiter, &id, "5000", place, "refuse", ""]).unwrap()
    }

    /// A look by a process at the queue, for these of its entries.
    pub fn advance(&mut self, process: &str, entries: &[String]) -> Vec<String> {
        let entries = entries.iter().map(String::as_str);
        let args: Vec<&str> = [process, "rank"].into_iter().chain(entries).collect();
        self.run_in_line(ADVANCE, "k", 0, &args).unwrap()
    }

    /// The sidecar that the lease is on offer to.
    pub fn offered_to(&mut self) -> Option<String> {
        let name = self.queue("k");
        let marks: Vec<String> = self.ask("ZRANGEBYSCORE", &[&name, "-inf", "0"]);
        let mut offers = marks.iter().filter(|mark| mark.starts_with("offer\n"));
        offers.next().map(|offer| offer.split('\n').nth(2).unwrap().to_owned())
    }

    /// Who stands in line.
    pub fn line(&mut self) -> Vec<String> {
        let queue = self.queue("k");
        let members: Vec<String> = self.ask("ZRANGE", &[&queue, "1", "+inf", "BYSCORE"]);
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

/// A waiter's attempt, as an undo of it names it.
pub fn attempt_of(id: &str) -> Attempt {
    Attempt { identity: identity_of(id), ..Attempt::of("k", "", id) }
}

#[test]
fn a_waiter_for_a_held_key_stands_at_the_end_and_is_told_what_is_left_of_the_lease() {
    let (mut space, _) = Space::with_line(&[("a-0", "w-1")]);

    let row = space.wait(&waiter("b-0", "w-2"), "");

    assert_eq!((word(&row), row.len()), ("waiting", 3));
    assert!((55_000..=60_000).contains(&row[2].parse::<i64>().unwrap()), "{row:?}");
    assert_eq!(space.line(), ["w-1", "w-2"]);
    let queue = space.queue("k");
    let last = space.last().unwrap() / 64;
    assert_eq!(last.to_string(), row[1], "a position is a sequence, and rises as it does");
    assert!((60_000..=65_000).contains(&space.ask::<i64>("PTTL", &[&queue])), "longer than any waiter waits");
}

#[test]
fn a_waiter_that_comes_back_stands_at_its_old_position_and_only_once() {
    let (mut space, _) = Space::with_line(&[("a-0", "w-1"), ("a-0", "w-2")]);
    let first = space.wait(&waiter("a-0", "w-1"), "7");
    assert_eq!((word(&first), space.line()), ("waiting", vec!["w-1".to_owned(), "w-2".to_owned()]));
    assert_eq!(space.undo_of(&attempt_of("w-1"), &waiter("a-0", "w-1")).unwrap(), ["nothing"]);

    space.wait(&waiter("a-0", "w-1"), "7");

    assert_eq!(space.line(), ["w-1", "w-2"]);
}

#[test]
fn a_position_rises_when_redis_has_lost_everything() {
    let (mut space, _) = Space::with_line(&[]);
    let before: u64 = space.wait(&waiter("a-0", "w-1"), "")[1].parse().unwrap();
    for name in [space.tokens(), space.queue("k")] {
        space.ask::<i64>("DEL", &[&name]);
    }

    let after: u64 = space.wait(&waiter("a-0", "w-2"), "")[1].parse().unwrap();

    assert!(after > before, "{after} after {before}");
}

#[test]
fn a_waiter_for_a_free_key_is_offered_it_at_once_and_has_it_once_it_takes_it() {
    let mut space = Space::shared();
    let subscriber = Subscriber::of(&space, "a-0");

    let row = space.wait(&waiter("a-0", "w-1"), "");

    assert_eq!(word(&row), "waiting");
    assert!((1000..=1500).contains(&row[2].parse::<i64>().unwrap()), "{row:?}");
    let (token, lease) = (space.indexed("k").unwrap(), space.lease("k").unwrap());
    assert_eq!(subscriber.next(), ["turn", "k", "w-1", &token.to_string(), "1500"]);
    assert!(lease.ends_with(",\"ttl\":60000,\"label\":\"L\"}"), "{lease}");
    assert_eq!(space.offered_to().as_deref(), Some("a-0"));
    assert!(space.line().is_empty());
    assert_eq!(space.wait(&waiter("a-0", "w-1"), "7"), ["turn", &token.to_string()], "never twice in the queue");
    assert!(space.line().is_empty());

    let row = space.renew_as("take", "w-1", "k", token, &identity_of("w-1"), "500").unwrap();

    assert_eq!((word(&row), &row[1], row[3].as_str()), ("renewed", &lease, "500"), "its own ttl, a shorter one too");
    assert_eq!((space.lease("k"), space.offered_to()), (Some(lease), None), "taken");
    assert_eq!(space.wait(&waiter("a-0", "w-1"), "7"), ["turn", &token.to_string()]);
}

#[test]
fn a_take_only_lengthens_what_others_were_told_of() {
    type Telling = fn(&mut Space, u64);
    let tellings: [(&str, Telling); 3] = [
        ("a renewal by its token", |space, token| {
            space.renew("k", token, &identity_of("w-1"), 30_000).unwrap();
        }),
        ("a reentrant acquire", |space, _| {
            let again = Attempt { own: "extend", ttl_ms: 30_000, ..Attempt::of("k", "w-1", "n-2") };
            assert_eq!(word(&space.acquire(&again).unwrap()), "renewed");
        }),
        ("a repetition", |space, _| {
            let again = Attempt { request: "r-2", ttl_ms: 30_000, ..attempt_of("w-1") };
            assert_eq!(word(&space.acquire(&again).unwrap()), "replayed");
        }),
    ];
    for (telling, tell) in tellings {
        let mut space = Space::shared();
        let _subscriber = Subscriber::of(&space, "a-0");
        space.wait(&waiter("a-0", "w-1"), "");
        let token = space.indexed("k").unwrap();
        tell(&mut space, token);
        let valid_until = space.valid_until("k");
        assert!(valid_until >= space.now_ms() + 25_000, "{telling}: it has what it asks for");

        let row = space.renew_as("take", "w-1", "k", token, &identity_of("w-1"), "700").unwrap();

        assert_eq!((word(&row), space.valid_until("k")), ("renewed", valid_until), "{telling}");
        assert_eq!(space.undo(&attempt_of("w-1")).unwrap(), ["told"], "{telling}");
        assert_eq!(space.valid_until("k"), valid_until, "{telling}");
    }
}

#[test]
fn a_repetition_that_is_told_of_an_offer_takes_it() {
    let mut space = Space::shared();
    let _subscriber = Subscriber::of(&space, "a-0");
    space.wait(&waiter("a-0", "w-1"), "");

    let row = space.acquire(&Attempt { request: "r-2", ttl_ms: 20_000, ..attempt_of("w-1") }).unwrap();

    assert_eq!((word(&row), row[3].as_str()), ("replayed", "20000"));
    assert_eq!(space.offered_to(), None);
}

#[test]
fn waiters_that_come_back_to_a_free_key_leave_it_free_until_all_had_the_time_to() {
    let mut space = Space::shared();
    let subscriber = Subscriber::of(&space, "a-0");

    assert_eq!(space.wait(&waiter("b-0", "w-2"), "8"), ["waiting", "8", "-2"]);
    assert_eq!(space.wait(&waiter("a-0", "w-1"), "7"), ["waiting", "7", "-2"]);
    space.wait(&waiter("b-0", "w-9"), "");

    assert_eq!(subscriber.next(), ["lost", "k", "b-0"]);
    let row = space.acquire(&Attempt::of("k", "alice", "n-1")).unwrap();
    assert_eq!((word(&row), row.len()), ("rejoining", 3));
    let row = space.advance("b", &[waiter("b-0", "w-2")]);
    assert_eq!((word(&row), row[2].as_str()), ("free", "1"), "{row:?}");
    assert!((1..=300).contains(&row[1].parse::<i64>().unwrap()), "{row:?}");
    assert_eq!((space.lease("k"), space.line()), (None, vec!["w-1".to_owned(), "w-2".to_owned(), "w-9".to_owned()]));
}

#[test]
fn who_finds_itself_missing_says_so_where_others_have_come_and_who_was_dropped_does_not() {
    let (mut space, _) = Space::with_line(&[("c-0", "w-9")]);
    let subscriber = Subscriber::of(&space, "a-0");

    space.wait(&waiter("d-0", "w-5"), "5");
    space.wait(&waiter("d-0", "w-5"), "5\nmissing");
    assert!(subscriber.is_silent(&mut space, "a-0"), "it was dropped; then it is there");
    space.wait(&waiter("b-0", "w-4"), "4\nmissing");
    assert_eq!(subscriber.next(), ["lost", "k", "b-0"]);
    space.wait(&waiter("d-0", "w-3"), "3\nmissing");
    assert!(subscriber.is_silent(&mut space, "a-0"), "all know already");

    assert_eq!(space.line(), ["w-3", "w-4", "w-5", "w-9"]);
}

#[tokio::test]
async fn when_the_time_to_come_back_is_over_the_first_position_is_served() {
    let mut space = Space::shared();
    let subscriber = Subscriber::of(&space, "a-0");
    space.wait(&waiter("b-0", "w-2"), "8");
    space.wait(&waiter("a-0", "w-1"), "7");
    assert_eq!(subscriber.next()[0], "lost");

    let space = std::cell::RefCell::new(space);
    eventually("the queue moves on", std::time::Duration::from_secs(2), async || {
        word(&space.borrow_mut().advance("b", &[waiter("b-0", "w-2")])) == "held"
    })
    .await;

    assert_eq!(subscriber.next()[..3], ["turn", "k", "w-1"]);
}

#[test]
fn a_used_up_sequence_lets_no_waiter_into_the_queue() {
    let (mut space, _) = Space::with_line(&[]);
    space.set_last("1e300");

    let args = [&waiter("a-0", "w-1"), "w-1", "5000", "", "refuse", ""];
    let error = space.run_in_line(JOIN, "k", 0, &args).unwrap_err();

    assert!(error.contains("used up"), "{error}");
    assert!(space.line().is_empty());
}

#[test]
fn a_waiter_whose_owner_has_the_key_does_not_wait_where_it_says_so() {
    let (mut space, _) = Space::with_line(&[]);
    let entry = waiter("a-0", "w-1").replace(&identity_of("w-1"), &identity_of("alice"));
    for (own, row) in [("extend", "own"), ("refuse", "waiting")] {
        let args = [&entry, "w-1", "5000", "", own, ""];
        assert_eq!(word(&space.run_in_line(JOIN, "k", 0, &args).unwrap()), row);
        assert_eq!(space.line().is_empty(), own == "extend");
    }
}

#[test]
fn each_script_that_frees_a_key_offers_it_to_the_first_waiter_and_tells_the_next_ones() {
    for freed_by in ["release", "release of a key", "force", "undo"] {
        let (mut space, token) = Space::with_line(&[("a-0", "w-1"), ("gone-0", "w-2"), ("b-0", "w-3")]);
        let (first, next) = (Subscriber::of(&space, "a-0"), Subscriber::of(&space, "b-0"));
        let other = Subscriber::of(&space, "holder-0");

        let row = match freed_by {
            "release" => space.release("k", Some(token), &identity_of("alice")),
            "release of a key" => space.release("k", None, &identity_of("alice")),
            "force" => space.force("k", None),
            _ => space.undo(&Attempt::of("k", "alice", "n-1")),
        };

        assert!(["released", "forced", "undone"].contains(&word(&row.unwrap())), "{freed_by}");
        if freed_by == "force" {
            for subscriber in [&first, &next, &other] {
                assert_eq!(subscriber.next(), ["forced", "k", &token.to_string()]);
            }
        }
        let granted = space.indexed("k").unwrap();
        assert!(granted > token, "{granted} after {token}");
        assert_eq!(first.next(), ["turn", "k", "w-1", &granted.to_string(), "1500"], "{freed_by}");
        assert_eq!(next.next(), ["offer", "k", "1500"], "{freed_by}");
        assert!(other.is_silent(&mut space, "holder-0"), "who does not wait for the key is not woken: {freed_by}");
        assert_eq!(space.line(), ["w-2", "w-3"], "{freed_by}");
    }
}

/// It may be about to listen again; if it is not, the queue behind its waiters has waited once for all of them, whichever
/// thread they are of.
#[tokio::test]
async fn a_process_that_let_an_offer_lapse_loses_its_entries_and_has_them_back_when_it_says_so() {
    let waiters = [("gone-0", "w-1"), ("a-0", "w-2"), ("gone-1", "w-3"), ("gone-12", "w-5"), ("goner-0", "w-4")];
    let (mut space, token) = Space::with_line(&waiters);
    let (subscriber, dropped) = (Subscriber::of(&space, "a-0"), Subscriber::of(&space, "gone-1"));

    space.release("k", Some(token), &identity_of("alice")).unwrap();

    assert_eq!(subscriber.next(), ["offer", "k", "700"]);
    assert_eq!(dropped.next(), ["offer", "k", "700"]);
    assert_eq!(space.offered_to().as_deref(), Some("gone-0"));
    assert_eq!(space.line(), ["w-2", "w-3", "w-5", "w-4"]);
    space.expired("k").await;
    assert_eq!(word(&space.advance("a", &[waiter("a-0", "w-2")])), "held");
    assert_eq!(subscriber.next()[..3], ["turn", "k", "w-2"]);
    assert_eq!(dropped.next(), ["dropped", "k"]);
    assert_eq!(space.line(), ["w-4"]);
    space.wait(&waiter("gone-1", "w-3"), "3");
    assert_eq!(space.line(), ["w-3", "w-4"], "back at its position if it lives");
}

#[tokio::test]
async fn a_process_that_looks_itself_is_awake_and_keeps_its_entries() {
    let (mut space, token) = Space::with_line(&[("a-0", "w-1"), ("a-1", "w-2")]);
    let subscriber = Subscriber::of(&space, "a-1");
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    space.expired("k").await;

    assert_eq!(word(&space.advance("a", &[waiter("a-1", "w-2")])), "held");

    assert_eq!(subscriber.next()[..2], ["offer", "k"]);
    assert_eq!(subscriber.next()[..3], ["turn", "k", "w-2"]);
}

#[tokio::test]
async fn an_acquire_overtakes_no_waiter_but_those_of_a_process_that_is_gone() {
    for listens in [true, false] {
        let (mut space, _) = Space::with_line(&[("a-0", "w-1"), ("a-0", "w-2"), ("a-0", "w-3")]);
        let _subscriber = listens.then(|| Subscriber::of(&space, "a-0"));
        let lock = space.lock("k");
        // Not by a short ttl: it must not end while they join.
        space.ask::<i64>("PEXPIRE", &[&lock, "1"]);
        space.expired("k").await;

        let row = space.acquire(&Attempt::of("k", "bob", "n-2")).unwrap();

        assert_eq!(word(&row), "held", "{row:?}");
        assert!(row[1].contains("\"owner\":\"w-1\""), "{row:?}");
        space.expired("k").await;
        let row = space.acquire(&Attempt::of("k", "bob", "n-2")).unwrap();
        assert_eq!(word(&row), "granted", "all its waiters together hold up the others once: {row:?}");
    }
}

#[test]
fn an_undo_removes_the_entry_and_leaves_the_others() {
    let (mut space, _) = Space::with_line(&[("a-0", "w-1"), ("a-0", "w-2")]);

    let row = space.undo_of(&attempt_of("w-1"), &waiter("a-0", "w-1")).unwrap();

    assert_eq!(row, ["nothing"], "it has no lease");
    assert_eq!(space.line(), ["w-2"]);
}

#[test]
fn an_undo_of_a_turn_that_came_meanwhile_hands_the_key_on() {
    let (mut space, token) = Space::with_line(&[("a-0", "w-1"), ("b-0", "w-2")]);
    let (_first, second) = (Subscriber::of(&space, "a-0"), Subscriber::of(&space, "b-0"));
    space.release("k", Some(token), &identity_of("alice")).unwrap();

    assert_eq!(space.undo_of(&attempt_of("w-1"), &waiter("a-0", "w-1")).unwrap(), ["undone"]);

    assert_eq!(second.next(), ["offer", "k", "1500"]);
    assert_eq!(second.next()[..3], ["turn", "k", "w-2"]);
}

#[test]
fn an_offer_that_is_declined_goes_to_the_next_waiter_at_once() {
    let (mut space, token) = Space::with_line(&[("a-0", "w-1"), ("b-0", "w-2")]);
    let (_first, second) = (Subscriber::of(&space, "a-0"), Subscriber::of(&space, "b-0"));
    space.release("k", Some(token), &identity_of("alice")).unwrap();
    let offered = space.indexed("k").unwrap().to_string();
    assert_eq!(second.next(), ["offer", "k", "1500"]);

    for (token, sidecar) in [(token.to_string(), "a-0"), (offered.clone(), "b-0")] {
        assert_eq!(space.run_in_line(DECLINE, "k", 0, &[&token, sidecar]).unwrap(), ["nothing"]);
    }
    assert_eq!(space.run_in_line(DECLINE, "k", 0, &[&offered, "a-0"]).unwrap(), ["declined"]);

    assert_eq!(second.next()[..3], ["turn", "k", "w-2"]);
    assert_eq!(space.run_in_line(DECLINE, "k", 0, &[&offered, "a-0"]).unwrap(), ["nothing"], "twice");
}

#[test]
fn an_offer_that_was_taken_or_told_of_is_not_declined() {
    for how in ["take", "set", "extend"] {
        let (mut space, token) = Space::with_line(&[("a-0", "w-1")]);
        let _subscriber = Subscriber::of(&space, "a-0");
        space.release("k", Some(token), &identity_of("alice")).unwrap();
        let offered = space.indexed("k").unwrap();
        match how {
            "extend" => space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "w-1", "n-2") }).unwrap(),
            _ => space.renew_as(how, "w-1", "k", offered, &identity_of("w-1"), "60000").unwrap(),
        };

        let row = space.run_in_line(DECLINE, "k", 0, &[&offered.to_string(), "a-0"]).unwrap();

        assert_eq!((word(&row), space.indexed("k")), ("nothing", Some(offered)), "{how}");
    }
}

#[test]
fn advance_tells_who_is_missing_and_leaves_a_free_key_to_those_in_the_queue() {
    let (mut space, token) = Space::with_line(&[("a-0", "w-1"), ("a-0", "w-2")]);
    let _subscriber = Subscriber::of(&space, "a-0");
    let entries = [waiter("a-0", "w-2"), waiter("b-0", "w-9"), waiter("a-0", "w-1")];
    let row = space.advance("b", &entries);
    assert_eq!((word(&row), &row[4..]), ("held", &["1".to_owned(), "-1".to_owned(), "0".to_owned()][..]));
    let lock = space.lock("k");
    space.ask::<i64>("DEL", &[&lock]);

    assert_eq!(space.advance("b", &entries), ["free", "-1", "1", "-1", "0"], "of {token}");

    assert_eq!((space.lease("k"), space.line().len()), (None, 2));
}

#[test]
fn advance_knows_a_stranger() {
    let mut space = Space::shared();
    let lock = space.lock("k");
    space.ask::<i64>("LPUSH", &[&lock, "x"]);
    let row = space.wait(&waiter("a-0", "w-1"), "");
    assert_eq!((word(&row), row[2].as_str()), ("waiting", "-1"));
    assert_eq!(space.advance("a", &[waiter("a-0", "w-1")]), ["stranger", "0"]);
    assert_eq!(space.advance("a", &[waiter("a-0", "w-2")]), ["stranger", "-1"]);
    space.ask::<i64>("DEL", &[&lock]);
    space.ask::<String>("SET", &[&lock, "another program's"]);
    assert_eq!(space.advance("a", &[waiter("a-0", "w-1")]), ["held", "", "-1", "-1", "0"]);
}

#[test]
fn a_renewal_that_shortens_a_lease_is_said_to_all_and_one_that_lengthens_it_is_not() {
    let (mut space, token) = Space::with_line(&[("a-0", "w-1")]);
    let subscriber = Subscriber::of(&space, "a-0");
    space.renew("k", token, &identity_of("alice"), 90_000).unwrap();
    space.renew_as("extend", "n-1", "k", token, &identity_of("alice"), "5000").unwrap();
    space.acquire(&Attempt { own: "extend", ttl_ms: 3_000, ..Attempt::of("k", "alice", "n-2") }).unwrap();
    space.renew("k", token, &identity_of("alice"), 5_000).unwrap();
    assert_eq!(subscriber.next(), ["shortened", "k", &token.to_string(), "5000"]);
    space.acquire(&Attempt { own: "extend", ttl_ms: 70_000, ..Attempt::of("k", "alice", "n-2") }).unwrap();
    assert!(subscriber.is_silent(&mut space, "a-0"));
}

#[test]
fn a_release_by_its_token_is_said_to_the_sidecar_that_holds_the_lease() {
    let mut space = Space::shared();
    let subscriber = Subscriber::of(&space, "a-0");
    let held = Attempt { further: ",\"hold\":\"a-0\"".to_owned(), ..Attempt::of("k", "alice", "n-1") };
    let token = space.granted(&held);
    assert_eq!(space.release_as("n-1", "k", token, &held.identity).unwrap(), ["released"]);
    let token = space.granted(&held);

    assert_eq!(space.release("k", Some(token), &held.identity).unwrap(), ["released"]);

    assert_eq!(subscriber.next(), ["released", "k", &token.to_string()], "by its token, and not by its own hold");
}

#[test]
fn what_is_no_queue_holds_up_no_caller() {
    let (mut space, token) = Space::with_line(&[]);
    let queue = space.queue("k");
    space.ask::<i64>("LPUSH", &[&queue, "x"]);

    let args = [&waiter("a-0", "w-1"), "w-1", "5000", "", "refuse", ""];
    let error = space.run_in_line(JOIN, "k", 0, &args).unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(word(&space.renew("k", token, &identity_of("alice"), 500).unwrap()), "renewed");
    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);
    let attempt = Attempt::of("k", "alice", "n-2");
    space.granted(&attempt);
    assert_eq!(space.undo_of(&attempt, &waiter("a-0", "w-1")).unwrap(), ["undone"]);
    let queue: Value = space.ask("LRANGE", &[&queue, "0", "-1"]);
    assert_eq!(queue, Value::Array(vec![Value::BulkString(b"x".to_vec())]), "and stays");
}

#[test]
fn a_refused_grant_leaves_the_first_waiter_where_it_stands() {
    let (mut space, token) = Space::with_line(&[("a-0", "w-1")]);
    let _subscriber = Subscriber::of(&space, "a-0");
    space.set_last("inf");

    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);

    assert_eq!((space.lease("k"), space.line()), (None, vec!["w-1".to_owned()]));
    assert_eq!(space.advance("a", &[waiter("a-0", "w-1")]), ["free", "-1", "0"]);
}

#[tokio::test]
async fn out_of_memory_the_queue_moves_on() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    space.wait(&waiter("a-0", "w-1"), "");
    let mut subscriber = redis.connection();
    redis::cmd("SSUBSCRIBE").arg(format!("{}a-0", space.push())).query::<Value>(&mut subscriber).unwrap();
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);

    eventually("the next has it", Duration::from_secs(1), async || redis.ask::<u64>("DBSIZE", &[]) > 0).await;
    let next = space.indexed("k").unwrap();
    let row = space.renew_as("take", "w-1", "k", next, &identity_of("w-1"), "90000").unwrap();
    assert_eq!((word(&row), space.offered_to()), ("renewed", None));
}

#[test]
fn an_undo_of_an_entry_alone_leaves_what_its_waiter_took() {
    let (mut space, held) = Space::with_line(&[("a-0", "w-1")]);
    space.release("k", Some(held), &identity_of("alice")).unwrap();
    let token = space.indexed("k").unwrap();
    space.renew_as("take", "w-1", "k", token, &identity_of("w-1"), "60000").unwrap();
    // It joined again, late, and stands there once more.
    let (queue, entry) = (space.queue("k"), waiter("a-0", "w-1"));
    space.ask::<i64>("ZADD", &[&queue, "7", &entry]);
    let lease = space.lease("k");

    let row = space.run_in_line(UNDO, "k", 0, &[&identity_of("w-1"), "", &entry, ""]).unwrap();

    assert_eq!((row, space.line()), (vec!["nothing".to_owned()], Vec::new()));
    assert!(lease.is_some() && space.lease("k") == lease);
}

#[test]
fn an_offer_that_a_repetition_took_is_freed_with_it_unless_its_waiter_takes_it_too() {
    for takes in [false, true] {
        let mut space = Space::shared();
        let _subscriber = Subscriber::of(&space, "a-0");
        space.wait(&waiter("a-0", "w-1"), "");
        let token = space.indexed("k").unwrap();
        let again = Attempt { request: "r-2", ttl_ms: 3_600_000, ..attempt_of("w-1") };
        assert_eq!(word(&space.acquire(&again).unwrap()), "replayed");
        if takes {
            let row = space.renew_as("take", "w-1", "k", token, &identity_of("w-1"), "60000").unwrap();
            assert!(word(&row) == "renewed" && row[1].contains("\"by\":\"w-1 r-2\""), "{row:?}");
        }

        let undone = space.undo(&again).unwrap();

        assert_eq!(undone, [if takes { "told" } else { "undone" }]);
        assert_eq!(space.lease("k").is_some(), takes);
    }
}

#[test]
fn an_undo_that_leaves_the_lease_leaves_no_offer_of_it() {
    let mut space = Space::shared();
    let _subscriber = Subscriber::of(&space, "a-0");
    space.wait(&waiter("a-0", "w-1"), "");
    let token = space.indexed("k").unwrap();
    space.renew("k", token, &identity_of("w-1"), 30_000).unwrap();

    assert_eq!(space.undo(&attempt_of("w-1")).unwrap(), ["told"]);

    assert_eq!(space.offered_to(), None);
}

#[test]
fn a_mark_of_the_far_future_keeps_no_waiter_from_its_turn() {
    let (mut space, held) = Space::with_line(&[("a-0", "w-1")]);
    let (queue, then) = (space.queue("k"), (space.now_ms() + 60_000).to_string());
    space.ask::<i64>("ZADD", &[&queue, "0", &format!("rejoin\n{then}")]);

    space.release("k", Some(held), &identity_of("alice")).unwrap();

    assert_eq!(space.offered_to().as_deref(), Some("a-0"));
}

#[test]
fn a_release_while_waiters_come_back_tells_all_when_to_look() {
    let (mut space, held) = Space::with_line(&[]);
    let subscriber = Subscriber::of(&space, "a-0");
    space.wait(&waiter("a-0", "w-1"), "7");
    assert_eq!(subscriber.next(), ["lost", "k", "a-0"]);

    space.release("k", Some(held), &identity_of("alice")).unwrap();

    let said = subscriber.next();
    assert_eq!(said[..2], ["offer", "k"]);
    assert!((1..=300).contains(&said[2].parse::<i64>().unwrap()), "{said:?}");
}

#[test]
fn every_sidecar_is_told_when_a_lease_that_a_connection_holds_is_repeated_or_released() {
    let mut space = Space::shared();
    let subscriber = Subscriber::of(&space, "b-0");
    let first = Attempt { further: ",\"hold\":\"a-0\"".to_owned(), ..Attempt::of("k", "x", "n-1") };
    let token = space.granted(&first).to_string();

    assert_eq!(word(&space.acquire(&Attempt { request: "r-2", ..first }).unwrap()), "replayed");
    space.release("k", token.parse().ok(), &identity_of("x")).unwrap();

    assert_eq!(subscriber.next(), ["repeated", "k", &token]);
    assert_eq!(subscriber.next(), ["released", "k", &token]);
}
