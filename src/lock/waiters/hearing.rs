//! What the line hears from Redis, and how it notices that it hears nothing any more.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Line, Listening, LockFailure, Turn};
use crate::lock::types::{Key, Token};
use crate::redis::Heard;

/// Between two signs of life that we send ourselves through Redis while anybody waits. Two of them bound what a lost
/// message costs.
const ECHO_INTERVAL: Duration = Duration::from_millis(430);
/// After so many signs of life one of our lines is looked for: a Redis that lost its data tells nobody.
const ECHOES_FOR_A_LINE: u32 = 6;

impl Line {
    /// Starts to listen, once.
    pub(super) async fn listen(self: &Arc<Line>) -> Result<(), LockFailure> {
        let begin = async || {
            let (ear, heard) = mpsc::unbounded_channel();
            let push = self.scripts.redis.listen(self.channels(), ear.clone()).await?;
            tokio::spawn(Arc::clone(self).hear(heard));
            tokio::spawn(Arc::clone(self).keep_hearing());
            tokio::spawn(Arc::clone(self).look_when_in_doubt());
            Ok::<_, LockFailure>(Listening { push: Mutex::new(push), ear })
        };
        self.listening.get_or_try_init(begin).await.map(|_| ())
    }

    fn channels(&self) -> Vec<String> {
        let push = self.scripts.space.push();
        vec![format!("{push}{}", self.sidecar), format!("{push}all")]
    }

    /// By another client: one that a reconnection came across another may never hear again.
    async fn listen_anew(&self) {
        let Some(listening) = self.listening.get() else { return };
        match self.scripts.redis.listen(self.channels(), listening.ear.clone()).await {
            Ok(push) => {
                *listening.push.lock().expect("no holder of this lock panics") = push;
                self.doubt.notify_one();
            }
            Err(failure) => tracing::debug!(%failure, "cannot listen anew; trying again"),
        }
    }

    /// Never waits for Redis: what is heard behind a turn must not hold it up.
    async fn hear(self: Arc<Line>, mut heard: mpsc::UnboundedReceiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            *self.heard.lock().expect("no holder of this lock panics") = Instant::now();
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

    /// Sends ourselves a sign of life while anybody waits. When it is not heard, or nobody is said to listen, messages
    /// are being lost: another connection is made, and until then every line is looked at.
    async fn keep_hearing(self: Arc<Line>) {
        let channel = format!("{}{}", self.scripts.space.push(), self.sidecar);
        let mut sent = None;
        let mut listening: Option<JoinHandle<()>> = None;
        for count in 1_u32.. {
            tokio::time::sleep(ECHO_INTERVAL).await;
            let Some(key) = self.places().keys().next().cloned() else {
                sent = None;
                continue;
            };
            let heard = *self.heard.lock().expect("no holder of this lock panics");
            let is_deaf = sent.is_some_and(|sent| heard < sent);
            let now = Instant::now();
            let listeners = self.scripts.redis.publish(&channel, "echo").await;
            // What Redis did not take it cannot send back: then this connection is no deafer than the other.
            sent = listeners.is_ok().then_some(now);
            if is_deaf || matches!(listeners, Ok(0)) {
                if listening.as_ref().is_none_or(JoinHandle::is_finished) {
                    tracing::warn!("redis's messages are not heard; listening anew");
                    let line = Arc::clone(&self);
                    listening = Some(tokio::spawn(async move { line.listen_anew().await }));
                }
                self.doubt.notify_one();
            } else if count % ECHOES_FOR_A_LINE == 0
                && let Some(first) = self.standing(&key).first()
            {
                let queue = self.scripts.space.queue(&key).into();
                if matches!(self.scripts.redis.has_member(&queue, &first.entry).await, Ok(false)) {
                    self.doubt.notify_one();
                }
            }
        }
    }
}
