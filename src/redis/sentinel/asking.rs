//! What sentinels know, asked of each, and what they tell unasked.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::redis::connection::{CONNECT_TIMEOUT, Link, Missed, Setup};
use crate::redis::diagnosis::{Target, explain};
use crate::redis::master::Address;
use crate::redis::settings::RedisConfig;
use crate::redis::{RedisFailure, Reply};

/// Between two attempts to hear a sentinel.
const HEAR_AGAIN: Duration = Duration::from_secs(1);

/// The states of a failover in which a sentinel still names the old master.
const UNPROMOTED: [&str; 4] = ["wait_start", "select_slave", "send_slaveof_noone", "wait_promotion"];

/// What sentinels say of the master. The later failover has the higher epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word {
    pub epoch: u64,
    pub address: Address,
    /// Whether another is about to be the master.
    pub fails_over: bool,
}

/// What sentinels tell of unasked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A failover has begun.
    Begun,
    /// It has ended, by another master or without one: they are to be asked.
    Over,
}

/// One sentinel, and the connection to it while it lasts.
pub(super) struct Sentinel {
    address: Address,
    target: Target,
    name: String,
    config: RedisConfig,
    link: Option<Link>,
}

impl Sentinel {
    pub fn new(address: &Address, name: &str, config: &RedisConfig) -> Sentinel {
        let target = Target::new(address, config);
        Sentinel { address: address.clone(), target, name: name.to_owned(), config: config.clone(), link: None }
    }

    /// Where the master is, by this one; or what is wrong with it.
    pub async fn ask(&mut self) -> Result<Word, String> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        let (address, master) = (["GET-MASTER-ADDR-BY-NAME", &self.name], ["MASTER", &self.name]);
        let connection = &link.connection;
        let (address, master) =
            tokio::join!(connection.command("SENTINEL", &address), connection.command("SENTINEL", &master));
        // A connection on which anything went wrong is not used again.
        let (address, master) = (self.good(address)?, self.good(master)?);
        self.link = Some(link);
        let fails_over = field_of(&master, "failover-state").is_some_and(|state| UNPROMOTED.contains(&state.as_str()));
        let epoch = field_of(&master, "config-epoch").and_then(|epoch| epoch.parse().ok());
        let word = address_of(address).zip(epoch).map(|(address, epoch)| Word { epoch, address, fails_over });
        word.ok_or_else(|| self.unknown())
    }

    fn good(&self, answer: Result<Reply, RedisFailure>) -> Result<Reply, String> {
        let (host, port) = &self.address;
        answer.map_err(|failure| match failure {
            RedisFailure::Refused(reason) if reason.contains("unknown command") => {
                format!(
                    "`{host}:{port}` is no sentinel; list the sentinels in --redis-url, or use redis:// for one redis"
                )
            }
            RedisFailure::Refused(reason) if reason.contains("No such master") => self.unknown(),
            RedisFailure::Refused(reason) if reason.starts_with("NOAUTH") => format!(
                "the sentinel `{host}:{port}` asks for a password; name its file with --redis-sentinel-password-file \
                 ({reason})"
            ),
            RedisFailure::Refused(reason) if reason.starts_with("NOPERM") => format!(
                "the sentinel `{host}:{port}` denies its user a command; allow +sentinel|master and \
                 +sentinel|get-master-addr-by-name ({reason})"
            ),
            other => format!("the sentinel `{host}:{port}`: {other}"),
        })
    }

    fn unknown(&self) -> String {
        let (host, port) = &self.address;
        format!("the sentinel `{host}:{port}` watches no master named `{}`; fix ?master= in --redis-url", self.name)
    }

    pub fn setup(&self) -> Setup {
        Setup::of_a_sentinel(&self.config, &self.address.0, self.address.1)
    }

    async fn connect(&self) -> Result<Link, String> {
        match Link::open(&self.setup(), CONNECT_TIMEOUT).await {
            Ok(link) => Ok(link),
            Err(problem) => {
                let (host, port) = &self.address;
                Err(match problem.text.split(' ').next() {
                    Some("WRONGPASS" | "NOAUTH") => format!(
                        "the sentinel `{host}:{port}` rejects the user or the password; fix --redis-sentinel-username or \
                         --redis-sentinel-password-file ({})",
                        problem.text
                    ),
                    _ => format!("a sentinel: {}", explain(&problem, &self.target, &self.setup()).await),
                })
            }
        }
    }
}

/// What `SENTINEL GET-MASTER-ADDR-BY-NAME` says.
fn address_of(reply: Reply) -> Option<Address> {
    match reply.into_rows().ok()?.as_slice() {
        [Reply::Text(host), port] => Some((String::from_utf8(host.to_vec()).ok()?, port.number().ok()?)),
        _ => None,
    }
}

/// A field of what `SENTINEL MASTER` says.
fn field_of(reply: &Reply, name: &str) -> Option<String> {
    let Reply::Rows(fields) = reply else { return None };
    let field = fields.chunks(2).find(|field| matches!(&field[0], Reply::Text(known) if known == name))?;
    match field.get(1)? {
        Reply::Text(value) => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

/// Passes on what one sentinel tells of the master `name`, for as long as it is listened to.
pub(super) async fn hear(setup: Setup, name: String, tell: mpsc::UnboundedSender<Event>) {
    const BEGUN: &str = "+try-failover";
    const OVER: [&str; 4] = [
        "+switch-master",
        "-failover-abort-not-elected",
        "-failover-abort-no-good-slave",
        "-failover-abort-slave-timeout",
    ];
    while !tell.is_closed() {
        if let Ok(link) = Link::open(&setup, CONNECT_TIMEOUT).await {
            hear_on(link, [&[BEGUN], &OVER[..]].concat(), |channel, text| {
                if text.split(' ').any(|word| word == name) {
                    let _ = tell.send(if channel == BEGUN { Event::Begun } else { Event::Over });
                }
            })
            .await;
        }
        // Of any that it may miss the next question tells.
        sleep(HEAR_AGAIN).await;
    }
}

/// Passes on what is said on these channels until the connection breaks.
async fn hear_on(mut link: Link, channels: Vec<&str>, take_in: impl Fn(&str, &str)) {
    let mut messages = link.connection.messages();
    if link.connection.subscribe(channels).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Ok((channel, text)) => take_in(&channel, &text),
                Err(Missed::Some) => {}
                Err(Missed::Rest) => return,
            },
            _ = link.ended() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Text(bytes::Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn who_knows_of_the_latest_failover_is_believed() {
        let word = |epoch, host: &str| Word { epoch, address: (host.to_owned(), 6379), fails_over: false };
        assert_eq!([word(7, "a"), word(8, "b"), word(7, "z")].into_iter().max(), Some(word(8, "b")));
    }

    #[test]
    fn an_answer_of_a_sentinel_is_read_and_another_is_none() {
        let address = Reply::Rows(vec![text("10.0.0.7"), text("6380")]);
        assert_eq!(address_of(address), Some(("10.0.0.7".to_owned(), 6380)));
        assert_eq!(address_of(Reply::Nil), None);
        let master = Reply::Rows(vec![text("name"), text("mymaster"), text("config-epoch"), text("12")]);
        assert_eq!(field_of(&master, "config-epoch").as_deref(), Some("12"));
        assert_eq!(field_of(&master, "flags"), None);
        assert_eq!(field_of(&Reply::Rows(vec![text("config-epoch")]), "config-epoch"), None);
    }
}
