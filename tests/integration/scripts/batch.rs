//! `batch.lua`: each operation of a call ends as it would alone, whatever becomes of the others.

use redis::{FromRedisValue, Value};

use super::{Attempt, BATCH, SHARD, Space, identity_of, row};

/// The operations of one call.
#[derive(Default)]
pub struct Together {
    keys: Vec<String>,
    operations: Vec<serde_json::Value>,
}

impl Together {
    pub fn operation(&mut self, space: &Space, name: &str, key: &str, further: &[&str]) {
        let keys = [space.lock(key), space.tokens(), space.queue(key), space.watch()];
        let (shard, push) = (SHARD.to_string(), space.push());
        self.any(name, &keys, &[&[key, &shard, "0", &push][..], further, &[space.not_after]].concat());
    }

    fn any(&mut self, name: &str, keys: &[String], args: &[&str]) {
        self.operations.extend([serde_json::json!(name), keys.len().into(), args.len().into()]);
        self.operations.extend(args.iter().copied().map(serde_json::Value::from));
        self.keys.extend_from_slice(keys);
    }

    pub fn acquire(&mut self, space: &Space, attempt: &Attempt) {
        let Attempt { key, identity, nonce, further, own, request, .. } = attempt;
        let name = if attempt.shares() { "share" } else { "acquire" };
        self.operation(space, name, key, &[identity, nonce, request, &attempt.ttl_ms.to_string(), further, own]);
    }

    pub fn renew(&mut self, space: &Space, [key, token, identity, ttl_ms, how, sending]: [&str; 6]) {
        let keys = [space.lock(key), space.queue(key), space.forced(key), space.watch()];
        self.any("renew", &keys, &[key, token, identity, ttl_ms, &space.push(), how, sending, "", space.not_after]);
    }

    pub fn run(&self, space: &mut Space) -> Vec<Vec<String>> {
        self.rows(space).into_iter().map(row_of_several).collect()
    }

    /// The rows as Redis has them.
    fn rows(&self, space: &mut Space) -> Vec<Value> {
        let operations = serde_json::to_string(&self.operations).unwrap();
        match space.eval(BATCH, &self.keys, &[&operations]).unwrap() {
            Value::Array(rows) => rows,
            other => panic!("{other:?}"),
        }
    }
}

/// A row, which may be a text of words.
fn row_of_several(value: Value) -> Vec<String> {
    match value {
        Value::BulkString(words) => String::from_utf8(words).unwrap().split(' ').map(str::to_owned).collect(),
        other => row(other),
    }
}

#[test]
fn operations_run_in_their_order_each_on_its_own_key() {
    let mut space = Space::shared();
    let mut together = Together::default();
    together.acquire(&space, &Attempt::of("a", "alice", "n-1"));
    together.acquire(&space, &Attempt::of("b", "bob", "n-2"));
    together.acquire(&space, &Attempt::of("a", "bob", "n-3"));
    together.operation(&space, "release", "b", &["", &identity_of("bob"), "", "", ""]);
    together.acquire(&space, &Attempt::of("b", "carol", "n-4"));

    let rows = together.run(&mut space);

    let words: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(words, ["granted", "granted", "held", "released", "granted"]);
    assert_eq!(space.indexed("a").unwrap().to_string(), rows[0][1]);
    assert_eq!(space.indexed("b").unwrap().to_string(), rows[4][1]);
    assert!(rows[4][1].parse::<u64>().unwrap() > rows[1][1].parse().unwrap());
}

#[test]
fn a_release_shows_its_lease_where_it_is_to_the_short_way_and_the_whole_one() {
    let mut space = Space::shared();
    let mut together = Together::default();
    let identity = identity_of("alice");
    for key in ["a", "b"] {
        let token = space.granted(&Attempt::of(key, "alice", "n-1")).to_string();
        // Without a token it goes the whole way.
        let token = if key == "a" { token } else { String::new() };
        together.operation(&space, "release", key, &[&token, &identity, "", "", "shows"]);
    }

    let rows = together.run(&mut space);

    for row in &rows {
        assert_eq!((row[0].as_str(), row.len()), ("released", 2), "{row:?}");
        assert!(row[1].contains(&identity) && row[1].contains("\"since\":"), "{row:?}");
    }
    assert_eq!((space.indexed("a"), space.indexed("b")), (None, None));
}

