//! A connection that is made once: when it breaks it stays broken, and whoever holds it makes another.

use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, PerformanceConfig};
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Value};

use super::client::connection;
use super::{RedisFailure, Reply};

/// Dropped, it closes, with whatever is under way on it.
pub(super) struct Link {
    pub client: Client,
    task: ConnectHandle,
}

impl Link {
    /// Connects and greets. `timeout` is each command's.
    pub async fn open(config: Config, timeout: Duration) -> Result<Link, Error> {
        Link::listening(config, timeout, PerformanceConfig::default().broadcast_channel_capacity).await
    }

    /// The same, where so many messages may wait for us.
    pub async fn listening(config: Config, timeout: Duration, backlog: usize) -> Result<Link, Error> {
        let performance = PerformanceConfig {
            default_command_timeout: timeout,
            broadcast_channel_capacity: backlog,
            ..PerformanceConfig::default()
        };
        // Without a policy nothing is ever connected again.
        let client = Client::new(Config { fail_fast: true, ..config }, Some(performance), Some(connection()), None);
        let task = client.init().await?;
        Ok(Link { client, task })
    }

    /// See [`command`].
    pub async fn command(&self, name: &'static str, args: &[&str]) -> Result<Reply, RedisFailure> {
        command(&self.client, name, args).await
    }

    /// Waits until it is broken: why.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(())) | Err(_) => "the connection was closed".to_owned(),
        }
    }
}

/// Asks by a command that the client library need not know.
pub(super) async fn command(
    client: &impl ClientLike,
    name: &'static str,
    args: &[&str],
) -> Result<Reply, RedisFailure> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<String>>();
    let command = CustomCommand::new_static(name, ClusterHash::Random, false);
    client.custom::<Value, _>(command, args).await.map(Reply::from).map_err(RedisFailure::from)
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
