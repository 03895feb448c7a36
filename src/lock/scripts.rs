//! Typed calls of `lua/`: one method a script, one enum variant a row of its header. Nothing is decided here.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::floors::Floors;
use super::keys::KeySpace;
use super::types::{Key, Shard, Token, Ttl};
use crate::redis::{Args, Call, Redis, RedisFailure, Reply, Script, Slot};

macro_rules! lua {
    ($name:literal) => {
        include_str!(concat!("../../lua/", $name, ".lua"))
    };
}

/// The rows on which somebody will count.
const PROMISES: &[&str] = &["granted", "replayed", "renewed"];

macro_rules! script {
    ($($before:literal)* => $name:literal $(in $batch:ident)? $(, promising $words:ident)?) => {
        LazyLock::new(|| {
            Script::new($name, concat!($(lua!($before),)* lua!($name)))$(.batched_by(&$batch))?$(.promising($words))?
        })
    };
}

/// Each operation as a function of its own KEYS and ARGV, and then what runs them.
macro_rules! batch {
    ($($before:literal)* => $($name:literal)*) => {
        LazyLock::new(|| {
            let text = concat!(
                $(lua!($before),)*
                "local operations = {}\n",
                $("operations.", $name, " = function(KEYS, ARGV)\n", lua!($name), "end\n",)*
                lua!("batch")
            );
            Script::new("batch", text).promising(PROMISES)
        })
    };
}

static ACQUIRE: LazyLock<Script> = script!("lease" "line" => "acquire" in BATCH, promising PROMISES);
static RENEW: LazyLock<Script> = script!("lease" => "renew" in BATCH, promising PROMISES);
static RELEASE: LazyLock<Script> = script!("lease" "line" => "release" in BATCH);
static FORCE: LazyLock<Script> = script!("lease" "line" => "force");
static UNDO: LazyLock<Script> = script!("lease" "line" => "undo");
static WAIT: LazyLock<Script> = script!("lease" "line" => "wait");
static ADVANCE: LazyLock<Script> = script!("lease" "line" => "advance");
static READ: LazyLock<Script> = script!("lease" => "read");
static SWEEP: LazyLock<Script> = script!("lease" => "sweep");
static BATCH: LazyLock<Script> = batch!("lease" "line" => "acquire" "renew" "release");

/// What lies under a lock's key.
pub struct Found {
    pub text: Bytes,
    /// Below 0: no expiry.
    pub valid_until_ms: i64,
    /// What Redis had left of it when it answered; below 0: no expiry.
    pub left_ms: i64,
}

/// What `read.lua` sees under a key.
pub enum Seen {
    Text(Found),
    Nothing,
    Stranger,
}

/// ARGV of `acquire.lua`, spelled as the header says.
pub struct AcquireArgs<'a> {
    pub ttl: Ttl,
    pub identity: &'a str,
    pub nonce: &'a str,
    pub further: String,
    /// `refuse`, `renew` or `extend`.
    pub own: &'static str,
    pub request: &'a str,
}

pub enum AcquireRow {
    Granted { token: Token, since_ms: u64, valid_until_ms: u64 },
    Replayed(Found),
    Renewed(Found),
    Held(Found),
    Stranger,
}

pub enum RenewRow {
    Renewed(Found),
    Lost,
    Forced,
    Other(Bytes),
    Stranger,
}

pub enum ReleaseRow {
    Released,
    Lost,
    Other(Bytes),
    Stranger,
}

pub enum ForceRow {
    Forced(Bytes),
    Free,
    Other,
    Stranger,
}

pub enum UndoRow {
    Undone,
    Nothing,
    Told,
}

pub enum WaitRow {
    Waiting {
        place: String,
        /// Of the lease before it, milliseconds; -1: no expiry, -2: the key is free.
        left_ms: i64,
        /// The sidecar that this lease is on offer to, or empty.
        offered: String,
    },
    /// Its turn has come already.
    Turn(Token),
}

/// How a line stands; `queued`: whether the waiter that was asked about is in it.
pub enum AdvanceRow {
    /// `left_ms` below 0: no expiry.
    Held {
        text: Bytes,
        left_ms: i64,
        queued: bool,
    },
    Stranger {
        queued: bool,
    },
    Free {
        queued: bool,
    },
}

/// The scripts, bound to a connection, a key space, and what this process has seen.
#[derive(Clone)]
pub struct Scripts {
    pub redis: Redis,
    pub space: KeySpace,
    pub floors: Arc<Floors>,
}

