//! Redis as more than one server, some of which stand ready to take the place of others.

use super::{Proxy, TestRedis, cluster};

/// Where a server listens, and where it says that it does.
#[derive(Clone, Copy)]
pub struct Place {
    pub listens: u16,
    pub announced: u16,
}

impl Place {
    pub fn free() -> Place {
        let port = cluster::free_port();
        Place { listens: port, announced: port }
    }

    /// Something else listens where the server says that it does.
    fn before() -> Place {
        Place { announced: cluster::free_port(), ..Place::free() }
    }
}

/// The Redis user of a sidecar whom faults befall.
const PROXIED: &str = "proxied";

/// Redis as several servers, where another takes the place of the one that has a key.
pub trait Redundant {
    /// As metrics name it.
    const TOPOLOGY: &str;
    /// How many masters it has, and replicas of each.
    const MASTERS: usize;
    const REPLICAS: usize;

    /// One server at each place; each has `args`, too. The kernel ends a server with the thread that started it.
    fn start_at(places: &[Place], args: &[&str]) -> Self;

    fn start(args: &[&str]) -> Self
    where
        Self: Sized,
    {
        let places: Vec<Place> = (0..Self::MASTERS * (1 + Self::REPLICAS)).map(|_| Place::free()).collect();
        Self::start_at(&places, args)
    }

    /// A proxy before each server: all who connect come through them, and faults befall those who log in as [`PROXIED`].
    fn start_behind_proxies(args: &[&str]) -> (Self, Vec<Proxy>)
    where
        Self: Sized,
    {
        let places: Vec<Place> = (0..Self::MASTERS * (1 + Self::REPLICAS)).map(|_| Place::before()).collect();
        let proxies = places.iter().map(|place| Proxy::before(*place, PROXIED)).collect();
        let user = ["--user", PROXIED, "on", ">password", "~*", "&*", "+@all"];
        (Self::start_at(&places, &[&user, args].concat()), proxies)
    }

    /// `--redis-url` of a sidecar whom the faults of the proxies befall.
    fn proxied_url(&self) -> String {
        self.url().replacen("://", &format!("://{PROXIED}:password@"), 1)
    }

    /// `--redis-url` of it.
    fn url(&self) -> String;
    fn server(&self, server: usize) -> &TestRedis;
    /// Where a server says that it listens.
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
