//! Scripts that are asked for in one turn of the event loop go to Redis as one call: one write, one script entered, one
//! answer read. That is most of what an operation costs us, and half of what it costs Redis. A script that is asked for
//! alone goes at once, in the same way: `batch.lua` knows a shorter one for what is plain.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::node::Node;
use super::script::Call;
use super::{RedisFailure, Reply, Script, Slot, Status};
use crate::redis::operation::RedisOperation;
use crate::redis::settings::RedisServer;

/// Scripts in one call at most: Redis serves no other client while it runs them.
const LARGEST: usize = 64;

/// A script that waits for this turn to end.
struct Job {
    script: &'static Script,
    slot: Slot,
    operation: RedisOperation,
    call: Call,
    give: oneshot::Sender<Result<Reply, RedisFailure>>,
}

/// Those that wait.
#[derive(Default)]
pub struct Batch {
    jobs: Mutex<Vec<Job>>,
    /// With --min-replicas one batch is under way at a time: WAIT blocks the connection anyway.
    turn: tokio::sync::Mutex<()>,
}

impl Batch {
    /// Whether it is the first.
    fn push(&self, job: Job) -> bool {
        let mut jobs = self.jobs.lock().expect("no holder of this lock panics");
        jobs.push(job);
        jobs.len() == 1
    }

    fn take(&self) -> Vec<Job> {
        std::mem::take(&mut *self.jobs.lock().expect("no holder of this lock panics"))
    }
}

impl Node {
    /// Runs a script together with those that others ask for in this turn.
    pub(super) async fn run_among_others(
        self: &Arc<Node>,
        script: &'static Script,
        slot: Slot,
        operation: RedisOperation,
        call: Call,
    ) -> Result<Reply, RedisFailure> {
        let (give, take) = oneshot::channel();
        if self.batch.push(Job { script, slot, operation, call, give }) {
            let node = Arc::clone(self);
            tokio::spawn(async move {
                // Until all that are ready to ask have asked.
                tokio::task::yield_now().await;
                node.flush().await;
            });
        }
        take.await.unwrap_or_else(|_| Err(RedisFailure::NoAnswer("the operation was broken off".to_owned())))
    }

    /// Runs a script at once, which others may be run with.
    pub(super) async fn run_alone(
        &self,
        script: &'static Script,
        slot: Slot,
        operation: RedisOperation,
        call: Call,
    ) -> Result<Reply, RedisFailure> {
        let (give, mut take) = oneshot::channel();
        self.run_together(vec![Job { script, slot, operation, call, give }]).await;
        take.try_recv().unwrap_or_else(|_| Err(RedisFailure::NoAnswer("the operation was broken off".to_owned())))
    }

    async fn flush(&self) {
        let _turn = if self.config.min_replicas > 0 { Some(self.batch.turn.lock().await) } else { None };
        let mut jobs = self.batch.take();
        let mut calls = Vec::with_capacity(1);
        // A cluster takes no call for two slots.
        let is_of_cluster = matches!(self.config.server, RedisServer::ClusterNode { .. });
        let part = |job: &Job| is_of_cluster.then_some(job.slot);
        jobs.sort_by_key(part);
        while let Some(first) = jobs.first().map(part) {
            let count = jobs.iter().take(LARGEST).take_while(|job| part(job) == first).count();
            let rest = jobs.split_off(count);
            calls.push(self.run_together(std::mem::replace(&mut jobs, rest)));
        }
        futures_util::future::join_all(calls).await;
    }

    async fn run_together(&self, jobs: Vec<Job>) {
        let Some(batch) = jobs[0].script.batch else {
            return self.run_each_alone(jobs).await;
        };
        let operations: Vec<_> = jobs.iter().map(|job| job.operation).collect();
        let mut answer = self.evalsha(&operations, batch, together(&jobs)).await;
        // Together again, for each alone they might change places.
        if answer.as_ref().is_err_and(RedisFailure::is_unknown_script)
            && self.load(RedisOperation::Script(batch.name), batch).await.is_ok()
        {
            answer = self.evalsha(&operations, batch, together(&jobs)).await;
        }
        let rows = answer.and_then(Reply::into_rows);
        match rows {
            Ok(rows) if rows.len() == jobs.len() => {
                for (job, row) in jobs.into_iter().zip(rows) {
                    let refusal = row.refusal().map(|failure| self.learned_of_a_row(job.operation, failure));
                    let _ = job.give.send(refusal.map_or(Ok(row), Err));
                }
            }
            Ok(rows) => {
                let failure = RedisFailure::Nonsense(format!("{} rows for {} operations", rows.len(), jobs.len()));
                jobs.into_iter().for_each(|job| drop(job.give.send(Err(failure.clone()))));
            }
            // One key that the user may not touch, and nothing was done for any other.
            Err(failure) if failure.is_forbidden() && jobs.len() > 1 => self.run_each_alone(jobs).await,
            Err(failure) => jobs.into_iter().for_each(|job| drop(job.give.send(Err(failure.clone())))),
        }
    }

    async fn run_each_alone(&self, jobs: Vec<Job>) {
        let alone = jobs.into_iter().map(|Job { script, operation, call, give, .. }| async move {
            let _ = give.send(self.evalsha(&[operation], script, call).await);
        });
        futures_util::future::join_all(alone).await;
    }

    /// Counts and logs one failed row of a batch that succeeded as a whole.
    fn learned_of_a_row(&self, operation: RedisOperation, failure: RedisFailure) -> RedisFailure {
        let failure = self.status.advised(failure);
        if failure.is_of_rights() {
            self.were_refused_to(operation);
        }
        // Counted already.
        if !matches!(failure, RedisFailure::Unreplicated { .. }) {
            self.metrics.redis_error(&operation, &failure);
        }
        if failure.wants_reconnection() {
            Status::learn(&self.status, &self.connection, Some(&failure));
        }
        failure
    }
}

/// The calls as `batch.lua` wants them.
fn together(jobs: &[Job]) -> Call {
    let mut all = Call::default();
    for Job { script, call, .. } in jobs {
        all.args.push_operation(script.name, call.keys.len(), &call.args);
        all.keys.extend(call.keys.iter().cloned());
    }
    all
}
