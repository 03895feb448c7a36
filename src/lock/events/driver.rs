//! The task that drives the watching of a thread. While nothing is watched it has no connection, but for ten seconds after the
//! last watcher, and Redis no mark.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, Shared, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Semaphore, mpsc};

use super::Command;
use super::event::{Effect, Input, News};
use super::look::{Reader, look};
use super::message::Message;
use super::outlet::Outlet;
use super::state::Watched;
use crate::lock::request::LockFailure;
use crate::lock::scripts::{Scripts, WatchRow};
use crate::lock::{SHARDS, Shard};
use crate::metrics::Metrics;
use crate::redis::{Attention, Heard, Purpose, Push, RedisFailure};
use crate::timer::sleep_until;

/// How long a mark stays when no sidecar renews it.
const KEEP_MS: u64 = 30_000;
/// How often it is looked whether a slow reader has caught up.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long the subscription stays when nothing is watched: a client that waits for one change after another does not have
/// it opened and closed each time.
const KEEP_OPEN: Duration = Duration::from_secs(10);
/// How long the other shards' channels are waited for: where they come later, that is a gap. A server that is down holds up
/// those of the others no longer than this.
const OTHERS: Duration = Duration::from_millis(250);
/// Shards whose index is read at once.
const INDEXES_AT_ONCE: usize = 8;

pub struct Driver {
    scripts: Scripts,
    metrics: Arc<Metrics>,
    state: Watched,
    streams: HashMap<u64, Outlet>,
    /// Streams whose readers are too slow, and when it is looked next whether they have caught up.
    behind: BTreeSet<u64>,
    catch_up_at: Instant,
    work: FuturesUnordered<BoxFuture<'static, Input>>,
    subscription: Option<Subscription>,
    /// When the subscription ends, while nothing is watched.
    close_at: Option<Instant>,
    indexes: Arc<Semaphore>,
}

/// The one subscription, while anything is watched, and for a while after.
struct Subscription {
    push: Arc<Push>,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// Ends when it was first tried to listen to all shards.
    opened: Shared<BoxFuture<'static, ()>>,
    _attention: Attention,
}

impl Driver {
    pub fn new(scripts: &Scripts, metrics: Arc<Metrics>) -> Driver {
        let scripts = Scripts { redis: scripts.redis.for_purpose(Purpose::Queues), ..scripts.clone() };
        let state = Watched::new(scripts.space.is_raw());
        let indexes = Arc::new(Semaphore::new(INDEXES_AT_ONCE));
        let (streams, behind, work) = (HashMap::new(), BTreeSet::new(), FuturesUnordered::new());
        let catch_up_at = Instant::now();
        let (subscription, close_at) = (None, None);
        Driver { scripts, metrics, state, streams, behind, catch_up_at, work, subscription, close_at, indexes }
    }

