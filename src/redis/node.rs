//! One connection to one server, and what may be asked on it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface, LuaInterface, SortedSetsInterface};
use fred::types::config::{PerformanceConfig, ReconnectPolicy};
use fred::types::sorted_sets::{ZRange, ZRangeBound, ZRangeKind};
use fred::types::{Expiration, SetOptions, Value};
use tokio::task::AbortHandle;

use super::batch::Batch;
use super::beside::Beside;
use super::client::{RECONNECT_DELAY_MS, connection, server};
use super::clock::Clock;
use super::diagnosis::Target;
use super::{Call, InFlight, Info, Purpose, RedisFailure, Reply, Sample, Script, Slot, Status, watch};
use crate::metrics::Metrics;
use crate::redis::operation::RedisOperation;
use crate::redis::settings::RedisConfig;

/// Above it not every integer is a score of its own.
const SCORES_END: u64 = 1 << 53;
/// How long a command waits for a connection that is being made, before it is answered as not sent; no longer than for
/// an answer.
pub(super) const CONNECTION_PATIENCE: Duration = Duration::from_millis(250);

/// One connection to one server and all that keeps it. Belongs to the runtime that made it.
pub(super) struct Node {
    pub client: Client,
    patience: Duration,
    pub status: Arc<Status>,
    clock: Arc<Clock>,
    pub batch: Batch,
    pub beside: Beside,
    pub metrics: Arc<Metrics>,
    pub in_flight: Arc<InFlight>,
    pub config: RedisConfig,
    is_given_up: AtomicBool,
}

/// A fred command. Boxed because the future is 5 KB: unboxed, every future that may await one would grow by that.
pub(super) type Command<'a> = Pin<Box<dyn Future<Output = Result<Value, fred::error::Error>> + Send + 'a>>;

