//! What the scripts tell those who watch: only while the shard's mark stands, and no message that is not counted.

use super::{Attempt, Space, WATCH, identity_of};

const KEEP_MS: &str = "30000";

impl Space {
    /// What `watch.lua` says of the shard: its number, and whether its mark is new.
    fn mark(&mut self) -> (u64, bool) {
        let keys = [self.watch()];
        let row = self.run(WATCH, &keys, &[KEEP_MS]).unwrap();
        assert_eq!(row[0], "marked");
        (row[2].parse().unwrap(), row[3] == "1")
    }

    /// How many messages were counted since the mark had this number.
    fn told_since(&mut self, number: u64) -> u64 {
        self.mark().0 - number
    }

    fn waits(&mut self, id: &str) -> Vec<String> {
        let entry = format!("s-0\n{id}\n60000\n{}\n\"nonce\":\"{id}\",\n", identity_of(id));
        self.run_in_line(super::JOIN, "k", 0, &[&entry, id, "60000", "", "refuse", ""]).unwrap()
    }
}

#[test]
fn a_mark_is_new_once_and_counts_from_the_clock_on() {
    let mut space = Space::shared();
    let before = u64::try_from(space.now_ms()).unwrap() * 1000;
    let (number, is_new) = space.mark();
    assert!(is_new && number >= before, "{number}");
    assert_eq!(space.mark(), (number, false));
    let mark = space.watch();
    assert!((20_000..=30_000).contains(&space.ask::<i64>("PTTL", &[&mark])));
    let _: u64 = space.ask("PEXPIRE", &[&mark, "10000"]);
    space.mark();
    assert!(space.ask::<i64>("PTTL", &[&mark]) > 20_000, "it is renewed");
    let _: u64 = space.ask("DEL", &[&mark]);
    let (again, is_new) = space.mark();
    assert!(is_new && again > number);
    let _: String = space.ask("SET", &[&mark, "x"]);
    assert!(space.mark().1, "what is no mark is replaced");
}

#[test]
fn each_change_is_counted_while_the_mark_stands_and_none_without() {
    for is_watched in [true, false] {
        let mut space = Space::shared();
        let alice = identity_of("alice");
        let number = if is_watched { space.mark().0 } else { 0 };
        let told = |space: &mut Space, count: u64, what: &str| {
            if is_watched {
                let (now, is_new) = space.mark();
                assert!(!is_new);
                assert_eq!(now - number, count, "{what}");
            } else {
                let mark = space.watch();
                assert_eq!(space.ask::<u64>("EXISTS", &[&mark]), 0, "{what}");
            }
        };
        let token = space.granted(&Attempt::of("k", "alice", "n-1"));
        told(&mut space, 1, "granted");
        space.acquire(&Attempt::of("k", "bob", "n-1")).unwrap();
        space.renew("k", token, &alice, 90_000).unwrap();
        told(&mut space, 1, "a refusal and a longer lease change nothing");
        space.renew("k", token, &alice, 30_000).unwrap();
        told(&mut space, 2, "shortened");
        space.waits("w-1");
        space.waits("w-1");
        told(&mut space, 3, "one more waits");
        space.release("k", Some(token), &alice).unwrap();
        told(&mut space, 5, "released, and granted to the waiter");
        space.force("k", None).unwrap();
        told(&mut space, 6, "forced");
        let attempt = Attempt::of("k", "alice", "n-2");
        space.granted(&attempt);
        space.undo(&attempt).unwrap();
        told(&mut space, 8, "granted and undone");
        let token = space.granted(&Attempt::of("k", "alice", "n-3"));
        space.run_in_line(super::RELEASE, "k", 0, &[&token.to_string(), &alice, "", "10000", "", ""]).unwrap();
        told(&mut space, 11, "granted, shortened, and a rest");
    }
}

#[test]
fn where_the_queue_stands_in_for_the_mark_nothing_is_told_and_all_else_is_as_ever() {
    let mut space = Space::shared();
    let (number, _) = space.mark();
    let alice = identity_of("alice");
    let keys = [space.lock("k"), space.tokens(), space.queue("k"), space.queue("k")];
    let push = space.push();
    let shard = super::SHARD.to_string();
    let own = ["k", &shard, "0", &push, &alice, "\"nonce\":\"n-1\",", "", "60000", "", "refuse", ""];
    let row = space.run(super::ACQUIRE, &keys, &own).unwrap();
    assert_eq!(row[0], "granted");
    space.waits("w-1");
    assert_eq!(space.told_since(number), 1, "who waits was told of by the mark");
    let row = space.run(super::RELEASE, &keys, &["k", &shard, "0", &push, &row[1], &alice, "", "", "", ""]).unwrap();
    assert_eq!(row, ["released"]);
    assert!(space.lease("k").unwrap().contains("w-1"), "it passed to the waiter");
    assert_eq!(space.told_since(number), 1);
}

#[test]
fn a_look_tells_what_lies_there_and_how_many_wait() {
    let mut space = Space::shared();
    assert_eq!(space.read(&["k"])[0], ["free", "0"]);
    space.granted(&Attempt::of("k", "alice", "n-1"));
    space.waits("w-1");
    let (lease, valid_until) = (space.lease("k").unwrap(), space.valid_until("k"));
    super::assert_left(&space.read(&["k"])[0], &["lease", "1", &lease, &valid_until.to_string()], 60_000);
    let (lock, queue) = (space.lock("other"), space.queue("other"));
    let _: u64 = space.ask("LPUSH", &[&lock, "x"]);
    let _: u64 = space.ask("LPUSH", &[&queue, "x"]);
    assert_eq!(space.read(&["other"])[0], ["stranger", "0"]);
}
