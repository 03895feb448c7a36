//! All that is probed at a master: a lock, the rights that locks need, and the user directory where there is one.

use crate::directory::Directory;
use crate::lock::{Checks, Leftover, ProbeFailure, Probed, Prober};
use crate::redis::Server;

/// Probes masters.
pub struct Probe {
    prober: Prober,
    directory: Option<Directory>,
}

impl Probe {
    pub fn new(prober: Prober, directory: Option<Directory>) -> Probe {
        Probe { prober, directory }
    }

    /// See [`Prober::servers`].
    pub fn servers(&self) -> Vec<Server> {
        self.prober.servers()
    }

    pub async fn run(&self, shard: usize, checks: Checks) -> Result<Probed, ProbeFailure> {
        let users = async {
            match &self.directory {
                Some(directory) => {
                    directory.probe().await.map_err(|failure| ProbeFailure { of: "user lookup", failure })
                }
                None => Ok(()),
            }
        };
        let (probed, users) = tokio::join!(self.prober.probe(shard, checks), users);
        probed.and_then(|probed| users.map(|()| probed))
    }

    /// See [`Prober::tidily`].
    pub async fn run_tidily(
        &self,
        shard: usize,
        checks: Checks,
    ) -> (Result<Probed, ProbeFailure>, Result<(), Leftover>) {
        self.prober.tidily(shard, self.run(shard, checks)).await
    }
}
