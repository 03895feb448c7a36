//! One connection to one server, and what may be asked on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::batch::Batch;
use super::beside::Beside;
use super::clock::Clock;
use super::connection::{Command, Connection, Setup};
use super::diagnosis::Target;
use super::{Call, InFlight, Purpose, RedisFailure, Reply, Sample, Script, Slot, Status, probe};
use crate::metrics::Metrics;
use crate::redis::operation::RedisOperation;
use crate::redis::settings::RedisConfig;

/// How long a command waits for a connection that is being made, before it is answered as not sent; no longer than for
/// an answer.
pub(super) const CONNECTION_PATIENCE: Duration = Duration::from_millis(250);

/// One connection to one server and all that keeps it. Belongs to the runtime that made it.
pub(super) struct Node {
    pub connection: Connection,
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

impl Node {
    /// Starts to connect, and keeps at it for as long as the runtime lives. Redis need not be there.
    pub fn connect(config: &RedisConfig, in_flight: Arc<InFlight>, metrics: Arc<Metrics>) -> Node {
        let connection = Connection::lasting(&Setup::of(config), config.timeout);
        let status = Arc::new(Status::new(Arc::clone(&metrics)));
        let node = Node::over(connection, config.clone(), status, in_flight, metrics);
        probe::follow(node.connection.clone(), Target::of(config), Arc::clone(&node.status));
        node.probe();
        node
    }

    /// A server that is, or will be, connected to by `connection`.
    pub fn over(
        connection: Connection,
        config: RedisConfig,
        status: Arc<Status>,
        in_flight: Arc<InFlight>,
        metrics: Arc<Metrics>,
    ) -> Node {
        let patience = CONNECTION_PATIENCE.min(config.timeout);
        let (clock, batch, beside) = (Arc::new(Clock::new()), Batch::default(), Beside::default());
        let is_given_up = AtomicBool::new(false);
        Node { connection, patience, status, clock, batch, beside, metrics, in_flight, config, is_given_up }
    }

    /// This server, by another connection.
    pub fn same_server_over(&self, connection: Connection, status: Arc<Status>) -> Node {
        Node::over(connection, self.config.clone(), status, Arc::clone(&self.in_flight), Arc::clone(&self.metrics))
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    /// From now on no grant on this connection counts: another server may be the master. Refusals still do, for then nothing
    /// was done.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.status.retire();
    }

    /// Asks when no caller does.
    pub fn probe(&self) -> AbortHandle {
        let Node { connection, config, status, clock, .. } = self;
        let probing = probe::probe_on(connection.clone(), config.timeout, Arc::clone(status), Arc::clone(clock));
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
        // With --min-replicas always as a batch: one WAIT covers all of it.
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
        self.call(operations, self.connection.evalsha(&script.sha1, call.keys, call.args.pack())).await
    }

    pub async fn load(&self, operation: RedisOperation, script: &Script) -> Result<(), RedisFailure> {
        tracing::debug!(script = script.name, "redis does not know the script; loading it");
        self.call(&[operation], self.connection.load_script(&script.text)).await.map(|_| ())
    }

    /// If it fails, the caller's own command was never sent.
    async fn ask_time(&self) -> Result<(), RedisFailure> {
        let sent = Instant::now();
        let asked = self.call(&[RedisOperation::Time], self.connection.time()).await;
        let reply = asked.map_err(|failure| match failure {
            RedisFailure::Refused(_) => failure,
            other => RedisFailure::NotSent(other.to_string()),
        })?;
        self.clock.learn(reply.milliseconds()?, sent);
        Ok(())
    }

    /// What was last heard of Redis's clock; it is asked where that is not known yet.
    pub async fn clock(&self) -> Result<Option<Sample>, RedisFailure> {
        if !self.clock.is_known() {
            self.ask_time().await?;
        }
        Ok(self.clock.last())
    }

    /// Sends one command: the single place for the connection, measuring and learning from the outcome.
    pub async fn call(&self, operations: &[RedisOperation], command: Command<'_>) -> Result<Reply, RedisFailure> {
        let mut outcome = match self.connected().await {
            Ok(()) => {
                let sent = Instant::now();
                let outcome = command.await;
                let took = sent.elapsed();
                operations.iter().for_each(|operation| self.metrics.redis_round_trip(operation, took));
                Status::learn(&self.status, &self.connection, outcome.as_ref().err());
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
        if self.connection.is_connected() {
            return Ok(());
        }
        match tokio::time::timeout(self.patience, self.connection.connected()).await {
            Ok(true) => Ok(()),
            _ => Err(RedisFailure::unconnected(self.status.reason())),
        }
    }
}
