//! One connection that only listens, and how it is noticed that nothing is heard on it any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Heard, Hearing};
use crate::redis::connection::{Connection, Link, Messages, Missed, RECONNECT_DELAY_MS, Setup};
use crate::redis::{Node, RedisFailure};

/// Between two signs of life that a connection is asked for while anybody counts on it, and how long each may take. Two
/// of them bound what a lost message costs.
const BEAT: Duration = Duration::from_millis(430);
/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(RECONNECT_DELAY_MS as u64);
/// While every attempt fails, it is told so often that messages may be lost.
const ATTEMPTS_FOR_A_GAP: u32 = 4;
/// Messages that may wait for us; more are lost, and then all is looked at again.
const BACKLOG: usize = 1024;

/// Listens at one server, by one connection after another. Dropped, it stops.
pub(super) struct Ear {
    node: Arc<Node>,
    channels: watch::Sender<BTreeSet<String>>,
    task: AbortHandle,
}

impl Ear {
    pub fn open(number: u64, node: Arc<Node>, channels: BTreeSet<String>, hearing: &Arc<Hearing>) -> Ear {
        let (channels, wanted) = watch::channel(channels);
        let listener = Listener { number, node: Arc::clone(&node), wanted, hearing: Arc::clone(hearing) };
        Ear { node, channels, task: tokio::spawn(listener.run()).abort_handle() }
    }

    pub fn is_at(&self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(&self.node, node)
    }

    /// Which channels it is to listen to.
    pub fn wants(&self, channels: BTreeSet<String>) {
        self.channels.send_if_modified(|known| {
            let is_news = *known != channels;
            *known = channels;
            is_news
        });
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listener {
    number: u64,
    node: Arc<Node>,
    wanted: watch::Receiver<BTreeSet<String>>,
    hearing: Arc<Hearing>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hearing.is_deaf(self.number);
    }
}

impl Listener {
    async fn run(mut self) {
        for attempt in 0_u32.. {
            let begun = Instant::now();
            let problem = self.listen().await;
            tracing::debug!(%problem, place = self.node.config.place(), "redis: not subscribed; reconnecting");
            self.hearing.is_deaf(self.number);
            self.hearing.learn(problem.to_string());
            // The connection itself, perhaps.
            if matches!(problem, RedisFailure::Refused(_)) && !problem.is_elsewhere() {
                let wanted = self.wanted.borrow().iter().cloned().collect();
                self.hearing.refuses(self.number, wanted, &self.hearing.status.advised(problem));
            }
            if attempt.is_multiple_of(ATTEMPTS_FOR_A_GAP) {
                self.hearing.tell(Heard::Gap);
            }
            sleep_until(begun + PAUSE).await;
        }
    }

    /// Listens by one connection until it is no good any more: why.
    async fn listen(&mut self) -> RedisFailure {
        let mut link = match Link::listening(&Setup::of(&self.node.config), BEAT, BACKLOG).await {
            Ok(link) => link,
            Err(error) => return error.into(),
        };
        let (connection, hearing) = (link.connection.clone(), Arc::clone(&self.hearing));
        tokio::select! {
            problem = link.ended() => RedisFailure::NoAnswer(problem),
            problem = relay(connection.messages(), &hearing) => RedisFailure::NoAnswer(problem),
            problem = self.keep(&connection) => problem,
        }
    }

    /// Subscribes to what is wanted, and makes sure that it stays so; until it does not: why.
    async fn keep(&mut self, connection: &Connection) -> RedisFailure {
        let (mut ours, mut attention) = (BTreeSet::new(), self.hearing.attention.subscribe());
        let mut next = Instant::now() + BEAT;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if !ours.is_subset(&wanted) {
                return RedisFailure::NotSent("some channels have moved to another server".to_owned());
            }
            if let Err(failure) =
                self.subscribe(connection, wanted.difference(&ours).cloned().collect(), &mut ours).await
            {
                return failure;
            }
            let is_due = async {
                if ours.len() < wanted.len() {
                    return sleep(PAUSE).await;
                }
                let _ = attention.wait_for(|count| *count > 0).await;
                sleep_until(next).await;
            };
            let is_due = tokio::select! {
                _ = self.wanted.changed() => false,
                () = is_due => ours.len() == wanted.len(),
            };
            if is_due {
                next = Instant::now() + BEAT;
                if let Err(problem) = self.beat(connection, &ours).await {
                    return problem;
                }
            }
        }
    }

    /// Subscribes to further channels. Those that the server refuses are left out.
    async fn subscribe(
        &self,
        connection: &Connection,
        further: Vec<String>,
        ours: &mut BTreeSet<String>,
    ) -> Result<(), RedisFailure> {
        let answers = join_all(further.iter().map(|channel| subscribe(connection, channel))).await;
        let mut heard = Vec::new();
        for (channel, answer) in further.into_iter().zip(answers) {
            match answer {
                Ok(_) => heard.push(channel),
                Err(failure @ RedisFailure::Refused(_)) => self.refused(channel, failure),
                Err(failure) => return Err(failure),
            }
        }
        if !heard.is_empty() {
            ours.extend(heard.iter().cloned());
            self.hearing.listens(self.number, heard);
        }
        Ok(())
    }

    fn refused(&self, channel: String, failure: RedisFailure) {
        let failure = self.hearing.status.advised(failure);
        self.hearing.learn(failure.to_string());
        if failure.is_elsewhere() {
            self.hearing.status.wants_news();
        } else {
            self.node.in_flight.verdicts.doubt();
            self.hearing.refuses(self.number, vec![channel], &failure);
        }
    }

    /// Heartbeat: subscribes once more to one channel, and compares the count of channels in Redis's answer with ours. A server
    /// that moved slots away, is frozen, or is gone, sends nothing by itself.
    async fn beat(&self, connection: &Connection, ours: &BTreeSet<String>) -> Result<(), RedisFailure> {
        let Some(first) = ours.first() else { return Ok(()) };
        match subscribe(connection, first).await {
            Ok(count) if count == ours.len() => {}
            Ok(count) => {
                let problem = format!("redis has {count} subscriptions instead of {}", ours.len());
                return Err(RedisFailure::NoAnswer(problem));
            }
            // What is subscribed to stays so.
            Err(failure @ RedisFailure::Refused(_)) if !failure.is_elsewhere() => {
                self.hearing.status.refused(&failure);
            }
            Err(failure @ RedisFailure::NoAnswer(_)) => {
                let place = self.node.config.place();
                tracing::warn!(%failure, place, "pub/sub connection lost; resubscribing");
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        }
        self.node.status.is_alive();
        Ok(())
    }
}

/// Subscribes to one channel, for channels of several slots may not share a command; how many the connection has now.
async fn subscribe(connection: &Connection, channel: &str) -> Result<usize, RedisFailure> {
    let answer = connection.command("SSUBSCRIBE", &[channel]).await?.into_rows()?;
    answer.last().map_or(Ok(0), |count| count.number())
}

/// Passes messages on until there are none any more: why.
async fn relay(mut messages: Messages, hearing: &Hearing) -> String {
    loop {
        match messages.next().await {
            Ok((_, text)) => hearing.tell(Heard::Message(text)),
            Err(Missed::Some) => hearing.tell(Heard::Gap),
            Err(Missed::Rest) => return "the connection was closed".to_owned(),
        }
    }
}
