//! What is published on the channels that a connection subscribed to.

use fred::types::Message;
use tokio::sync::broadcast;

/// Messages in the order in which they came.
pub struct Messages(pub(super) broadcast::Receiver<Message>);

/// Why there is no next message.
pub enum Missed {
    /// More came than could wait for us, and some of them are lost.
    Some,
    /// The connection was closed.
    Rest,
}

impl Messages {
    /// The next one: its channel and its text, nothing where that is none.
    pub async fn next(&mut self) -> Result<(String, String), Missed> {
        match self.0.recv().await {
            Ok(message) => Ok((message.channel.to_string(), message.value.into_string().unwrap_or_default())),
            Err(broadcast::error::RecvError::Lagged(_)) => Err(Missed::Some),
            Err(broadcast::error::RecvError::Closed) => Err(Missed::Rest),
        }
    }
}
