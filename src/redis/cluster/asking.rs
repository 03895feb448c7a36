//! What is asked of a node: whose the slots are, and whether it is a master that serves.

use std::sync::Arc;

use super::view::View;
use crate::metrics::Metrics;
use crate::redis::connection::{CONNECT_TIMEOUT, Connection, Link, Setup};
use crate::redis::diagnosis::{Target, explain};
use crate::redis::master::{Address, Master};
use crate::redis::settings::{RedisConfig, RedisServer};
use crate::redis::{InFlight, RedisFailure, Reply, Status};

fn node_config(config: &RedisConfig, (host, port): &Address) -> RedisConfig {
    RedisConfig { server: RedisServer::ClusterNode { host: host.clone(), port: *port }, ..config.clone() }
}

/// Connects to a master, and makes sure that the cluster serves: where it does not, the client library takes the first
/// refusal for the connection's end, and the outcome of all else that is under way on it would be unknown.
pub(super) async fn take(
    address: &Address,
    config: &RedisConfig,
    status: Arc<Status>,
    in_flight: Arc<InFlight>,
    metrics: Arc<Metrics>,
) -> Result<Master, String> {
    let master = Master::take(node_config(config, address), status, in_flight, metrics).await?;
    let info = master.link.connection.command("CLUSTER", &["INFO"]).await;
    let info = info.inspect_err(|failure| master.node.status.refused(failure));
    let info = info.and_then(Reply::into_text).map_err(|failure| failure.to_string())?;
    if String::from_utf8_lossy(&info).contains("cluster_state:ok") {
        return Ok(master);
    }
    Err("it says that the cluster does not serve (cluster_state); slots without a master stop all of it unless \
         cluster-require-full-coverage is no"
        .to_owned())
}

/// Asks a node by a connection for this question alone.
pub(super) async fn ask_anew(address: &Address, config: &RedisConfig, status: &Status) -> Result<View, String> {
    let config = node_config(config, address);
    let setup = Setup::of(&config);
    let link = match Link::open(&setup, CONNECT_TIMEOUT).await {
        Ok(link) => link,
        Err(problem) => return Err(format!("a node: {}", explain(&problem, &Target::of(&config), &setup).await)),
    };
    ask(&link.connection, address, config.tls.is_some(), status).await
}

/// Asks a node that is connected to.
pub(super) async fn ask(
    connection: &Connection,
    (host, port): &Address,
    is_tls: bool,
    status: &Status,
) -> Result<View, String> {
    let said = connection.command_within(CONNECT_TIMEOUT, "CLUSTER", &["NODES"]).await;
    match said.inspect_err(|failure| status.refused(failure)).and_then(Reply::into_text) {
        Ok(text) => Ok(View::parse(&String::from_utf8_lossy(&text), host, is_tls)),
        Err(RedisFailure::Refused(reason)) if reason.contains("cluster support disabled") => {
            Err(format!("`{host}:{port}` is no node of a cluster; use redis:// for one redis"))
        }
        Err(RedisFailure::Refused(reason)) if reason.contains("unknown command") => Err(format!(
            "`{host}:{port}` is no node of a cluster, but perhaps a sentinel; use redis-sentinel://…?master=NAME \
             ({reason})"
        )),
        Err(RedisFailure::Refused(reason)) if reason.starts_with("NOPERM") => {
            Err(status.lacks_a_right().unwrap_or(reason))
        }
        Err(failure) => Err(format!("the node `{host}:{port}`: {failure}")),
    }
}
