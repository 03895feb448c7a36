//! The page of the teams with a replica and sentinels: they log in as it says, and a failover leaves each team its locks.

use std::time::Duration;

use serde_json::json;

use super::teams::{PAGE, Stage, USERS};
use super::{blocks, read, section};
use crate::harness::trio::{MASTER, Sentinel};
use crate::harness::{Sidecar, eventually, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_and_sentinels_log_in_as_the_page_says_and_a_failover_leaves_each_team_its_locks() {
    let (mut stage, other) = (Stage::new(), Stage::new());
    let port = |stage: &Stage| stage.url.rsplit(':').next().unwrap().to_owned();
    other.redis.ask::<String>("REPLICAOF", &["127.0.0.1", &port(&stage)]);
    until("the replica follows", || stage.redis.ask::<String>("INFO", &["replication"]).contains("state=online"));
    let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(&port(&stage), "")).collect();
    let know = |text: &str| sentinels.iter().all(|sentinel| info(sentinel).is_some_and(|info| info.contains(text)));
    until("the sentinels know each other and the replica", || know("slaves=1,sentinels=3"));

    let commands = blocks(section(&stage.page, USERS), "sh");
    assert!(stage.run(commands[0]).status.success());
    let password = std::fs::read_to_string(stage.scratch.path("redis-admin-password")).unwrap().trim().to_owned();
    other.scratch.file("redis-admin-password", &password);
    let page = read(PAGE);
    for setting in ["`masteruser admin` and `masterauth`", "`sentinel auth-user` and `sentinel auth-pass`"] {
        assert!(page.contains(setting), "{setting}");
    }
    for server in [&stage, &other] {
        server.redis.ask::<String>("CONFIG", &["SET", "masteruser", "admin", "masterauth", &password]);
    }
    // Their connections end when `default` is off: a master is not to be down for that, as by their own default of 30 s.
    let patient = [("auth-user", "admin"), ("auth-pass", password.as_str()), ("down-after-milliseconds", "30000")];
    set(&sentinels, &patient);
    let listed =
        commands[1].replace("in \"$LOCKSIDE_REDIS_URL\"", &format!("in \"$LOCKSIDE_REDIS_URL\" {}", other.url));
    assert_ne!(listed, commands[1]);
    let output = stage.run(&listed);
    assert!(output.status.success(), "{output:?}");
    until("the replica follows as `admin`", || {
        stage.redis_says("INFO replication").contains("state=online")
            && stage.redis_says("CLIENT LIST").contains("user=admin")
    });
    assert!(other.redis_says("INFO replication").contains("master_link_status:up"));
    until("the sentinels see both as they are", || know("status=ok") && know("slaves=1,sentinels=3"));

    set(&sentinels, &[("down-after-milliseconds", "1000")]);
    let hosts: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let url = format!("redis-sentinel://{}?master={MASTER}", hosts.join(","));
    let file = stage.scratch.path("teams/red/redis-password");
    let flags = ["--key-prefix", "red", "--redis-username", "red", "--redis-password-file", &file];
    let sidecar = Sidecar::start_at(&url, &flags).await;
    let grants = async |key: &str| {
        sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 1000})).send().await.status == 201
    };
    eventually("red has locks", Duration::from_secs(10), async || grants("before").await).await;
    stage.redis.kill();
    eventually("red has locks on the new master", Duration::from_secs(90), async || grants("after").await).await;
    assert!(other.redis_says("INFO replication").contains("role:master"));
}

/// Changes what the sentinels know of the master.
fn set(sentinels: &[Sentinel], settings: &[(&str, &str)]) {
    for sentinel in sentinels {
        let mut connection = sentinel.connection().expect("a sentinel that answers");
        for (name, value) in settings {
            redis::cmd("SENTINEL").arg(&["SET", MASTER, name, value]).query::<()>(&mut connection).expect("set");
        }
    }
}

/// What a sentinel says of its master.
fn info(sentinel: &Sentinel) -> Option<String> {
    redis::cmd("INFO").arg("sentinel").query(&mut sentinel.connection()?).ok()
}
