//! `acquire_all.lua` and `renew_all.lua`: each row, and that what Redis refuses leaves nothing half done.

use redis::{FromRedisValue, Value};

use super::{ACQUIRE_ALL, Attempt, RENEW_ALL, SHARD, Space, identity_of, renewed, word};
use crate::harness::TestRedis;

/// The outer row: its word, and each inner row, or what stands in its place.
type All = Result<(String, Vec<Vec<String>>), String>;

impl Space {
    fn acquire_all(&mut self, attempts: &[Attempt]) -> All {
        let (mut keys, mut args) = (Vec::new(), Vec::new());
        for attempt in attempts {
            let Attempt { key, identity, nonce, ttl_ms, floor, further, own, request } = attempt;
            keys.extend([self.lock(key), self.tokens(), self.queue(key), self.watch()]);
            args.extend([key.clone(), SHARD.to_string(), floor.to_string(), self.push(), identity.clone()]);
            args.extend([nonce.clone(), (*request).to_owned(), ttl_ms.to_string(), further.clone()]);
            args.push((*own).to_owned());
        }
        args.push(self.not_after.to_owned());
        self.all(ACQUIRE_ALL, &keys, &args)
    }

    fn renew_all(&mut self, leases: &[(&str, u64)], identity: &str, ttl_ms: &str) -> All {
        let (mut keys, mut args) = (Vec::new(), Vec::new());
        for (key, token) in leases {
            keys.extend([self.lock(key), self.queue(key), self.forced(key), self.watch()]);
            let longest_ms = "1000000";
            args.extend([*key, &token.to_string(), identity, ttl_ms, &self.push(), longest_ms].map(str::to_owned));
        }
        args.push(self.not_after.to_owned());
        self.all(RENEW_ALL, &keys, &args)
    }

    fn all(&mut self, script: &str, keys: &[String], args: &[String]) -> All {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let Value::Array(row) = self.eval(script, keys, &args)? else { panic!("no row") };
        let mut parts = row.into_iter();
        let word = String::from_redis_value(parts.next().expect("a word")).unwrap();
        let rows = parts.map(|part| match part {
            Value::Array(_) => super::row(part),
            other => vec![String::from_redis_value(other).unwrap()],
        });
        Ok((word, rows.collect()))
    }
}

fn attempts(keys: &[&str]) -> Vec<Attempt> {
    keys.iter().map(|key| Attempt::of(key, "alice", &format!("n-{key}"))).collect()
}

fn shared(key: &str, user: &str, limit: u32) -> Attempt {
    let further = format!(",\"mode\":\"shared\",\"limit\":\"{limit}\"");
    Attempt { further, ..Attempt::of(key, user, &format!("{user}-{key}")) }
}

#[test]
fn all_free_keys_are_granted_with_tokens_of_their_own() {
    let mut space = Space::shared();
    let (granted, rows) = space.acquire_all(&[attempts(&["a", "b"]), vec![shared("c", "alice", 2)]].concat()).unwrap();
    assert_eq!((granted.as_str(), rows.len()), ("granted", 3));
    let tokens: Vec<u64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(rows.iter().all(|row| word(row) == "granted") && tokens.is_sorted_by(|one, other| one < other));
    assert_eq!((space.indexed("a"), space.indexed("b")), (Some(tokens[0]), Some(tokens[1])));
    assert_eq!(space.valid_until("a"), rows[0][3].parse::<i64>().unwrap());
}

#[test]
fn the_first_key_in_the_way_is_told_and_nothing_is_changed() {
    for in_the_way in ["a", "b", "c"] {
        let mut space = Space::shared();
        space.granted(&Attempt::of(in_the_way, "bob", "n-1"));
        let lease = space.lease(in_the_way).unwrap();
        let contents = space.contents();

        let (refused, rows) = space.acquire_all(&attempts(&["a", "b", "c"])).unwrap();

        let place = ["a", "b", "c"].iter().position(|key| *key == in_the_way).unwrap() + 1;
        assert_eq!((refused.as_str(), &rows[0]), ("refused", &vec![place.to_string()]));
        assert_eq!(rows[1][..2], ["held".to_owned(), lease]);
        assert_eq!(space.contents(), contents, "no token is drawn, either");
    }
}

