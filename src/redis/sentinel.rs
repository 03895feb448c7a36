//! The master that sentinels name: found, followed, and left as soon as they name another.
//!
//! All sentinels are asked, and who knows of the latest failover is believed: one that was cut off, or frozen, may still
//! name a master that was replaced.
//!
//! Architecture invariant: nothing is ever asked of a replica. Each connection to a master is made once, and used only
//! after it has said that it is one; a sentinel that demotes a master closes its connections, and none is made again
//! without asking anew.

use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::credentials::Credentials;
use super::diagnosis::{Target, explain};
use super::link::Link;
use super::{CONNECT_TIMEOUT, CONNECTION_PATIENCE, InFlight, Node, RedisFailure, Reply, Status, one_server, server};
use crate::config::{RedisConfig, RedisServer};
use crate::metrics::{Metrics, Reconnection};

/// Between two times that the sentinels are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while there is no master, or none that answers.
const ASK_AGAIN: Duration = Duration::from_millis(100);

type Address = (String, u16);

/// Whoever is the master now.
pub(super) struct Master {
    now: watch::Receiver<Option<Node>>,
    status: Arc<Status>,
    patience: Duration,
}

impl Master {
    /// Starts to ask and to connect, and keeps at it for as long as the runtime lives.
    pub fn follow(
        hosts: &[Address],
        name: &str,
        config: &RedisConfig,
        in_flight: Arc<InFlight>,
        metrics: Arc<Metrics>,
    ) -> Arc<Master> {
        let (give, now) = watch::channel(None);
        let status = Arc::new(Status::replacing(Arc::clone(&metrics)));
        let sentinels = hosts.iter().map(|address| Sentinel::new(address, name, config)).collect();
        let (name, config) = (name.to_owned(), config.clone());
        let patience = CONNECTION_PATIENCE.min(config.timeout);
        let follower = Follower { sentinels, name, config, give, status: Arc::clone(&status), in_flight, metrics };
        tokio::spawn(follower.run());
        Arc::new(Master { now, status, patience })
    }

    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Where it is.
    pub fn place(&self) -> String {
        match self.now.borrow().as_ref().map(|node| &node.config.server) {
            Some(RedisServer::Tcp { host, port }) => format!("{host}:{port}"),
            _ => "unknown just now".to_owned(),
        }
    }

    /// The master's server; waits a little where there is none.
    pub async fn now(&self) -> Result<Box<Node>, RedisFailure> {
        if let Some(node) = &*self.now.borrow() {
            return Ok(Box::new(node.clone()));
        }
        let mut now = self.now.clone();
        match tokio::time::timeout(self.patience, now.wait_for(Option::is_some)).await {
            Ok(Ok(node)) => Ok(Box::new(node.clone().expect("it is there: that was waited for"))),
            _ => Err(RedisFailure::NotSent(self.status.reason())),
        }
    }
}

/// What sentinels say of the master. The later failover has the higher epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    epoch: u64,
    address: Address,
}

