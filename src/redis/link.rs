//! A connection that is made once: when it breaks it stays broken, and its owner makes another.

use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig};
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

    /// As `open`, where so many messages may wait for us.
    pub async fn listening(config: Config, timeout: Duration, backlog: usize) -> Result<Link, Error> {
        let performance = PerformanceConfig { broadcast_channel_capacity: backlog, ..PerformanceConfig::default() };
        Link::of(config, timeout, performance, connection()).await
    }

    /// As `open`, without a name, which Redis may refuse.
    pub async fn unnamed(config: Config, timeout: Duration) -> Result<Link, Error> {
        let connection = ConnectionConfig { auto_client_setname: false, ..connection() };
        Link::of(config, timeout, PerformanceConfig::default(), connection).await
    }

    async fn of(
        config: Config,
        timeout: Duration,
        performance: PerformanceConfig,
        connection: ConnectionConfig,
    ) -> Result<Link, Error> {
        let performance = PerformanceConfig { default_command_timeout: timeout, ..performance };
        // Without a policy nothing is ever connected again.
        let client = Client::new(Config { fail_fast: true, ..config }, Some(performance), Some(connection), None);
        // Ours from the beginning: a connection that is given up while it is being made is not left behind. Its task runs
        // on our thread, and so not before we wait for it.
        let link = Link { task: client.connect(), client };
        link.client.wait_for_connect().await?;
        Ok(link)
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::redis::client::one_server;

    #[tokio::test]
    async fn a_connection_that_is_given_up_while_it_is_made_is_closed_at_once() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = silent.local_addr().expect("an address").port();
        let config = Config { server: one_server("127.0.0.1", port), ..Config::default() };
        let opening = tokio::spawn(Link::open(config, Duration::from_secs(1)));
        let (mut socket, _) = silent.accept().await.expect("a connection");

        opening.abort();

        // The greeting's own deadline is half a second.
        let closed = tokio::time::timeout(Duration::from_millis(250), socket.read_to_end(&mut Vec::new())).await;
        assert!(matches!(closed, Ok(Ok(_))), "{closed:?}");
    }
}
