//! `share.lua`, row by row.

use super::batch::Together;
use super::{Answer, Attempt, SHARE, Space, assert_left, identity_of, told, word};

/// The mark of a key that leases share.
const SHARED: &str = "{\"shared\":true}";

/// `,"mode":"shared"` and the limit, as a request has them.
pub fn shared(limit: Option<u64>) -> String {
    let limit = limit.map(|limit| format!(",\"limit\":\"{limit}\"")).unwrap_or_default();
    format!(",\"mode\":\"shared\"{limit}")
}

impl Attempt {
    pub fn shares(&self) -> bool {
        self.further.starts_with(",\"mode\":\"shared\"")
    }

    pub fn sharing(user: &str, nonce: &str, limit: Option<u64>) -> Attempt {
        Attempt { further: shared(limit), ..Attempt::of("k", user, nonce) }
    }
}

impl Space {
    pub fn share(&mut self, attempt: &Attempt) -> Answer {
        let Attempt { key, identity, nonce, further, own, request, .. } = attempt;
        let args = [identity.as_str(), nonce, request, &attempt.ttl_ms.to_string(), further, own, self.not_after];
        self.run_in_line(SHARE, key, attempt.floor, &args)
    }

    /// A lease that shares the key; its token.
    pub fn shares(&mut self, attempt: &Attempt) -> u64 {
        let row = self.share(attempt).unwrap();
        assert_eq!(word(&row), "granted", "{row:?}");
        row[1].parse().unwrap()
    }

    /// Why a request was refused by those who share the key, and how many these are.
    #[track_caller]
    pub fn refused(&mut self, attempt: &Attempt) -> (String, u64) {
        let row = self.share(attempt).unwrap();
        assert_eq!((word(&row), row.len()), ("shared", 7), "{row:?}");
        (row[6].clone(), row[4].parse().unwrap())
    }

    /// All members of the key.
    pub fn members(&mut self) -> Vec<String> {
        let name = self.lock("k");
        self.ask("ZRANGE", &[&name, "0", "-1"])
    }

    /// What a lease that shares the key says of itself.
    pub fn shared_lease(&mut self, token: u64) -> Option<String> {
        let name = self.lock("k");
        let score = format!("-{token}");
        let members: Vec<String> = self.ask("ZRANGEBYSCORE", &[&name, &score, &score]);
        members.last().cloned()
    }

    /// When a lease that shares the key ends.
    pub fn shared_until(&mut self, token: u64) -> Option<i64> {
        let name = self.lock("k");
        self.ask("ZSCORE", &[&name, &token.to_string()])
    }

    pub fn indexed_share(&mut self, token: u64) -> Option<u64> {
        self.indexed(&format!("k\n{token}"))
    }

    /// The tokens of those who share the key, oldest first.
    pub fn sharers(&mut self) -> Vec<u64> {
        self.sharers_of("k")
    }

    pub fn sharers_of(&mut self, key: &str) -> Vec<u64> {
        let row = self.read(&[key]).remove(0);
        if row[0] != "shared" {
            return Vec::new();
        }
        row[7..].chunks(3).map(|lease| token_of(&lease[0])).collect()
    }

    /// That nothing is left of the key, its members, its entries in the index or its end.
    #[track_caller]
    pub fn assert_gone(&mut self) {
        let (lock, tokens) = (self.lock("k"), self.tokens());
        assert_eq!(self.ask::<i64>("EXISTS", &[&lock]), 0);
        let entries: Vec<redis::Value> = self.ask("ZRANGE", &[&tokens, "0", "-1"]);
        assert!(entries.len() <= 1, "{entries:?}");
    }

