//! Redis as more than one server, some of which stand ready to take the place of others.

use super::TestRedis;

/// Redis as several servers, where another takes the place of the one that has a key.
pub trait Redundant {
    /// As metrics name it.
    const TOPOLOGY: &str;
    /// How many masters it has, and replicas of each.
    const MASTERS: usize;
    const REPLICAS: usize;

    /// Each server has `args`, too. The kernel ends a server with the thread that started it.
    fn start(args: &[&str]) -> Self;
    /// `--redis-url` of it.
    fn url(&self) -> String;
    fn server(&self, server: usize) -> &TestRedis;
    /// Where a server listens.
    fn port(&self, server: usize) -> u16;
    /// The server that has a Redis key.
    fn master(&self, key: &str) -> usize;
    /// Waits until a server has all that was written beside a Redis key, and may take its master's place.
    fn is_replicated(&self, key: &str);
    /// Ends a server at once: what it had in memory is lost.
    fn kill(&mut self, server: usize);
    fn restart(&mut self, server: usize);
    fn freeze(&mut self, server: usize);
    fn resume(&mut self, server: usize);
    /// Has another server take the place of a master, although nothing is wrong.
    fn switch(&self, master: usize);
    /// Waits until another server than `old` has the key and serves it. Where writes need replicas, it may still lack
    /// them.
    fn promoted(&self, key: &str, old: usize);
    /// Waits until everything is as before, so that the next failover may come.
    fn settled(&self);
    /// The line of `/readyz` that says where the masters are.
    fn place(&self) -> String;
}
