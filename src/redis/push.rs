//! What Redis says unasked: a connection that only listens, made when somebody first wants to hear.

use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{PerformanceConfig, ReconnectPolicy};
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

use super::RedisFailure;
use super::client::{CONNECT_TIMEOUT, RECONNECT_DELAY_MS, connection, server};
use crate::config::RedisConfig;

/// Messages that may wait for us; more are lost, and then all is looked at anew.
const BACKLOG: usize = 1024;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Message(String),
    /// Messages may have been lost before this: a new connection, or too many at once.
    Gap,
}

/// A subscription that is kept through reconnections.
pub struct Push {
    client: SubscriberClient,
    task: AbortHandle,
    relay: AbortHandle,
}

/// How long a connection may take to be closed in good order.
const CLOSING: Duration = Duration::from_secs(1);

impl Push {
    /// Connects and subscribes; what is heard from then on goes to `ear`.
    pub async fn listen(
        config: &RedisConfig,
        channels: Vec<String>,
        ear: mpsc::UnboundedSender<Heard>,
    ) -> Result<Push, RedisFailure> {
        let performance = PerformanceConfig {
            default_command_timeout: config.timeout,
            broadcast_channel_capacity: BACKLOG,
            ..PerformanceConfig::default()
        };
        let policy = ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS);
        let client = SubscriberClient::new(server(config), Some(performance), Some(connection()), Some(policy));
        let (messages, reconnections) = (client.message_rx(), client.reconnect_rx());
        let task = client.connect().abort_handle();
        let connected = tokio::time::timeout(CONNECT_TIMEOUT + Duration::from_millis(100), client.wait_for_connect());
        if !matches!(connected.await, Ok(Ok(()))) {
            task.abort();
            return Err(RedisFailure::NotSent("no connection to listen on".to_owned()));
        }
        client.manage_subscriptions();
        if let Err(error) = client.subscribe(channels).await {
            task.abort();
            return Err(RedisFailure::from(error).of_a_read());
        }
        let relay = tokio::spawn(relay(client.clone(), messages, reconnections, ear)).abort_handle();
        Ok(Push { client, task, relay })
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.relay.abort();
        let (client, task) = (self.client.clone(), self.task.clone());
        tokio::spawn(async move {
            // A server that is frozen never lets it go.
            let _ = tokio::time::timeout(CLOSING, client.quit()).await;
            task.abort();
        });
    }
}

async fn relay(
    client: SubscriberClient,
    mut messages: broadcast::Receiver<fred::types::Message>,
    mut reconnections: broadcast::Receiver<fred::types::config::Server>,
    ear: mpsc::UnboundedSender<Heard>,
) {
    loop {
        let heard = tokio::select! {
            message = messages.recv() => match message {
                Ok(message) => match message.value.into_string() {
                    Some(text) => Heard::Message(text),
                    None => continue,
                },
                Err(broadcast::error::RecvError::Lagged(_)) => Heard::Gap,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            reconnected = reconnections.recv() => {
                if matches!(reconnected, Err(broadcast::error::RecvError::Closed)) {
                    return;
                }
                // Once more than the client does itself, and in order: what is looked at after a gap must find us
                // listening.
                let _ = client.resubscribe_all().await;
                Heard::Gap
            }
        };
        if ear.send(heard).is_err() {
            return;
        }
    }
}
