//! Terms: when a key gets free whose lease was granted for longer, shorter or later than its ttl says.

use super::{Attempt, RENEW, Space, identity_of, word};

const ALICE: &str = "alice";

/// An attempt of alice's with these terms, which is promised the key for a minute.
fn on(delay: u64, min: u64, max: u64) -> Attempt {
    let promise = if max > 0 { max.min(60_000) } else { 60_000 };
    let further = format!(",\"terms\":\"ttl=60000 delay={delay} min={min} max={max}\"");
    Attempt { ttl_ms: (promise + delay).max(min), further, ..Attempt::of("k", ALICE, "n-1") }
}

impl Space {
    /// When the key gets free, milliseconds from now; `None`: it is.
    fn free_in(&mut self) -> Option<i64> {
        let until = self.valid_until("k");
        (until > 0).then(|| until - self.now_ms())
    }

    #[track_caller]
    fn is_free_in(&mut self, ms: i64) {
        let left = self.free_in().expect("a key that is taken");
        assert!((ms - 5_000..=ms).contains(&left), "{left} instead of {ms}");
    }

    fn renewed(&mut self, token: u64, ttl_ms: u64) -> Vec<String> {
        self.renew("k", token, &identity_of(ALICE), ttl_ms).unwrap()
    }

    fn rested(&mut self, token: u64, rest_ms: &str) -> Vec<String> {
        let args = [&token.to_string(), &identity_of(ALICE), "", rest_ms, "", ""];
        self.run_in_line(super::RELEASE, "k", 0, &args).unwrap()
    }

    /// Rewrites when the lease says that it was granted.
    fn backdate(&mut self, ms: i64) {
        let (name, text) = (self.lock("k"), self.lease("k").unwrap());
        let since = text.split_once("\"since\":").unwrap().1.split_once(',').unwrap().0.to_owned();
        let earlier = text.replacen(&since, &(since.parse::<i64>().unwrap() - ms).to_string(), 1);
        self.ask::<redis::Value>("SET", &[&name, &earlier, "KEEPTTL"]);
    }
}

#[test]
fn a_renewal_keeps_the_delay_behind_the_promise_the_minimum_and_the_cap() {
    for (delay, min, max, age, ttl_ms, free_in) in [
        (5_000, 0, 0, 0, 30_000, 35_000),
        (5_000, 0, 0, 0, 90_000, 95_000),
        (0, 300_000, 0, 0, 30_000, 300_000),
        (0, 300_000, 0, 290_000, 30_000, 30_000),
        (0, 0, 200_000, 0, 90_000, 90_000),
        (0, 0, 200_000, 180_000, 90_000, 20_000),
        (5_000, 0, 200_000, 180_000, 90_000, 25_000),
        (5_000, 300_000, 200_000, 0, 250_000, 300_000),
    ] {
        let mut space = Space::shared();
        let token = space.granted(&on(delay, min, max));
        space.backdate(age);
        let row = space.renewed(token, ttl_ms);
        assert_eq!(word(&row), "renewed", "{row:?}");
        let left: i64 = row[3].parse().unwrap();
        assert!((free_in - 5_000..=free_in).contains(&left), "{left} instead of {free_in}");
        space.is_free_in(free_in);
    }
}

#[test]
fn a_renewal_without_a_ttl_is_for_that_of_the_terms() {
    let mut space = Space::shared();
    let token = space.granted(&on(0, 0, 200_000));
    space.renewed(token, 10_000);
    space.renew_for("k", token, &identity_of(ALICE), "").unwrap();
    space.is_free_in(60_000);
}

#[test]
fn at_the_cap_nothing_is_promised_any_more_and_the_delay_begins() {
    for (delay, is_there) in [(0, false), (100_000, true)] {
        let mut space = Space::shared();
        let token = space.granted(&on(delay, 0, 60_000));
        space.backdate(60_000);
        let before = space.contents();
        assert_eq!(space.renewed(token, 30_000), ["capped"]);
        for how in ["extend", "take"] {
            let row = space.renew_as(how, "n-1", "k", token, &identity_of(ALICE), "30000").unwrap();
            assert_eq!(row, ["capped"], "{how}");
        }
        assert_eq!(space.contents(), before);
        assert_eq!(space.lease("k").is_some() && delay > 0, is_there);
    }
}

