//! The masters of a cluster: each has a connection of its own, so that one that is unavailable does not disturb the keys of others.
//!
//! All of them are asked whose the slots are, once a second, and at once when anything points elsewhere. The client
//! library's own cluster mode is not used: it sends all by one task, which one dead master stalls.
//!
//! Architecture invariant: nothing is ever asked of a replica. Each connection to a master is made once, and used only
//! after it has said that it is one and that the cluster serves.

mod asking;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::master::{Address, Master};
use super::masters::Masters;
use super::{InFlight, Status};
use crate::metrics::{Label, Metrics};
use crate::redis::operation::Reconnection;
use crate::redis::settings::RedisConfig;
use asking::{ask, ask_anew, take};
use view::{Map, View};

/// Between two times that the masters are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How often to ask while one is missing, and the pause between two attempts to connect to one.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// For so long after the last change; a master that is unavailable for longer is no reason to ask all others that often.
const HURRY: Duration = Duration::from_secs(15);

/// Starts to ask and to connect, and keeps at it for as long as the runtime lives.
pub(super) fn follow(
    hosts: &[Address],
    config: &RedisConfig,
    in_flight: Arc<InFlight>,
    metrics: Arc<Metrics>,
) -> (watch::Receiver<Masters>, Arc<Status>) {
    let (give, now) = watch::channel(Masters::none("no node of the cluster has answered yet"));
    let status = Arc::new(Status::replacing(Arc::clone(&metrics)));
    let follower = Follower {
        seeds: hosts.to_vec(),
        config: config.clone(),
        give,
        status: Arc::clone(&status),
        in_flight,
        metrics,
        map: Map::default(),
        views: BTreeMap::new(),
        held: BTreeMap::new(),
        missing: BTreeMap::new(),
        asked: BTreeSet::new(),
        mute: BTreeMap::new(),
        changed: Instant::now(),
        tasks: JoinSet::new(),
    };
    tokio::spawn(follower.run());
    (now, status)
}

struct Follower {
    /// Asked where no master answers.
    seeds: Vec<Address>,
    config: RedisConfig,
    give: watch::Sender<Masters>,
    status: Arc<Status>,
    in_flight: Arc<InFlight>,
    metrics: Arc<Metrics>,
    map: Map,
    /// What each node last said.
    views: BTreeMap<Address, View>,
    held: BTreeMap<Address, Master>,
    missing: BTreeMap<Address, Missing>,
    /// Who was asked and has not answered yet.
    asked: BTreeSet<Address>,
    /// Why who was asked did not say.
    mute: BTreeMap<Address, String>,
    /// When it last changed who serves what.
    changed: Instant,
    tasks: JoinSet<Event>,
}

/// A master that there is no connection to.
struct Missing {
    reason: Reconnection,
    /// Why there is none; `None` before it was tried.
    problem: Option<String>,
    /// When the last attempt to connect began, and whether it is still under way.
    tried: Option<Instant>,
    is_tried: bool,
    /// When a connection to it was last given up that still stood.
    given_up: Option<Instant>,
}

enum Event {
    /// It is time to ask again, or a command was redirected.
    Due,
    Trouble(Address, Trouble),
    /// What a node says of the cluster.
    Said(Address, Result<View, String>),
    Taken(Address, Result<Master, String>),
    /// Nothing is under way any more on a connection that is not needed.
    Retired,
}

/// What happens to a connection that is held.
enum Trouble {
    Broken(String),
    Wanted(Reconnection),
}

async fn trouble(master: &mut Master) -> Trouble {
    tokio::select! {
        problem = master.link.ended() => Trouble::Broken(problem),
        reason = master.node.status.wants_another() => Trouble::Wanted(reason),
    }
}

impl Follower {
    async fn run(mut self) {
        loop {
            self.ask();
            self.connect();
            let mut due = Box::pin(sleep(self.pause()));
            loop {
                match self.next(&mut due).await {
                    Event::Due => break,
                    Event::Trouble(address, trouble) => {
                        self.suffer(address, trouble);
                        break;
                    }
                    event => self.take_in(event),
                }
            }
        }
    }