#[test]
fn a_strange_key_a_queue_and_a_full_key_stand_in_the_way() {
    let mut space = Space::shared();
    let name = space.lock("b");
    space.ask::<i64>("LPUSH", &[&name, "x"]);
    assert_eq!(space.acquire_all(&attempts(&["a", "b"])).unwrap().1[1], ["stranger"]);
    space.ask::<i64>("DEL", &[&name]);
    space.ask::<String>("SET", &[&name, "x"]);
    assert_eq!(space.acquire_all(&attempts(&["a", "b"])).unwrap().1[1][..2], ["held", ""]);
    space.ask::<i64>("DEL", &[&name]);

    for user in ["bob", "carol"] {
        assert_eq!(space.acquire_all(&[shared("b", user, 2)]).unwrap().0, "granted");
    }
    let contents = space.contents();
    let full = space.acquire_all(&[attempts(&["a"]), vec![shared("b", "alice", 2)]].concat()).unwrap();
    assert_eq!((full.0.as_str(), word(&full.1[1]), full.1[1].last().unwrap().as_str()), ("refused", "shared", "full"));
    let alone = space.acquire_all(&attempts(&["a", "b"])).unwrap();
    assert_eq!((alone.0.as_str(), alone.1[1].last().unwrap().as_str()), ("refused", "mode"));
    assert_eq!(space.contents(), contents);
    assert_eq!(space.acquire_all(&[shared("b", "alice", 3)]).unwrap().0, "granted");
}

#[test]
fn a_key_of_this_attempt_is_told_again_and_stays_when_another_refuses() {
    let mut space = Space::shared();
    let first: Vec<Attempt> = attempts(&["a", "b"]).into_iter().map(|it| Attempt { request: "r-1", ..it }).collect();
    space.acquire_all(&first[..1]).unwrap();
    let second: Vec<Attempt> = first.iter().map(|it| Attempt { request: "r-2", ..it.clone() }).collect();

    let (granted, rows) = space.acquire_all(&second).unwrap();
    assert_eq!((granted.as_str(), word(&rows[0]), word(&rows[1])), ("granted", "replayed", "granted"));

    space.granted(&Attempt::of("c", "bob", "n-1"));
    let (a, b) = (space.lease("a"), space.lease("b"));
    let third = [first, attempts(&["c"])].concat().into_iter().map(|it| Attempt { request: "r-3", ..it });
    let third: Vec<Attempt> = third.collect();
    assert_eq!(space.acquire_all(&third).unwrap().0, "refused");
    assert_eq!((space.lease("a"), space.lease("b")), (a, b), "and this sending was told of nothing");
}

#[test]
fn what_a_later_key_refuses_by_surprise_is_undone() {
    let mut space = Space::shared();
    // It looks free, and no token is left for it: the sequence of the shard is used up behind the first grant.
    let last = ((1_u64 << 47) - 2) * 64 + SHARD;
    space.set_last(&last.to_string());
    let error = space.acquire_all(&attempts(&["a", "b"])).unwrap_err();
    assert!(error.contains("used up"), "{error}");
    assert_eq!((space.lease("a"), space.lease("b")), (None, None));
    assert_eq!((space.indexed("a"), space.indexed("b")), (None, None));
}

#[test]
fn too_late_nothing_is_granted_or_renewed() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("a", "alice", "n-1"));
    let contents = space.contents();
    space.not_after = "1";
    assert_eq!(space.acquire_all(&attempts(&["b", "c"])).unwrap().0, "late");
    assert_eq!(space.renew_all(&[("a", token)], &identity_of("alice"), "1000").unwrap().0, "late");
    assert_eq!(space.contents(), contents);
}