#[test]
fn a_renewal_that_would_last_too_long_with_the_delay_changes_nothing() {
    let mut space = Space::shared();
    let token = space.granted(&on(5_000, 0, 0));
    let before = space.contents();
    let keys = [space.lock("k"), space.queue("k"), space.forced("k"), space.watch()];
    let (token, push) = (token.to_string(), space.push());
    let mut renew = |ttl_ms, longest: &str| {
        let args = ["k", &token, &identity_of(ALICE), ttl_ms, &push, "set", "", longest, ""];
        space.run(RENEW, &keys, &args).unwrap()
    };
    assert_eq!(renew("90000", "94999"), ["too_long", "5000"]);
    assert_eq!(word(&renew("90000", "95000")), "renewed");
    assert_eq!(word(&renew("", "1")), "renewed", "the terms were checked when it was granted");
    assert_ne!(space.contents(), before);
}

#[test]
fn a_release_before_the_minimum_leaves_a_rest_and_one_behind_it_nothing() {
    let mut space = Space::shared();
    let token = space.granted(&on(5_000, 300_000, 0));
    let lease = space.lease("k").unwrap();
    assert_eq!(space.release("k", Some(token), &identity_of(ALICE)).unwrap(), ["released"]);
    let rest = lease.replacen("\",", "\",\"rest\":true,", 1);
    assert_eq!(space.lease("k"), Some(rest));
    assert_eq!(space.indexed("k"), Some(token), "it is listed");
    space.is_free_in(300_000);
    space.force("k", None).unwrap();

    let token = space.granted(&on(5_000, 300_000, 0));
    space.backdate(300_000);
    assert_eq!(space.release("k", Some(token), &identity_of(ALICE)).unwrap(), ["released"]);
    assert_eq!((space.lease("k"), space.indexed("k")), (None, None), "of a release there is no delay");
}

#[test]
fn a_release_with_a_rest_keeps_the_key_for_so_long_or_until_the_minimum() {
    for (terms, rest_ms, free_in) in [
        (Attempt::of("k", ALICE, "n-1"), "30000", 30_000),
        (Attempt::of("k", ALICE, "n-1"), "90000", 90_000),
        (on(0, 300_000, 0), "30000", 300_000),
        (on(0, 300_000, 0), "900000", 900_000),
    ] {
        let mut space = Space::shared();
        let token = space.granted(&terms);
        assert_eq!(space.rested(token, rest_ms), ["released"]);
        space.is_free_in(free_in);
    }
}

#[test]
fn a_rest_is_nobodys_and_held_for_every_attempt() {
    let mut space = Space::shared();
    let token = space.granted(&on(0, 300_000, 0));
    space.release("k", Some(token), &identity_of(ALICE)).unwrap();
    let before = space.contents();

    for own in ["refuse", "extend"] {
        for (user, nonce) in [(ALICE, "n-1"), (ALICE, "n-2"), ("bob", "n-3")] {
            let row = space.acquire(&Attempt { own, ..Attempt::of("k", user, nonce) }).unwrap();
            assert_eq!(word(&row), "held", "{own} {user} {nonce}");
        }
    }
    assert_eq!(word(&space.renewed(token, 30_000)), "other");
    for token in [Some(token), None] {
        assert_eq!(word(&space.release("k", token, &identity_of(ALICE)).unwrap()), "other");
    }
    assert_eq!(space.undo(&Attempt::of("k", ALICE, "n-1")).unwrap(), ["nothing"]);
    assert_eq!(space.read(&["k"])[0][0], "lease");
    assert_eq!(space.sweep(&["k"]).unwrap(), ["swept", "0"]);
    assert_eq!(space.contents(), before);
    assert_eq!(word(&space.force("k", Some(token)).unwrap()), "forced");
    assert_eq!(space.lease("k"), None);
}

