//! One connection to one server, and the only place that knows the client library: its commands, values and errors become
//! ours here.

mod commands;
mod credentials;
mod error;
mod link;
mod messages;
mod setup;
mod value;

use std::pin::Pin;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{PerformanceConfig, ReconnectPolicy};

use super::{RedisFailure, Reply};
pub(super) use commands::Mark;
pub(super) use error::{Kind, Problem};
pub(super) use link::Link;
pub(super) use messages::{Messages, Missed};
pub(super) use setup::{CONNECT_TIMEOUT, RECONNECT_DELAY_MS, Setup};

/// A command under way. Boxed because the client library's future is 5 KB: unboxed, every future that may await one would
/// grow by that.
pub(super) type Command<'a> = Pin<Box<dyn Future<Output = Result<Reply, RedisFailure>> + Send + 'a>>;

/// Cheap to clone: all clones share one socket.
#[derive(Clone)]
pub(super) struct Connection(Client);

impl Connection {
    /// One that is made again whenever it breaks, for ever; not yet connected. `timeout` is each command's.
    pub fn lasting(setup: &Setup, timeout: Duration) -> Connection {
        let performance = PerformanceConfig { default_command_timeout: timeout, ..PerformanceConfig::default() };
        // 0 attempts: for ever. A finite number would end the client for good.
        let policy = ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS);
        Connection(Client::new(setup.0.clone(), Some(performance), Some(setup::connection()), Some(policy)))
    }

    /// Connects, and keeps at it. The client's own task ends on errors that it takes for final. None is: a wrong setting
    /// of the server can be corrected while this process runs.
    pub async fn keep(self) {
        loop {
            let ended = self.0.connect().await;
            tracing::warn!(?ended, "the redis connection task ended; restarting it");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Does this whenever an attempt to connect fails, or the connection breaks.
    pub fn on_problem<F>(&self, take_in: impl Fn(Problem) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.on_error(move |(error, _server)| {
            let taken_in = take_in(error.into());
            async move {
                taken_in.await;
                Ok(())
            }
        });
    }

    /// How it connects.
    pub fn setup(&self) -> Setup {
        Setup(self.0.client_config())
    }

    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// Waits until it is connected; whether it is.
    pub async fn connected(&self) -> bool {
        self.0.wait_for_connect().await.is_ok()
    }

    /// Gives up what is under way on it, and connects again. Its failures come as problems.
    pub async fn reconnect(&self) {
        let _ = self.0.force_reconnection().await;
    }

    /// What is published on the channels that it subscribed to, from now on.
    pub fn messages(&self) -> Messages {
        Messages(self.0.message_rx())
    }
}

/// The slot of a key of a cluster, 0 to 16383: by its hash tag where it has one.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    fred::util::redis_keyslot(key)
}

/// The digest by which Redis knows a script.
pub(super) fn digest_of(text: &str) -> String {
    fred::util::sha1_hash(text)
}