impl Scripts {
    pub async fn acquire(&self, key: &Key, acquire: AcquireArgs<'_>) -> Result<AcquireRow, RedisFailure> {
        let AcquireArgs { ttl, identity, nonce, further, own, request } = acquire;
        let ttl_ms = ttl.as_ms().to_string();
        let call = || self.line(key, &[identity, nonce, request, &ttl_ms, &further, own]);
        let mut row = Row::of(self.redis.run_in_time(&ACQUIRE, self.slot(key), call).await?)?;
        Ok(match row.word().as_ref() {
            b"granted" => {
                AcquireRow::Granted { token: row.token()?, since_ms: row.number()?, valid_until_ms: row.number()? }
            }
            b"replayed" => AcquireRow::Replayed(row.found()?),
            b"renewed" => AcquireRow::Renewed(row.found()?),
            b"held" => AcquireRow::Held(row.found()?),
            b"stranger" => AcquireRow::Stranger,
            _ => return Err(row.unknown(&ACQUIRE)),
        })
    }

    /// Without a ttl: the lease's own.
    pub async fn renew(
        &self,
        key: &Key,
        token: Token,
        identity: &str,
        ttl: Option<Ttl>,
    ) -> Result<RenewRow, RedisFailure> {
        let (token, ttl) = (token.to_string(), ttl.map(|ttl| ttl.as_ms().to_string()).unwrap_or_default());
        let call = || Call {
            keys: vec![self.space.lock(key).into(), self.space.queue(key).into(), self.space.forced(key).into()],
            args: Args::of([key.as_str(), &token, identity, &ttl, self.space.push(key.shard())]),
        };
        let mut row = Row::of(self.redis.run_in_time(&RENEW, self.slot(key), call).await?)?;
        Ok(match row.word().as_ref() {
            b"renewed" => RenewRow::Renewed(row.found()?),
            b"lost" => RenewRow::Lost,
            b"forced" => RenewRow::Forced,
            b"other" => RenewRow::Other(row.text()?),
            b"stranger" => RenewRow::Stranger,
            _ => return Err(row.unknown(&RENEW)),
        })
    }

    /// Without a token: whichever lease the owner has.
    pub async fn release(&self, key: &Key, token: Option<Token>, identity: &str) -> Result<ReleaseRow, RedisFailure> {
        let token = spelled(token);
        let mut row =
            Row::of(self.redis.run_in_time(&RELEASE, self.slot(key), || self.line(key, &[&token, identity])).await?)?;
        Ok(match row.word().as_ref() {
            b"released" => ReleaseRow::Released,
            b"lost" => ReleaseRow::Lost,
            b"other" => ReleaseRow::Other(row.text()?),
            b"stranger" => ReleaseRow::Stranger,
            _ => return Err(row.unknown(&RELEASE)),
        })
    }

    /// Without a token: whichever lease there is.
    pub async fn force(&self, key: &Key, token: Option<Token>) -> Result<ForceRow, RedisFailure> {
        let token = spelled(token);
        let call = || {
            let mut call = self.line(key, &[&token]);
            call.keys.push(self.space.forced(key).into());
            call
        };
        let mut row = Row::of(self.redis.run_in_time(&FORCE, self.slot(key), call).await?)?;
        Ok(match row.word().as_ref() {
            b"forced" => ForceRow::Forced(row.text()?),
            b"free" => ForceRow::Free,
            b"other" => ForceRow::Other,
            b"stranger" => ForceRow::Stranger,
            _ => return Err(row.unknown(&FORCE)),
        })
    }

    /// Takes the sending's place in line back, too; `waiter` is empty where it has none.
    pub async fn undo(&self, key: &Key, attempt: &str, request: &str, waiter: &str) -> Result<UndoRow, RedisFailure> {
        let row =
            Row::of(self.redis.run(&UNDO, self.slot(key), || self.line(key, &[attempt, request, waiter])).await?)?;
        Ok(match row.word().as_ref() {
            b"undone" => UndoRow::Undone,
            b"nothing" => UndoRow::Nothing,
            b"told" => UndoRow::Told,
            _ => return Err(row.unknown(&UNDO)),
        })
    }

    /// Without a place: the end of the line.
    pub async fn wait(
        &self,
        key: &Key,
        waiter: &str,
        longest_ms: u64,
        place: Option<&str>,
    ) -> Result<WaitRow, RedisFailure> {
        let longest_ms = longest_ms.to_string();
        let call = || self.line(key, &[waiter, &longest_ms, place.unwrap_or_default()]);
        let mut row = Row::of(self.redis.run_in_time(&WAIT, self.slot(key), call).await?)?;
        match row.word().as_ref() {
            b"waiting" => Ok(WaitRow::Waiting { place: row.string()?, left_ms: row.number()?, offered: row.string()? }),
            b"turn" => Ok(WaitRow::Turn(row.token()?)),
            _ => Err(row.unknown(&WAIT)),
        }
    }

