//! A connection that is made once: when it breaks it stays broken, and its owner makes another.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::ConnectHandle;
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig};

use super::setup::{Setup, connection};
use super::{Connection, Problem};

/// Dropped, it closes, with whatever is under way on it.
pub struct Link {
    pub connection: Connection,
    task: ConnectHandle,
}

impl Link {
    /// Connects and greets. `timeout` is each command's.
    pub async fn open(setup: &Setup, timeout: Duration) -> Result<Link, Problem> {
        Link::listening(setup, timeout, PerformanceConfig::default().broadcast_channel_capacity).await
    }

    /// As `open`, where so many messages may wait for us.
    pub async fn listening(setup: &Setup, timeout: Duration, backlog: usize) -> Result<Link, Problem> {
        let performance = PerformanceConfig { broadcast_channel_capacity: backlog, ..PerformanceConfig::default() };
        Link::of(setup, timeout, performance, connection()).await
    }

    /// As `open`, without a name, which Redis may refuse.
    pub async fn unnamed(setup: &Setup, timeout: Duration) -> Result<Link, Problem> {
        let connection = ConnectionConfig { auto_client_setname: false, ..connection() };
        Link::of(setup, timeout, PerformanceConfig::default(), connection).await
    }

    async fn of(
        setup: &Setup,
        timeout: Duration,
        performance: PerformanceConfig,
        connection: ConnectionConfig,
    ) -> Result<Link, Problem> {
        let performance = PerformanceConfig { default_command_timeout: timeout, ..performance };
        // Without a policy nothing is ever connected again.
        let config = Config { fail_fast: true, ..setup.0.clone() };
        let client = Client::new(config, Some(performance), Some(connection), None);
        // Ours from the beginning: a connection that is given up while it is being made is not left behind. Its task runs
        // on our thread, and so not before we wait for it.
        let link = Link { task: client.connect(), connection: Connection(client) };
        link.connection.0.wait_for_connect().await?;
        Ok(link)
    }

    /// Waits until it is broken: why.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(())) | Err(_) => "the connection was closed".to_owned(),
        }
    }
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

    #[tokio::test]
    async fn a_connection_that_is_given_up_while_it_is_made_is_closed_at_once() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = silent.local_addr().expect("an address").port();
        let setup = Setup::plain("127.0.0.1", port);
        let opening = tokio::spawn(async move { Link::open(&setup, Duration::from_secs(1)).await });
        let (mut socket, _) = silent.accept().await.expect("a connection");

        opening.abort();

        // The greeting's own deadline is half a second.
        let closed = tokio::time::timeout(Duration::from_millis(250), socket.read_to_end(&mut Vec::new())).await;
        assert!(matches!(closed, Ok(Ok(_))), "{closed:?}");
    }
}
