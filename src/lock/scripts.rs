//! Typed calls of `lua/`: one method a script; its rows stand in `rows`. Nothing is decided here.

mod looks;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::high_water::HighWater;
use super::keys::KeySpace;
use super::lua::{ACQUIRE, ADVANCE, ALL, DECLINE, FORCE, JOIN, RELEASE, RENEW, RIGHTS, SHARE, UNDO};
use super::row::Row;
pub use super::rows::*;
use super::{Key, Mode, Shard, Token, Ttl};
use crate::redis::{Args, Call, Needs, Optional, Redis, RedisFailure, Script, Slot};

/// The scripts, bound to a connection, a key space, and what this process has seen.
#[derive(Clone)]
pub struct Scripts {
    pub redis: Redis,
    pub space: KeySpace,
    pub high_water: Arc<HighWater>,
}

impl Scripts {
    pub async fn acquire(&self, key: &Key, mode: Mode, acquire: AcquireArgs<'_>) -> Result<AcquireRow, RedisFailure> {
        let script: &'static LazyLock<Script> = match mode {
            Mode::Exclusive => &ACQUIRE,
            Mode::Shared { .. } => &SHARE,
        };
        let key_ms = acquire.key_ms.to_string();
        let call = || self.line(key, &acquire.words(&key_ms));
        let row = Row::of(self.redis.run_in_time(script, self.slot(key), call).await?)?;
        acquire_row(row, script)
    }

    /// Without a ttl: the lease's own.
    pub async fn renew(
        &self,
        key: &Key,
        token: Token,
        identity: &str,
        ttl: Option<Ttl>,
        how: How<'_>,
    ) -> Result<RenewRow, RedisFailure> {
        let (token, ttl) = (token.to_string(), ttl.map(|ttl| ttl.as_ms().to_string()).unwrap_or_default());
        let (how, sending, longest_ms) = match how {
            How::Set { longest_ms } => ("set", "", longest_ms.to_string()),
            How::Check { longest_ms } => ("check", "", longest_ms.to_string()),
            How::Extend(sending) => ("extend", sending, String::new()),
            How::Keep(sending) => ("keep", sending, String::new()),
            How::Take(sending) => ("take", sending, String::new()),
        };
        let push = self.space.push(key.shard());
        let call = || Call {
            keys: self.keys_to_renew(key),
            optional: Some(Optional { key: 3, stand_in: 1 }),
            args: Args::of([key.as_str(), &token, identity, &ttl, push, how, sending, &longest_ms]),
        };
        let row = Row::of(self.redis.run_in_time(&RENEW, self.slot(key), call).await?)?;
        renew_row(row, &RENEW)
    }

    /// KEYS of `renew.lua`.
    pub(super) fn keys_to_renew(&self, key: &Key) -> Vec<Bytes> {
        vec![
            self.space.lock(key).into(),
            self.space.queue(key).into(),
            self.space.forced(key).into(),
            self.space.watch(key.shard()).clone(),
        ]
    }

    /// Without a token: whichever lease the owner has.
    pub async fn release(
        &self,
        key: &Key,
        token: Option<Token>,
        identity: &str,
        by: By<'_>,
    ) -> Result<ReleaseRow, RedisFailure> {
        let token = spelled(token);
        let (sending, rest_ms, how) = match by {
            By::Owner { rest_ms, shows } => {
                ("", rest_ms.map(|ms| ms.to_string()).unwrap_or_default(), if shows { "shows" } else { "" })
            }
            By::Sending { sending, resigns } => (sending, String::new(), if resigns { "resigns" } else { "" }),
        };
        let call = || self.line(key, &[&token, identity, sending, &rest_ms, how]);
        let mut row = Row::of(self.redis.run_in_time(&RELEASE, self.slot(key), call).await?)?;
        Ok(match row.word().as_ref() {
            b"released" => ReleaseRow::Released(row.texts()?.pop()),
            b"lost" => ReleaseRow::Lost,
            b"told" => ReleaseRow::Told,
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
            b"forced" => ForceRow::Forced(row.texts()?),
            b"free" => ForceRow::Free,
            b"other" => ForceRow::Other,
            b"stranger" => ForceRow::Stranger,
            _ => return Err(row.unknown(&FORCE)),
        })
    }

    /// Removes the sending's entry from the queue, too; `entry` is empty where it has none.
    pub async fn undo(&self, key: &Key, identity: &str, sending: &str, entry: &str) -> Result<UndoRow, RedisFailure> {
        let call = || self.line(key, &[identity, sending, entry]);
        let row = Row::of(self.redis.run_in_time(&UNDO, self.slot(key), call).await?)?;
        Ok(match row.word().as_ref() {
            b"undone" => UndoRow::Undone,
            b"nothing" => UndoRow::Nothing,
            b"told" => UndoRow::Told,
            _ => return Err(row.unknown(&UNDO)),
        })
    }

    pub async fn join(&self, key: &Key, join: &JoinArgs<'_>) -> Result<JoinRow, RedisFailure> {
        let JoinArgs { entry, sending, wait_ms, position, reentry } = join;
        let wait_ms = wait_ms.to_string();
        let call = || self.line(key, &[entry, sending, &wait_ms, position.unwrap_or_default(), reentry.word()]);
        let mut row = Row::of(self.redis.run_in_time(&JOIN, self.slot(key), call).await?)?;
        match row.word().as_ref() {
            b"waiting" => Ok(JoinRow::Waiting { position: row.string()?, left_ms: row.number()? }),
            b"turn" => Ok(JoinRow::Turn(row.token()?)),
            b"own" => Ok(JoinRow::Owned),
            _ => Err(row.unknown(&JOIN)),
        }
    }

    /// `process`: the caller's; `entries`: of its waiters, the first and the last in the queue at least; whether they are to
    /// be told exactly how they stand.
    pub async fn advance(
        &self,
        key: &Key,
        process: &str,
        entries: &[String],
        precision: Precision,
    ) -> Result<AdvanceRow, RedisFailure> {
        let how = match precision {
            Precision::Rank => "rank",
            Precision::Presence => "",
        };
        let call = || {
            let mut call = self.line(key, &[process, how]);
            call.args.extend(entries.iter().map(String::as_str));
            call
        };
        let mut row = Row::of(self.redis.run(&ADVANCE, self.slot(key), call).await?)?;
        let key = match row.word().as_ref() {
            b"held" => KeyState::Held(row.found()?),
            b"shared" => KeyState::Shared { awaited: row.found()?, look_ms: row.number()? },
            b"stranger" => KeyState::Stranger,
            b"free" => KeyState::Free { left_ms: row.number()? },
            _ => return Err(row.unknown(&ADVANCE)),
        };
        let places: Result<Vec<_>, RedisFailure> = entries.iter().map(|_| row.number().map(Place::of)).collect();
        Ok(AdvanceRow { key, places: places? })
    }

    /// Refuses an offer to `sidecar`, one of ours.
    pub async fn decline(&self, key: &Key, token: Token, sidecar: &str) -> Result<DeclineRow, RedisFailure> {
        let token = token.to_string();
        let row = self.redis.run(&DECLINE, self.slot(key), || self.line(key, &[&token, sidecar])).await?;
        let row = Row::of(row)?;
        match row.word().as_ref() {
            b"declined" => Ok(DeclineRow::Declined),
            b"nothing" => Ok(DeclineRow::Nothing),
            _ => Err(row.unknown(&DECLINE)),
        }
    }

    /// Says what Redis must allow where `sidecar` is one that waits or holds.
    pub fn know_rights(&self, sidecar: &str) {
        let (keys, further) = self.space.samples();
        let channels: BTreeSet<&str> = Shard::all().map(|shard| self.space.push(shard)).collect();
        let channels = channels.into_iter().flat_map(|push| [[push, "all"].concat(), [push, sidecar].concat()]);
        let (patterns, channels) = (self.space.patterns(), channels.collect());
        let scripts = ALL.iter().map(|script| &***script).collect();
        self.redis.know(Needs { patterns, scripts, keys, further, channels });
    }

    /// Whether Redis allows all of that, asked of the master of a shard; `Ok` says what it refuses that locks can do
    /// without.
    pub async fn check_rights(&self, shard: Shard) -> Result<Option<String>, RedisFailure> {
        self.redis.check_rights(&RIGHTS, self.space.slot(shard)).await
    }

    pub(super) fn slot(&self, key: &Key) -> Slot {
        self.space.slot(key.shard())
    }

    /// What every script that may grant a key is given, and then `further` ARGV.
    fn line(&self, key: &Key, further: &[&str]) -> Call {
        let floor = self.floor(key);
        let mut args = Args::of(self.words_of_a_line(key, &floor));
        args.extend(further.iter().copied());
        Call { keys: self.keys_of_a_line(key).into(), args, optional: Some(Optional { key: 3, stand_in: 2 }) }
    }

    pub(super) fn keys_of_a_line(&self, key: &Key) -> [Bytes; 4] {
        let (space, shard) = (&self.space, key.shard());
        [space.lock(key).into(), space.tokens(shard).clone(), space.queue(key).into(), space.watch(shard).clone()]
    }

    pub(super) fn words_of_a_line<'a>(&'a self, key: &'a Key, floor: &'a str) -> [&'a str; 4] {
        let shard = key.shard();
        [key.as_str(), self.space.number(shard), floor, self.space.push(shard)]
    }

    pub(super) fn floor(&self, key: &Key) -> String {
        self.high_water.floor(key.shard()).to_string()
    }
}

