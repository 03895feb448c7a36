//! `read.lua` and `sweep.lua`, row by row.

use super::{Attempt, CENSUS, Space, assert_left};

#[test]
fn read_answers_in_the_order_of_its_keys() {
    let mut space = Space::shared();
    space.granted(&Attempt::of("a", "alice", "n-1"));
    let (lease, valid_until) = (space.lease("a").unwrap(), space.valid_until("a").to_string());
    let (list, text) = (space.lock("list"), space.lock("text"));
    space.ask::<i64>("LPUSH", &[&list, "x"]);
    space.ask::<String>("SET", &[&text, ""]);

    let rows = space.read(&["free", "a", "list", "text", "a"]);

    assert_eq!(rows.len(), 5);
    for (row, word) in [(0, "free"), (2, "stranger")] {
        assert_eq!(rows[row], [word, "0"]);
    }
    assert_eq!(rows[3], ["lease", "0", "", "-1", "-1"]);
    for row in [1, 4] {
        assert_left(&rows[row], &["lease", "0", &lease, &valid_until], 60_000);
    }
    assert!(space.read(&[]).is_empty());
}

#[tokio::test]
async fn sweep_drops_what_has_expired_or_is_a_strangers_now_and_nothing_else() {
    let mut space = Space::shared();
    let alive = space.granted(&Attempt::of("alive", "alice", "n-1"));
    space.granted(&Attempt { ttl_ms: 20, ..Attempt::of("dead", "alice", "n-2") });
    let strange = space.lock("strange");
    space.ask::<i64>("LPUSH", &[&strange, "x"]);
    space.granted(&Attempt::of("taken", "alice", "n-3"));
    let taken = space.lock("taken");
    space.ask::<String>("SET", &[&taken, "a stranger's"]);
    space.expired("dead").await;

    assert_eq!(space.sweep(&["alive", "dead", "never", "strange", "taken"]).unwrap(), ["swept", "4"]);

    assert_eq!((space.indexed("alive"), space.indexed("dead")), (Some(alive), None));
    assert_eq!(space.indexed("taken"), None);
    assert_eq!(space.sweep(&["alive"]).unwrap(), ["swept", "0"]);
    assert_eq!(space.sweep(&[]).unwrap(), ["swept", "0"]);
}

#[tokio::test]
async fn sweep_leaves_a_key_that_was_granted_anew() {
    let mut space = Space::shared();
    space.granted(&Attempt { ttl_ms: 20, ..Attempt::of("k", "alice", "n-1") });
    space.expired("k").await;
    let token = space.granted(&Attempt::of("k", "bob", "n-2"));

    assert_eq!(space.sweep(&["k"]).unwrap(), ["swept", "0"]);

    assert_eq!(space.indexed("k"), Some(token));
}

#[test]
fn sweep_takes_as_many_entries_as_its_header_allows() {
    let mut space = Space::shared();
    let keys: Vec<String> = (0..5000).map(|number| format!("k-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

    assert_eq!(space.sweep(&keys).unwrap(), ["swept", "5000"]);
}

#[test]
fn census_counts_the_entries_of_all_indexes_and_finds_the_oldest() {
    let mut space = Space::shared();
    let (none, full, other) = (space.tokens() + "-none", space.tokens() + "-full", space.tokens() + "-other");
    let census = |space: &mut Space, names: &[&String]| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        space.run(CENSUS, &[], &names).unwrap()
    };
    // The highest of all tokens, and the lowest.
    space.ask::<i64>("ZADD", &[&full, "9007199254740991", "a", "9007199254740990", "b"]);
    for (index, last) in [(&full, "9007199254740991"), (&other, "7"), (&none, "5")] {
        redis::cmd("ZADD").arg(index).arg(last).arg(super::LAST).exec(&mut space.connection).unwrap();
    }

    assert_eq!(census(&mut space, &[&none]), ["counted", "0", "0"]);
    assert_eq!(census(&mut space, &[&none, &full]), ["counted", "2", "9007199254740990"]);

    space.ask::<i64>("ZADD", &[&other, "1", "c"]);
    assert_eq!(census(&mut space, &[&full, &none, &other]), ["counted", "3", "1"]);
    assert_eq!(census(&mut space, &[]), ["counted", "0", "0"]);
    // An index that lost its last token, or has an older one back.
    space.ask::<i64>("ZADD", &[&other, "3", "d"]);
    for last in [Some("2"), Some("0"), None] {
        redis::cmd("ZREM").arg(&other).arg(super::LAST).exec(&mut space.connection).unwrap();
        if let Some(last) = last {
            redis::cmd("ZADD").arg(&other).arg(last).arg(super::LAST).exec(&mut space.connection).unwrap();
        }
        assert_eq!(census(&mut space, &[&other]), ["counted", "2", "1"], "{last:?}");
    }
    space.ask::<String>("SET", &[&none, "no index"]);
    assert!(space.run(CENSUS, &[], &[&none]).is_err(), "a part is no number");
}
