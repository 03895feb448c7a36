//! From the texts of the flags to the elections that this sidecar takes part in.

use std::time::Duration;

use url::Url;

use super::{Check, DAY, YEAR, duration, given, host_name, millis, names, of_nothing};
use crate::config::flags::ElectionFlags;
use crate::config::{ElectionConfig, LockConfig};
use crate::election::{Condition, ElectionSettings};
use crate::lock::{Key, Ttl};
use crate::tls::Tls;

/// Shortest `--elect-ttl`.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest name of an election, as long as a label of a host name.
const LONGEST_NAME: usize = 63;
/// Longest name of a candidate, as of every owner.
const LONGEST_CANDIDATE: usize = 256;
/// What the app is to ask at least so often, instead of a URL that is asked.
const ASKED: &str = "asked:";

impl Check {
    pub fn elections(&mut self, flags: &ElectionFlags, locks: Option<&LockConfig>) -> Option<ElectionConfig> {
        let mut elections: Vec<ElectionSettings> = Vec::new();
        if let Some(text) = of_nothing(&flags.elect) {
            self.mistake("--elect", format!("`{text}` names no election"));
        }
        for text in names(&flags.elect) {
            let election = self.take("--elect", election(&text));
            let Some(election) = election else { continue };
            if let Some(other) = elections.iter().find(|other| other.name == election.name || other.key == election.key)
            {
                let what = if other.name == election.name { "the name" } else { "the lock" };
                let problem = format!("`{text}` has {what} of `{}`; expected another one", other.name);
                self.mistake("--elect", problem);
                continue;
            }
            elections.push(election);
        }
        let pod_name = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
        let candidate = given(&flags.elect_as).map(str::to_owned).or(pod_name).unwrap_or_else(host_name);
        if candidate.len() > LONGEST_CANDIDATE || candidate.chars().any(char::is_control) {
            let problem = format!("expected 1 to {LONGEST_CANDIDATE} bytes without control characters");
            self.mistake("--elect-as", problem);
        }
        // Where no election is configured, its default may be above a short --max-ttl.
        let max_ttl_ms = locks.filter(|_| !elections.is_empty()).map_or(millis(YEAR), |locks| locks.max_ttl_ms);
        let longest = Duration::from_millis(max_ttl_ms);
        let ttl = if longest < SHORTEST {
            self.mistake("--max-ttl", "an election needs 1s at least");
            None
        } else {
            self.duration("--elect-ttl", &flags.elect_ttl, SHORTEST, longest)
        };
        let condition = match given(&flags.elect_while) {
            Some(text) => self.take("--elect-while", condition(text)),
            None => Some(Condition::Always),
        };
        if elections.is_empty() && given(&flags.elect_while).is_some() {
            self.warnings.push("--elect-while has no effect without --elect".to_owned());
        }
        Some(ElectionConfig {
            elections,
            candidate,
            ttl: Ttl::from_ms(millis(ttl?), millis(YEAR))?,
            condition: condition?,
        })
    }
}

fn election(text: &str) -> Result<ElectionSettings, String> {
    let (name, key) = match text.split_once('=') {
        Some((name, key)) => (name, key.to_owned()),
        None => (text, format!("election:{text}")),
    };
    let is_name = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
    if !is_name {
        return Err(format!("`{name}`; expected a name of 1 to {LONGEST_NAME} characters of a-z, 0-9, `.` and `-`"));
    }
    let key = Key::parse(&key).map_err(|problem| format!("`{text}`: {problem}"))?;
    Ok(ElectionSettings { name: name.to_owned(), key })
}

fn condition(text: &str) -> Result<Condition, String> {
    if let Some(span) = text.strip_prefix(ASKED) {
        return duration(span, SHORTEST, DAY).map(Condition::Asked);
    }
    let expected = || {
        format!(
            "`{text}`; expected a URL such as http://127.0.0.1:8080/healthz, its host name in ASCII (xn--...), or asked:30s"
        )
    };
    let url = Url::parse(text).map_err(|_| expected())?;
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err(expected());
    }
    match url.scheme() {
        "http" => Ok(Condition::Healthy { url, tls: None }),
        "https" => {
            let tls = Tls::trusting(None).map_err(|problem| format!("`{text}`: {problem}"))?;
            Ok(Condition::Healthy { url, tls: Some(tls) })
        }
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_has_a_name_and_a_lock() {
        let of = |text: &str| election(text).map(|election| (election.name, election.key.as_str().to_owned())).ok();
        let expected = |name: &str, key: &str| Some((name.to_owned(), key.to_owned()));
        assert_eq!(of("jobs"), expected("jobs", "election:jobs"));
        assert_eq!(of("a.b-3=x/y=z"), expected("a.b-3", "x/y=z"));
        let longest = "a".repeat(LONGEST_NAME);
        assert!(of(&longest).is_some());
        for text in ["", "=k", "Jobs", "a_b", "a b", "a=", "ä", &"a".repeat(LONGEST_NAME + 1)] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn it_takes_part_while_a_url_answers_or_the_app_asks() {
        for text in ["http://127.0.0.1:8080/healthz", "http://[::1]/", "http://app"] {
            assert!(matches!(condition(text), Ok(Condition::Healthy { tls: None, .. })), "{text}");
        }
        assert!(matches!(condition("asked:30s"), Ok(Condition::Asked(span)) if span == Duration::from_secs(30)));
        for text in
            ["", "asked:", "asked:1ms", "asked:25h", "127.0.0.1:8080", "ftp://a", "http://", "http://u:p@a/", "x"]
        {
            let problem = condition(text).expect_err(text);
            assert!(problem.contains("expected"), "{text}: {problem}");
        }
    }
}