#[test]
fn an_undone_grant_and_a_forced_one_leave_neither_rest_nor_delay() {
    let mut space = Space::shared();
    space.granted(&on(5_000, 300_000, 0));
    assert_eq!(space.undo(&on(5_000, 300_000, 0)).unwrap(), ["undone"]);
    assert_eq!(space.lease("k"), None);
    space.granted(&on(5_000, 300_000, 0));
    assert_eq!(word(&space.force("k", None).unwrap()), "forced");
    assert_eq!(space.lease("k"), None);
}

#[test]
fn a_closed_hold_ends_behind_its_delay_and_its_minimum_and_never_later_than_before() {
    for (delay, min, age, free_in) in [
        (5_000, 0, 0, Some(5_000)),
        (0, 300_000, 0, Some(300_000)),
        (5_000, 300_000, 0, Some(300_000)),
        (5_000, 300_000, 298_000, Some(5_000)),
        (90_000, 0, 0, Some(90_000)),
        (0, 10_000, 20_000, None),
    ] {
        let mut space = Space::shared();
        let token = space.granted(&on(delay, min, 0));
        space.backdate(age);
        assert_eq!(space.release_as("n-1", "k", token, &identity_of(ALICE)).unwrap(), ["released"]);
        match free_in {
            Some(ms) => space.is_free_in(ms),
            None => assert_eq!(space.lease("k"), None),
        }
    }
    let mut space = Space::shared();
    let token = space.granted(&on(90_000, 0, 0));
    space.renewed(token, 60_000);
    let name = space.lock("k");
    space.ask::<i64>("PEXPIRE", &[&name, "20000"]);
    space.release_as("n-1", "k", token, &identity_of(ALICE)).unwrap();
    space.is_free_in(20_000);
}

#[test]
fn behind_its_promise_a_lease_is_held_for_its_own_owner_until_it_is_renewed() {
    let mut space = Space::shared();
    let alice = on(90_000, 0, 0);
    let token = space.granted(&alice);
    let name = space.lock("k");
    space.ask::<i64>("PEXPIRE", &[&name, "80000"]);

    assert_eq!(word(&space.acquire(&Attempt { request: "r-2", ..alice.clone() }).unwrap()), "held", "a repetition");
    let reentrant = Attempt { own: "extend", nonce: "\"nonce\":\"n-2\",".to_owned(), ..alice };
    assert_eq!(word(&space.acquire(&reentrant).unwrap()), "held");
    let entry = format!("a-0\nw-1\n60000\n{}\n\"nonce\":\"n-2\",\n", identity_of(ALICE));
    let join = [entry.as_str(), "n-2", "5000", "", "extend", ""];
    assert_eq!(word(&space.run_in_line(super::JOIN, "k", 0, &join).unwrap()), "waiting", "it does not ask in circles");

    assert_eq!(word(&space.renewed(token, 60_000)), "renewed");
    assert_eq!(word(&space.acquire(&reentrant).unwrap()), "renewed");
    space.is_free_in(150_000);
}

#[test]
fn a_reentrant_acquire_keeps_the_terms_of_the_grant() {
    let mut space = Space::shared();
    space.granted(&on(5_000, 0, 70_000));
    let again = Attempt { own: "extend", ttl_ms: 400_000, ..Attempt::of("k", ALICE, "n-2") };
    let further = ",\"terms\":\"ttl=65000 delay=7000 min=400000 max=0\"".to_owned();
    assert_eq!(word(&space.acquire(&Attempt { further, ..again }).unwrap()), "renewed");
    space.is_free_in(70_000);
    let plain = Attempt { own: "extend", ttl_ms: 200_000, ..Attempt::of("k", ALICE, "n-3") };
    assert_eq!(word(&space.acquire(&plain).unwrap()), "renewed");
    space.is_free_in(75_000);
}

