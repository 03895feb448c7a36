//! What is said where sentinels are not what the settings say they are, and who we are to them.

use crate::harness::topology::tls_args;
use crate::harness::trio::{MASTER, Sentinel};
use crate::harness::{Scratch, Sidecar, TestRedis, free_port};

fn url(port: &str, master: &str) -> String {
    format!("redis-sentinel://127.0.0.1:{port}?master={master}")
}

#[tokio::test]
async fn a_plain_redis_is_no_sentinel() {
    let port = free_port();
    let _redis = TestRedis::start_with(&["--port", &port], None);
    Sidecar::says_why_not(&["--redis-url", &url(&port, MASTER)], "is no sentinel; list the sentinels").await;
}

#[tokio::test]
async fn a_master_that_nobody_watches_is_told_by_its_name() {
    let port = free_port();
    let _redis = TestRedis::start_with(&["--port", &port], None);
    let sentinel = Sentinel::start(&port, "");
    Sidecar::says_why_not(&["--redis-url", &url(&sentinel.port, "other")], "watches no master named `other`").await;
}

#[tokio::test]
async fn sentinels_have_credentials_of_their_own() {
    let (port, scratch) = (free_port(), Scratch::new());
    let _redis = TestRedis::start_with(&["--port", &port], None);
    let user = "user default off\nuser watcher on >secret-of-sentinels allchannels -@all +ping +info +client|id +client|setname +subscribe \
                +sentinel|get-master-addr-by-name +sentinel|master";
    let sentinel = Sentinel::start(&port, user);
    let (right, wrong) = (scratch.file("right", "secret-of-sentinels\n"), scratch.file("wrong", "another"));
    let url = url(&sentinel.port, MASTER);
    let with =
        |file| ["--redis-url", &url, "--redis-sentinel-username", "watcher", "--redis-sentinel-password-file", file];
    Sidecar::says_why_not(&with(&wrong), "fix --redis-sentinel-username or --redis-sentinel-password-file").await;
    Sidecar::says_why_not(&["--redis-url", &url], "fix --redis-sentinel-username or --redis-sentinel-password").await;
    let sidecar = Sidecar::start_at(&url, &with(&right)[2..]).await;
    assert!(!sidecar.log().contains("secret-of-sentinels"));
}

#[tokio::test]
async fn sentinels_and_master_speak_tls() {
    let (port, scratch) = (free_port(), Scratch::new());
    let master = tls_args(&scratch, &port, &["127.0.0.1"]);
    let master: Vec<&str> = master.iter().map(String::as_str).collect();
    let _redis = TestRedis::start_with(&master, None);
    let lines = tls_args(&scratch, "PORT", &["127.0.0.1"]);
    let lines = lines.chunks(2).filter(|line| line[0] != "--aclfile");
    let lines: Vec<String> = lines.map(|line| format!("{} {}", &line[0][2..], line[1])).collect();
    let sentinel = Sentinel::start(&port, &format!("port 0\ntls-replication yes\n{}", lines.join("\n")));
    let url = url(&sentinel.port, MASTER).replace("redis-sentinel", "rediss-sentinel");
    let sidecar = Sidecar::start_at(&url, &[]).await;
    assert_eq!(sidecar.ops("/readyz").await.status, 200);
}
