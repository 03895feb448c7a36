//! How the probes of each master ended, and what that means for readiness: an acquire must have succeeded within the last
//! ten seconds, and Redis must allow all that locks need, which is checked at each new connection and once a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::warnings::{Finding, Warning};
use crate::lock::{Checks, ProbeFailure, Probed, Rights};
use crate::redis::{RedisFailure, Server};

/// Between two probes of a master.
const INTERVAL: Duration = Duration::from_secs(5);
/// Between a probe that was not sent and the next.
const UNSENT_PAUSE: Duration = Duration::from_millis(250);
/// Between two checks of the rights on one connection, while all are granted.
const RIGHTS_INTERVAL: Duration = Duration::from_secs(60);
/// How long a probe that succeeded vouches for the acquires after it: a later one without an answer is no verdict yet.
const VOUCHES: Duration = Duration::from_secs(10);

/// What is known of each master, by its address.
#[derive(Default)]
pub struct Probes(BTreeMap<String, Master>);

#[derive(Default)]
struct Master {
    not_before: Option<Instant>,
    /// When the probe under way began, or when the server answered again during it.
    begun: Option<Instant>,
    succeeded: Option<Instant>,
    /// Why the latest probe failed.
    failure: Option<ProbeFailure>,
    /// On which connection its rights were checked, and when.
    asked: Option<(u64, Instant)>,
    /// A right that it refuses and that locks can do without.
    refuses: Option<String>,
    /// Whether the server answers anything. Its silence is a finding of [`super::Readiness`].
    answers: bool,
}

impl Probes {
    /// Takes the masters that there are; returns those that are due for a probe, each with a shard of its own and with what
    /// to check.
    pub fn due(&mut self, servers: Vec<Server>, now: Instant) -> Vec<(String, usize, Checks)> {
        // A master that has gone is kept only until the probe under way has ended.
        self.0.retain(|place, probed| probed.begun.is_some() || servers.iter().any(|server| server.place == *place));
        let mut due = Vec::new();
        for Server { place, answers, connection, is_in_doubt, first } in servers {
            // A master of a cluster that has none of the locks has nothing to be probed.
            let Some(first) = first else {
                self.0.remove(&place);
                continue;
            };
            let probed = self.0.entry(place.clone()).or_default();
            if answers.is_ok() && !probed.answers {
                probed.answers_again(now);
            }
            probed.answers = answers.is_ok();
            let rests = probed.not_before.is_some_and(|at| now < at);
            if probed.answers && probed.begun.is_none() && !rests {
                (probed.not_before, probed.begun) = (Some(now + INTERVAL), Some(now));
                due.push((place, first, probed.checks(connection, is_in_doubt, now)));
            }
        }
        due
    }

    /// Records how a probe ended.
    pub fn ended(&mut self, place: &str, outcome: Result<Probed, ProbeFailure>, now: Instant) {
        let Some(probed) = self.0.get_mut(place) else { return };
        probed.begun = None;
        match outcome {
            Ok(Probed { rights }) => {
                (probed.succeeded, probed.failure) = (Some(now), None);
                if let Some(Rights { refused }) = rights {
                    probed.refuses = refused;
                }
            }
            Err(failure) => {
                // The rights were not learned, or may change with what failed.
                probed.asked = None;
                // It cost nothing, so that the next one may follow.
                if matches!(failure.failure, RedisFailure::NotSent(_)) {
                    probed.not_before = Some(now + UNSENT_PAUSE);
                }
                probed.failure = Some(failure);
            }
        }
    }

    /// A right that a master refuses and that locks can do without.
    pub fn refused(&self) -> Option<String> {
        self.0.values().filter(|probed| probed.answers).find_map(|probed| probed.refuses.clone())
    }

    /// Of each master that answers, by its address: why no lock can be granted there, if so. A master without a recent
    /// verdict is left out.
    pub fn findings(&self, now: Instant) -> Vec<(String, Option<Finding>)> {
        let answer = self.0.iter().filter(|(_, probed)| probed.answers && probed.is_known(now));
        answer.map(|(place, probed)| (place.clone(), probed.obstacle(now))).collect()
    }
}

