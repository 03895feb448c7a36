//! Work in lanes, one a shard: in order within a lane, and no lane waits for another. Where one shard's master is away,
//! what is to be done in the others goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::runtime::Handle;

use crate::lock::types::Shard;

/// What is still to be done. Cheap to clone.
pub struct Lanes<T> {
    runtime: Handle,
    /// How many entries may wait, over all lanes.
    most: usize,
    waiting: Arc<Mutex<Waiting<T>>>,
}

struct Waiting<T> {
    /// The lanes that have a task: it is spawned when the first entry comes, and ends when there is none, so that in
    /// quiet times there is none of them.
    lanes: HashMap<Shard, VecDeque<T>>,
    /// Entries in all lanes, without those that are being worked on.
    entries: usize,
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Lanes<T> {
        Lanes { runtime: self.runtime.clone(), most: self.most, waiting: Arc::clone(&self.waiting) }
    }
}

impl<T: Send + 'static> Lanes<T> {
    /// The work is done on `runtime`.
    pub fn new(runtime: Handle, most: usize) -> Lanes<T> {
        Lanes { runtime, most, waiting: Arc::new(Mutex::new(Waiting { lanes: HashMap::new(), entries: 0 })) }
    }

    /// Has `work` done when all that came before in this lane is; every entry of a lane must bring the same work. What
    /// does not fit comes back.
    pub fn push<W>(&self, shard: Shard, entry: T, work: impl Fn(T) -> W + Send + 'static) -> Result<(), T>
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let mut waiting = self.waiting();
        if waiting.entries == self.most {
            return Err(entry);
        }
        waiting.entries += 1;
        if let Some(lane) = waiting.lanes.get_mut(&shard) {
            lane.push_back(entry);
            return Ok(());
        }
        waiting.lanes.insert(shard, VecDeque::from([entry]));
        drop(waiting);
        let lanes = self.clone();
        self.runtime.spawn(async move {
            while let Some(entry) = lanes.next(shard) {
                work(entry).await;
            }
        });
        Ok(())
    }

    /// The entry whose turn it is; without one the lane is closed, in the same moment, so that none is left in it.
    fn next(&self, shard: Shard) -> Option<T> {
        let mut waiting = self.waiting();
        let next = waiting.lanes.get_mut(&shard)?.pop_front();
        match next {
            Some(_) => waiting.entries -= 1,
            None => drop(waiting.lanes.remove(&shard)),
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, watch};
    use tokio::task::yield_now;

    use super::*;

    const AWAY: usize = 17;

    fn shard(index: usize) -> Shard {
        Shard::all().nth(index).expect("a shard")
    }

    /// Lanes for three entries, of which those of shard [`AWAY`] are stuck until its master is back.
    struct Fixture {
        lanes: Lanes<(usize, u32)>,
        is_back: watch::Sender<bool>,
        tell: mpsc::UnboundedSender<(usize, u32)>,
        done: mpsc::UnboundedReceiver<(usize, u32)>,
    }

    impl Fixture {
        fn new() -> Fixture {
            let (tell, done) = mpsc::unbounded_channel();
            Fixture { lanes: Lanes::new(Handle::current(), 3), is_back: watch::Sender::new(false), tell, done }
        }

        fn push(&self, index: usize, number: u32) -> Result<(), (usize, u32)> {
            let (is_back, tell) = (self.is_back.clone(), self.tell.clone());
            self.lanes.push(shard(index), (index, number), move |entry: (usize, u32)| {
                let (mut is_back, tell) = (is_back.subscribe(), tell.clone());
                async move {
                    if entry.0 == AWAY {
                        let _ = is_back.wait_for(|is_back| *is_back).await;
                    }
                    let _ = tell.send(entry);
                }
            })
        }

        /// What is done once nothing goes on by itself.
        async fn done(&mut self) -> Vec<(usize, u32)> {
            for _ in 0..16 {
                yield_now().await;
            }
            std::iter::from_fn(|| self.done.try_recv().ok()).collect()
        }
    }

    #[tokio::test]
    async fn a_shard_that_is_stuck_keeps_its_order_and_holds_up_nobody_else() {
        let mut fixture = Fixture::new();
        for number in [1, 2] {
            assert_eq!(fixture.push(AWAY, number), Ok(()));
        }
        assert_eq!(fixture.done().await, []);
        for number in [3, 4] {
            assert_eq!(fixture.push(5, number), Ok(()));
        }
        assert_eq!(fixture.done().await, [(5, 3), (5, 4)]);
        fixture.is_back.send_replace(true);
        assert_eq!(fixture.done().await, [(AWAY, 1), (AWAY, 2)]);
    }

    #[tokio::test]
    async fn a_lane_has_a_task_only_while_it_has_entries() {
        let mut fixture = Fixture::new();
        let tasks = || Handle::current().metrics().num_alive_tasks();
        for round in 0..2 {
            assert_eq!(fixture.push(5, round), Ok(()));
            assert_eq!(fixture.push(AWAY, round), Ok(()));
            fixture.is_back.send_replace(false);
            assert_eq!(fixture.done().await, [(5, round)]);
            assert_eq!(tasks(), 1);
            fixture.is_back.send_replace(true);
            assert_eq!(fixture.done().await, [(AWAY, round)]);
            assert_eq!(tasks(), 0);
            assert!(fixture.lanes.waiting().lanes.is_empty());
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_comes_back_whichever_lane_it_is_for() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.push(AWAY, 0), Ok(()));
        fixture.done().await; // it is being worked on, and takes no room
        for number in [1, 2, 3] {
            assert_eq!(fixture.push(AWAY, number), Ok(()));
        }
        assert_eq!(fixture.push(5, 4), Err((5, 4)));
        fixture.is_back.send_replace(true);
        assert_eq!(fixture.done().await.len(), 4);
        assert_eq!(fixture.push(5, 5), Ok(()));
        assert_eq!(fixture.done().await, [(5, 5)]);
    }
}