/// The connection to the master.
struct Held {
    word: Word,
    link: Link,
    probe: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

struct Follower {
    sentinels: Vec<Sentinel>,
    name: String,
    config: RedisConfig,
    give: watch::Sender<Option<Node>>,
    status: Arc<Status>,
    in_flight: Arc<InFlight>,
    metrics: Arc<Metrics>,
}

impl Follower {
    async fn run(mut self) {
        let mut held: Option<Held> = None;
        // Why another connection is wanted, although the sentinels name the same master.
        let mut wanted = Some(Reconnection::First);
        loop {
            match self.ask().await {
                Ok(word) => {
                    let is_known = held.as_ref().is_some_and(|held| held.word.address == word.address);
                    // Nobody who knows less than we do already is believed.
                    let is_newer = held.as_ref().is_none_or(|held| held.word.epoch <= word.epoch);
                    let reason = if is_known || held.is_none() { wanted } else { Some(Reconnection::Switch) };
                    match reason.filter(|_| is_newer) {
                        Some(reason) => match self.take(word, reason).await {
                            Ok(taken) => (held, wanted) = (Some(taken), None),
                            // The one that is held may yet answer.
                            Err(problem) if held.is_some() => tracing::debug!(problem, "the master is not taken"),
                            Err(problem) => self.status.silent(problem),
                        },
                        None => held.iter_mut().for_each(|held| held.word.epoch = held.word.epoch.max(word.epoch)),
                    }
                }
                Err(problem) if held.is_none() => self.status.silent(problem),
                Err(problem) => tracing::debug!(problem, "no sentinel says where the master is; going on with it"),
            }
            let pause = if wanted.is_some() { ASK_AGAIN } else { ASK_INTERVAL };
            let broken = async {
                match &mut held {
                    Some(held) => held.link.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                problem = broken => {
                    self.give.send_replace(None);
                    held = None;
                    wanted = Some(Reconnection::Lost);
                    self.status.silent(problem);
                }
                reason = self.status.wants_another() => wanted = Some(reason),
                () = sleep(pause) => {}
            }
        }
    }

    /// Asks every sentinel; the latest word, or why there is none.
    async fn ask(&mut self) -> Result<Word, String> {
        let answers = join_all(self.sentinels.iter_mut().map(Sentinel::ask)).await;
        let (words, problems): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let latest = words.into_iter().filter_map(Result::ok).max();
        latest.ok_or_else(|| problems.into_iter().find_map(Result::err).unwrap_or_default())
    }

    /// Connects to the master that was named, and makes sure that it is one.
    async fn take(&self, word: Word, reason: Reconnection) -> Result<Held, String> {
        let (host, port) = word.address.clone();
        let target = Target { host: host.clone(), port, is_tls: self.config.tls.is_some() };
        let config = RedisConfig { server: RedisServer::Tcp { host: host.clone(), port }, ..self.config.clone() };
        let link = match Link::open(server(&config), config.timeout).await {
            Ok(link) => link,
            Err(error) => {
                return Err(format!("the master `{host}:{port}`: {}", explain(&error, Some(&target)).await));
            }
        };
        let role = command(&link, "ROLE", &[]).await.inspect_err(|failure| self.status.refused(failure));
        match role.map_err(|failure| failure.to_string())?.into_rows().ok().and_then(|rows| rows.into_iter().next()) {
            Some(Reply::Text(role)) if role == "master" => {}
            _ => return Err(format!("the sentinels name `{host}:{port}`, which is no master (yet)")),
        }
        let (status, in_flight, metrics) =
            (Arc::clone(&self.status), Arc::clone(&self.in_flight), Arc::clone(&self.metrics));
        let node = Node::over(link.client.clone(), config, status, in_flight, metrics);
        let probe = node.probe();
        self.give.send_replace(Some(node));
        self.metrics.redis_reconnections.with_label_values(&[reason.label()]).inc();
        tracing::info!(reason = reason.label(), name = self.name, "redis: the master is `{host}:{port}`");
        Ok(Held { word, link, probe })
    }
}

/// One sentinel, and the connection to it while it lasts.
struct Sentinel {
    target: Target,
    name: String,
    config: RedisConfig,
    link: Option<Link>,
}

impl Sentinel {
    fn new((host, port): &Address, name: &str, config: &RedisConfig) -> Sentinel {
        let target = Target { host: host.clone(), port: *port, is_tls: config.tls.is_some() };
        Sentinel { target, name: name.to_owned(), config: config.clone(), link: None }
    }

    /// Where the master is, by this one; or what is wrong with it.
    async fn ask(&mut self) -> Result<Word, String> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        let (address, master) = (["GET-MASTER-ADDR-BY-NAME", &self.name], ["MASTER", &self.name]);
        let (address, master) = tokio::join!(command(&link, "SENTINEL", &address), command(&link, "SENTINEL", &master));
        // A connection on which anything went wrong is not used again.
        let (address, master) = (self.good(address)?, self.good(master)?);
        self.link = Some(link);
        let word = address_of(address).zip(epoch_of(master)).map(|(address, epoch)| Word { epoch, address });
        word.ok_or_else(|| self.unknown())
    }

