//! What the scripts publish to watchers, as `lua/lease.lua` has it. A message only says where to look: what is told
//! of a key is what was read.

use crate::lock::{Key, Token};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub key: Key,
    pub word: Word,
    /// The lease that it is about.
    pub token: Option<Token>,
    /// Messages of a shard are numbered; `None` where Redis could not count.
    pub number: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    Granted,
    Released,
    Forced,
    /// It ends sooner than it did.
    Shortened,
    /// Another number of callers waits.
    Waiting,
}

impl Message {
    /// `None` for what no script of ours publishes, and for the messages that are for waiters and holds.
    pub fn parse(text: &str) -> Option<Message> {
        let mut lines = text.split('\n');
        let word = match lines.next()? {
            "granted" => Word::Granted,
            "released" => Word::Released,
            "forced" => Word::Forced,
            "shortened" => Word::Shortened,
            "waiting" => Word::Waiting,
            _ => return None,
        };
        let key = Key::parse(lines.next()?).ok()?;
        let token = Token::new(lines.next()?.parse().ok()?);
        let number = lines.next()?.parse().ok();
        Some(Message { key, word, token, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_the_scripts_is_understood_and_nothing_else() {
        let key = Key::parse("k").expect("a key");
        let of = |word, token, number| Some(Message { key: key.clone(), word, token: Token::new(token), number });
        for (text, message) in [
            ("granted\nk\n7\n3", of(Word::Granted, 7, Some(3))),
            ("released\nk\n7\n3", of(Word::Released, 7, Some(3))),
            ("forced\nk\n7\n3", of(Word::Forced, 7, Some(3))),
            ("shortened\nk\n7\n3", of(Word::Shortened, 7, Some(3))),
            ("waiting\nk\n0\n1795815273000000", of(Word::Waiting, 0, Some(1_795_815_273_000_000))),
            ("granted\nk\n7\n", of(Word::Granted, 7, None)),
            ("", None),
            ("granted\nk", None),
            ("granted\n\n7\n3", None),
            ("offer\nk\n0", None),
        ] {
            assert_eq!(Message::parse(text), message, "{text}");
        }
    }
}
