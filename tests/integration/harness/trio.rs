//! A master and two replicas, watched by three sentinels: all real, on loopback.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Place, Redundant, Scratch, TestRedis, TimedRedis, free_port, server, until};

/// What the sentinels call the master.
pub const MASTER: &str = "main";

/// Servers and sentinels. The servers listen on TCP, too.
pub struct Trio {
    pub servers: Vec<TestRedis>,
    places: Vec<Place>,
    pub sentinels: Vec<Sentinel>,
}

/// A redis-server that watches others.
pub struct Sentinel {
    child: Child,
    pub port: String,
    _scratch: Scratch,
}

impl Trio {
    /// Which server the sentinels say is the master, where one that answers says so.
    fn named(&self) -> Option<usize> {
        let ask = |sentinel: &Sentinel| {
            let address = redis::cmd("SENTINEL").arg(&["GET-MASTER-ADDR-BY-NAME", MASTER]).to_owned();
            address.query::<Vec<String>>(&mut sentinel.connection()?).ok()
        };
        let address = self.sentinels.iter().find_map(ask)?;
        let port = address.get(1)?.parse();
        self.places.iter().position(|place| port == Ok(place.announced))
    }
}

impl Redundant for Trio {
    const TOPOLOGY: &str = "sentinel";
    const MASTERS: usize = 1;
    const REPLICAS: usize = 2;

    fn start_at(places: &[Place], args: &[&str]) -> Trio {
        let first = places[0].announced.to_string();
        let start = |(index, place): (usize, &Place)| {
            let [listens, announced] = [place.listens, place.announced].map(|port| port.to_string());
            let mut all = vec!["--bind", "127.0.0.1", "--port", &listens, "--replica-announce-port", &announced];
            all.extend(["--repl-diskless-sync-delay", "0"]);
            if index > 0 {
                all.extend(["--replicaof", "127.0.0.1", &first]);
            }
            all.extend(args);
            TestRedis::start_of_a_file(&all)
        };
        let servers: Vec<TestRedis> = places.iter().enumerate().map(start).collect();
        until("the replicas follow", || {
            servers[0].ask::<String>("INFO", &["replication"]).matches("state=online").count() == 2
        });
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(&first, "")).collect();
        until("the sentinels know each other and the replicas", || {
            sentinels.iter().all(|sentinel| {
                let Some(mut connection) = sentinel.connection() else { return false };
                let info: redis::RedisResult<String> = redis::cmd("INFO").arg("sentinel").query(&mut connection);
                info.is_ok_and(|info| info.contains("slaves=2,sentinels=3"))
            })
        });
        Trio { servers, places: places.to_vec(), sentinels }
    }

    fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis-sentinel://{}?master={MASTER}", hosts.join(","))
    }

    fn server(&self, server: usize) -> &TestRedis {
        &self.servers[server]
    }

    fn port(&self, server: usize) -> u16 {
        self.places[server].announced
    }

    fn master(&self, _: &str) -> usize {
        self.named().expect("a master")
    }

    fn is_replicated(&self, key: &str) {
        let mut connection = self.servers[self.master(key)].connection();
        redis::cmd("SET").arg(&["written", "again"]).query::<()>(&mut connection).expect("written");
        until("both replicas have it", || redis::cmd("WAIT").arg(&["2", "100"]).query(&mut connection) == Ok(2));
    }

    fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    fn restart(&mut self, server: usize) {
        self.servers[server].up();
    }

    fn freeze(&mut self, server: usize) {
        self.servers[server].signal("STOP");
    }

    fn resume(&mut self, server: usize) {
        self.servers[server].signal("CONT");
    }

    fn switch(&self, _: usize) {
        until("a switch by hand begins", || {
            let mut connection = self.sentinels[0].connection().expect("a sentinel that answers");
            redis::cmd("SENTINEL").arg(&["FAILOVER", MASTER]).query::<()>(&mut connection).is_ok()
        });
    }

    fn promoted(&self, _: &str, old: usize) {
        until("another master takes writes", || {
            self.named().filter(|master| *master != old).is_some_and(|master| {
                let mut connection = self.servers[master].connection();
                redis::cmd("SET").arg(&["written", "yes"]).query::<()>(&mut connection).is_ok()
            })
        });
    }

    fn settled(&self) {
        until("both replicas follow the master", || {
            let Some(master) = self.named() else { return false };
            self.servers[master].ask::<String>("INFO", &["replication"]).matches("state=online").count() == 2
        });
    }

    fn place(&self) -> String {
        format!("redis: the master that sentinels name, 127.0.0.1:{}\n", self.port(self.master("")))
    }
}

impl Sentinel {
    /// Watches the server on `master_port` as [`MASTER`]; `lines` are further ones of its configuration, with `PORT` for
    /// its port.
    pub fn start(master_port: &str, lines: &str) -> Sentinel {
        let (port, scratch) = (free_port(), Scratch::new());
        let lines = lines.replace("PORT", &port);
        let config = scratch.file(
            "sentinel.conf",
            format!(
                "port {port}\n{lines}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {master_port} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 6000\n\
                 sentinel parallel-syncs {MASTER} 2\n",
                scratch.path("")
            ),
        );
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", &server(), &config, "--sentinel", "--loglevel", "warning"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a sentinel starts");
        Sentinel { child, port, _scratch: scratch }
    }

    pub fn connection(&self) -> Option<TimedRedis> {
        TimedRedis::connect(&format!("127.0.0.1:{}", self.port), Duration::from_millis(500)).ok()
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill -{name}");
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