impl Master {
    /// What a probe that begins now is to check.
    fn checks(&mut self, connection: u64, is_in_doubt: bool, now: Instant) -> Checks {
        let is_fresh =
            |(on, at): &(u64, Instant)| *on == connection && now.saturating_duration_since(*at) < RIGHTS_INTERVAL;
        let is_in_doubt = is_in_doubt || self.refuses.is_some();
        if !is_in_doubt && self.asked.as_ref().is_some_and(is_fresh) {
            return Checks::Lock;
        }
        self.asked = Some((connection, now));
        Checks::LockAndRights
    }

    /// Called after a silence: a probe that was not answered during it says nothing of now.
    fn answers_again(&mut self, now: Instant) {
        self.failure = self.failure.take().filter(is_a_verdict);
        self.begun = self.begun.map(|_| now);
        self.not_before = None;
    }

    fn is_known(&self, now: Instant) -> bool {
        self.vouches(now) || self.failure.is_some() || self.is_overdue(now)
    }

    fn vouches(&self, now: Instant) -> bool {
        self.succeeded.is_some_and(|at| now.saturating_duration_since(at) <= VOUCHES)
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.begun.is_some_and(|at| now.saturating_duration_since(at) > VOUCHES)
    }

    fn obstacle(&self, now: Instant) -> Option<Finding> {
        match &self.failure {
            Some(failure) if !self.vouches(now) || is_a_verdict(failure) => Some(Finding::of_a_probe(failure)),
            _ if self.vouches(now) => None,
            _ => Some(Finding::blocking(Warning::Probe, "a probe fails: no reply within 10 s")),
        }
    }
}

