//! `lockside watch`, as a shell sees it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::cli::url;
use crate::harness::{Proxy, Sidecar, TestRedis, free_port, lockside, unique};

/// A `lockside watch` with its output in a pipe.
pub struct Watch {
    _child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    pub fn start(url: &str, args: &[&str]) -> Watch {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.args(["watch", "--url", url]).args(args).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch { _child: child, stdout }
    }

    pub async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(20), self.stdout.next_line()).await;
        line.expect("a line in time").unwrap().expect("it goes on")
    }
}

async fn acquire(sidecar: &Sidecar, key: &str) -> Value {
    let body = json!({"ttlMs": 60_000, "owner": "web\u{202e}-3", "meta": {"a": [1, 2]}});
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].clone()
}

#[tokio::test]
async fn each_change_is_a_line_without_what_a_terminal_obeys() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let key = unique("watched");
    let mut watch = Watch::start(&url(&sidecar), &[&key]);
    assert_eq!(watch.line().await, format!("free      {key}"));
    assert_eq!(watch.line().await, "synced");
    let token = acquire(&sidecar, &key).await;
    let line = watch.line().await;
    assert!(line.starts_with(&format!("granted   {key}  `web\u{fffd}-3` for another ")), "{line}");
    assert!(line.ends_with(&format!("  token {token}")), "{line}");
    sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")).send().await;
    assert_eq!(watch.line().await, format!("released  {key}  token {token}"));
}

#[tokio::test]
async fn for_machines_each_line_is_an_object_and_a_gap_comes_before_the_state_comes_again() {
    let redis = TestRedis::start(&[]);
    let proxy = Proxy::start(&redis);
    let sidecar = Sidecar::start_at(&proxy.url(), &[]).await;
    let prefix = unique("watched");
    let key = format!("{prefix}-1");
    let token = acquire(&sidecar, &key).await;
    let mut watch = Watch::start(&url(&sidecar), &["--prefix", &prefix, "--json"]);
    let mut next = async || serde_json::from_str::<Value>(&watch.line().await).expect("JSON");
    let state = next().await;
    assert_eq!((&state["event"], &state["key"], &state["token"]), (&json!("state"), &json!(key), &token));
    assert_eq!(state["holder"]["meta"], json!({"a": [1, 2]}));
    assert_eq!(next().await, json!({"event": "synced"}));

    redis.ask::<String>("FLUSHALL", &[]);

    assert_eq!(next().await, json!({"event": "gap"}));
    assert_eq!(next().await, json!({"event": "synced"}));
    drop(proxy);
}

#[tokio::test]
async fn it_connects_again_to_a_sidecar_that_restarts() {
    let listen = format!("127.0.0.1:{}", free_port());
    let flags = ["--listen", &listen];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let key = unique("watched");
    let mut watch = Watch::start(&url(&sidecar), &[&key]);
    assert_eq!(watch.line().await, format!("free      {key}"));
    assert_eq!(watch.line().await, "synced");
    drop(sidecar);
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    assert_eq!(watch.line().await, "gap");
    assert_eq!(watch.line().await, format!("free      {key}"));
    assert_eq!(watch.line().await, "synced");
    acquire(&sidecar, &key).await;
    assert!(watch.line().await.starts_with("granted "));
}

#[tokio::test]
async fn what_is_wrong_at_the_start_has_its_exit_code() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--anonymous=none"]).await;
    let (there, away) = (url(&sidecar), format!("http://127.0.0.1:{}", free_port()));
    for (args, code) in [
        (&["watch", "--url", &there][..], 64),
        (&["watch", "--url", &there, "k", "--prefix", "k"], 64),
        (&["watch", "--url", &away, "k"], 69),
        (&["watch", "--url", &there, "k"], 77),
    ] {
        let ended = lockside(args).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{args:?}: {}", ended.stderr);
    }
}