    /// Until no caller can ask for anything any more.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let due = self.state.next_due();
            let catch_up_at = (!self.behind.is_empty()).then_some(self.catch_up_at);
            let (subscription, close_at) = (&mut self.subscription, self.close_at);
            let heard = async {
                match subscription {
                    Some(subscription) => subscription.heard.recv().await,
                    None => std::future::pending().await,
                }
            };
            let effects = tokio::select! {
                // What was heard comes before the answer to what was asked for later.
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                heard = heard => match heard {
                    Some(Heard::Message(text)) => match Message::parse(&text) {
                        Some(message) => self.state.handle(Input::Told(message), Instant::now()),
                        None => Vec::new(),
                    },
                    Some(Heard::Gap) => self.state.handle(Input::Gap, Instant::now()),
                    None => return,
                },
                Some(done) = self.work.next() => self.state.handle(done, Instant::now()),
                () = sleep_until(due) => self.state.due(Instant::now()),
                () = sleep_until(close_at) => {
                    (self.subscription, self.close_at) = (None, None);
                    Vec::new()
                }
                () = sleep_until(catch_up_at) => self.catch_up(),
            };
            effects.into_iter().for_each(|effect| self.carry_out(effect));
            if !self.state.is_empty() {
                self.close_at = None;
            } else if self.subscription.is_some() && self.close_at.is_none() {
                self.close_at = Some(Instant::now() + KEEP_OPEN);
                self.work.clear();
            }
        }
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        let input = match command {
            Command::Watch { stream, interest, news } => {
                self.subscription.get_or_insert_with(|| Subscription::open(&self.scripts));
                self.streams.insert(stream, news);
                Input::Watch { stream, interest }
            }
            Command::Unwatch { stream } => {
                self.streams.remove(&stream);
                self.behind.remove(&stream);
                Input::Unwatch { stream }
            }
        };
        self.state.handle(input, Instant::now())
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Tell { to, news } => to.into_iter().for_each(|stream| self.tell(stream, news.clone())),
            Effect::Mark(shards) => self.mark(shards),
            Effect::Look { shard, epoch, ticket, prefixes, keys } => {
                let reader = Reader { scripts: self.scripts.clone(), indexes: Arc::clone(&self.indexes) };
                self.work.push(Box::pin(async move {
                    match look(reader, shard, prefixes, keys).await {
                        Ok(found) => Input::Looked { shard, epoch, ticket, found },
                        Err(failure) => {
                            tracing::debug!(%failure, "cannot look at what is watched; retrying");
                            Input::NotLooked { shard, epoch, failure: failure.into() }
                        }
                    }
                }));
            }
        }
    }

    fn tell(&mut self, stream: u64, news: News) {
        let Some(outlet) = self.streams.get(&stream) else { return };
        if matches!(news, News::Gap) {
            self.metrics.watch_gaps.with_label_values::<&str>(&[]).inc();
        }
        if !outlet.tell(news) && self.behind.insert(stream) {
            self.catch_up_at = Instant::now() + CATCH_UP;
            self.state.handle(Input::Behind { stream }, Instant::now());
        }
    }

    /// Goes on with those that have read all that they were told.
    fn catch_up(&mut self) -> Vec<Effect> {
        self.catch_up_at = Instant::now() + CATCH_UP;
        let streams = &self.streams;
        let is_ready = |stream: &u64| streams.get(stream).is_none_or(Outlet::is_empty);
        let ready: Vec<u64> = self.behind.iter().copied().filter(is_ready).collect();
        self.behind.retain(|stream| !ready.contains(stream));
        let inputs = ready.into_iter().map(|stream| Input::CaughtUp { stream });
        inputs.flat_map(|input| self.state.handle(input, Instant::now())).collect()
    }

    /// One server has all shards, or each may have its own.
    fn mark(&mut self, shards: Vec<(Shard, u64)>) {
        let Some(subscription) = &self.subscription else { return };
        let at_once = if self.scripts.redis.is_cluster() { 1 } else { usize::from(SHARDS) };
        for shards in shards.chunks(at_once) {
            let (scripts, shards) = (self.scripts.clone(), shards.to_vec());
            let (push, opened) = (Arc::clone(&subscription.push), subscription.opened.clone());
            self.work.push(Box::pin(async move {
                let own = hear(&scripts, &push, &shards);
                let _ = tokio::join!(own, tokio::time::timeout(OTHERS, opened));
                match mark(&scripts, &push, &shards).await {
                    Ok(rows) => Input::Marked(rows),
                    Err(failure) => {
                        tracing::debug!(%failure, "cannot watch yet; retrying");
                        Input::NotMarked(shards, failure)
                    }
                }
            }));
        }
    }
}

impl Subscription {
    fn open(scripts: &Scripts) -> Subscription {
        let (push, heard) = scripts.redis.listen();
        let (attention, push) = (push.attention(), Arc::new(push));
        // All shards at once: what is watched later costs no gap then. No message comes from those that are not marked.
        let channels: BTreeSet<String> = Shard::all().flat_map(|shard| channels(scripts, shard)).collect();
        let listening = Arc::clone(&push);
        let opened = async move {
            if let Err(failure) = listening.hear(&Vec::from_iter(channels)).await {
                tracing::debug!(%failure, "not all channels are subscribed to yet");
            }
        };
        Subscription { push, heard, opened: opened.boxed().shared(), _attention: attention }
    }
}

fn channels(scripts: &Scripts, shard: Shard) -> [String; 1] {
    [[scripts.space.push(shard), "events"].concat()]
}

/// Listens to these shards.
async fn hear(scripts: &Scripts, push: &Push, shards: &[(Shard, u64)]) -> Result<(), RedisFailure> {
    let heard = join_all(shards.iter().map(async |(shard, _)| push.hear(&channels(scripts, *shard)).await)).await;
    heard.into_iter().collect()
}

/// Makes sure that these shards are listened to, and then that their marks stand.
async fn mark(
    scripts: &Scripts,
    push: &Push,
    shards: &[(Shard, u64)],
) -> Result<Vec<(Shard, u64, WatchRow)>, LockFailure> {
    hear(scripts, push, shards).await?;
    let only: Vec<Shard> = shards.iter().map(|(shard, _)| *shard).collect();
    let rows = scripts.watch(&only, KEEP_MS).await.map_err(RedisFailure::of_a_read)?;
    Ok(shards.iter().zip(rows).map(|((shard, epoch), row)| (*shard, *epoch, row)).collect())
}
