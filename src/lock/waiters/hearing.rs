//! What the line hears from Redis; and how it notices that Redis has lost it, which nobody says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Line, Turn};
use crate::lock::types::{Key, Token};
use crate::redis::Heard;

/// Between two times that one of our lines is looked for: a Redis that lost its data tells nobody.
const LOOK_FOR_A_LINE: Duration = Duration::from_millis(2580);

impl Line {
    /// On which we are told of what happens at a key.
    pub(super) fn channels(&self, key: &Key) -> [String; 2] {
        let push = self.scripts.space.push(key.shard());
        [[push, &self.sidecar].concat(), [push, "all"].concat()]
    }

    /// Never waits for Redis: what is heard behind a turn must not hold it up.
    pub(super) async fn hear(self: Arc<Line>, mut heard: mpsc::UnboundedReceiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Gap => self.doubt.notify_one(),
                Heard::Message(text) => self.take_in(&text),
            }
        }
    }

    fn take_in(self: &Arc<Line>, message: &str) {
        let mut words = message.split('\n');
        let (word, key) = (words.next().unwrap_or_default(), words.next().and_then(|key| Key::parse(key).ok()));
        let Some(key) = key else { return };
        if word == "forced" {
            if let Some(token) = words.next().and_then(|token| token.parse().ok()).and_then(Token::new) {
                self.removed(&key, token);
            }
            return;
        }
        let now = Instant::now();
        match self.places().get_mut(&key) {
            Some(place) => place.told = now,
            None => return,
        }
        match word {
            "turn" => {
                let (Some(id), Some(token)) = (words.next(), words.next().and_then(|token| token.parse().ok())) else {
                    return;
                };
                if let Some(token) = Token::new(token) {
                    self.call(&key, id, Turn::Offered(token));
                }
            }
            "offer" => {
                let left_ms = words.next().and_then(|left| left.parse().ok()).unwrap_or(0);
                self.alarm(&key, left_ms, words.next().unwrap_or_default(), now);
            }
            // Not by an alarm: the offer that follows would replace it.
            "dropped" | "lost" if words.next() != Some(&self.sidecar) => {
                let line = Arc::clone(self);
                tokio::spawn(async move { line.stand_again(&key).await });
            }
            _ => {}
        }
    }

    /// Looks for our lines one after another; where one is gone, every line is looked at.
    pub(super) async fn look_for_lines(self: Arc<Line>) {
        let mut last = None;
        loop {
            tokio::time::sleep(LOOK_FOR_A_LINE).await;
            last = self.behind(last.as_ref());
            let Some(key) = &last else { continue };
            let Some(first) = self.standing(key).into_iter().next() else { continue };
            let queue = self.scripts.space.queue(key).into();
            if matches!(self.scripts.redis.has_member(&queue, &first.entry).await, Ok(false)) {
                self.doubt.notify_one();
            }
        }
    }

    /// The key that somebody of ours waits for behind this one, in some order that goes round.
    fn behind(&self, last: Option<&Key>) -> Option<Key> {
        let places = self.places();
        let behind = places.keys().filter(|key| last.is_none_or(|last| *key > last)).min();
        behind.or_else(|| places.keys().min()).cloned()
    }
}
