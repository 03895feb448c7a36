//! Sharded pub/sub: one subscriber connection to each master that serves any of our channels, reopened when it breaks or its
//! slots move.
//!
//! The channels are sharded on every topology: on a cluster a message stays with the servers of its shard.

mod ear;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::connection::CONNECT_TIMEOUT;
use super::masters::{Masters, Slot};
use super::{Node, RedisFailure, Status};
use ear::Ear;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Message(String),
    /// Messages may have been lost before this: it was not listened everywhere, or too many came at once.
    Gap,
}

/// Listens to whatever it was ever asked to hear. Dropped, it stops.
pub struct Push {
    wanted: watch::Sender<BTreeSet<String>>,
    masters: watch::Receiver<Masters>,
    hearing: Arc<Hearing>,
    patience: Duration,
    task: AbortHandle,
}

/// What the ears have in common.
struct Hearing {
    heard: watch::Sender<Channels>,
    /// Why the last attempt to listen failed.
    problem: Mutex<String>,
    /// How many count on being told.
    attention: watch::Sender<usize>,
    /// Of all servers together.
    status: Arc<Status>,
    tell: mpsc::UnboundedSender<Heard>,
}

/// How it stands with channels that are wanted, each with the number of the ear that knows it.
#[derive(Default)]
struct Channels {
    /// Those that are listened to now.
    heard: BTreeMap<String, u64>,
    /// Those that Redis refuses, and why. They are asked for again and again.
    refused: BTreeMap<String, (u64, RedisFailure)>,
}

impl Channels {
    fn hear(&self, channels: &[String]) -> bool {
        channels.iter().all(|channel| self.heard.contains_key(channel))
    }

    fn refusal(&self, channels: &[String]) -> Option<RedisFailure> {
        channels.iter().find_map(|channel| self.refused.get(channel)).map(|(_, failure)| failure.clone())
    }
}

/// While one exists, subscriptions are pinged often, so that a lost message costs a second at most.
pub struct Attention(Arc<Hearing>);

impl Push {
    /// Begins with no channel; what is heard goes to the receiver. `patience`: how long [`Push::hear`] may take beyond
    /// an attempt to connect.
    pub(super) fn follow(
        masters: watch::Receiver<Masters>,
        status: Arc<Status>,
        patience: Duration,
    ) -> (Push, mpsc::UnboundedReceiver<Heard>) {
        let (tell, told) = mpsc::unbounded_channel();
        let hearing = Arc::new(Hearing {
            heard: watch::Sender::default(),
            problem: Mutex::default(),
            attention: watch::Sender::default(),
            status,
            tell,
        });
        let wanted = watch::Sender::default();
        let task = tokio::spawn(follow(masters.clone(), wanted.subscribe(), Arc::clone(&hearing))).abort_handle();
        (Push { wanted, masters, hearing, patience, task }, told)
    }

    /// Whether all these channels are listened to now.
    pub fn hears(&self, channels: &[String]) -> bool {
        self.hearing.heard.borrow().hear(channels)
    }

    /// Listens to these channels from now on; waits a little until it does, or until Redis refuses.
    pub async fn hear(&self, channels: &[String]) -> Result<(), RedisFailure> {
        if self.hears(channels) {
            return Ok(());
        }
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.len();
            wanted.extend(channels.iter().cloned());
            wanted.len() > before
        });
        let mut heard = self.hearing.heard.subscribe();
        let all = heard.wait_for(|known| known.hear(channels) || known.refusal(channels).is_some());
        match tokio::time::timeout(CONNECT_TIMEOUT + self.patience, all).await {
            Ok(Ok(known)) => known.refusal(channels).map_or(Ok(()), Err),
            _ => Err(RedisFailure::NotSent(self.problem(channels))),
        }
    }

    /// Makes sure every moment that all is heard, for as long as what it returns is kept.
    pub fn attention(&self) -> Attention {
        self.hearing.attention.send_modify(|count| *count += 1);
        Attention(Arc::clone(&self.hearing))
    }

    fn problem(&self, channels: &[String]) -> String {
        let masters = self.masters.borrow();
        if channels.iter().any(|channel| masters.of(Slot::of(channel)).is_none()) {
            return format!("no master to listen to; {}", masters.away().join("; "));
        }
        format!("none to listen on; {}", self.hearing.problem())
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.attention.send_modify(|count| *count -= 1);
    }
}

impl Hearing {
    fn tell(&self, heard: Heard) {
        let _ = self.tell.send(heard);
    }

    /// The ear of this number listens to them.
    fn listens(&self, ear: u64, channels: Vec<String>) {
        self.heard.send_modify(|known| {
            for channel in channels {
                known.refused.remove(&channel);
                known.heard.insert(channel, ear);
            }
        });
        self.tell(Heard::Gap);
    }

    /// Redis refuses these channels to the ear of this number.
    fn refuses(&self, ear: u64, channels: Vec<String>, failure: &RedisFailure) {
        let refused = channels.into_iter().map(|channel| (channel, (ear, failure.clone())));
        self.heard.send_modify(|known| known.refused.extend(refused));
    }

    /// The ear of this number listens to nothing now, and nothing is refused to it.
    fn is_deaf(&self, ear: u64) {
        self.heard.send_modify(|known| {
            known.heard.retain(|_, by| *by != ear);
            known.refused.retain(|_, (by, _)| *by != ear);
        });
    }

    fn learn(&self, problem: String) {
        *self.problem.lock().expect("no holder of this lock panics") = problem;
    }

    fn problem(&self) -> String {
        self.problem.lock().expect("no holder of this lock panics").clone()
    }
}

/// Keeps an ear at each server that serves any of the channels that are wanted.
async fn follow(
    mut masters: watch::Receiver<Masters>,
    mut wanted: watch::Receiver<BTreeSet<String>>,
    hearing: Arc<Hearing>,
) {
    let (mut ears, mut number): (Vec<Ear>, u64) = (Vec::new(), 0);
    // With one server the sender is dropped: it never changes.
    let mut is_settled = false;
    loop {
        let served = served(&masters.borrow_and_update(), &wanted.borrow_and_update());
        ears.retain(|ear| served.iter().any(|(node, _)| ear.is_at(node)));
        for (node, channels) in served {
            match ears.iter().find(|ear| ear.is_at(&node)) {
                Some(ear) => ear.wants(channels),
                None => {
                    number += 1;
                    ears.push(Ear::open(number, node, channels, &hearing));
                }
            }
        }
        tokio::select! {
            changed = masters.changed(), if !is_settled => is_settled = changed.is_err(),
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// The channels by the server that serves them; those that no server serves just now are left out.
fn served(masters: &Masters, wanted: &BTreeSet<String>) -> Vec<(Arc<Node>, BTreeSet<String>)> {
    let mut served: Vec<(Arc<Node>, BTreeSet<String>)> = Vec::new();
    for channel in wanted {
        let Some(node) = masters.of(Slot::of(channel)) else { continue };
        match served.iter_mut().find(|(known, _)| Arc::ptr_eq(known, node)) {
            Some((_, channels)) => drop(channels.insert(channel.clone())),
            None => served.push((Arc::clone(node), BTreeSet::from([channel.clone()]))),
        }
    }
    served
}
