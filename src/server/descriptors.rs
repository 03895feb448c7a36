//! File descriptors: as many as the process may have, and shared out so that a flood on one listener leaves the other,
//! and Redis, theirs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::TURNED_AWAY_AT_ONCE;

/// What a thread needs beside its clients: its listener and its runtime, its connections to Redis, old and new.
const A_THREAD: u64 = 16;
/// What the process needs: the log, files being read, the ops listener.
const A_PROCESS: u64 = 32;

/// Connections that the listeners of each kind may have together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub api: usize,
    pub ops: usize,
}

/// Raises the soft limit to the hard one; how many descriptors there may be then, or `None` without a limit.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// What the listeners of each kind may have of `limit` where both kinds ask for `wanted`. Short of it, the ops listeners
/// have a quarter: a probe and a scraper need little, but that always. `accepting` is how many loops accept connections:
/// one for each ops listener, and one for each API listener of each thread.
pub fn share(limit: Option<u64>, wanted: usize, threads: usize, accepting: usize) -> Shares {
    let reserved = A_PROCESS + threads as u64 * A_THREAD + (accepting * TURNED_AWAY_AT_ONCE) as u64;
    let left = limit.map_or(usize::MAX, |limit| usize::try_from(limit.saturating_sub(reserved)).unwrap_or(usize::MAX));
    let ops = wanted.min(left.saturating_sub(wanted).max(left / 4)).max(1);
    Shares { api: wanted.min(left.saturating_sub(ops)).max(1), ops }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_get_what_they_ask_for_or_what_there_is() {
        let shares = |limit, wanted| {
            let Shares { api, ops } = share(limit, wanted, 1, 2);
            (api, ops)
        };
        assert_eq!(shares(None, 16_384), (16_384, 16_384));
        assert_eq!(shares(Some(1_048_576), 16_384), (16_384, 16_384));
        assert_eq!(shares(Some(1024), 10), (10, 10));
        let (api, ops) = shares(Some(1024), 16_384);
        assert_eq!((api, ops), (636, 212));
        let (api, ops) = shares(Some(20_000), 16_384);
        assert_eq!((api, ops), (14_868, 4_956));
        assert_eq!(shares(Some(20), 16_384), (1, 1));
    }
}
