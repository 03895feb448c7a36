//! The master that sentinels name: found, followed, and left as soon as they name another.
//!
//! All sentinels are asked, and who knows of the latest failover is believed: one that was cut off, or frozen, may still
//! name a master that was replaced.
//!
//! Architecture invariant: nothing is ever asked of a replica.

mod asking;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::master::{Address, Master};
use super::masters::Masters;
use super::{InFlight, Status};
use crate::metrics::{Label, Metrics};
use crate::redis::operation::Reconnection;
use crate::redis::settings::{RedisConfig, RedisServer};
use asking::{Event, Sentinel, Word, hear};

/// How long locks wait for the end of a failover that the sentinels have begun, although the master answers: what it
/// grants now the next one may never hear of.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Between two times that the sentinels are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the sentinels are asked while there is no master, or none that answers.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Starts to ask and to connect, and keeps at it for as long as the runtime lives.
pub(super) fn follow(
    hosts: &[Address],
    name: &str,
    config: &RedisConfig,
    in_flight: Arc<InFlight>,
    metrics: Arc<Metrics>,
) -> (watch::Receiver<Masters>, Arc<Status>) {
    let (give, now) = watch::channel(Masters::default());
    let status = Arc::new(Status::replacing(Arc::clone(&metrics)));
    let sentinels: Vec<Sentinel> = hosts.iter().map(|address| Sentinel::new(address, name, config)).collect();
    let (tell, events) = mpsc::unbounded_channel();
    for sentinel in &sentinels {
        tokio::spawn(hear(sentinel.setup(), name.to_owned(), tell.clone()));
    }
    let (name, config) = (name.to_owned(), config.clone());
    let follower = Follower { sentinels, events, name, config, give, status: Arc::clone(&status), in_flight, metrics };
    tokio::spawn(follower.run());
    (now, status)
}

/// The master that sentinels name now, asked once.
pub(super) async fn master(hosts: &[Address], name: &str, config: &RedisConfig) -> Result<Address, String> {
    let mut sentinels: Vec<Sentinel> = hosts.iter().map(|address| Sentinel::new(address, name, config)).collect();
    latest(&mut sentinels).await.map(|word| word.address)
}

/// Asks every sentinel; the latest word, or why there is none.
async fn latest(sentinels: &mut [Sentinel]) -> Result<Word, String> {
    let answers = join_all(sentinels.iter_mut().map(Sentinel::ask)).await;
    let (words, problems): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let words: Vec<Word> = words.into_iter().filter_map(Result::ok).collect();
    // Who leads a failover is the first to know.
    let fails_over = words.iter().any(|word| word.fails_over);
    let latest = words.into_iter().max().map(|word| Word { fails_over, ..word });
    latest.ok_or_else(|| problems.into_iter().find_map(Result::err).unwrap_or_default())
}

/// The master, and who said that it is.
struct Held {
    word: Word,
    master: Master,
}

/// While the sentinels are at a failover of the master at `address`.
struct Pause {
    since: Instant,
    address: Address,
    /// It took too long: the old master is asked again.
    is_over: bool,
}

impl Pause {
    fn begun(address: &Address) -> Pause {
        Pause { since: Instant::now(), address: address.clone(), is_over: false }
    }
}

struct Follower {
    sentinels: Vec<Sentinel>,
    events: mpsc::UnboundedReceiver<Event>,
    name: String,
    config: RedisConfig,
    give: watch::Sender<Masters>,
    status: Arc<Status>,
    in_flight: Arc<InFlight>,
    metrics: Arc<Metrics>,
}