/// Whether an acquire definitely fails now. A missing answer is no proof: only that one may have been lost.
fn is_a_verdict(ProbeFailure { failure, .. }: &ProbeFailure) -> bool {
    let is_silence = matches!(failure, RedisFailure::NoAnswer(_) | RedisFailure::NotSent(_) | RedisFailure::Late);
    !is_silence && !failure.is_elsewhere()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(answers: Result<(), String>) -> Server {
        Server { place: "a:1".to_owned(), answers, connection: 1, is_in_doubt: false, first: Some(7) }
    }

    fn failed(failure: RedisFailure) -> Result<Probed, ProbeFailure> {
        Err(ProbeFailure { of: "acquire", failure })
    }

    fn verdict(probes: &Probes, now: Instant) -> Option<Finding> {
        probes.findings(now).remove(0).1
    }

    #[test]
    fn a_master_is_probed_once_in_five_seconds_and_only_while_it_answers() {
        let (mut probes, begun) = (Probes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs_f64(seconds);
        assert_eq!(probes.due(vec![server(Err("silent".to_owned()))], begun), []);
        assert_eq!(probes.due(vec![server(Ok(()))], begun), [("a:1".to_owned(), 7, Checks::LockAndRights)]);
        probes.ended("a:1", failed(RedisFailure::Refused("OOM".to_owned())), at(0.1));
        assert_eq!(probes.due(vec![server(Ok(()))], at(4.9)), []);
        assert_eq!(probes.due(vec![server(Ok(()))], at(5.0)).len(), 1);
        assert_eq!(probes.due(vec![server(Ok(()))], at(11.0)), [], "one at a time");
        probes.ended("a:1", failed(RedisFailure::NotSent("broken".to_owned())), at(11.0));
        assert_eq!(probes.due(vec![server(Ok(()))], at(11.3)).len(), 1, "what was not sent cost nothing");
    }

    #[test]
    fn a_refusal_counts_at_once_and_a_silence_when_no_success_is_ten_seconds_old() {
        let (mut probes, begun) = (Probes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        probes.due(vec![server(Ok(()))], begun);
        assert_eq!(probes.findings(begun), []);
        probes.ended("a:1", Ok(Probed::default()), begun);
        assert_eq!(verdict(&probes, begun), None);
        probes.due(vec![server(Ok(()))], at(5));
        probes.ended("a:1", failed(RedisFailure::NoAnswer("a second".to_owned())), at(6));
        assert_eq!(verdict(&probes, at(10)), None);
        assert!(verdict(&probes, at(11)).is_some_and(|finding| finding.blocks));
        probes.due(vec![server(Ok(()))], at(12));
        probes.ended("a:1", Ok(Probed::default()), at(12));
        assert_eq!(verdict(&probes, at(12)), None);
        probes.due(vec![server(Ok(()))], at(17));
        assert_eq!(verdict(&probes, at(22)), None);
        assert_eq!(probes.findings(at(23)), [], "the answer may be about to come");
        assert!(verdict(&probes, at(28)).is_some(), "it does not come");
        probes.ended("a:1", failed(RedisFailure::Refused("OOM command not allowed".to_owned())), at(18));
        assert_eq!(verdict(&probes, at(18)).map(|finding| finding.warning), Some(Warning::Memory));
        probes.due(vec![server(Err("cannot connect".to_owned()))], at(18));
        assert_eq!(probes.findings(at(18)), [], "that is told elsewhere");
    }

    #[test]
    fn what_was_not_answered_in_a_silence_is_no_finding_behind_it() {
        let (mut probes, begun) = (Probes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let silent = || vec![server(Err("silent".to_owned()))];
        let no_answer = || failed(RedisFailure::NoAnswer("a second".to_owned()));
        probes.due(vec![server(Ok(()))], begun);
        probes.ended("a:1", Ok(Probed::default()), begun);
        for ends_at in [16, 36] {
            probes.due(vec![server(Ok(()))], at(ends_at - 11));
            probes.due(silent(), at(ends_at - 10));
            if ends_at == 16 {
                probes.ended("a:1", no_answer(), at(ends_at - 9));
            }
            let again = probes.due(vec![server(Ok(()))], at(ends_at));
            assert_eq!(again.len(), usize::from(ends_at == 16), "at once, unless one is under way");
            assert_eq!(probes.findings(at(ends_at)), [], "nothing has been tried since it answers");
            probes.ended("a:1", Ok(Probed::default()), at(ends_at));
            assert_eq!(verdict(&probes, at(ends_at)), None);
        }
        probes.due(silent(), at(40));
        let refused = RedisFailure::Refused("OOM command not allowed".to_owned());
        probes.ended("a:1", failed(refused), at(40));
        probes.due(vec![server(Ok(()))], at(50));
        assert!(verdict(&probes, at(50)).is_some(), "what was refused stays so until it is done");
    }

    #[test]
    fn the_rights_are_asked_for_on_each_new_connection_once_a_minute_and_when_one_is_refused() {
        let (mut probes, begun) = (Probes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut probed = |seconds, connection, is_in_doubt, outcome: Result<Probed, ProbeFailure>| {
            let server = Server { connection, is_in_doubt, ..server(Ok(())) };
            let checks = probes.due(vec![server], at(seconds)).remove(0).2;
            probes.ended("a:1", outcome, at(seconds));
            checks == Checks::LockAndRights
        };
        let fine = || Ok(Probed::default());
        assert!(probed(0, 1, false, fine()));
        assert!(!probed(5, 1, false, fine()) && !probed(55, 1, false, fine()));
        assert!(probed(60, 1, false, fine()), "a minute later");
        assert!(!probed(65, 1, false, fine()));
        assert!(probed(70, 2, false, fine()), "on a new connection");
        assert!(!probed(75, 2, false, fine()));
        assert!(probed(80, 2, true, fine()), "in doubt");
        let lacks = Rights { refused: Some("a key".to_owned()) };
        assert!(!probed(85, 2, false, Ok(Probed { rights: Some(lacks) })));
        assert!(probed(90, 2, false, Ok(Probed { rights: Some(Rights::default()) })), "where one is refused");
        assert!(!probed(95, 2, false, failed(RedisFailure::NoAnswer("a second".to_owned()))));
        assert!(probed(100, 2, false, fine()), "behind a probe that failed");
    }

    #[test]
    fn a_master_without_any_lock_is_not_probed() {
        let mut probes = Probes::default();
        let empty = Server { first: None, ..server(Ok(())) };
        assert_eq!(probes.due(vec![empty], Instant::now()), []);
        assert_eq!(probes.findings(Instant::now()), []);
    }
}
