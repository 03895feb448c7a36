//! What is still to be undone, a queue for each shard: in order within a shard, and no shard waits for another. Where one
//! shard's master is unavailable, the work for the others goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::Job;
use crate::lock::Shard;

/// Does one job.
pub type Work = Box<dyn Fn(Job) -> BoxFuture<'static, ()> + Send + Sync>;

/// The queues of all shards. Cheap to clone.
#[derive(Clone)]
pub struct Shards(Arc<Parts>);

struct Parts {
    runtime: Handle,
    work: Work,
    /// How many jobs may wait, over all shards.
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// The shards that have a task: it is spawned when the first job comes, and ends when there is none, so that in quiet
    /// times there is no task.
    queues: HashMap<Shard, VecDeque<Job>>,
    /// Jobs in all queues, without those that are being worked on.
    jobs: usize,
}

impl Shards {
    /// The work is done on `runtime`.
    pub fn new(runtime: Handle, most: usize, work: Work) -> Shards {
        Shards(Arc::new(Parts { runtime, work, most, waiting: Mutex::default() }))
    }

    /// Has a job done when all that came before it for its shard are; whether there was room for it.
    pub fn push(&self, job: Job) -> bool {
        let shard = job.undo.key.shard();
        let mut waiting = self.waiting();
        if waiting.jobs == self.0.most {
            return false;
        }
        waiting.jobs += 1;
        if let Some(queue) = waiting.queues.get_mut(&shard) {
            queue.push_back(job);
            return true;
        }
        waiting.queues.insert(shard, VecDeque::from([job]));
        drop(waiting);
        let shards = self.clone();
        self.0.runtime.spawn(async move {
            while let Some(job) = shards.next(shard) {
                (shards.0.work)(job).await;
            }
        });
        true
    }

    /// The job whose turn it is; without one the queue is closed, in the same moment, so that none is left in it.
    fn next(&self, shard: Shard) -> Option<Job> {
        let mut waiting = self.waiting();
        let next = waiting.queues.get_mut(&shard)?.pop_front();
        match next {
            Some(_) => waiting.jobs -= 1,
            None => drop(waiting.queues.remove(&shard)),
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::sync::{mpsc, watch};
    use tokio::task::yield_now;

    use super::*;
    use crate::lock::Key;
    use crate::lock::undo::{Undo, Unsettled};

    /// Queues for three jobs, of which those of the key `stuck` are stuck until its master is back.
    struct Fixture {
        shards: Shards,
        is_back: watch::Sender<bool>,
        done: mpsc::UnboundedReceiver<(String, String)>,
    }

    impl Fixture {
        fn new() -> Fixture {
            let (tell, done) = mpsc::unbounded_channel();
            let is_back = watch::Sender::new(false);
            let back = is_back.clone();
            let work: Work = Box::new(move |job| {
                let (mut back, tell) = (back.subscribe(), tell.clone());
                Box::pin(async move {
                    let key = job.undo.key.as_str().to_owned();
                    if key == "stuck" {
                        let _ = back.wait_for(|is_back| *is_back).await;
                    }
                    let _ = tell.send((key, job.undo.sending.clone()));
                })
            });
            Fixture { shards: Shards::new(Handle::current(), 3, work), is_back, done }
        }

        /// Whether it fits.
        fn push(&self, key: &str, sending: &str) -> bool {
            let key = Key::parse(key).expect("a key");
            let undo = Undo::new(key, String::new(), sending.to_owned(), Duration::ZERO);
            let pending = watch::Sender::new(1);
            self.shards.push(Job { undo, retry_until: Instant::now(), _unsettled: Unsettled(pending) })
        }

        /// What is done once nothing goes on by itself.
        async fn done(&mut self) -> Vec<(String, String)> {
            for _ in 0..16 {
                yield_now().await;
            }
            std::iter::from_fn(|| self.done.try_recv().ok()).collect()
        }
    }

    fn jobs(jobs: &[(&str, &str)]) -> Vec<(String, String)> {
        jobs.iter().map(|(key, sending)| ((*key).to_owned(), (*sending).to_owned())).collect()
    }

    #[tokio::test]
    async fn a_shard_that_is_stuck_keeps_its_order_and_holds_up_no_other() {
        let mut fixture = Fixture::new();
        assert!(fixture.push("stuck", "1") && fixture.push("stuck", "2"));
        assert_eq!(fixture.done().await, []);
        assert!(fixture.push("k", "3") && fixture.push("k", "4"));
        assert_eq!(fixture.done().await, jobs(&[("k", "3"), ("k", "4")]));
        fixture.is_back.send_replace(true);
        assert_eq!(fixture.done().await, jobs(&[("stuck", "1"), ("stuck", "2")]));
    }

    #[tokio::test]
    async fn a_shard_has_a_task_only_while_it_has_jobs() {
        let mut fixture = Fixture::new();
        let tasks = || Handle::current().metrics().num_alive_tasks();
        for round in ["0", "1"] {
            assert!(fixture.push("k", round) && fixture.push("stuck", round));
            fixture.is_back.send_replace(false);
            assert_eq!(fixture.done().await, jobs(&[("k", round)]));
            assert_eq!(tasks(), 1);
            fixture.is_back.send_replace(true);
            assert_eq!(fixture.done().await, jobs(&[("stuck", round)]));
            assert_eq!(tasks(), 0);
            assert!(fixture.shards.waiting().queues.is_empty());
        }
    }

    #[tokio::test]
    async fn no_more_jobs_wait_than_may_whichever_shard_they_are_for() {
        let mut fixture = Fixture::new();
        assert!(fixture.push("stuck", "0"));
        fixture.done().await; // it is being worked on, and takes no room
        for number in ["1", "2", "3"] {
            assert!(fixture.push("stuck", number));
        }
        assert!(!fixture.push("k", "4"));
        fixture.is_back.send_replace(true);
        assert_eq!(fixture.done().await.len(), 4);
        assert!(fixture.push("k", "5"));
        assert_eq!(fixture.done().await, jobs(&[("k", "5")]));
    }
}
