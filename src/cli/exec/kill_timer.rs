//! When the command must be told to stop, and when it must be dead: pure arithmetic on a clock that it is handed.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Longest time between two beats, so that a machine that was suspended is soon seen to have been.
const LONGEST_BEAT: Duration = Duration::from_secs(1);
/// Longest time between SIGKILL and the end of the lease.
const LONGEST_MARGIN: Duration = Duration::from_secs(2);
/// Longest time between SIGTERM and SIGKILL.
const LONGEST_GRACE: Duration = Duration::from_secs(10);
/// How long it has once the lock may be another owner's.
const GRACE_WHEN_LOST: Duration = Duration::from_secs(1);

/// Time since the machine started, the time it was suspended included: a lease goes on ending while a laptop sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    pub fn now() -> Moment {
        let now = clock_gettime(ClockId::Boottime);
        Moment(Duration::try_from(now).expect("the machine started in the past"))
    }

    fn until(self, later: Moment) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// A moment before whatever is heard now was said, even if this process slept in between: the beat before the last.
///
/// A process that was frozen finds old lines in the socket and must not take them for new. One that beats regularly knows
/// that what is heard now came after the beat before the last: the last one may be the first thing done after a thaw.
#[derive(Debug)]
pub struct Heartbeat {
    before_last: Moment,
    last: Moment,
    every: Duration,
}

impl Heartbeat {
    /// Starts before the request is sent.
    pub fn start(now: Moment, ttl: Duration) -> Heartbeat {
        Heartbeat { before_last: now, last: now, every: (ttl / 20).min(LONGEST_BEAT) }
    }

    pub fn every(&self) -> Duration {
        self.every
    }

    pub fn beat(&mut self, now: Moment) {
        if self.last.until(now) >= self.every {
            self.before_last = self.last;
            self.last = now;
        }
    }

    /// What is heard now was not said before this.
    pub fn heard(&self) -> Moment {
        self.before_last
    }
}

/// What is to be done to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Terminate,
    Kill,
}

/// Burns towards the end of the lease; each renewal makes it longer.
#[derive(Debug)]
pub struct KillTimer {
    /// SIGKILL is sent so much before the lease ends, for what the kernel and a busy machine need.
    margin: Duration,
    grace: Duration,
    lease_end: Moment,
    /// Dead by then, however often the lease is renewed.
    latest: Option<Moment>,
    stopping: bool,
    done: Option<Act>,
}

impl KillTimer {
    /// A lease that was told to be valid for `valid_for`, at `said` or later.
    pub fn new(said: Moment, valid_for: Duration, ttl: Duration) -> KillTimer {
        KillTimer {
            margin: (ttl / 20).min(LONGEST_MARGIN),
            grace: (ttl / 5).min(LONGEST_GRACE),
            lease_end: said + valid_for,
            latest: None,
            stopping: false,
            done: None,
        }
    }

    pub fn renewed(&mut self, said: Moment, valid_for: Duration) {
        self.lease_end = self.lease_end.max(said + valid_for);
    }

    /// The lease ends `grace` after `said`, whatever happens.
    pub fn ends_within(&mut self, said: Moment, grace: Duration) {
        self.limit(said + grace.saturating_sub(self.margin));
    }

    /// Stops the command now.
    pub fn stop(&mut self, now: Moment) {
        self.stopping = true;
        self.limit(now + self.grace);
    }