impl Node {
    /// Starts to connect, and keeps at it for as long as the runtime lives. Redis need not be there.
    pub fn connect(config: &RedisConfig, in_flight: Arc<InFlight>, metrics: Arc<Metrics>) -> Node {
        let client = Client::new(
            server(config),
            Some(PerformanceConfig { default_command_timeout: config.timeout, ..PerformanceConfig::default() }),
            Some(connection()),
            // 0 attempts: for ever. A finite number would end the client for good.
            Some(ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS)),
        );
        let status = Arc::new(Status::new(Arc::clone(&metrics)));
        let node = Node::over(client, config.clone(), status, in_flight, metrics);
        watch::spawn(node.client.clone(), Target::of(config), Arc::clone(&node.status));
        node.probe();
        node
    }

    /// A server that is, or will be, connected to by `client`.
    pub fn over(
        client: Client,
        config: RedisConfig,
        status: Arc<Status>,
        in_flight: Arc<InFlight>,
        metrics: Arc<Metrics>,
    ) -> Node {
        let patience = CONNECTION_PATIENCE.min(config.timeout);
        let (clock, batch, beside) = (Arc::new(Clock::new()), Batch::default(), Beside::default());
        let is_given_up = AtomicBool::new(false);
        Node { client, patience, status, clock, batch, beside, metrics, in_flight, config, is_given_up }
    }

    /// This server, by another connection.
    pub fn same_server_over(&self, client: Client, status: Arc<Status>) -> Node {
        Node::over(client, self.config.clone(), status, Arc::clone(&self.in_flight), Arc::clone(&self.metrics))
    }

    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// From now on no grant on this connection counts: another server may be the master. Refusals still do, for then nothing
    /// was done.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.status.retire();
    }

    /// Asks when no caller does.
    pub fn probe(&self) -> AbortHandle {
        let Node { client, config, status, clock, .. } = self;
        let probing = watch::probe_on(client.clone(), config.timeout, Arc::clone(status), Arc::clone(clock));
        tokio::spawn(probing).abort_handle()
    }

    /// Runs a script that changes something, but not later than its answer: its last argument is until when it may run
    /// by the server's own clock, and past that it answers `{"late", now_ms}`. What it is given is made by `call` for
    /// each sending.
    pub async fn run_in_time(
        self: &Arc<Node>,
        script: &'static Script,
        slot: Slot,
        purpose: Purpose,
        call: impl Fn() -> Call,
    ) -> Result<Reply, RedisFailure> {
        if !self.clock.is_known() {
            self.ask_time().await?;
        }
        // Twice, for a clock that stepped since it was last asked.
        for _ in 0..2 {
            self.connected().await?;
            let sent = Instant::now();
            let not_after = self.clock.at(sent + self.config.timeout).unwrap_or_default().to_string();
            let reply = self.run(script, slot, purpose, || {
                let mut call = call();
                call.args.push(&not_after);
                call
            });
            match reply.await {
                Ok(reply) => match reply.late_at() {
                    None => return Ok(reply),
                    Some(now_ms) => self.clock.learn(now_ms, sent),
                },
                Err(failure) => {
                    if failure.may_have_happened() && !failure.was_answered() {
                        // The connection broke before the deadline, and what was sent on it may still be on its way.
                        tokio::time::sleep_until((sent + self.config.timeout).into()).await;
                    }
                    return Err(failure);
                }
            }
        }
        Err(RedisFailure::Late)
    }

    /// Runs a script by its digest; loads it first where Redis does not know it, and the caller does not notice.
    pub async fn run(
        self: &Arc<Node>,
        script: &'static Script,
        slot: Slot,
        purpose: Purpose,
        call: impl Fn() -> Call,
    ) -> Result<Reply, RedisFailure> {
        let operation = purpose.of(script);
        if purpose == Purpose::Locks
            && let Some(failure) = self.refused_beforehand(script)
        {
            self.metrics.redis_error(&operation, &failure);
            return Err(failure);
        }
        // One wait for replicas serves all who ask meanwhile.
        let others = self.in_flight.others() || self.config.min_replicas > 0 || purpose != Purpose::Locks;
        let first = match script.batch {
            Some(_) if others => self.run_among_others(script, slot, operation, call()).await,
            Some(_) => self.run_alone(script, slot, operation, call()).await,
            None => self.evalsha(&[operation], script, call()).await,
        };
        let outcome = match first {
            Err(failure) if failure.is_unknown_script() => match self.load(operation, script).await {
                Ok(()) => self.evalsha(&[operation], script, call()).await,
                Err(failure) => Err(failure),
            },
            other => other,
        };
        match outcome {
            Err(failure) => Err(Box::pin(self.explained(script, failure, operation)).await),
            reply => reply,
        }
    }

    pub async fn evalsha(
        &self,
        operations: &[RedisOperation],
        script: &Script,
        call: Call,
    ) -> Result<Reply, RedisFailure> {
        if self.config.min_replicas > 0 && !script.promises.is_empty() {
            return Box::pin(self.evalsha_on_replicas(operations, script, call)).await;
        }
        let command = Box::pin(self.client.evalsha(script.sha1.as_str(), call.keys, call.args.pack()));
        self.call(operations, command).await
    }

    pub async fn load(&self, operation: RedisOperation, script: &Script) -> Result<(), RedisFailure> {
        tracing::debug!(script = script.name, "redis does not know the script; loading it");
        let loading = Box::pin(self.client.script_load::<Value, _>(script.text.as_str()));
        self.call(&[operation], loading).await.map(|_| ())
    }

    /// If it fails, the caller's own command was never sent.
    async fn ask_time(&self) -> Result<(), RedisFailure> {
        let sent = Instant::now();
        let asked = self.call(&[RedisOperation::Time], Box::pin(watch::time(&self.client))).await;
        let reply = asked.map_err(|failure| match failure {
            RedisFailure::Refused(_) => failure,
            other => RedisFailure::NotSent(other.to_string()),
        })?;
        self.clock.learn(reply.milliseconds()?, sent);
        Ok(())
    }

    /// At most `count` members of a zset with scores above `score` and below 2^53, with their scores, lowest score
    /// first.
    pub async fn members_above(&self, zset: &Bytes, score: u64, count: u32) -> Result<Vec<(Bytes, u64)>, RedisFailure> {
        let (min, max) = (bound(score, ZRangeKind::Exclusive), bound(SCORES_END, ZRangeKind::Exclusive));
        let limit = Some((0, i64::from(count)));
        let command = Box::pin(self.client.zrangebyscore::<Value, _, _, _>(zset.clone(), min, max, true, limit));
        self.call(&[RedisOperation::Range], command).await?.into_members()
    }

    /// The member of a zset with exactly this score, which must be below 2^53.
    pub async fn member_at(&self, zset: &Bytes, score: u64) -> Result<Option<Bytes>, RedisFailure> {
        let exactly = || bound(score, ZRangeKind::Inclusive);
        let command =
            self.client.zrangebyscore::<Value, _, _, _>(zset.clone(), exactly(), exactly(), false, Some((0, 1)));
        let rows = self.call(&[RedisOperation::Range], Box::pin(command)).await?.into_rows()?;
        rows.into_iter().next().map(Reply::into_text).transpose()
    }

    /// Number of members of a zset.
    pub async fn cardinality(&self, zset: &Bytes) -> Result<u64, RedisFailure> {
        self.call(&[RedisOperation::Count], Box::pin(self.client.zcard::<Value, _>(zset.clone()))).await?.number()
    }

    /// Number of members of a zset with scores above `score`.
    pub async fn count_above(&self, zset: &Bytes, score: u64) -> Result<u64, RedisFailure> {
        let command = Box::pin(self.client.zcount::<Value, _>(zset.clone(), (score + 1) as f64, f64::INFINITY));
        self.call(&[RedisOperation::Count], command).await?.number()
    }

    /// Leaves a mark under a key for so long, milliseconds.
    pub async fn mark(&self, key: &str, keep_ms: i64) -> Result<(), RedisFailure> {
        let command = self.client.set::<Value, _, _>(key, "", Some(Expiration::PX(keep_ms)), None, false);
        self.call(&[RedisOperation::Mark], Box::pin(command)).await.map(|_| ())
    }

    /// Whether there is a mark under a key.
    pub async fn is_marked(&self, key: &str) -> Result<bool, RedisFailure> {
        let command = Box::pin(self.client.exists::<Value, _>(key));
        Ok(self.call(&[RedisOperation::Mark], command).await?.number::<u64>()? > 0)
    }

    /// Leaves a mark for so long, milliseconds, unless there is one. Whether it was left.
    pub async fn mark_if_absent(&self, key: &str, keep_ms: i64) -> Result<bool, RedisFailure> {
        let unless = Some(SetOptions::NX);
        let command = self.client.set::<Value, _, _>(key, "", Some(Expiration::PX(keep_ms)), unless, false);
        Ok(self.call(&[RedisOperation::Mark], Box::pin(command)).await? != Reply::Nil)
    }

    /// How many of these keys exist.
    pub async fn count_existing(&self, keys: Vec<Bytes>) -> Result<u64, RedisFailure> {
        self.call(&[RedisOperation::Count], Box::pin(self.client.exists::<Value, _>(keys))).await?.number()
    }

    /// What Redis says of itself.
    pub async fn info(&self) -> Result<Info, RedisFailure> {
        // Without a section: before 7.0 Redis takes no more than one, and each would be a question of its own.
        let text = self.call(&[RedisOperation::Info], Box::pin(self.client.info::<Value>(None))).await?.into_text()?;
        Ok(Info::parse(&String::from_utf8_lossy(&text)))
    }

    /// What was last heard of Redis's clock; it is asked where that is not known yet.
    pub async fn clock(&self) -> Result<Option<Sample>, RedisFailure> {
        if !self.clock.is_known() {
            self.ask_time().await?;
        }
        Ok(self.clock.last())
    }

    /// A field of a hash, where there is one.
    pub async fn hash_field(
        &self,
        operation: RedisOperation,
        hash: &str,
        field: &str,
    ) -> Result<Option<Bytes>, RedisFailure> {
        let command = Box::pin(self.client.hget::<Value, _, _>(hash, field));
        match self.call(&[operation], command).await? {
            Reply::Nil => Ok(None),
            other => other.into_text().map(Some),
        }
    }

    /// Sends one command: the single place for the connection, measuring and learning from the outcome.
    pub async fn call(&self, operations: &[RedisOperation], command: Command<'_>) -> Result<Reply, RedisFailure> {
        let mut outcome = match self.connected().await {
            Ok(()) => {
                let sent = Instant::now();
                let outcome = command.await.map(Reply::from).map_err(RedisFailure::from);
                let took = sent.elapsed();
                operations.iter().for_each(|operation| self.metrics.redis_round_trip(operation, took));
                Status::learn(&self.status, &self.client, outcome.as_ref().err());
                let outcome = outcome.and_then(|reply| self.if_it_counts(reply));
                if outcome.is_ok() {
                    operations.iter().for_each(|operation| self.status.rights().succeeded(*operation));
                }
                outcome
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &mut outcome
            && !failure.is_unknown_script()
        {
            *failure = self.status.advised(failure.clone());
            if let (true, Some(operation)) = (failure.is_of_rights(), operations.first()) {
                self.were_refused_to(*operation);
            }
            operations.iter().for_each(|operation| self.metrics.redis_error(operation, failure));
        }
        outcome
    }

    /// A master that was frozen and replaced executes what was sent to it when it goes on: its replies may contradict those
    /// of the master in its place.
    fn if_it_counts(&self, reply: Reply) -> Result<Reply, RedisFailure> {
        if self.is_given_up.load(Ordering::Relaxed) {
            return Err(RedisFailure::NoAnswer("the reply came on a connection that was given up".to_owned()));
        }
        Ok(reply)
    }

    /// A wait for the connection alone: nothing is handed to the client that could be sent later.
    async fn connected(&self) -> Result<(), RedisFailure> {
        if self.client.is_connected() {
            return Ok(());
        }
        match tokio::time::timeout(self.patience, self.client.wait_for_connect()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(RedisFailure::unconnected(self.status.reason())),
        }
    }
}

/// A score as a bound of a range: an integer on the wire.
fn bound(score: u64, kind: ZRangeKind) -> ZRange {
    ZRange { kind, range: ZRangeBound::Index(i64::try_from(score).unwrap_or(i64::MAX)) }
}