#[test]
fn out_of_memory_at_any_write_all_are_granted_or_none() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let wanted = [attempts(&["a", "b"]), vec![shared("c", "alice", 2)], attempts(&["d"])].concat();
    space.granted(&Attempt::of("held", "bob", "n-1"));
    let contents = space.contents();
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);

    let error = space.acquire_all(&wanted).unwrap_err();
    assert!(error.contains("OOM"), "{error}");
    assert_eq!(space.contents(), contents);
    let held = [wanted.clone(), attempts(&["held"])].concat();
    assert_eq!(space.acquire_all(&held).unwrap().0, "refused", "still true, so still said");

    // Room that ends somewhere between the first write and the last.
    let mut outcomes = [0, 0];
    for step in 0..100 {
        redis.ask::<String>("CONFIG", &["SET", "maxmemory", "0"]);
        let info: String = redis.ask("INFO", &["memory"]);
        let used: u64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok()).unwrap();
        redis.ask::<String>("CONFIG", &["SET", "maxmemory", &(used + step * 2048).to_string()]);
        let outcome = space.acquire_all(&wanted);
        redis.ask::<String>("CONFIG", &["SET", "maxmemory", "0"]);
        let mut there: Vec<bool> = ["a", "b", "d"].iter().map(|key| space.lease(key).is_some()).collect();
        there.push(!space.sharers_of("c").is_empty());
        assert!(there.iter().all(|it| *it == outcome.is_ok()), "{step}: {outcome:?} {there:?}");
        outcomes[usize::from(outcome.is_ok())] += 1;
        wanted.iter().for_each(|attempt| drop(space.undo(attempt)));
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

#[test]
fn an_index_that_is_none_refuses_all() {
    let mut space = Space::shared();
    let tokens = space.tokens();
    space.ask::<String>("SET", &[&tokens, "x"]);
    let contents = space.contents();
    let error = space.acquire_all(&attempts(&["a", "b"])).unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(space.contents(), contents);
}

#[test]
fn a_right_that_is_missing_in_the_middle_leaves_nothing() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    // The second key is one to share, and its last command is refused.
    redis.ask::<String>("ACL", &["SETUSER", "limited", "on", "nopass", "~*", "&*", "+@all", "-pexpireat"]);
    space.ask::<String>("AUTH", &["limited", "any"]);
    let error = space.acquire_all(&[attempts(&["a"]), vec![shared("b", "alice", 2)]].concat()).unwrap_err();
    assert!(error.contains("can't run this command"), "{error}");
    space.connection = redis.connection();
    assert_eq!((space.lease("a"), space.indexed("a")), (None, None));
    assert_eq!(space.ask::<u64>("EXISTS", &[&space.lock("b").clone()]), 0);
}

#[test]
fn all_leases_are_renewed_or_none_is() {
    let mut space = Space::shared();
    let [a, b] = ["a", "b"].map(|key| space.granted(&Attempt::of(key, "alice", "n-1")));
    let (lease, alice) = (renewed(&space.lease("a").unwrap()), identity_of("alice"));

    let (word_of, rows) = space.renew_all(&[("a", a), ("b", b)], &alice, "90000").unwrap();
    assert_eq!((word_of.as_str(), &rows[0][..2]), ("renewed", &["renewed".to_owned(), lease][..]));
    assert_eq!(space.valid_until("b"), rows[1][2].parse::<i64>().unwrap());

    let contents = space.contents();
    for (other, said) in [(b + 64, "other"), (b, "renewed")] {
        let (word_of, rows) = space.renew_all(&[("a", a), ("b", other), ("c", 64)], &alice, "").unwrap();
        assert_eq!(word_of, "refused");
        assert_eq!(rows.iter().map(|row| word(row)).collect::<Vec<_>>(), ["renewed", said, "lost"]);
    }
    let (word_of, rows) = space.renew_all(&[("a", a), ("b", b)], &identity_of("bob"), "5").unwrap();
    assert_eq!((word_of.as_str(), word(&rows[0]), word(&rows[1])), ("refused", "other", "other"));
    assert_eq!(space.contents(), contents);

    space.force("b", None).unwrap();
    let (word_of, rows) = space.renew_all(&[("a", a), ("b", b)], &alice, "1000").unwrap();
    assert_eq!((word_of.as_str(), word(&rows[1])), ("refused", "forced"));
}
