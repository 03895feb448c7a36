//! Redis's answers.

use bytes::Bytes;

use super::RedisFailure;

/// One answer, or one part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Integer(i64),
    Text(Bytes),
    Rows(Vec<Reply>),
}

impl Reply {
    /// The parts of an array.
    pub fn into_rows(self) -> Result<Vec<Reply>, RedisFailure> {
        match self {
            Reply::Rows(rows) => Ok(rows),
            other => Err(other.unexpected("an array")),
        }
    }

    /// The parts of a script's row: of an array, or of a text of words.
    pub fn into_row(self) -> Result<Vec<Reply>, RedisFailure> {
        match self {
            Reply::Text(text) => {
                let words = text.split(|byte| *byte == b' ').map(|word| Reply::Text(text.slice_ref(word)));
                Ok(words.collect())
            }
            other => other.into_rows(),
        }
    }

    /// The word that a script's row begins with.
    pub(super) fn word(&self) -> Option<&[u8]> {
        match self {
            Reply::Text(text) => text.split(|byte| *byte == b' ').next(),
            Reply::Rows(row) => row.first().and_then(|word| match word {
                Reply::Text(word) => Some(word.as_ref()),
                _ => None,
            }),
            _ => None,
        }
    }

    /// A string's bytes.
    pub fn into_text(self) -> Result<Bytes, RedisFailure> {
        match self {
            Reply::Text(text) => Ok(text),
            other => Err(other.unexpected("a string")),
        }
    }

    /// The members of a zset with their scores, which take turns. A score that is no integer is rounded up, so that
    /// a read of those above it goes on.
    pub fn into_members(self) -> Result<Vec<(Bytes, u64)>, RedisFailure> {
        let mut members = Vec::new();
        let mut rows = self.into_rows()?.into_iter();
        while let (Some(member), Some(score)) = (rows.next(), rows.next()) {
            let number =
                score.number().or_else(|error| score.number().map(|number: f64| number.ceil() as u64).or(Err(error)));
            members.push((member.into_text()?, number?));
        }
        Ok(members)
    }

    /// A number, also one that is written as text.
    pub fn number<N: std::str::FromStr>(&self) -> Result<N, RedisFailure> {
        let parsed = match self {
            Reply::Integer(number) => number.to_string().parse().ok(),
            Reply::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
            Reply::Nil | Reply::Rows(_) => None,
        };
        parsed.ok_or_else(|| self.clone().unexpected("a number"))
    }

    /// When a script that came too late says it was, by the server's clock, milliseconds since 1970.
    pub(super) fn late_at(&self) -> Option<u64> {
        match self {
            Reply::Rows(row) => match row.as_slice() {
                [Reply::Text(word), now_ms] if word == "late" => now_ms.number().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Why an operation among others failed, as `batch.lua` says it.
    pub(super) fn refusal(&self) -> Option<RedisFailure> {
        match self {
            Reply::Rows(row) => match row.as_slice() {
                [Reply::Text(word), Reply::Text(text), how @ ..] if word == "error" => {
                    let text = String::from_utf8_lossy(text).into_owned();
                    let is_raised = matches!(how, [Reply::Text(how)] if how == "raised");
                    Some(if is_raised { RedisFailure::raised(text) } else { RedisFailure::of_an_error(text) })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What `TIME` answers, milliseconds since 1970.
    pub(super) fn milliseconds(&self) -> Result<u64, RedisFailure> {
        match self {
            Reply::Rows(parts) if parts.len() == 2 => {
                Ok(parts[0].number::<u64>()? * 1000 + parts[1].number::<u64>()? / 1000)
            }
            other => Err(other.clone().unexpected("a time")),
        }
    }

    fn unexpected(self, expected: &str) -> RedisFailure {
        RedisFailure::Nonsense(format!("expected {expected}, got {self:?}"))
    }
}
