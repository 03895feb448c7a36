//! A connection to a master that was named to us: made once, and used only after it has said that it is one. A server
//! that is demoted closes its connections, or refuses writes, and none is made again without asking again who is master.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use super::connection::{Link, Setup};
use super::diagnosis::{Target, explain};
use super::node::Node;
use super::{InFlight, Reply, Status};
use crate::metrics::Metrics;
use crate::redis::settings::RedisConfig;

/// Host and port.
pub(super) type Address = (String, u16);

/// Dropped, it closes, with whatever is under way on it.
pub(super) struct Master {
    pub node: Arc<Node>,
    pub link: Link,
    /// When it was connected to.
    pub since: Instant,
    probe: AbortHandle,
}

impl Master {
    /// Connects to the server that `config` names; or says what is wrong with it.
    pub async fn take(
        config: RedisConfig,
        status: Arc<Status>,
        in_flight: Arc<InFlight>,
        metrics: Arc<Metrics>,
    ) -> Result<Master, String> {
        let setup = Setup::of(&config);
        let link = match Link::open(&setup, config.timeout).await {
            Ok(link) => link,
            Err(problem) => {
                return Err(format!("the master: {}", explain(&problem, &Target::of(&config), &setup).await));
            }
        };
        let role = link.connection.command("ROLE", &[]).await.inspect_err(|failure| status.refused(failure));
        let rows = role.and_then(Reply::into_rows).map_err(|failure| failure.to_string())?;
        match rows.first() {
            Some(Reply::Text(role)) if role == "master" => {}
            _ => return Err(format!("`{}` was named as a master, and is none (yet)", config.place())),
        }
        let node = Arc::new(Node::over(link.connection.clone(), config, status, in_flight, metrics));
        let probe = node.probe();
        Ok(Master { node, link, since: Instant::now(), probe })
    }
}

impl Master {
    /// Stops probing it, and lets no grant of it count. A refusal of what is under way is still passed on.
    pub fn give_up(&self) {
        self.probe.abort();
        self.node.give_up();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.probe.abort();
    }
}
