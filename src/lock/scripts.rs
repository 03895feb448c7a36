//! Typed calls of `lua/`: one method a script, one enum variant a row of its header. Nothing is decided here.

use std::sync::LazyLock;

use bytes::Bytes;

use super::keys::KeySpace;
use super::types::{Key, Shard, Token, Ttl};
use crate::redis::{Redis, RedisFailure, Reply, Script};

macro_rules! script {
    ($name:literal) => {
        LazyLock::new(|| Script::new($name, include_str!(concat!("../../lua/", $name, ".lua"))))
    };
}

static ACQUIRE: LazyLock<Script> = script!("acquire");
static RENEW: LazyLock<Script> = script!("renew");
static RELEASE: LazyLock<Script> = script!("release");
static FORCE: LazyLock<Script> = script!("force");
static UNDO: LazyLock<Script> = script!("undo");
static READ: LazyLock<Script> = script!("read");
static SWEEP: LazyLock<Script> = script!("sweep");

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
    pub floor: u64,
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

/// The scripts, bound to a connection and a key space.
#[derive(Clone)]
pub struct Scripts {
    pub redis: Redis,
    pub space: KeySpace,
}

impl Scripts {
    pub async fn acquire(&self, key: &Key, args: AcquireArgs<'_>) -> Result<AcquireRow, RedisFailure> {
        let shard = key.shard();
        let keys =
            vec![self.space.lock(key), self.space.sequence(shard).to_owned(), self.space.tokens(shard).to_owned()];
        let args = vec![
            key.to_string(),
            args.ttl.as_ms().to_string(),
            shard.to_string(),
            args.floor.to_string(),
            args.identity.to_owned(),
            args.nonce.to_owned(),
            args.further,
            args.own.to_owned(),
            args.request.to_owned(),
        ];
        let mut row = Row::of(self.redis.run(&ACQUIRE, keys, args).await?)?;
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
        let ttl = ttl.map(|ttl| ttl.as_ms().to_string()).unwrap_or_default();
        let args = vec![token.to_string(), identity.to_owned(), ttl];
        let mut row = Row::of(self.redis.run(&RENEW, vec![self.space.lock(key)], args).await?)?;
        Ok(match row.word().as_ref() {
            b"renewed" => RenewRow::Renewed(row.found()?),
            b"lost" => RenewRow::Lost,
            b"other" => RenewRow::Other(row.text()?),
            b"stranger" => RenewRow::Stranger,
            _ => return Err(row.unknown(&RENEW)),
        })
    }

    /// Without a token: whichever lease the owner has.
    pub async fn release(&self, key: &Key, token: Option<Token>, identity: &str) -> Result<ReleaseRow, RedisFailure> {
        let args = vec![key.to_string(), spelled(token), identity.to_owned()];
        let mut row = Row::of(self.redis.run(&RELEASE, self.lock_and_tokens(key), args).await?)?;
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
        let args = vec![key.to_string(), spelled(token)];
        let mut row = Row::of(self.redis.run(&FORCE, self.lock_and_tokens(key), args).await?)?;
        Ok(match row.word().as_ref() {
            b"forced" => ForceRow::Forced(row.text()?),
            b"free" => ForceRow::Free,
            b"other" => ForceRow::Other,
            b"stranger" => ForceRow::Stranger,
            _ => return Err(row.unknown(&FORCE)),
        })
    }

    pub async fn undo(&self, key: &Key, attempt: &str, request: &str) -> Result<UndoRow, RedisFailure> {
        let args = vec![key.to_string(), attempt.to_owned(), request.to_owned()];
        let row = Row::of(self.redis.run(&UNDO, self.lock_and_tokens(key), args).await?)?;
        Ok(match row.word().as_ref() {
            b"undone" => UndoRow::Undone,
            b"nothing" => UndoRow::Nothing,
            b"told" => UndoRow::Told,
            _ => return Err(row.unknown(&UNDO)),
        })
    }

    /// What lies under each of `keys`, which are all of one shard.
    pub async fn read(&self, keys: &[Key]) -> Result<Vec<Seen>, RedisFailure> {
        let locks = keys.iter().map(|key| self.space.lock(key)).collect();
        let rows = self.redis.run(&READ, locks, Vec::new()).await?.into_rows()?;
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
        let tokens = self.space.tokens(shard).to_owned();
        let names = std::iter::once(tokens).chain(keys.iter().map(|key| self.space.lock(key))).collect();
        let args = keys.iter().map(Key::to_string).collect();
        let mut row = Row::of(self.redis.run(&SWEEP, names, args).await?)?;
        match row.word().as_ref() {
            b"swept" => row.number(),
            _ => Err(row.unknown(&SWEEP)),
        }
    }

    fn lock_and_tokens(&self, key: &Key) -> Vec<String> {
        vec![self.space.lock(key), self.space.tokens(key.shard()).to_owned()]
    }
}

fn spelled(token: Option<Token>) -> String {
    token.map(|token| token.to_string()).unwrap_or_default()
}

/// One row that a script returned: a word, and what belongs to it.
struct Row {
    word: Bytes,
    rest: std::vec::IntoIter<Reply>,
}

impl Row {
    fn of(reply: Reply) -> Result<Row, RedisFailure> {
        let mut rest = reply.into_rows()?.into_iter();
        let word = rest.next().ok_or_else(|| RedisFailure::Nonsense("an empty row".to_owned()))?.into_text()?;
        Ok(Row { word, rest })
    }

    /// A cheap handle on the word, so that a row can be matched while its rest is read.
    fn word(&self) -> Bytes {
        self.word.clone()
    }

    fn next(&mut self) -> Result<Reply, RedisFailure> {
        self.rest.next().ok_or_else(|| RedisFailure::Nonsense(format!("a short row {:?}", self.word)))
    }

    fn text(&mut self) -> Result<Bytes, RedisFailure> {
        self.next()?.into_text()
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, RedisFailure> {
        self.next()?.number()
    }

    fn token(&mut self) -> Result<Token, RedisFailure> {
        let number = self.number()?;
        Token::new(number).ok_or_else(|| RedisFailure::Nonsense(format!("the token {number}")))
    }

    fn found(&mut self) -> Result<Found, RedisFailure> {
        Ok(Found { text: self.text()?, valid_until_ms: self.number()?, left_ms: self.number()? })
    }

    fn unknown(&self, script: &Script) -> RedisFailure {
        RedisFailure::Nonsense(format!("{}: a row {:?}", script.name, self.word))
    }
}
