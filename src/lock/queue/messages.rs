//! What the scripts publish about a key, as `lua/queue.lua` lists it.

use crate::lock::{Key, Token};

/// One message about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub key: Key,
    pub word: Word,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A waiter of ours, by its id, is offered the lease of this token, for so long, milliseconds; whether the holder before
    /// had stopped counting on its lease.
    Turn { id: String, token: Token, left_ms: i64, is_resigned: bool },
    /// A waiter of ours, by its id, is to leave the queue, and to ask for the lease that its attempt or its owner has.
    Again { id: String },
    /// The lease that those who wait for the key wait for ends so soon, milliseconds.
    Offer { left_ms: i64 },
    /// Our entries were removed from the queue, since an offer to this process lapsed.
    Dropped,
    /// A sidecar found its entries gone from the queue.
    Lost { by: String },
    /// The lease of this token was removed by force.
    Forced(Token),
    /// The lease of this token was released by its token.
    Released(Token),
    /// Another sending of its attempt was told of the lease of this token, which a connection holds.
    Repeated(Token),
    /// The lease of this token ends so soon, milliseconds, and sooner than it did.
    Shortened { token: Token, left_ms: i64 },
}

impl Message {
    /// `None` for what no script of ours publishes.
    pub fn parse(text: &str) -> Option<Message> {
        let mut words = text.split('\n');
        let (word, key) = (words.next()?, Key::parse(words.next()?).ok()?);
        let token = |text: Option<&str>| text?.parse().ok().and_then(Token::new);
        let left_ms = |text: Option<&str>| text?.parse().ok();
        let word = match word {
            "turn" => {
                let id = words.next()?.to_owned();
                let (token, left_ms) = (token(words.next())?, left_ms(words.next())?);
                Word::Turn { id, token, left_ms, is_resigned: words.next() == Some("resigned") }
            }
            "again" => Word::Again { id: words.next()?.to_owned() },
            "offer" => Word::Offer { left_ms: left_ms(words.next())? },
            "dropped" => Word::Dropped,
            "lost" => Word::Lost { by: words.next()?.to_owned() },
            "forced" => Word::Forced(token(words.next())?),
            "released" => Word::Released(token(words.next())?),
            "repeated" => Word::Repeated(token(words.next())?),
            "shortened" => Word::Shortened { token: token(words.next())?, left_ms: left_ms(words.next())? },
            _ => return None,
        };
        Some(Message { key, word })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_the_scripts_is_understood_and_nothing_else() {
        let key = Key::parse("k").expect("a key");
        let token = Token::new(7).expect("a token");
        for (text, word) in [
            ("turn\nk\nw-1\n7\n1500", Word::Turn { id: "w-1".to_owned(), token, left_ms: 1500, is_resigned: false }),
            (
                "turn\nk\nw-1\n7\n1500\nresigned",
                Word::Turn { id: "w-1".to_owned(), token, left_ms: 1500, is_resigned: true },
            ),
            ("again\nk\nw-1", Word::Again { id: "w-1".to_owned() }),
            ("offer\nk\n0", Word::Offer { left_ms: 0 }),
            ("dropped\nk", Word::Dropped),
            ("lost\nk\na-0", Word::Lost { by: "a-0".to_owned() }),
            ("forced\nk\n7", Word::Forced(token)),
            ("released\nk\n7", Word::Released(token)),
            ("repeated\nk\n7", Word::Repeated(token)),
            ("shortened\nk\n7\n5000", Word::Shortened { token, left_ms: 5000 }),
        ] {
            assert_eq!(Message::parse(text), Some(Message { key: key.clone(), word }), "{text}");
        }
        for text in
            ["", "turn", "turn\nk", "turn\nk\nw-1\n0\n5", "again\nk", "forced\nk\nx", "forced\n\n7", "gossip\nk"]
        {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }
}