    /// That what lies under the key is whole: each lease has its members, its entry and its end, and the key the last one.
    #[track_caller]
    pub fn assert_whole(&mut self) {
        let name = self.lock("k");
        let members: Vec<(String, f64)> =
            redis::cmd("ZRANGE").arg(&name).arg(&["0", "-1", "WITHSCORES"]).query(&mut self.connection).unwrap();
        let tokens: Vec<(u64, i64)> = members
            .iter()
            .filter(|(_, score)| *score > 0.0)
            .map(|(token, ends)| (token.parse().unwrap(), *ends as i64))
            .collect();
        assert_eq!(members.iter().filter(|(member, score)| member == SHARED && *score == 0.0).count(), 1);
        for (token, _) in &tokens {
            let own: Vec<&str> =
                members.iter().filter(|(_, score)| -*score as u64 == *token).map(|(member, _)| &**member).collect();
            assert_eq!(own.iter().filter(|member| token_of(member) == *token).count(), 1, "{own:?}");
            assert_eq!(self.indexed_share(*token), Some(*token));
        }
        let strays = members.iter().filter(|(_, score)| *score < 0.0);
        for (member, score) in strays {
            assert!(tokens.iter().any(|(token, _)| *token == -*score as u64), "{member}");
        }
        assert_eq!(Some(self.valid_until("k")), tokens.iter().map(|(_, ends)| *ends).max());
    }
}

/// The token of a lease; 0 of what is none.
pub fn token_of(lease: &str) -> u64 {
    let lease = lease.replacen("{\"shared\":true,", "{", 1);
    let token = lease.strip_prefix("{\"token\":\"").and_then(|rest| rest.split('"').next());
    token.and_then(|token| token.parse().ok()).unwrap_or(0)
}

/// A lease as a row has it that says where it lies.
pub fn shown(lease: &str) -> String {
    lease.replacen('{', "{\"shared\":true,", 1)
}

#[test]
fn a_share_of_a_free_key_is_granted_with_a_token_an_end_and_an_index_entry_of_its_own() {
    let mut space = Space::shared();

    let row = space.share(&Attempt::sharing("alice", "n-1", Some(3))).unwrap();

    let (token, since, valid_until): (u64, i64, i64) =
        (row[1].parse().unwrap(), row[2].parse().unwrap(), row[3].parse().unwrap());
    assert_eq!((word(&row), row.len(), valid_until), ("granted", 4, since + 60_000));
    let lease = format!(
        "{{\"token\":\"{token}\",{}\"nonce\":\"n-1\",\"since\":{since},\"ttl\":60000,\"mode\":\"shared\",\"limit\":\"3\"}}",
        identity_of("alice")
    );
    assert_eq!(space.shared_lease(token), Some(lease));
    assert_eq!(space.shared_until(token), Some(valid_until));
    assert_eq!((space.indexed_share(token), space.indexed("k")), (Some(token), None));
    space.assert_whole();
}

#[test]
fn shares_of_one_call_are_counted_one_after_the_other_and_leave_the_key_whole() {
    let mut space = Space::shared();
    let mut together = Together::default();
    for user in ["a", "b", "c"] {
        together.acquire(&space, &Attempt::sharing(user, user, Some(2)));
    }
    together.acquire(&space, &Attempt::of("k", "d", "d"));

    let rows = together.run(&mut space);

    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["granted", "granted", "shared", "shared"]);
    assert_eq!(space.sharers().len(), 2);
    space.assert_whole();
    let again = Attempt::sharing("a", "a", Some(2));
    let mut together = Together::default();
    together.acquire(&space, &again);
    assert_eq!(together.run(&mut space)[0][0], "replayed", "sent twice it has acted once");
}

#[test]
fn tokens_rise_from_share_to_share_and_to_the_exclusive_lease_that_follows() {
    let mut space = Space::shared();
    let first = space.shares(&Attempt::sharing("alice", "n-1", None));
    let second = space.shares(&Attempt::sharing("bob", "n-2", None));
    for (token, user) in [(first, "alice"), (second, "bob")] {
        assert_eq!(space.release("k", Some(token), &identity_of(user)).unwrap(), ["released"]);
    }
    space.assert_gone();

    let third = space.granted(&Attempt::of("k", "carol", "n-3"));

    assert!(first < second && second < third, "{first} {second} {third}");
}

