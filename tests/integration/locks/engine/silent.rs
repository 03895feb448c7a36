//! Sidecars that fall silent with many waiters in the queue: two seconds at most, all of their waiters together.

use std::time::{Duration, Instant};

use super::{AT_MOST, AT_ONCE, Waiting, World, granted, patient, token};
use crate::harness::{Fault, Proxy, TestRedis};

/// More than threads, so that each thread has some.
const WAITERS: usize = 10;
/// How long the tests look on before they say that it took too long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Number 0 has four threads and is reached through a proxy, number 1 is the one that lives.
async fn two(proxy: &Proxy) -> World {
    let mut world = World::new();
    world.add(&proxy.url(), &["--threads", "4"]).await;
    world.add(&TestRedis::alone().url(), &[]).await;
    world
}

async fn many_of_the_first(world: &World) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    for number in 0..WAITERS {
        waiting.push(world.join(0, None, patient(&format!("silent-{number}"))).await);
    }
    waiting
}

/// A machine that is gone, and neither side has noticed: nothing passes, and nothing is closed.
fn cut_silently(proxy: &Proxy) {
    proxy.half_open();
    proxy.set(Fault::HoldRequests);
}

/// How the first sidecar falls silent.
#[derive(Clone, Copy, Debug)]
enum Silence {
    Frozen,
    Cut,
}

impl Silence {
    fn begin(self, world: &World, proxy: &Proxy) {
        match self {
            Silence::Frozen => world.sidecars[0].signal("STOP"),
            Silence::Cut => cut_silently(proxy),
        }
    }
}

async fn a_poller_is_held_up_for_two_seconds_at_most(silence: Silence) {
    let proxy = Proxy::start(TestRedis::alone());
    let world = two(&proxy).await;
    let held = world.held(1, 60_000).await;
    let _silent = many_of_the_first(&world).await;
    silence.begin(&world, &proxy);
    let released = Instant::now();
    world.release(1, held).await;

    let (_, at) = world.polled(1, PATIENCE).await;

    println!("{silence:?}: a poller behind {WAITERS} waiters: {:?}", at - released);
    assert!(at - released < AT_MOST, "{silence:?}: {:?}", at - released);
}

async fn a_waiter_among_pollers_is_held_up_for_two_seconds_at_most(silence: Silence) {
    let proxy = Proxy::start(TestRedis::alone());
    let world = two(&proxy).await;
    let held = world.held(1, 60_000).await;
    let _silent = many_of_the_first(&world).await;
    let living = world.join(1, None, patient("living")).await;
    silence.begin(&world, &proxy);
    let released = Instant::now();
    world.release(1, held).await;

    let waited = async {
        let (answer, at) = granted(living, PATIENCE).await;
        world.release(1, token(&answer)).await;
        at
    };
    let (at, (_, polled)) = tokio::join!(waited, world.polled(1, PATIENCE));

    println!("{silence:?}: a waiter {:?}, a poller {:?}", at - released, polled - released);
    assert!(at < polled, "a poller never overtakes the queue");
    assert!(at - released < AT_MOST, "{silence:?}: {:?}", at - released);
    assert!(polled - released < AT_MOST + AT_ONCE, "{silence:?}: {:?}", polled - released);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_waiters_of_a_frozen_sidecar_with_four_threads_hold_up_a_poller_for_two_seconds_at_most() {
    a_poller_is_held_up_for_two_seconds_at_most(Silence::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_waiters_of_a_sidecar_that_was_cut_off_silently_hold_up_a_poller_for_two_seconds_at_most() {
    a_poller_is_held_up_for_two_seconds_at_most(Silence::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_waiters_of_a_frozen_sidecar_with_four_threads_hold_up_a_waiter_among_pollers_for_two_seconds_at_most() {
    a_waiter_among_pollers_is_held_up_for_two_seconds_at_most(Silence::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_waiters_of_a_sidecar_that_was_cut_off_silently_hold_up_a_waiter_for_two_seconds_at_most() {
    a_waiter_among_pollers_is_held_up_for_two_seconds_at_most(Silence::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_between_those_of_a_frozen_sidecar_are_held_up_once_and_not_at_each_of_its_places() {
    let proxy = Proxy::start(TestRedis::alone());
    let world = two(&proxy).await;
    let held = world.held(1, 60_000).await;
    let (mut silent, mut living) = (Vec::new(), Vec::new());
    for turn in 0..3 {
        for number in 0..3 {
            silent.push(world.join(0, None, patient(&format!("silent-{turn}-{number}"))).await);
        }
        living.push(world.join(1, None, patient(&format!("living-{turn}"))).await);
    }
    world.sidecars[0].signal("STOP");
    let released = Instant::now();
    world.release(1, held).await;

    let mut last = 0;
    for one in living {
        let (answer, at) = granted(one, PATIENCE).await;
        assert!(at - released < AT_MOST, "{:?}", at - released);
        assert!(token(&answer) > last, "in the order in which they came");
        last = token(&answer);
        world.release(1, last).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_sidecar_that_thaws_has_its_places_again_and_each_waiter_is_served() {
    let proxy = Proxy::start(TestRedis::alone());
    let world = two(&proxy).await;
    let held = world.held(1, 60_000).await;
    let silent = many_of_the_first(&world).await;
    world.sidecars[0].signal("STOP");
    world.release(1, held).await;
    let (answer, _) = world.polled(1, PATIENCE).await;
    world.sidecars[0].signal("CONT");
    world.waiters_are(WAITERS as u64).await;

    world.release(1, token(&answer)).await;

    let mut last = 0;
    for one in silent {
        let (answer, _) = granted(one, PATIENCE).await;
        assert!(token(&answer) > last, "in the order in which they came");
        last = token(&answer);
        world.release(1, last).await;
    }
}
