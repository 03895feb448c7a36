//! Leases that share a key, in the scripts that renew them, end them, look at them and sweep behind them.

use std::time::Duration;

use redis::Value;

use super::batch::Together;
use super::shared::{shared, token_of};
use super::{Attempt, CENSUS, READ, Space, identity_of, row, word};
use crate::harness::{TestRedis, eventually};

#[test]
fn a_share_is_renewed_alone_and_the_key_ends_with_the_last_one_in_both_directions() {
    let mut space = Space::shared();
    let alice = space.shares(&Attempt::sharing("alice", "n-1", None));
    let bob = space.shares(&Attempt::sharing("bob", "n-2", None));
    let bobs = space.shared_until(bob);

    for ttl_ms in [90_000, 5_000, 70_000] {
        let row = space.renew("k", alice, &identity_of("alice"), ttl_ms).unwrap();
        assert_eq!((word(&row), token_of(&row[1])), ("renewed", alice));
        assert!(row[1].ends_with(",\"renewed\":true}"), "{row:?}");
        assert_eq!(space.shared_until(alice).unwrap().to_string(), row[2]);
        assert_eq!(space.shared_until(bob), bobs);
        space.assert_whole();
    }
    assert_eq!(word(&space.renew("k", alice, &identity_of("bob"), 1_000).unwrap()), "other");
    assert_eq!(space.renew("k", alice + 64, &identity_of("alice"), 1_000).unwrap(), ["lost"]);
}

#[test]
fn a_release_ends_one_share_and_the_key_with_the_last() {
    let mut space = Space::shared();
    let long = space.shares(&Attempt { ttl_ms: 90_000, ..Attempt::sharing("alice", "n-1", None) });
    let short = space.shares(&Attempt::sharing("bob", "n-2", None));

    assert_eq!(word(&space.release("k", Some(long), &identity_of("bob")).unwrap()), "other");
    assert_eq!(word(&space.release("k", None, &identity_of("alice")).unwrap()), "other");
    assert_eq!(space.release("k", Some(long), &identity_of("alice")).unwrap(), ["released"]);

    assert_eq!((space.sharers(), space.indexed_share(long)), (vec![short], None));
    space.assert_whole();
    assert_eq!(space.release("k", Some(long), &identity_of("alice")).unwrap(), ["lost"]);
    assert_eq!(space.release("k", Some(short), &identity_of("bob")).unwrap(), ["released"]);
    space.assert_gone();
}

#[test]
fn force_ends_one_share_by_its_token_or_all_of_them_and_says_whose_they_were() {
    let mut space = Space::shared();
    let [a, b, c] = ["a", "b", "c"].map(|user| space.shares(&Attempt::sharing(user, user, None)));

    assert_eq!(space.force("k", Some(c + 64)).unwrap(), ["other", ""]);
    let row = space.force("k", Some(b)).unwrap();
    assert_eq!((row.len(), token_of(&row[1])), (2, b));
    assert_eq!(space.renew("k", b, &identity_of("b"), 1_000).unwrap(), ["forced"]);
    assert_eq!(space.sharers(), [a, c]);
    space.assert_whole();

    let row = space.force("k", None).unwrap();
    assert_eq!((word(&row), row[1..].iter().map(|lease| token_of(lease)).collect()), ("forced", vec![a, c]));
    for (token, user) in [(a, "a"), (c, "c")] {
        assert_eq!(space.renew("k", token, &identity_of(user), 1_000).unwrap(), ["forced"]);
    }
    space.assert_gone();
}

#[tokio::test]
async fn a_share_that_ended_counts_no_more_and_is_removed_when_it_is_met() {
    let mut space = Space::shared();
    let lasting = space.shares(&Attempt::sharing("alice", "n-0", None));
    let ended: Vec<u64> = (0..3)
        .map(|at| space.shares(&Attempt { ttl_ms: 20, ..Attempt::sharing("bob", &format!("n-{}", at + 1), None) }))
        .collect();
    let space = std::cell::RefCell::new(space);
    eventually("they end", Duration::from_secs(5), async || {
        let mut space = space.borrow_mut();
        space.sharers() == [lasting]
    })
    .await;
    let mut space = space.into_inner();
    assert_eq!(space.renew("k", ended[0], &identity_of("bob"), 1_000).unwrap(), ["lost"]);

    let next = space.shares(&Attempt::sharing("carol", "n-9", Some(2)));

    assert_eq!(space.sharers(), [lasting, next]);
    assert!(ended.iter().all(|token| space.indexed_share(*token).is_none()));
    assert_eq!(space.members().len(), 7, "the mark, and of each its end, its text and its sending");
    space.assert_whole();
}