#[test]
fn an_offer_lasts_as_long_as_ever_and_a_taken_one_has_its_terms() {
    let mut space = Space::shared();
    let terms = ",\"terms\":\"ttl=60000 delay=5000 min=300000 max=0\"";
    let entry = format!("a-0\nw-1\n300000\n{}\n\"nonce\":\"w-1\",\n{terms}", identity_of("w-1"));
    let join = [entry.as_str(), "w-1", "5000", "", "refuse", ""];
    assert_eq!(word(&space.run_in_line(super::JOIN, "k", 0, &join).unwrap()), "waiting");
    assert!(space.free_in().expect("an offer") <= 1_500);
    let token = space.indexed("k").expect("an offer");

    let row = space.renew_as("take", "w-1", "k", token, &identity_of("w-1"), "60000").unwrap();

    assert_eq!(word(&row), "renewed");
    space.is_free_in(300_000);
}

/// Else the sidecar that has the waiter would count as one that let an offer lapse.
#[test]
fn a_lease_on_offer_that_is_released_with_a_rest_is_on_offer_no_more() {
    let mut space = Space::shared();
    let entry = format!("a-0\nw-1\n60000\n{}\n\"nonce\":\"w-1\",\n", identity_of(ALICE));
    space.run_in_line(super::JOIN, "k", 0, &[&entry, "w-1", "5000", "", "refuse", ""]).unwrap();
    let token = space.indexed("k").expect("an offer");
    assert_eq!(space.rested(token, "30000"), ["released"]);
    let queue = space.queue("k");
    assert_eq!(space.ask::<Vec<String>>("ZRANGE", &[&queue, "0", "-1"]), Vec::<String>::new());
    space.is_free_in(30_000);
}

/// As when Redis's answer to the first was lost.
#[test]
fn a_repeated_end_of_a_hold_leaves_what_its_owner_renewed_meanwhile() {
    for (delay, min) in [(5_000, 0), (0, 300_000)] {
        let mut space = Space::shared();
        let token = space.granted(&on(delay, min, 0));
        let end = |space: &mut Space| space.release_as("n-1", "k", token, &identity_of(ALICE)).unwrap();
        assert_eq!(end(&mut space), ["released"]);
        let until = space.valid_until("k");
        assert_eq!(end(&mut space), ["told"]);
        assert_eq!(space.valid_until("k"), until);

        assert_eq!(word(&space.renewed(token, 600_000)), "renewed");
        for _ in 0..2 {
            assert_eq!(end(&mut space), ["told"]);
            space.is_free_in(600_000 + i64::try_from(delay).unwrap());
        }
        assert_eq!(space.undo(&Attempt::of("k", ALICE, "n-1")).unwrap(), ["nothing"]);
        assert_eq!(
            word(&space.renew_as("extend", "n-1", "k", token, &identity_of(ALICE), "900000").unwrap()),
            "superseded"
        );
        assert_eq!(space.release("k", Some(token), &identity_of(ALICE)).unwrap()[0], "released");
    }
}

#[test]
fn a_hold_that_a_later_sending_superseded_keeps_its_delay_when_that_one_is_undone() {
    for (terms, is_kept) in
        [(on(5_000, 0, 0), true), (on(0, 300_000, 0), true), (Attempt::of("k", ALICE, "n-1"), false)]
    {
        let mut space = Space::shared();
        let first = Attempt { request: "r-1", ..terms };
        let token = space.granted(&first);
        let later = Attempt { request: "r-2", ..first.clone() };
        assert_eq!(word(&space.acquire(&later).unwrap()), "replayed");
        assert_eq!(space.release_as("r-1", "k", token, &identity_of(ALICE)).unwrap(), ["told"]);

        let undone = space.undo(&later).unwrap();

        assert_eq!((word(&undone), space.lease("k").is_some()), (if is_kept { "told" } else { "undone" }, is_kept));
    }
}