    /// Until it is time to ask again, or to connect again.
    fn pause(&self) -> Duration {
        let is_whole = self.missing.is_empty() && !self.held.is_empty();
        if is_whole || self.changed.elapsed() > HURRY { ASK_INTERVAL } else { ASK_AGAIN }
    }

    async fn next(&mut self, due: impl Future<Output = ()>) -> Event {
        let masters = self.held.iter_mut();
        let troubles = masters.map(|(address, master)| async { (address.clone(), trouble(master).await) }.boxed());
        tokio::select! {
            () = due => Event::Due,
            () = self.status.news_are_wanted() => Event::Due,
            // `select_all` panics on an empty iterator.
            ((address, trouble), ..) = select_all(troubles.chain([std::future::pending().boxed()])) => {
                Event::Trouble(address, trouble)
            }
            Some(Ok(event)) = self.tasks.join_next() => event,
        }
    }

    /// Asks all masters whose the slots are, or where none has said so, the nodes that we were told of.
    fn ask(&mut self) {
        for (address, master) in &self.held {
            if self.asked.insert(address.clone()) {
                let (address, client) = (address.clone(), master.link.client.clone());
                let (is_tls, status) = (self.config.tls.is_some(), Arc::clone(&self.status));
                self.tasks.spawn(async move {
                    let said = ask(&client, &address, is_tls, &status).await;
                    Event::Said(address, said)
                });
            }
        }
        // What they said before may be past: the cluster is made, or fails over, while there is no connection.
        if self.held.is_empty() || self.views.is_empty() {
            for address in &self.seeds {
                if self.asked.insert(address.clone()) {
                    let (address, config, status) = (address.clone(), self.config.clone(), Arc::clone(&self.status));
                    self.tasks.spawn(async move {
                        let said = ask_anew(&address, &config, &status).await;
                        Event::Said(address, said)
                    });
                }
            }
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Said(address, Ok(view)) => {
                self.asked.remove(&address);
                self.mute.remove(&address);
                // Once a master has answered, the seed nodes' answers are dropped.
                let is_master = |address: &Address| self.held.contains_key(address);
                if is_master(&address) {
                    self.views.retain(|known, _| is_master(known));
                } else if self.views.keys().any(is_master) {
                    return;
                }
                if self.views.get(&address) != Some(&view) {
                    self.views.insert(address, view);
                    self.follow();
                }
            }
            Event::Said(address, Err(problem)) => {
                self.asked.remove(&address);
                self.views.remove(&address);
                self.mute.insert(address, problem);
                if self.map.owners.is_empty() {
                    // What all of them say is said once.
                    let problems: BTreeSet<&str> = self.mute.values().map(String::as_str).collect();
                    self.status.silent(problems.into_iter().collect::<Vec<_>>().join("; "));
                }
            }
            Event::Taken(address, Ok(master)) => {
                let Some(Missing { reason, .. }) = self.missing.remove(&address) else { return };
                let (host, port) = &address;
                tracing::info!(reason = reason.label(), "connected to a master of the cluster: `{host}:{port}`");
                self.metrics.redis_reconnections.with_label_values(&[reason.label()]).inc();
                self.status.answered();
                self.held.insert(address, master);
                self.publish();
            }
            Event::Taken(address, Err(problem)) => {
                if let Some(missing) = self.missing.get_mut(&address) {
                    tracing::debug!(problem, "a master was rejected");
                    (missing.problem, missing.is_tried) = (Some(problem), false);
                    self.publish();
                }
            }
            Event::Retired | Event::Due | Event::Trouble(..) => {}
        }
    }