#[test]
fn at_each_grant_fewer_leases_last_than_its_own_limit_and_another_requests_limit_does_not_matter() {
    let mut space = Space::shared();
    let limits = |space: &mut Space, user: &str, limit| space.share(&Attempt::sharing(user, user, limit)).unwrap();
    for user in ["a", "b", "c"] {
        assert_eq!(word(&limits(&mut space, user, Some(3))), "granted");
    }
    assert_eq!(space.refused(&Attempt::sharing("d", "d", Some(3))), ("full".to_owned(), 3));
    for user in ["e", "f"] {
        assert_eq!(word(&limits(&mut space, user, Some(5))), "granted");
    }
    assert_eq!(space.refused(&Attempt::sharing("g", "g", Some(5))), ("full".to_owned(), 5));
    assert_eq!(space.refused(&Attempt::sharing("g", "g", Some(2))), ("full".to_owned(), 5));
    assert_eq!(word(&limits(&mut space, "h", None)), "granted");

    let oldest = space.sharers()[0];
    assert_eq!(space.release("k", Some(oldest), &identity_of("a")).unwrap(), ["released"]);

    assert_eq!(space.refused(&Attempt::sharing("i", "i", Some(3))), ("full".to_owned(), 5));
    assert_eq!(space.sharers().len(), 5, "a limit that is lowered takes no lease away");
    space.assert_whole();
}

#[test]
fn a_refusal_names_the_lease_whose_end_makes_room() {
    let mut space = Space::shared();
    for (user, ttl_ms) in [("a", 40_000), ("b", 20_000), ("c", 60_000), ("d", 30_000)] {
        space.shares(&Attempt { ttl_ms, ..Attempt::sharing(user, user, None) });
    }
    for (limit, holder) in [(4, "b"), (3, "d"), (2, "a"), (1, "c")] {
        let row = space.share(&Attempt::sharing("e", "e", Some(limit))).unwrap();
        assert!(row[1].contains(&identity_of(holder)), "{limit}: {row:?}");
        assert!(row[1].starts_with("{\"shared\":true,\"token\":"), "{row:?}");
        assert_eq!((&*row[4], &*row[5], &*row[6]), ("4", "0", "full"));
    }
    let row = space.acquire(&Attempt::of("k", "e", "e")).unwrap();
    assert!(row[1].contains(&identity_of("c")), "an exclusive request waits for the last: {row:?}");
    assert_eq!((&*row[4], &*row[6]), ("4", "mode"));
}

#[test]
fn an_exclusive_lease_refuses_every_share_and_any_share_an_exclusive_lease() {
    let mut space = Space::shared();
    let token = space.granted(&Attempt::of("k", "alice", "n-1"));
    let (lease, valid_until) = (space.lease("k").unwrap(), space.valid_until("k").to_string());
    let contents = space.contents();
    for own in ["refuse", "extend"] {
        let row = space.share(&Attempt { own, ..Attempt::sharing("bob", "n-2", None) });
        assert_left(&row.unwrap(), &["held", &lease, &valid_until], 60_000);
    }
    assert_eq!(space.contents(), contents);
    assert_eq!(space.release("k", Some(token), &identity_of("alice")).unwrap(), ["released"]);

    space.shares(&Attempt::sharing("alice", "n-3", None));

    let contents = space.contents();
    assert_eq!(word(&space.acquire(&Attempt::of("k", "bob", "n-4")).unwrap()), "shared");
    assert_eq!(space.contents(), contents);
}

#[test]
fn a_strangers_key_is_never_shared_and_stays_as_it_is() {
    for (command, args) in [("LPUSH", &["x"][..]), ("HSET", &["f", "x"]), ("SADD", &["x"]), ("ZADD", &["1", "x"])] {
        let mut space = Space::shared();
        let name = space.lock("k");
        space.ask::<i64>(command, &[&[name.as_str()], args].concat());
        let contents = space.contents();
        assert_eq!(space.share(&Attempt::sharing("a", "n", None)).unwrap(), ["stranger"], "{command}");
        assert_eq!(space.force("k", None).unwrap(), ["stranger"], "{command}");
        assert_eq!(space.contents(), contents, "{command}");
    }
    for text in ["", "1", SHARED] {
        let mut space = Space::shared();
        let name = space.lock("k");
        space.ask::<String>("SET", &[&name, text]);
        assert_eq!(space.share(&Attempt::sharing("a", "n", None)).unwrap(), ["held", told(text), "-1", "-1"]);
    }
}