fn first(rows: Value) -> Value {
    match rows {
        Value::Array(rows) => rows.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn when_the_last_share_ends_the_key_is_free_with_nobodys_help_and_its_entries_are_swept() {
    let mut space = Space::shared();
    let tokens: Vec<u64> =
        ["a", "b"].map(|user| space.shares(&Attempt { ttl_ms: 30, ..Attempt::sharing(user, user, None) })).to_vec();
    let name = space.lock("k");
    let space = std::cell::RefCell::new(space);
    eventually("the key is free", Duration::from_secs(5), async || {
        space.borrow_mut().ask::<i64>("EXISTS", &[&name]) == 0
    })
    .await;
    let mut space = space.into_inner();

    let entries: Vec<String> = tokens.iter().map(|token| format!("k\n{token}")).collect();
    let names: Vec<String> = [space.tokens(), name.clone(), name].to_vec();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    assert_eq!(space.run(super::SWEEP, &names, &entries).unwrap(), ["swept", "2"]);

    space.assert_gone();
}

#[test]
fn a_sweep_drops_entries_of_shares_that_are_gone_and_no_others() {
    let mut space = Space::shared();
    let there = space.shares(&Attempt::sharing("a", "n", None));
    let (tokens, lock) = (space.tokens(), space.lock("k"));
    let gone = there - 64;
    space.ask::<i64>("ZADD", &[&tokens, &gone.to_string(), &format!("k\n{gone}")]);
    space.ask::<i64>("ZADD", &[&tokens, &gone.to_string(), "k"]);

    let entries = [format!("k\n{there}"), format!("k\n{gone}"), "k".to_owned()];
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let names = [tokens.clone(), lock.clone(), lock.clone(), lock];
    assert_eq!(space.run(super::SWEEP, &names, &entries).unwrap(), ["swept", "2"]);

    space.assert_whole();
    assert_eq!(space.run(CENSUS, &[tokens], &[]).unwrap(), ["counted", "1", &there.to_string()]);
}

#[test]
fn a_read_tells_the_hundred_oldest_and_how_many_there_are_or_the_one_that_is_asked_for() {
    let mut space = Space::shared();
    let tokens: Vec<u64> = (0..103).map(|at| space.shares(&Attempt::sharing("a", &format!("n-{at}"), None))).collect();

    let row = space.read(&["k"]).remove(0);

    assert_eq!((&*row[0], &*row[1], &*row[2]), ("shared", "0", "103"));
    assert_eq!((&row[5], &*row[6]), (&tokens[102].to_string(), ""));
    assert_eq!(space.sharers(), tokens[..100]);
    let names = [space.lock("k"), space.queue("k")];
    let last = space.shares(&Attempt { ttl_ms: 9_000, ..Attempt::sharing("b", "n-103", None) });
    let row = row_of(space.eval(READ, &names, &["each"]).unwrap());
    let [left_ms, first_ms] = [3, 4].map(|at| row[at].parse::<u64>().unwrap());
    assert!(left_ms > 20_000 && (5_000..=9_000).contains(&first_ms), "{:?}", &row[..7]);
    let others: Vec<u64> = row[6].split(' ').map(|word| word.parse().unwrap()).collect();
    let told: Vec<u64> = others.chunks(2).map(|other| other[0]).collect();
    assert_eq!(told, [last, tokens[100], tokens[101], tokens[102]], "the first to end first");
    assert_eq!(others[1], first_ms);
    for token in [tokens[0], tokens[102]] {
        let row = row_of(space.eval(READ, &names, &[&token.to_string()]).unwrap());
        assert_eq!((word(&row), token_of(&row[2])), ("lease", token));
    }
    let row = row_of(space.eval(READ, &names, &[&(tokens[102] + 64).to_string()]).unwrap());
    assert_eq!(row, ["free", "0"]);
}

fn row_of(rows: Value) -> Vec<String> {
    row(first(rows))
}

#[test]
fn the_terms_of_a_share_are_its_own_and_its_rest_counts_as_a_holder() {
    let mut space = Space::shared();
    let further = format!("{},\"terms\":\"ttl=30000 delay=0 min=50000 max=0\"", shared(Some(2)));
    let resting = space.shares(&Attempt { further, ttl_ms: 50_000, ..Attempt::sharing("alice", "n-1", None) });
    let other = space.shares(&Attempt { ttl_ms: 10_000, ..Attempt::sharing("bob", "n-2", Some(2)) });

    assert_eq!(space.release("k", Some(resting), &identity_of("alice")).unwrap(), ["released"]);

    assert_eq!(space.refused(&Attempt::sharing("carol", "n-3", Some(2))), ("full".to_owned(), 2));
    assert_eq!(word(&space.renew("k", resting, &identity_of("alice"), 1_000).unwrap()), "other");
    space.assert_whole();
    assert_eq!(space.release("k", Some(other), &identity_of("bob")).unwrap(), ["released"]);
    assert_eq!(word(&space.acquire(&Attempt::of("k", "carol", "n-4")).unwrap()), "shared");
    assert_eq!(word(&space.force("k", Some(resting)).unwrap()), "forced");
    space.assert_gone();
}

#[test]
fn a_key_that_only_says_that_it_is_shared_goes_by_force_and_ends_with_the_first_lease_that_shares_it() {
    let mut space = Space::shared();
    let (lock, mark) = (space.lock("k"), "{\"shared\":true}");
    let left = |space: &mut Space| space.ask::<i64>("PTTL", &[&lock]);
    space.ask::<i64>("ZADD", &[&lock, "0", mark]);
    assert_eq!(word(&space.acquire(&Attempt::of("k", "bob", "n-1")).unwrap()), "shared");
    assert_eq!(space.read(&["k"])[0][..3], ["shared", "0", "0"]);
    assert_eq!(space.force("k", Some(64)).unwrap(), ["other", ""], "no lease has this token");
    assert_eq!(space.force("k", None).unwrap(), ["forced"]);
    space.assert_gone();

    space.ask::<String>("SET", &[&lock, mark]);
    assert_eq!(space.read(&["k"])[0][..3], ["shared", "0", "0"]);
    assert_eq!(space.force("k", Some(64)).unwrap()[0], "other");
    assert_eq!(space.force("k", None).unwrap(), ["forced"]);
    space.assert_gone();
    space.ask::<String>("SET", &[&lock, "{\"shared\":true} "]);
    assert_eq!(space.force("k", None).unwrap()[0], "other", "that is another program's");
    space.ask::<i64>("DEL", &[&lock]);

    for mark_ms in [None, Some("600000"), Some("1000")] {
        space.ask::<i64>("ZADD", &[&lock, "0", mark]);
        if let Some(mark_ms) = mark_ms {
            space.ask::<i64>("PEXPIRE", &[&lock, mark_ms]);
        }
        let token = space.shares(&Attempt { ttl_ms: 30_000, ..Attempt::sharing("alice", "n-2", Some(1)) });
        assert!((20_000..=30_000).contains(&left(&mut space)), "{mark_ms:?}: {}", left(&mut space));
        space.assert_whole();
        // One that ends sooner takes nothing from it.
        space.shares(&Attempt { ttl_ms: 5_000, ..Attempt::sharing("carol", "n-3", None) });
        assert!((20_000..=30_000).contains(&left(&mut space)));
        space.assert_whole();
        assert_eq!(word(&space.force("k", Some(token)).unwrap()), "forced");
        assert!((1..=5_000).contains(&left(&mut space)));
        assert_eq!(word(&space.force("k", None).unwrap()), "forced");
    }
    space.assert_gone();
}

#[test]
fn out_of_memory_no_share_is_granted_and_those_that_are_there_are_renewed_and_end_and_the_key_stays_whole() {
    let redis = TestRedis::start(&[]);
    let mut space = Space::on(&redis);
    let attempts = ["a", "b", "c"].map(|user| Attempt::sharing(user, user, None));
    let [a, b, _] = attempts.each_ref().map(|attempt| space.shares(attempt));
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
    let contents = space.contents();

    let error = space.share(&Attempt::sharing("d", "d", None)).unwrap_err();
    assert!(error.contains("OOM"), "{error}");
    let mut together = Together::default();
    together.acquire(&space, &Attempt::sharing("d", "d", None));
    let row = together.run(&mut space).remove(0);
    assert!(row[0] == "error" && row[1].contains("OOM"), "{row:?}");
    assert_eq!(space.contents(), contents);

    for ttl_ms in [90_000, 30_000] {
        assert_eq!(word(&space.renew("k", a, &identity_of("a"), ttl_ms).unwrap()), "renewed");
        space.assert_whole();
    }
    assert_eq!(space.release("k", Some(b), &identity_of("b")).unwrap(), ["released"]);
    space.assert_whole();
    assert_eq!(space.undo(&attempts[2]).unwrap(), ["undone"]);
    space.assert_whole();
    assert_eq!(word(&space.force("k", Some(a)).unwrap()), "forced");
    space.assert_gone();
}