    fn good(&self, answer: Result<Reply, RedisFailure>) -> Result<Reply, String> {
        let Target { host, port, .. } = &self.target;
        answer.map_err(|failure| match failure {
            RedisFailure::Refused(reason) if reason.contains("unknown command") => {
                format!(
                    "`{host}:{port}` is no sentinel; name the sentinels in --redis-url, or say redis:// for one redis"
                )
            }
            RedisFailure::Refused(reason) if reason.contains("No such master") => self.unknown(),
            RedisFailure::Refused(reason) if reason.starts_with("NOAUTH") => format!(
                "the sentinel `{host}:{port}` asks for a password; name its file with --redis-sentinel-password-file \
                 ({reason})"
            ),
            RedisFailure::Refused(reason) if reason.starts_with("NOPERM") => format!(
                "the sentinel `{host}:{port}` refuses its user a right; allow +sentinel|master and \
                 +sentinel|get-master-addr-by-name ({reason})"
            ),
            other => format!("the sentinel `{host}:{port}`: {other}"),
        })
    }

    fn unknown(&self) -> String {
        let Target { host, port, .. } = &self.target;
        format!("the sentinel `{host}:{port}` watches no master named `{}`; mend ?master= in --redis-url", self.name)
    }

    async fn connect(&self) -> Result<Link, String> {
        let config = fred::types::config::Config {
            server: one_server(&self.target.host, self.target.port),
            credential_provider: Credentials::of_sentinels(&self.config),
            database: None,
            ..server(&self.config)
        };
        match Link::open(config, CONNECT_TIMEOUT).await {
            Ok(link) => Ok(link),
            Err(error) => {
                let Target { host, port, .. } = &self.target;
                Err(match error.details().split(' ').next() {
                    Some("WRONGPASS" | "NOAUTH") => format!(
                        "the sentinel `{host}:{port}` does not let us in; mend --redis-sentinel-username or \
                         --redis-sentinel-password-file ({})",
                        error.details()
                    ),
                    _ => format!("the sentinel `{host}:{port}`: {}", explain(&error, Some(&self.target)).await),
                })
            }
        }
    }
}

/// Asks by a command that the client library need not know.
async fn command(link: &Link, name: &'static str, args: &[&str]) -> Result<Reply, RedisFailure> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<String>>();
    let command = CustomCommand::new_static(name, ClusterHash::Random, false);
    link.client.custom::<Value, _>(command, args).await.map(Reply::from).map_err(RedisFailure::from)
}

/// What `SENTINEL GET-MASTER-ADDR-BY-NAME` says.
fn address_of(reply: Reply) -> Option<Address> {
    match reply.into_rows().ok()?.as_slice() {
        [Reply::Text(host), port] => Some((String::from_utf8(host.to_vec()).ok()?, port.number().ok()?)),
        _ => None,
    }
}

/// The epoch in what `SENTINEL MASTER` says, field by field.
fn epoch_of(reply: Reply) -> Option<u64> {
    let fields = reply.into_rows().ok()?;
    let field = fields.chunks(2).find(|field| matches!(&field[0], Reply::Text(name) if name == "config-epoch"))?;
    field.get(1)?.number().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Text(bytes::Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn who_knows_of_the_latest_failover_is_believed() {
        let word = |epoch, host: &str| Word { epoch, address: (host.to_owned(), 6379) };
        assert_eq!([word(7, "a"), word(8, "b"), word(7, "z")].into_iter().max(), Some(word(8, "b")));
    }

    #[test]
    fn an_answer_of_a_sentinel_is_read_and_another_is_none() {
        let address = Reply::Rows(vec![text("10.0.0.7"), text("6380")]);
        assert_eq!(address_of(address), Some(("10.0.0.7".to_owned(), 6380)));
        assert_eq!(address_of(Reply::Nil), None);
        let master = Reply::Rows(vec![text("name"), text("mymaster"), text("config-epoch"), text("12")]);
        assert_eq!(epoch_of(master), Some(12));
        assert_eq!(epoch_of(Reply::Rows(vec![text("config-epoch")])), None);
    }
}