#[test]
fn the_same_attempt_is_replayed_and_takes_no_second_share() {
    for request in ["", "r-1"] {
        let mut space = Space::shared();
        let attempt = Attempt { request, ..Attempt::sharing("alice", "n-1", Some(1)) };
        let token = space.shares(&attempt);
        let (lease, ends) = (space.shared_lease(token).unwrap(), space.shared_until(token).unwrap());

        let again = space.share(&Attempt { ttl_ms: 120_000, ..attempt.clone() }).unwrap();

        assert_left(&again, &["replayed", &shown(&lease), &ends.to_string()], 60_000);
        let other_mode = space.acquire(&Attempt { further: String::new(), ..attempt.clone() }).unwrap();
        assert_eq!(word(&other_mode), "replayed", "the lease that it has, as it is");
        let other_limit = space.share(&Attempt { further: shared(Some(9)), ..attempt }).unwrap();
        assert_eq!(word(&other_limit), "replayed");
        assert_eq!(space.sharers(), [token]);
        space.assert_whole();
    }
}

#[test]
fn each_sending_that_was_told_of_a_share_is_undone_alone_and_the_last_one_ends_it() {
    let mut space = Space::shared();
    let first = Attempt { request: "r-1", ..Attempt::sharing("alice", "n-1", None) };
    let second = Attempt { request: "r-2", ..first.clone() };
    let token = space.shares(&first);
    let other = space.shares(&Attempt::sharing("bob", "n-2", None));
    assert_eq!(word(&space.share(&second).unwrap()), "replayed");
    space.assert_whole();

    assert_eq!(space.undo(&first).unwrap(), ["told"]);
    assert_eq!(space.undo(&first).unwrap(), ["nothing"]);
    space.assert_whole();
    assert_eq!(space.undo(&second).unwrap(), ["undone"]);

    assert_eq!((space.sharers(), space.indexed_share(token)), (vec![other], None));
    space.assert_whole();
    assert_eq!(word(&space.share(&first).unwrap()), "granted", "an ordinary attempt once it is over");
}

#[test]
fn an_owner_that_comes_again_gets_its_oldest_share_whatever_the_limit_and_the_queue_say() {
    let mut space = Space::shared();
    let first = space.shares(&Attempt { ttl_ms: 10_000, ..Attempt::sharing("alice", "n-1", Some(2)) });
    space.shares(&Attempt::sharing("alice", "n-2", Some(2)));
    space.wait_for_all("w-1");

    let row = space.share(&Attempt { own: "extend", ..Attempt::sharing("alice", "n-3", Some(1)) }).unwrap();

    assert_eq!((word(&row), token_of(&row[1])), ("renewed", first));
    let left: i64 = row[3].parse().unwrap();
    assert!((55_000..=60_000).contains(&left), "{left}");
    assert_eq!(space.shared_until(first).unwrap().to_string(), row[2]);
    assert!(space.shared_lease(first).unwrap().contains("\"limit\":\"2\""), "its limit stays");
    space.assert_whole();
}

#[test]
fn an_owner_that_would_have_its_lease_in_the_other_mode_waits_in_vain() {
    let mut space = Space::shared();
    let share = space.shares(&Attempt::sharing("alice", "n-1", None));
    let row = space.acquire(&Attempt { own: "extend", ..Attempt::of("k", "alice", "n-2") }).unwrap();
    assert_eq!((word(&row), &*row[6]), ("shared", "own"));
    assert_eq!(space.release("k", Some(share), &identity_of("alice")).unwrap(), ["released"]);

    space.granted(&Attempt::of("k", "alice", "n-3"));

    let row = space.share(&Attempt { own: "extend", ..Attempt::sharing("alice", "n-4", None) }).unwrap();
    assert_eq!(word(&row), "own");
}
