//! Typed calls of the scripts of several keys, whose rows are those of the scripts of one. On one Redis alone: a cluster runs
//! no script over several slots.

use super::super::lua::{ACQUIRE_ALL, RENEW_ALL};
use super::super::row::Row;
use super::super::scripts::{AcquireArgs, AcquireRow, RenewRow, Scripts, acquire_row, renew_row};
use super::super::{Key, Token, Ttl};
use crate::redis::{Args, Call, RedisFailure};

/// What `acquire_all.lua` says.
pub enum AcquireAllRow {
    /// Of each key.
    Granted(Vec<AcquireRow>),
    /// Nothing is granted, because of the key of this place, from 0 on.
    Refused(usize, AcquireRow),
}

impl Scripts {
    /// All of `keys`, or none.
    pub async fn acquire_all(
        &self,
        keys: &[&Key],
        acquires: &[AcquireArgs<'_>],
    ) -> Result<AcquireAllRow, RedisFailure> {
        let key_ms: Vec<String> = acquires.iter().map(|acquire| acquire.key_ms.to_string()).collect();
        let call = || {
            let mut call = Call::default();
            for ((key, acquire), key_ms) in keys.iter().zip(acquires).zip(&key_ms) {
                let floor = self.floor(key);
                call.args.extend(self.words_of_a_line(key, &floor));
                call.args.extend(acquire.words(key_ms));
                call.keys.extend(self.keys_of_a_line(key));
            }
            call
        };
        let slot = self.slot(keys.first().expect("at least one"));
        let mut row = Row::of(self.redis.run_in_time(&ACQUIRE_ALL, slot, call).await?)?;
        match row.word().as_ref() {
            b"granted" => {
                let rows = row.rows().map(|row| acquire_row(row?, &ACQUIRE_ALL)).collect::<Result<Vec<_>, _>>()?;
                of_all(rows.len(), keys.len()).map(|()| AcquireAllRow::Granted(rows))
            }
            b"refused" => {
                let place: usize = row.number()?;
                let refused = acquire_row(row.row()?, &ACQUIRE_ALL)?;
                match place.checked_sub(1).filter(|at| *at < keys.len()) {
                    Some(at) => Ok(AcquireAllRow::Refused(at, refused)),
                    None => Err(RedisFailure::Nonsense(format!("key {place} of {}", keys.len()))),
                }
            }
            _ => Err(row.unknown(&ACQUIRE_ALL)),
        }
    }

    /// All of the leases, or none: of each what would have become of it, and whether they are renewed.
    pub async fn renew_all(
        &self,
        leases: &[(Key, Token)],
        identity: &str,
        ttl: Option<Ttl>,
        longest_ms: u64,
    ) -> Result<(bool, Vec<RenewRow>), RedisFailure> {
        let (ttl, longest_ms) = (ttl.map(|ttl| ttl.as_ms().to_string()).unwrap_or_default(), longest_ms.to_string());
        let call = || {
            let (mut keys, mut args) = (Vec::new(), Args::default());
            for (key, token) in leases {
                let (token, push) = (token.to_string(), self.space.push(key.shard()));
                args.extend([key.as_str(), &token, identity, &ttl, push, &longest_ms]);
                keys.extend(self.keys_to_renew(key));
            }
            Call { keys, args, ..Call::default() }
        };
        let slot = self.slot(&leases.first().expect("at least one").0);
        let mut row = Row::of(self.redis.run_in_time(&RENEW_ALL, slot, call).await?)?;
        let is_renewed = match row.word().as_ref() {
            b"renewed" => true,
            b"refused" => false,
            _ => return Err(row.unknown(&RENEW_ALL)),
        };
        let rows = row.rows().map(|row| renew_row(row?, &RENEW_ALL)).collect::<Result<Vec<_>, _>>()?;
        of_all(rows.len(), leases.len()).map(|()| (is_renewed, rows))
    }
}

fn of_all(rows: usize, keys: usize) -> Result<(), RedisFailure> {
    if rows == keys { Ok(()) } else { Err(RedisFailure::Nonsense(format!("{rows} rows for {keys} keys"))) }
}
