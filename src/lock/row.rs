//! One row that a script returned, read from left to right.

use bytes::Bytes;

use super::Token;
use super::holder::Other;
use super::request::Why;
use super::rows::Stored;
use crate::redis::{RedisFailure, Reply, Script};

/// One row that a script returned: a word, and what belongs to it.
pub(super) struct Row {
    word: Bytes,
    rest: std::vec::IntoIter<Reply>,
}

impl Row {
    pub(super) fn of(reply: Reply) -> Result<Row, RedisFailure> {
        let mut rest = reply.into_row()?.into_iter();
        let word = rest.next().ok_or_else(|| RedisFailure::Nonsense("an empty row".to_owned()))?.into_text()?;
        Ok(Row { word, rest })
    }

    /// A cheap handle on the word, so that a row can be matched while its rest is read.
    pub(super) fn word(&self) -> Bytes {
        self.word.clone()
    }

    fn next(&mut self) -> Result<Reply, RedisFailure> {
        self.rest.next().ok_or_else(|| RedisFailure::Nonsense(format!("a short row {:?}", self.word)))
    }

    pub(super) fn text(&mut self) -> Result<Bytes, RedisFailure> {
        self.next()?.into_text()
    }

    pub(super) fn string(&mut self) -> Result<String, RedisFailure> {
        Ok(String::from_utf8_lossy(&self.text()?).into_owned())
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Result<N, RedisFailure> {
        self.next()?.number()
    }

    pub(super) fn token(&mut self) -> Result<Token, RedisFailure> {
        let number = self.number()?;
        Token::new(number).ok_or_else(|| RedisFailure::Nonsense(format!("the token {number}")))
    }

    pub(super) fn found(&mut self) -> Result<Stored, RedisFailure> {
        Ok(Stored { text: self.text()?, valid_until_ms: self.number()?, left_ms: self.number()? })
    }

    /// Why a key that leases share was not granted.
    pub(super) fn why(&mut self) -> Result<Why, RedisFailure> {
        let word = self.text()?;
        Ok(match word.as_ref() {
            b"mode" => Why::Shared,
            b"own" => Why::Own,
            b"full" => Why::Full,
            b"queue" => Why::Queue,
            _ => return Err(RedisFailure::Nonsense(format!("a row {:?} for the reason {word:?}", self.word))),
        })
    }

    /// The rows that are left of it.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = Result<Row, RedisFailure>> {
        self.rest.by_ref().map(Row::of)
    }

    pub(super) fn row(&mut self) -> Result<Row, RedisFailure> {
        Row::of(self.next()?)
    }

    /// What is left of it.
    pub(super) fn texts(&mut self) -> Result<Vec<Bytes>, RedisFailure> {
        self.rest.by_ref().map(Reply::into_text).collect()
    }

    /// Leases, as many as are left.
    pub(super) fn all_found(&mut self) -> Result<Vec<Stored>, RedisFailure> {
        let mut found = Vec::with_capacity(self.rest.len() / 3);
        while self.rest.len() > 0 {
            found.push(self.found()?);
        }
        Ok(found)
    }

    /// Tokens of leases, each with what is left of it, milliseconds: a space between two.
    pub(super) fn others(&mut self) -> Result<Vec<Other>, RedisFailure> {
        let text = self.string()?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let other = |pair: &[&str]| {
            let [token, left_ms] = pair else { return None };
            Some(Other { token: Token::new(token.parse().ok()?)?, valid_for_ms: left_ms.parse().ok()? })
        };
        let others: Option<Vec<Other>> = words.chunks(2).map(other).collect();
        others.ok_or_else(|| RedisFailure::Nonsense(format!("a row {:?} whose tokens are none", self.word)))
    }

    pub(super) fn unknown(&self, script: &Script) -> RedisFailure {
        RedisFailure::Nonsense(format!("{}: a row {:?}", script.name, self.word))
    }
}
