//! Promises that count only once replicas have them: the script and a WAIT travel together, on one connection, so that
//! what is waited for is what the script wrote.

use super::connection::Command;
use super::node::Node;
use super::{Call, RedisFailure, Reply, Script};
use crate::redis::operation::RedisOperation;

/// Prefix of an error that is made here: the script ran, and too few replicas acknowledged it.
const UNREPLICATED: &str = "UNREPLICATED";

impl Node {
    /// Runs a script and WAIT; rows that grant or extend a lease become an error where fewer than `min_replicas` acknowledged.
    pub(super) async fn evalsha_on_replicas(
        &self,
        operations: &[RedisOperation],
        script: &Script,
        call: Call,
    ) -> Result<Reply, RedisFailure> {
        let answers = self.call(operations, self.script_and_wait(script, call)).await?.into_rows()?;
        let Ok([reply, acknowledged]) = <[Reply; 2]>::try_from(answers) else {
            return Err(RedisFailure::Nonsense("a pipeline of two commands has two answers".to_owned()));
        };
        let (wanted, acknowledged) = (self.config.min_replicas, acknowledged.number::<u32>().unwrap_or_default());
        if acknowledged >= wanted {
            return Ok(reply);
        }
        let why = format!("{acknowledged} of {wanted} replicas acknowledged");
        let short = RedisFailure::Unreplicated { word: String::new(), why: why.clone() };
        operations.iter().for_each(|operation| self.metrics.redis_error(operation, &short));
        let reply = match reply {
            Reply::Rows(rows) if script.is_of_several => {
                Reply::Rows(rows.into_iter().map(|row| withheld(row, script.promises, &why)).collect())
            }
            reply => withheld(reply, script.promises, &why),
        };
        match reply.refusal() {
            Some(failure) => Err(failure),
            None => Ok(reply),
        }
    }

    fn script_and_wait<'a>(&'a self, script: &'a Script, Call { keys, args, .. }: Call) -> Command<'a> {
        let enough = (self.config.min_replicas, self.config.replica_timeout);
        self.connection
            .evalsha_and_wait(&script.sha1, keys, args.pack(), enough, |failure| self.status.refused(&failure))
    }
}

/// A row, or where it promises something why that is withheld, as an error: [`of_an_error`] reads it.
fn withheld(row: Reply, promises: &[&str], why: &str) -> Reply {
    let word = row.word().and_then(|word| promises.iter().find(|promise| word == promise.as_bytes()));
    match word {
        Some(word) => {
            Reply::Rows(vec![Reply::Text("error".into()), Reply::Text(format!("{UNREPLICATED} {word} {why}").into())])
        }
        None => row,
    }
}

/// The failure that a withheld promise is.
pub(super) fn of_an_error(text: &str) -> Option<RedisFailure> {
    let (word, why) = text.strip_prefix(UNREPLICATED)?.trim_start().split_once(' ')?;
    Some(RedisFailure::Unreplicated { word: word.to_owned(), why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(words: &[&str]) -> Reply {
        Reply::Rows(words.iter().map(|word| Reply::Text((*word).to_owned().into())).collect())
    }

    #[test]
    fn promises_are_withheld_and_other_rows_are_not() {
        let promises = ["granted", "renewed"];
        for kept in [row(&["held", "granted"]), Reply::Text("released".into()), Reply::Text("granteds 7".into())] {
            assert_eq!(withheld(kept.clone(), &promises, "why"), kept);
        }
        for promised in [row(&["granted", "7"]), Reply::Text("granted 7 8 9".into())] {
            let refused = withheld(promised, &promises, "0 of 1").refusal();
            assert!(
                matches!(&refused, Some(RedisFailure::Unreplicated { word, why }) if word == "granted" && why == "0 of 1")
            );
            assert!(refused.is_some_and(|failure| failure.may_have_happened()));
        }
    }
}
