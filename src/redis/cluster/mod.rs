//! The masters of a cluster: each has a connection of its own, so that one that is unavailable does not disturb the keys of others.
//!
//! All of them are asked whose the slots are, once a second, and at once when anything points elsewhere. The client
//! library's own cluster mode is not used: it sends all by one task, which one dead master stalls.
//!
//! Architecture invariant: nothing is ever asked of a replica. Each connection to a master is made once, and used only
//! after it has said that it is one and that the cluster serves.

mod asking;
mod changes;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::master::{Address, Master};
use super::masters::Masters;
use super::{InFlight, Status};
use crate::metrics::Metrics;
use crate::redis::operation::Reconnection;
use crate::redis::settings::RedisConfig;
use asking::{ask, ask_anew, take};
use view::{Map, View};

/// Between two times that the masters are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How often to ask while one is missing, and the pause between two attempts to connect to one.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long after the last change the nodes are asked that often; a master that stays away is no reason to go on.
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

/// The masters that have slots, as the nodes at `hosts` say, asked once.
pub(super) async fn masters(hosts: &[Address], config: &RedisConfig, status: &Status) -> Result<Vec<Address>, String> {
    let answers = join_all(hosts.iter().map(|address| ask_anew(address, config, status))).await;
    let (views, problems): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let views: Vec<View> = views.into_iter().filter_map(Result::ok).collect();
    match problems.into_iter().find_map(Result::err) {
        Some(problem) if views.is_empty() => Err(problem),
        _ => Ok(Map::of(&views).owners),
    }
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
    /// The last error of each node that did not answer.
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
                        self.drop_master(address, trouble);
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
                let (address, connection) = (address.clone(), master.link.connection.clone());
                let (is_tls, status) = (self.config.tls.is_some(), Arc::clone(&self.status));
                self.tasks.spawn(async move {
                    let said = ask(&connection, &address, is_tls, &status).await;
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
}