/// What `acquire.lua` or `share.lua` says, as `script` has it.
pub(super) fn acquire_row(mut row: Row, script: &Script) -> Result<AcquireRow, RedisFailure> {
    Ok(match row.word().as_ref() {
        b"granted" => {
            AcquireRow::Granted { token: row.token()?, since_ms: row.number()?, valid_until_ms: row.number()? }
        }
        b"replayed" => AcquireRow::Replayed(row.found()?),
        b"renewed" => AcquireRow::Renewed(row.found()?),
        b"held" => AcquireRow::Held(row.found()?),
        b"own" => AcquireRow::Own(row.found()?),
        b"shared" => {
            AcquireRow::Shared { found: row.found()?, count: row.number()?, waiters: row.number()?, why: row.why()? }
        }
        b"stranger" => AcquireRow::Stranger,
        b"rejoining" => AcquireRow::Rejoining { valid_until_ms: row.number()?, left_ms: row.number()? },
        _ => return Err(row.unknown(script)),
    })
}

/// What `renew.lua` says, as `script` has it.
pub(super) fn renew_row(mut row: Row, script: &Script) -> Result<RenewRow, RedisFailure> {
    Ok(match row.word().as_ref() {
        b"renewed" => RenewRow::Renewed(row.found()?),
        b"lost" => RenewRow::Lost,
        b"forced" => RenewRow::Forced,
        b"superseded" => RenewRow::Superseded,
        b"capped" => RenewRow::Capped,
        b"too_long" => RenewRow::TooLong { delay_ms: row.number()? },
        b"other" => RenewRow::Other(row.text()?),
        b"stranger" => RenewRow::Stranger,
        _ => return Err(row.unknown(script)),
    })
}

fn spelled(token: Option<Token>) -> String {
    token.map(|token| token.to_string()).unwrap_or_default()
}
