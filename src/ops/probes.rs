//! What the probes of each master came to, and what that means for readiness: an acquire must have been done within the
//! last ten seconds, and Redis must allow all that locks need, which it is asked at each new connection and once a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::warning::{Finding, Warning};
use crate::lock::{Checks, Probed, Rights};
use crate::redis::{RedisFailure, Server};

/// Between two probes of a master.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same behind one that was not sent.
const UNSENT_PAUSE: Duration = Duration::from_millis(250);
/// Between two questions for the rights on one connection, while all are there.
const RIGHTS_INTERVAL: Duration = Duration::from_secs(60);
/// For so long a probe that succeeded vouches for the acquires after it: one that is lost is no verdict yet.
const VOUCHES: Duration = Duration::from_secs(10);

/// What is known of each master, by its place.
#[derive(Default)]
pub struct Probes(BTreeMap<String, Master>);

#[derive(Default)]
struct Master {
    not_before: Option<Instant>,
    /// Since when one is under way, or since when the server answers again while it is.
    begun: Option<Instant>,
    succeeded: Option<Instant>,
    /// Why the last one failed: what Redis said, or that it said nothing.
    failure: Option<RedisFailure>,
    /// On which connection it was asked for its rights, and when.
    asked: Option<(u64, Instant)>,
    /// What it refuses that locks can do without.
    refuses: Option<String>,
    /// Whether the server answers anything. That it does not is told elsewhere.
    answers: bool,
}

impl Probes {
    /// Takes in which masters there are; those that are due for a probe, the shard that it is to take, and what it is to
    /// find out.
    pub fn due(&mut self, servers: Vec<Server>, now: Instant) -> Vec<(String, usize, Checks)> {
        // Only the answer to a probe that is under way is still worth something of a master that has gone.
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

    /// Takes in how a probe ended.
    pub fn ended(&mut self, place: &str, outcome: Result<Probed, RedisFailure>, now: Instant) {
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
                // What was asked has no answer, or one that will change.
                probed.asked = None;
                // It cost nothing, so that the next one may follow.
                if matches!(failure, RedisFailure::NotSent(_)) {
                    probed.not_before = Some(now + UNSENT_PAUSE);
                }
                probed.failure = Some(failure);
            }
        }
    }

    /// What masters refuse that locks can do without.
    pub fn refused(&self) -> Option<String> {
        self.0.values().filter(|probed| probed.answers).find_map(|probed| probed.refuses.clone())
    }

    /// Why no lock can be granted, of each master that answers, by its place. One of which nothing is known yet, or nothing
    /// any more, is left out.
    pub fn findings(&self, now: Instant) -> Vec<(String, Option<Finding>)> {
        let answer = self.0.iter().filter(|(_, probed)| probed.answers && probed.is_known(now));
        answer.map(|(place, probed)| (place.clone(), probed.obstacle(now))).collect()
    }
}

impl Master {
    /// What a probe that begins now is to find out.
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

    /// After a silence that was told as such: what was not answered in it says nothing of now.
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

/// Whether an acquire surely fails now; without an answer, it may have been the only one.
fn is_a_verdict(failure: &RedisFailure) -> bool {
    let is_silence = matches!(failure, RedisFailure::NoAnswer(_) | RedisFailure::NotSent(_) | RedisFailure::Late);
    !is_silence && !failure.is_elsewhere()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(answers: Result<(), String>) -> Server {
        Server { place: "a:1".to_owned(), answers, connection: 1, is_in_doubt: false, first: Some(7) }
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
        probes.ended("a:1", Err(RedisFailure::Refused("OOM".to_owned())), at(0.1));
        assert_eq!(probes.due(vec![server(Ok(()))], at(4.9)), []);
        assert_eq!(probes.due(vec![server(Ok(()))], at(5.0)).len(), 1);
        assert_eq!(probes.due(vec![server(Ok(()))], at(11.0)), [], "one at a time");
        probes.ended("a:1", Err(RedisFailure::NotSent("broken".to_owned())), at(11.0));
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
        probes.ended("a:1", Err(RedisFailure::NoAnswer("a second".to_owned())), at(6));
        assert_eq!(verdict(&probes, at(10)), None);
        assert!(verdict(&probes, at(11)).is_some_and(|finding| finding.blocks));
        probes.due(vec![server(Ok(()))], at(12));
        probes.ended("a:1", Ok(Probed::default()), at(12));
        assert_eq!(verdict(&probes, at(12)), None);
        probes.due(vec![server(Ok(()))], at(17));
        assert_eq!(verdict(&probes, at(22)), None);
        assert_eq!(probes.findings(at(23)), [], "the answer may be about to come");
        assert!(verdict(&probes, at(28)).is_some(), "it does not come");
        probes.ended("a:1", Err(RedisFailure::Refused("OOM command not allowed".to_owned())), at(18));
        assert_eq!(verdict(&probes, at(18)).map(|finding| finding.warning), Some(Warning::Memory));
        probes.due(vec![server(Err("cannot connect".to_owned()))], at(18));
        assert_eq!(probes.findings(at(18)), [], "that is told elsewhere");
    }

    #[test]
    fn what_was_not_answered_in_a_silence_is_no_finding_behind_it() {
        let (mut probes, begun) = (Probes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let silent = || vec![server(Err("silent".to_owned()))];
        let no_answer = || Err(RedisFailure::NoAnswer("a second".to_owned()));
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
        probes.ended("a:1", Err(refused), at(40));
        probes.due(vec![server(Ok(()))], at(50));
        assert!(verdict(&probes, at(50)).is_some(), "what was refused stays so until it is done");
    }

    #[test]
    fn the_rights_are_asked_for_on_each_new_connection_once_a_minute_and_when_one_is_refused() {
        let (mut probes, begun) = (Probes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut probed = |seconds, connection, is_in_doubt, outcome: Result<Probed, RedisFailure>| {
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
        assert!(!probed(95, 2, false, Err(RedisFailure::NoAnswer("a second".to_owned()))));
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