    /// Takes in whose the slots are now.
    fn follow(&mut self) {
        let map = Map::of(self.views.values());
        if map == self.map {
            return;
        }
        let reason = if self.map.owners.is_empty() { Reconnection::First } else { Reconnection::Switch };
        (self.map, self.changed) = (map, Instant::now());
        let is_owner = |address: &Address| self.map.owners.contains(address);
        self.missing.retain(|address, _| is_owner(address));
        let (held, replaced): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.held).into_iter().partition(|(address, _)| is_owner(address));
        self.held = held;
        self.views.retain(|address, _| !replaced.contains_key(address));
        replaced.into_values().for_each(|master| self.retire(master));
        for address in &self.map.owners {
            if !self.held.contains_key(address) {
                let missing = || Missing { reason, problem: None, tried: None, is_tried: false, given_up: None };
                self.missing.entry(address.clone()).or_insert_with(missing);
            }
        }
        self.connect();
        self.publish();
    }

    /// Begins a connection to each master that is missing.
    fn connect(&mut self) {
        let pause = self.pause();
        for (address, missing) in &mut self.missing {
            if missing.is_tried || missing.tried.is_some_and(|tried| tried.elapsed() < pause) {
                continue;
            }
            (missing.tried, missing.is_tried) = (Some(Instant::now()), true);
            let (address, config) = (address.clone(), self.config.clone());
            let server = format!("{}:{}", address.0, address.1);
            let status = Arc::new(Status::of_a_node(&self.status, server, missing.given_up));
            let (in_flight, metrics) = (Arc::clone(&self.in_flight), Arc::clone(&self.metrics));
            self.tasks.spawn(async move {
                let taken = take(&address, &config, status, in_flight, metrics).await;
                Event::Taken(address, taken)
            });
        }
    }

    /// Gives up the connection to a master, until there is another.
    fn suffer(&mut self, address: Address, trouble: Trouble) {
        let Some(master) = self.held.remove(&address) else { return };
        self.changed = Instant::now();
        self.views.remove(&address);
        let (reason, problem, given_up) = match trouble {
            Trouble::Broken(problem) => (Reconnection::Lost, problem, None),
            Trouble::Wanted(reason) => {
                let problem = "it does not answer as a master does".to_owned();
                (reason, master.node.status.ready().err().unwrap_or(problem), Some(Instant::now()))
            }
        };
        master.node.status.silent(problem.clone());
        // Not at once where the last one did not last.
        let tried = Some(master.since);
        let problem = Some(problem);
        self.missing.insert(address, Missing { reason, problem, tried, is_tried: false, given_up });
        self.retire(master);
        self.publish();
    }

    /// Gives up a connection. It is still heard refuse what is under way, which the slots' new owner is then asked.
    fn retire(&mut self, master: Master) {
        master.give_up();
        let patience = self.config.timeout;
        self.tasks.spawn(async move {
            sleep(patience).await;
            drop(master);
            Event::Retired
        });
    }

    /// Tells who serves what.
    fn publish(&self) {
        let mut nodes = Vec::new();
        let mut away = Vec::new();
        let mut places = Vec::new();
        for (index, address) in self.map.owners.iter().enumerate() {
            let held = self.held.get(address);
            places.push(held.and_then(|_| u16::try_from(nodes.len()).ok()));
            nodes.extend(held.map(|master| Arc::clone(&master.node)));
            if let (None, Some(missing)) = (held, self.missing.get(address)) {
                let count = self.map.count(u16::try_from(index).ok());
                let (host, port) = address;
                let problem = missing.problem.as_deref().unwrap_or("not connected yet");
                let place = format!("`{host}:{port}`");
                let named = if problem.contains(&place) { String::new() } else { format!(", {place},") };
                away.push(format!("the master of {count} slots{named} is unavailable: {problem}"));
            }
        }
        let unowned = self.map.count(None);
        if unowned > 0 {
            away.push(format!("{unowned} slots have no master"));
        }
        if nodes.is_empty() && self.missing.values().all(|missing| missing.problem.is_some()) {
            self.status.silent(away.join("; "));
        }
        let slots = self.map.slots.iter().map(|slot| slot.and_then(|index| places[usize::from(index)]));
        self.give.send_replace(Masters::of_a_cluster(nodes, slots.collect(), away));
    }
}