impl Follower {
    async fn run(mut self) {
        let mut held: Option<Held> = None;
        // Why another connection is wanted, although the sentinels name the same master.
        let mut wanted = Some(Reconnection::First);
        let mut paused: Option<Pause> = None;
        loop {
            match latest(&mut self.sentinels).await {
                Ok(word) => {
                    if !word.fails_over {
                        paused = self.go_on(paused, held.as_ref(), &word.address);
                    } else if paused.as_ref().is_some_and(|paused| paused.since.elapsed() > LONGEST_PAUSE) {
                        self.go_on(paused.take(), held.as_ref(), &word.address);
                        // Not paused again by this failover.
                        paused = Some(Pause { is_over: true, ..Pause::begun(&word.address) });
                    } else if paused.is_none() && held.is_some() {
                        paused = Some(self.pause(&word.address));
                    }
                    let is_replaced = |paused: &Pause| !paused.is_over && paused.address == word.address;
                    let may_be_taken = !paused.as_ref().is_some_and(is_replaced);
                    let is_known = held.as_ref().is_some_and(|held| held.word.address == word.address);
                    // A sentinel with an older epoch than ours is not believed.
                    let is_newer = held.as_ref().is_none_or(|held| held.word.epoch <= word.epoch);
                    let reason = if is_known || held.is_none() { wanted } else { Some(Reconnection::Switch) };
                    match reason.filter(|_| is_newer && may_be_taken) {
                        Some(reason) => match self.take(word, reason).await {
                            Ok(taken) => (held, wanted, paused) = (Some(taken), None, None),
                            // The one that is held may yet answer.
                            Err(problem) if held.is_some() => tracing::debug!(problem, "the master was rejected"),
                            Err(problem) => self.status.silent(problem),
                        },
                        None => held.iter_mut().for_each(|held| held.word.epoch = held.word.epoch.max(word.epoch)),
                    }
                }
                Err(problem) if held.is_none() => self.status.silent(problem),
                Err(problem) => tracing::debug!(problem, "no sentinel names the master; keeping the current one"),
            }
            let pause = if wanted.is_some() || paused.is_some() { ASK_AGAIN } else { ASK_INTERVAL };
            let broken = async {
                match &mut held {
                    Some(held) => held.master.link.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                problem = broken => {
                    self.give.send_replace(Masters::default());
                    held = None;
                    wanted = Some(Reconnection::Lost);
                    self.status.silent(problem);
                }
                reason = self.status.wants_another() => wanted = Some(reason),
                Some(event) = self.events.recv() => match event {
                    Event::Begun if paused.is_none() => {
                        paused = held.as_ref().map(|held| self.pause(&held.word.address));
                    }
                    Event::Begun | Event::Over => {}
                },
                () = sleep(pause) => {}
            }
        }
    }

    /// Nothing is asked of the master until its failover has ended.
    fn pause(&self, address: &Address) -> Pause {
        self.give.send_replace(Masters::none("the sentinels have begun a failover"));
        tracing::info!(name = self.name, "the sentinels have begun a failover; waiting for its end");
        Pause::begun(address)
    }

    /// The failover has ended: where the master is the same, on with it.
    fn go_on(&self, paused: Option<Pause>, held: Option<&Held>, master: &Address) -> Option<Pause> {
        let is_held = paused.is_some_and(|paused| !paused.is_over);
        if let Some(held) = held.filter(|held| is_held && held.word.address == *master) {
            self.give.send_replace(Masters::all_of(Arc::clone(&held.master.node)));
        }
        None
    }

    /// Connects to the master that was named, and makes sure that it is one.
    async fn take(&self, word: Word, reason: Reconnection) -> Result<Held, String> {
        let (status, in_flight, metrics) =
            (Arc::clone(&self.status), Arc::clone(&self.in_flight), Arc::clone(&self.metrics));
        let (host, port) = &word.address;
        let server = RedisServer::Tcp { host: host.clone(), port: *port };
        let config = RedisConfig { server, ..self.config.clone() };
        let master = Master::take(config, status, in_flight, metrics).await?;
        self.give.send_replace(Masters::all_of(Arc::clone(&master.node)));
        self.metrics.redis_reconnections.with_label_values(&[reason.label()]).inc();
        tracing::info!(reason = reason.label(), name = self.name, "connected to the master: `{host}:{port}`");
        Ok(Held { word, master })
    }
}