#[test]
fn what_is_plain_goes_the_short_way_and_nothing_else_does() {
    let mut space = Space::shared();
    let mut together = Together::default();
    let token = space.granted(&Attempt::of("a", "alice", "n-1"));
    let (queue, token) = (space.queue("c"), token.to_string());
    space.ask::<i64>("ZADD", &[&queue, "1", "no entry of ours"]);
    together.acquire(&space, &Attempt::of("b", "bob", "n-2"));
    together.acquire(&space, &Attempt::of("c", "bob", "n-3"));
    together.renew(&space, ["a", &token, &identity_of("alice"), "90000", "set", ""]);
    together.operation(&space, "release", "a", &[&token, &identity_of("alice"), "", "", ""]);
    together.operation(&space, "release", "b", &["", &identity_of("bob"), "", "", ""]);

    let rows = together.rows(&mut space);

    // A short way says a grant and a release as texts, and when a renewed lease ends, too.
    let is_short = |row: &Value| match row {
        Value::BulkString(_) => true,
        Value::Array(fields) => {
            matches!(fields.get(2), Some(Value::BulkString(_)))
                && fields.len() == 4
                && fields[0] == Value::BulkString(b"renewed".to_vec())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(rows.iter().map(is_short).collect::<Vec<_>>(), [true, false, true, true, false], "{rows:?}");
}

#[test]
fn operations_that_may_run_at_any_time_go_with_those_that_may_not() {
    let mut space = Space::shared();
    for orders in [["9000000000000", ""], ["", "9000000000000"], ["1", ""]] {
        let mut together = Together::default();
        for (key, not_after) in ["a", "b"].into_iter().zip(orders) {
            space.not_after = not_after;
            together.acquire(&space, &Attempt::of(&format!("{key}{}", orders[0]), "alice", "n-1"));
        }
        let words: Vec<String> = together.run(&mut space).into_iter().map(|row| row[0].clone()).collect();
        let first = if orders[0] == "1" { "late" } else { "granted" };
        assert_eq!(words, [first, "granted"], "{orders:?}");
    }
}

#[test]
fn an_acquire_that_finds_the_sequence_used_up_leaves_nothing() {
    let mut space = Space::shared();
    space.set_last(&(((1_u64 << 47) - 1) * 64).to_string());
    let mut together = Together::default();
    together.acquire(&space, &Attempt::of("a", "alice", "n-1"));

    let rows = together.run(&mut space);

    assert_eq!((rows[0][0].as_str(), rows[0][2].as_str()), ("error", "returned"), "{rows:?}");
    assert!(rows[0][1].contains("used up"), "{rows:?}");
    assert_eq!((space.lease("a"), space.indexed("a")), (None, None));
}

#[test]
fn an_operation_that_fails_leaves_the_others_as_they_are() {
    let mut space = Space::shared();
    let mut other = Space::shared();
    let tokens = other.tokens();
    other.ask::<i64>("LPUSH", &[&tokens, "no index"]);
    let mut together = Together::default();
    together.acquire(&space, &Attempt::of("a", "alice", "n-1"));
    together.acquire(&other, &Attempt::of("a", "alice", "n-1"));
    together.operation(&space, "unheard of", "a", &[]);
    together.acquire(&space, &Attempt::of("b", "alice", "n-2"));

    let rows = together.run(&mut space);

    assert_eq!((rows[0][0].as_str(), rows[3][0].as_str()), ("granted", "granted"));
    assert_eq!(rows[1][0], "error");
    assert!(rows[1][1].starts_with("WRONGTYPE"), "{:?}", rows[1]);
    assert_eq!((rows[2][0].as_str(), other.lease("a")), ("error", None));
}

#[test]
fn a_call_without_operations_has_no_rows() {
    let mut space = Space::shared();
    assert_eq!(Vec::<Value>::from_redis_value(space.eval(BATCH, &[], &["[]"]).unwrap()).unwrap(), []);
}
