//! Waiting on a cluster whose slots move, or where a master is away: who waits is listened for where the key is.

use std::time::{Duration, Instant};

use lockside::lock::{Key, KeySpace};

use super::{Fleet, granted, patient, token};
use crate::harness::{Cluster, Redundant, Scratch, eventually, unique};

/// What a lost message costs at most.
const LOST: Duration = Duration::from_secs(1);

impl Fleet {
    fn redis_key(&self) -> String {
        KeySpace::clustered(&self.prefix).lock(&Key::parse(&self.key).unwrap())
    }

    /// The channels of this lock space that some sidecar listens to at a node.
    fn channels(&self, cluster: &Cluster, node: usize) -> Vec<String> {
        let of_this = format!("{{{}:*}}:push:*", self.prefix);
        cluster.ask(node, "PUBSUB", &["SHARDCHANNELS", &of_this]).unwrap()
    }

    /// The same sidecars with a key that another master has.
    fn elsewhere(&self, cluster: &Cluster) -> Fleet {
        let here = cluster.owner(&self.redis_key());
        let fleets = (0..).map(|_| Fleet {
            sidecars: self.sidecars.clone(),
            key: unique("key"),
            prefix: self.prefix.clone(),
            _scratch: Scratch::new(),
        });
        fleets.into_iter().find(|fleet| cluster.owner(&fleet.redis_key()) != here).expect("there are many")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_its_waiters_along() {
    let cluster = Cluster::start(&[]);
    let fleet = Fleet::at(&cluster.url(), 2, &[]).await;
    let mut held = fleet.hold(0, 60_000).await;
    for _ in 0..3 {
        let waiting = [fleet.join(1, patient()).await, fleet.join(0, patient()).await];
        let from = cluster.owner(&fleet.redis_key());
        let to = (from + 1) % Cluster::MASTERS;
        // Its own of each sidecar, and the one of all.
        assert_eq!((fleet.channels(&cluster, from).len(), fleet.channels(&cluster, to).len()), (3, 0));

        cluster.move_slot(&fleet.redis_key(), to);
        let moved = Instant::now();
        fleet.release(0, held).await;

        held = 0;
        for one in waiting {
            let (answer, at) = granted(one).await;
            println!("move and release to grant: {:?}", at - moved);
            assert!(at - moved < LOST, "{:?}", at - moved);
            assert!(token(&answer) > held, "in turn");
            held = token(&answer);
            fleet.release(0, held).await;
        }
        held = fleet.hold(0, 60_000).await;
        eventually("it is listened for there alone", Duration::from_secs(5), async || {
            (fleet.channels(&cluster, from).len(), fleet.channels(&cluster, to).len()) == (0, 3)
        })
        .await;
    }
}

/// Redis drops the subscriptions of a slot that it gives away, and whoever then asks whose it is finds all as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_away_and_back_is_listened_to_again() {
    let cluster = Cluster::start(&[]);
    let fleet = Fleet::at(&cluster.url(), 2, &[]).await;
    let held = fleet.hold(0, 60_000).await;
    let waiting = fleet.join(1, patient()).await;
    let from = cluster.owner(&fleet.redis_key());

    cluster.move_slot(&fleet.redis_key(), (from + 1) % Cluster::MASTERS);
    cluster.move_slot(&fleet.redis_key(), from);
    let moved = Instant::now();
    fleet.release(0, held).await;

    let (_, at) = granted(waiting).await;
    println!("moves and release to grant: {:?}", at - moved);
    assert!(at - moved < LOST, "{:?}", at - moved);
    eventually("it is listened for", Duration::from_secs(5), async || fleet.channels(&cluster, from).len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_master_is_away_the_others_waiters_have_their_turns_and_its_own_are_not_put_in_line() {
    let mut cluster = Cluster::start(&[]);
    let here = Fleet::at(&cluster.url(), 2, &[]).await;
    let there = here.elsewhere(&cluster);
    let held = here.hold(0, 60_000).await;
    there.hold(0, 60_000).await;
    let (waiting, lost) = (here.join(1, patient()).await, there.join(1, patient()).await);
    let away = cluster.owner(&there.redis_key());
    // Nobody is left to take its place.
    cluster.kill(cluster.replica_of(away));
    cluster.kill(away);

    let released = Instant::now();
    here.release(0, held).await;
    let (answer, at) = granted(waiting).await;
    println!("release to grant while another master is away: {:?}", at - released);
    assert!(at - released < LOST, "{:?}", at - released);
    let refused = there.acquire(1, patient()).await;
    assert_eq!((refused.status, refused.json()["outcome"].as_str()), (503, Some("not-applied")), "{}", refused.text());

    // It comes back without its data, and the key is free; who waited all the while stands in line again.
    cluster.restart(away);
    let (again, _) = granted(lost).await;
    there.release(1, token(&again)).await;
    here.release(1, token(&answer)).await;
}

/// Redis makes no new key in a slot that is on its way, so that what is released there cannot be offered to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_while_a_slot_is_on_its_way_reaches_those_in_line() {
    let cluster = Cluster::start(&[]);
    let mut fleet = Fleet::at(&cluster.url(), 2, &[]).await;
    // Without another lease of the shard its index goes, too.
    for has_neighbour in [false, true] {
        fleet.key = unique("moving");
        let slot = cluster.slot(&fleet.redis_key());
        let held = fleet.hold(0, 60_000).await;
        if has_neighbour {
            let key = std::mem::replace(&mut fleet.key, unique("moving"));
            while cluster.slot(&fleet.redis_key()) != slot {
                fleet.key = unique("moving");
            }
            fleet.hold(0, 60_000).await;
            fleet.key = key;
        }
        let waiting = fleet.join(1, patient()).await;
        let to = (cluster.owner(&fleet.redis_key()) + 1) % Cluster::MASTERS;
        let moving = cluster.begin_move(&fleet.redis_key(), to);
        fleet.release(0, held).await;
        moving.give_up();
        let given_up = Instant::now();
        let (answer, at) = granted(waiting).await;
        println!("granted {:?} after the slot was left where it is", at - given_up);
        assert!(token(&answer) > held && at - given_up < LOST * 3, "{:?}", at - given_up);
        fleet.release(1, token(&answer)).await;
    }
}