    /// Stops the command of a lock that may be another owner's.
    pub fn lost(&mut self, now: Moment) {
        self.stop(now);
        self.limit(now + GRACE_WHEN_LOST);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// How long until [`KillTimer::due`] has something to do.
    pub fn left(&self, now: Moment) -> Duration {
        match self.done {
            None if self.stopping => Duration::ZERO,
            None => now.until(self.terminate_at()),
            Some(Act::Terminate) => now.until(self.kill_at()),
            Some(Act::Kill) => Duration::MAX,
        }
    }

    /// What is due now, each act once.
    pub fn due(&mut self, now: Moment) -> Option<Act> {
        let act = match self.done {
            Some(Act::Kill) => return None,
            _ if now >= self.kill_at() => Act::Kill,
            None if self.stopping || now >= self.terminate_at() => Act::Terminate,
            _ => return None,
        };
        if !self.stopping {
            // A renewal that comes now changes nothing: the command has been told.
            self.stop(now);
        }
        self.done = Some(act);
        Some(act)
    }

    fn kill_at(&self) -> Moment {
        let by_lease = Moment(self.lease_end.0.saturating_sub(self.margin));
        self.latest.map_or(by_lease, |latest| latest.min(by_lease))
    }

    fn terminate_at(&self) -> Moment {
        Moment(self.kill_at().0.saturating_sub(self.grace))
    }

    fn limit(&mut self, latest: Moment) {
        self.latest = Some(self.latest.map_or(latest, |before| before.min(latest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(20);

    fn at(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    fn kill_timer() -> KillTimer {
        KillTimer::new(at(0), TTL, TTL)
    }

    #[test]
    fn sigterm_comes_a_grace_before_sigkill_and_both_before_the_lease_ends() {
        let mut kill_timer = kill_timer();
        assert_eq!(kill_timer.left(at(0)), Duration::from_secs(15));
        assert_eq!(kill_timer.due(at(14_999)), None);
        assert_eq!(kill_timer.due(at(15_000)), Some(Act::Terminate));
        assert_eq!(kill_timer.due(at(15_001)), None);
        assert_eq!(kill_timer.left(at(15_000)), Duration::from_secs(4));
        assert_eq!(kill_timer.due(at(19_000)), Some(Act::Kill));
        assert_eq!(kill_timer.due(at(30_000)), None);
    }

    #[test]
    fn a_renewal_makes_the_fuse_longer_until_the_command_was_told() {
        let mut kill_timer = kill_timer();
        kill_timer.renewed(at(7000), TTL);
        assert_eq!(kill_timer.due(at(21_999)), None);
        assert_eq!(kill_timer.due(at(22_000)), Some(Act::Terminate));
        kill_timer.renewed(at(22_000), TTL);
        assert_eq!(kill_timer.due(at(26_000)), Some(Act::Kill));
    }

    #[test]
    fn after_a_long_freeze_there_is_no_time_for_sigterm() {
        assert_eq!(kill_timer().due(at(19_001)), Some(Act::Kill));
    }

    #[test]
    fn a_lost_lock_stops_the_command_at_once_and_kills_it_within_a_second() {
        let mut kill_timer = kill_timer();
        kill_timer.lost(at(1000));
        assert_eq!(kill_timer.left(at(1000)), Duration::ZERO);
        assert_eq!(kill_timer.due(at(1000)), Some(Act::Terminate));
        kill_timer.renewed(at(1500), TTL);
        assert_eq!(kill_timer.due(at(2000)), Some(Act::Kill));
    }

    #[test]
    fn a_stop_for_another_reason_ends_after_the_grace_however_often_it_is_renewed() {
        let mut kill_timer = kill_timer();
        kill_timer.stop(at(12_000));
        assert_eq!(kill_timer.due(at(12_000)), Some(Act::Terminate));
        kill_timer.renewed(at(13_000), TTL);
        assert_eq!(kill_timer.left(at(13_000)), Duration::from_secs(3));
        assert_eq!(kill_timer.due(at(16_000)), Some(Act::Kill));
    }

    #[test]
    fn a_draining_sidecar_ends_the_lease_however_often_it_renews() {
        let mut kill_timer = kill_timer();
        kill_timer.ends_within(at(1000), Duration::from_secs(10));
        kill_timer.renewed(at(7000), TTL);
        assert_eq!(kill_timer.due(at(5999)), None);
        assert_eq!(kill_timer.due(at(6000)), Some(Act::Terminate));
        assert_eq!(kill_timer.due(at(10_000)), Some(Act::Kill));
    }

    #[test]
    fn what_is_heard_after_a_freeze_counts_from_before_it() {
        let mut heartbeat = Heartbeat::start(at(0), TTL);
        for ms in [500, 1000, 2000, 3000] {
            heartbeat.beat(at(ms));
        }
        assert_eq!(heartbeat.heard(), at(2000));
        heartbeat.beat(at(60_000));
        assert_eq!(heartbeat.heard(), at(3000), "old lines may be read now");
        heartbeat.beat(at(61_000));
        assert_eq!(heartbeat.heard(), at(60_000));
    }
}
