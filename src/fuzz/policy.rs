//! What holds of every policy file.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Limits, Policy, Subject, UserFacts, Verb};
use crate::fuzz::{parts, text};

/// `file`, `claim`, `key`: a file is read or each of its mistakes names a line; a line more takes nothing away, and
/// what a caller may do with one key is no matter of another caller's claims.
pub fn policy(data: &[u8]) {
    let [file, claim, key] = parts(data);
    let (claim, key) = (text(claim), text(key));
    let policy = match Policy::parse(file) {
        Ok(policy) => policy,
        Err(mistakes) => {
            assert!(["line ", "no rule", "not UTF-8"].iter().any(|told| mistakes.contains(told)), "{mistakes}");
            return;
        }
    };
    let claims = Map::from_iter([("team".to_owned(), Value::from(claim.as_str()))]);
    let user = Subject::User(UserFacts { sub: Some(claim.clone()), claims: Arc::new(claims) });
    let subjects = [user, Subject::Token("ci".into()), Subject::Anonymous];
    let more = [file, b"\ntoken:other lock,force-release *\nuser:* lock {claim:team}/*"].concat();
    let more = Policy::parse(&more).expect("both are good, unless the last line of the one goes on in the other");
    for subject in &subjects {
        let _: Limits = policy.limits(subject);
        for verb in Verb::ALL {
            let allowed = policy.allows(subject, verb, &key);
            assert_eq!(policy.decide(subject, verb, &key).is_some(), allowed);
            assert!(!allowed || policy.allows_somewhere(subject, verb), "{subject:?} {verb:?} {key}");
            assert!(!policy.allows_everywhere(subject, verb) || allowed, "{subject:?} {verb:?} {key}");
            // The built-in line goes with the first that names its verb.
            if verb != Verb::ForceRelease {
                assert!(!allowed || more.allows(subject, verb, &key), "{subject:?} {verb:?} {key}");
            }
        }
    }
    // No team reaches into the keys of another.
    let team = Policy::parse(b"user:* lock {claim:team}/*").expect("a good line");
    let own = key.split_once('/').is_some_and(|(team, _)| team == claim) && !claim.is_empty();
    assert_eq!(team.allows(&subjects[0], Verb::Lock, &key), own, "{claim} {key}");
}
