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

/// Who asks, or listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    App,
    /// The command line, or a page in a browser: it says nothing of the app.
    Other,
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
    pub fn obstacle(&self, now: Instant) -> Option<Obstacle> {
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
            let now = Instant::now();
            match self.obstacle(now) {
                Some(obstacle) => return obstacle,
                None => self.changed(now).await,
            }
        }
    }

    /// Ends when something may have changed since `now`, for which it was asked for an obstacle: with one time for both,
    /// nothing ends between the two.
    pub async fn changed(&mut self, now: Instant) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absence_that_ends_as_it_is_looked_at_is_noticed() {
        let mut seen = 0;
        for nanos in (0..20_000_u64).cycle().step_by(7).take(500) {
            let (_keep, drain) = Drain::channel();
            let absent_until = Some(Instant::now() + Duration::from_nanos(nanos % 2_000));
            let mut conditions = Conditions { drain, absent_until, healthy: None, asked: None };
            let now = Instant::now();
            if conditions.obstacle(now) == Some(Obstacle::Absent) {
                seen += 1;
                let noticed = tokio::time::timeout(Duration::from_millis(300), conditions.changed(now)).await;
                assert!(noticed.is_ok(), "absent for {} ns: never noticed that it is over, try {seen}", nanos % 2_000);
            }
        }
        assert!(seen > 0);
    }
}
