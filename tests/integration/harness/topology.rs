//! Which Redis the tests run on: `TOPOLOGY=tls cargo test …` runs the same tests on another one.

use std::process::Command;

use super::certificates::Authority;
use super::{Scratch, TestRedis};

/// The ACL user that lockside is on a Redis over TLS.
pub const ACL_USER: &str = "lockside";
pub const ACL_PASSWORD: &str = "the-password-of-the-tests";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One Redis, over a unix socket.
    Single,
    /// One Redis over TLS, with the shipped ACL user.
    Tls,
    /// The master of three, by its sentinels; servers of a test's own are as in `Single`.
    Sentinel,
    /// A cluster of three masters; servers of a test's own are as in `Single`.
    Cluster,
}

impl Topology {
    /// What `TOPOLOGY` says.
    pub fn of_this_run() -> Topology {
        match std::env::var("TOPOLOGY").unwrap_or_default().as_str() {
            "" | "single" => Topology::Single,
            "tls" => Topology::Tls,
            "sentinel" => Topology::Sentinel,
            "cluster" => Topology::Cluster,
            other => panic!("TOPOLOGY is `{other}`; expected single, tls, sentinel or cluster"),
        }
    }
}

/// Arguments of a redis-server that speaks TLS on `port` and knows the shipped ACL user, for any key prefix.
pub fn tls_args(scratch: &Scratch, port: &str, names: &[&str]) -> Vec<String> {
    let (certificate, key) = Authority::shared().issue(names);
    let shipped = include_str!("../../../deploy/redis/lockside.acl").split_whitespace();
    let user: Vec<String> = shipped
        .map(|word| match word.as_bytes()[0] {
            b'>' => format!(">{ACL_PASSWORD}"),
            b'~' | b'%' => "~*".to_owned(),
            b'&' => "&*".to_owned(),
            _ => word.to_owned(),
        })
        .collect();
    let user = user.join(" ");
    let files = [
        ("--tls-cert-file", scratch.file("redis.pem", certificate)),
        ("--tls-key-file", scratch.file("redis.key", key)),
        ("--tls-ca-cert-file", scratch.file("ca.pem", Authority::shared().pem())),
        ("--aclfile", scratch.file("users.acl", format!("user default on nopass ~* &* +@all\n{user}\n"))),
    ];
    let mut args: Vec<String> = ["--tls-port", port, "--tls-auth-clients", "no"].map(str::to_owned).into();
    args.extend(files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file]));
    args
}

/// Tells a sidecar by its environment what a Redis over TLS asks of it; flags win.
pub fn introduce(command: &mut Command, url: &str, scratch: &Scratch) {
    if url.starts_with("rediss") {
        command.env("LOCKSIDE_REDIS_CA_FILE", scratch.file("ca.pem", Authority::shared().pem()));
        command.env("LOCKSIDE_REDIS_USERNAME", ACL_USER);
        command.env("LOCKSIDE_REDIS_PASSWORD_FILE", scratch.file("password", ACL_PASSWORD));
    }
}

/// A port that nobody had a moment ago.
pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port().to_string()
}

impl TestRedis {
    /// A server that speaks TLS, too, with a certificate for `names`.
    pub fn with_tls(names: &[&str], args: &[&str]) -> TestRedis {
        TestRedis::start_with(args, Some(names))
    }
}
