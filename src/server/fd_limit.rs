//! The limit of file descriptors: raised, and divided so that a flood on one listener leaves the other, and Redis, their
//! share.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::TURNED_AWAY_AT_ONCE;

/// Descriptors of a thread beside its clients': its listener, its runtime, its connections to Redis, old and new.
const A_THREAD: u64 = 16;
/// Descriptors of the process: the log, files being read, the ops listener, the connections beside the threads'.
const A_PROCESS: u64 = 32;

/// The most connections of the listeners of each kind, over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub api: usize,
    pub ops: usize,
}

/// Raises the soft limit to the hard one; returns it, or `None` without a limit.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// Connections of all ops listeners together: a probe and a scraper need few, but always.
const OPS: usize = 64;

/// Divides `limit`; the API listeners want `wanted` connections. `accepting` is the number of loops that accept: one for
/// each ops listener, and one for each API listener of each thread.
pub fn share(limit: Option<u64>, wanted: usize, threads: usize, accepting: usize) -> Shares {
    let reserved = A_PROCESS + threads as u64 * A_THREAD + (accepting * TURNED_AWAY_AT_ONCE) as u64;
    let left = limit.map_or(usize::MAX, |limit| usize::try_from(limit.saturating_sub(reserved)).unwrap_or(usize::MAX));
    let ops = OPS.min(left / 4).max(1);
    Shares { api: wanted.min(left.saturating_sub(ops)).max(1), ops }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ops_listener_gets_its_own_and_the_api_what_it_asks_for_or_what_there_is() {
        let shares = |limit, wanted| {
            let Shares { api, ops } = share(limit, wanted, 1, 2);
            (api, ops)
        };
        assert_eq!(shares(None, 16_384), (16_384, 64));
        assert_eq!(shares(Some(1_048_576), 16_384), (16_384, 64));
        assert_eq!(shares(Some(1024), 10), (10, 64));
        assert_eq!(shares(Some(1024), 16_384), (784, 64));
        assert_eq!(shares(Some(20_000), 16_384), (16_384, 64));
        assert_eq!(shares(Some(10_000), 16_384), (9_760, 64));
        assert_eq!(shares(Some(256), 16_384), (60, 20));
        assert_eq!(shares(Some(20), 16_384), (1, 1));
    }
}