    /// `silent`: a sidecar that was offered the key and was not heard to take it, or empty.
    pub async fn advance(&self, key: &Key, waiter: &str, silent: &str) -> Result<AdvanceRow, RedisFailure> {
        let mut row = Row::of(self.redis.run(&ADVANCE, self.slot(key), || self.line(key, &[waiter, silent])).await?)?;
        Ok(match row.word().as_ref() {
            b"held" => {
                let (text, left_ms) = (row.text()?, row.number()?);
                AdvanceRow::Held { text, left_ms, queued: row.text()? == "queued" }
            }
            b"stranger" => AdvanceRow::Stranger { queued: row.text()? == "queued" },
            b"free" => AdvanceRow::Free { queued: row.text()? == "queued" },
            _ => return Err(row.unknown(&ADVANCE)),
        })
    }

    /// What lies under each of `keys`, which are all of one shard, and at least one.
    pub async fn read(&self, keys: &[Key]) -> Result<Vec<Seen>, RedisFailure> {
        let call =
            || Call { keys: keys.iter().map(|key| self.space.lock(key).into()).collect(), args: Args::default() };
        let rows = self.redis.run(&READ, self.slot(&keys[0]), call).await?.into_rows()?;
        let rows = rows.into_iter().map(|reply| {
            let mut row = Row::of(reply)?;
            match row.word().as_ref() {
                b"lease" => row.found().map(Seen::Text),
                b"free" => Ok(Seen::Nothing),
                b"stranger" => Ok(Seen::Stranger),
                _ => Err(row.unknown(&READ)),
            }
        });
        rows.collect()
    }

    /// Drops those of the index entries `keys` of `shard` whose leases are gone; how many.
    pub async fn sweep(&self, shard: Shard, keys: &[Key]) -> Result<u64, RedisFailure> {
        let call = || Call {
            keys: std::iter::once(self.space.tokens(shard).clone())
                .chain(keys.iter().map(|key| self.space.lock(key).into()))
                .collect(),
            args: Args::of(keys.iter().map(Key::as_str)),
        };
        let mut row = Row::of(self.redis.run(&SWEEP, self.space.slot(shard), call).await?)?;
        match row.word().as_ref() {
            b"swept" => row.number(),
            _ => Err(row.unknown(&SWEEP)),
        }
    }

    fn slot(&self, key: &Key) -> Slot {
        self.space.slot(key.shard())
    }

    /// What every script that may grant a key is given, and then `further` ARGV.
    fn line(&self, key: &Key, further: &[&str]) -> Call {
        let Scripts { space, floors, .. } = self;
        let shard = key.shard();
        let (sequence, tokens) = (space.sequence(shard).clone(), space.tokens(shard).clone());
        let keys = vec![space.lock(key).into(), sequence, tokens, space.queue(key).into()];
        let floor = floors.floor(shard).to_string();
        let mut args = Args::of([key.as_str(), space.number(shard), &floor, space.push(shard)]);
        args.extend(further.iter().copied());
        Call { keys, args }
    }
}

fn spelled(token: Option<Token>) -> String {
    token.map(|token| token.to_string()).unwrap_or_default()
}

/// One row that a script returned: a word, and what belongs to it.
pub(super) struct Row {
    word: Bytes,
    rest: std::vec::IntoIter<Reply>,
}

impl Row {
    pub(super) fn of(reply: Reply) -> Result<Row, RedisFailure> {
        let mut rest = reply.into_rows()?.into_iter();
        let word = rest.next().ok_or_else(|| RedisFailure::Nonsense("an empty row".to_owned()))?.into_text()?;
        Ok(Row { word, rest })
    }

    /// A cheap handle on the word, so that a row can be matched while its rest is read.
    pub(super) fn word(&self) -> Bytes {
        self.word.clone()
    }

    fn next(&mut self) -> Result<Reply, RedisFailure> {
        self.rest.next().ok_or_else(|| RedisFailure::Nonsense(format!("a short row {:?}", self.word)))
    }

    pub(super) fn text(&mut self) -> Result<Bytes, RedisFailure> {
        self.next()?.into_text()
    }

    fn string(&mut self) -> Result<String, RedisFailure> {
        Ok(String::from_utf8_lossy(&self.text()?).into_owned())
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Result<N, RedisFailure> {
        self.next()?.number()
    }

    pub(super) fn token(&mut self) -> Result<Token, RedisFailure> {
        let number = self.number()?;
        Token::new(number).ok_or_else(|| RedisFailure::Nonsense(format!("the token {number}")))
    }

    pub(super) fn found(&mut self) -> Result<Found, RedisFailure> {
        Ok(Found { text: self.text()?, valid_until_ms: self.number()?, left_ms: self.number()? })
    }

    fn unknown(&self, script: &Script) -> RedisFailure {
        RedisFailure::Nonsense(format!("{}: a row {:?}", script.name, self.word))
    }
}
