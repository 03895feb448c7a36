//! Whether this sidecar may stand in an election now, and what else keeps it from it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::drain::Drain;
use crate::timer::sleep_until;

/// Why it stands no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The process is being stopped.
    Drain,
    /// The app is not healthy, or has not asked for too long.
    Unhealthy,
    /// It was asked to stay away for a while.
    Absent,
}

/// How often the app asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asks {
    pub last: Option<Instant>,
    /// Streams of events that are open.
    pub listeners: usize,
}

impl Asks {
    /// Until when it counts as asking; `None`: for as long as it listens.
    fn until(&self, span: Duration, now: Instant) -> Option<Instant> {
        (self.listeners == 0).then(|| self.last.map_or(now, |last| last + span))
    }
}

/// What its standing depends on.
pub struct Conditions {
    pub drain: Drain,
    pub absent_until: Option<Instant>,
    /// Whether the app is healthy, where that is asked.
    pub healthy: Option<watch::Receiver<bool>>,
    /// How often the app must ask, where it must.
    pub asked: Option<(Duration, watch::Receiver<Asks>)>,
}

impl Conditions {
    pub fn obstacle(&self) -> Option<Obstacle> {
        let now = Instant::now();
        if self.drain.has_begun() {
            return Some(Obstacle::Drain);
        }
        if self.absent_until.is_some_and(|until| now < until) {
            return Some(Obstacle::Absent);
        }
        let is_healthy = self.healthy.as_ref().is_none_or(|healthy| *healthy.borrow());
        let is_asked = self.lapse(now).is_none_or(|lapse| now < lapse);
        (!is_healthy || !is_asked).then_some(Obstacle::Unhealthy)
    }

    /// Ends when it may not stand.
    pub async fn hindered(&mut self) -> Obstacle {
        loop {
            match self.obstacle() {
                Some(obstacle) => return obstacle,
                None => self.changed().await,
            }
        }
    }

    /// Ends when something may have changed.
    pub async fn changed(&mut self) {
        let now = Instant::now();
        let absent = self.absent_until.filter(|until| now < *until);
        let due = [absent, self.lapse(now).filter(|lapse| now < *lapse)].into_iter().flatten().min();
        let draining = self.drain.has_begun();
        tokio::select! {
            () = self.drain.begun(), if !draining => {}
            () = changes(self.healthy.as_mut()) => {}
            () = changes(self.asked.as_mut().map(|(_, asks)| asks)) => {}
            () = sleep_until(due) => {}
        }
    }

    /// When the app will not have asked for too long; `None`: never.
    fn lapse(&self, now: Instant) -> Option<Instant> {
        let (span, asks) = self.asked.as_ref()?;
        asks.borrow().until(*span, now)
    }
}

async fn changes<T>(receiver: Option<&mut watch::Receiver<T>>) {
    let is_over = match receiver {
        Some(receiver) => receiver.changed().await.is_err(),
        None => true,
    };
    if is_over {
        std::future::pending().await
    }
}
