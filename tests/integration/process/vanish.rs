//! Clients whose machine vanishes: nothing comes back from it, and nothing says so. Each stands in a network namespace
//! of its own, whose link goes down.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Sidecar, TestRedis, eventually, unique};

/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

/// A machine of its own, and the link to it.
struct Machine {
    name: String,
    /// Of this machine, as that one sees it.
    address: String,
}

impl Machine {
    fn start() -> Machine {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (pid, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (name, net) = (format!("ls{pid:x}-{count}"), format!("10.{}.{}", 64 + pid % 64, pid / 64 % 256));
        let (address, other) = (format!("{net}.{}", 4 * count + 1), format!("{net}.{}", 4 * count + 2));
        ip(&format!("netns add {name}"));
        let machine = Machine { name: name.clone(), address: address.clone() };
        ip(&format!("link add {name}a type veth peer name {name}b netns {name}"));
        ip(&format!("address add {address}/30 dev {name}a"));
        ip(&format!("link set {name}a up"));
        ip(&format!("-n {name} address add {other}/30 dev {name}b"));
        ip(&format!("-n {name} link set {name}b up"));
        machine
    }

    /// A client there that asks, and reads whatever comes.
    fn client(&self, sidecar: &Sidecar, path: &str, body: &str) -> Client {
        let port = sidecar.api_address().rsplit_once(':').expect("a port").1;
        let url = format!("http://{}:{port}{path}", self.address);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "curl", "-sN", "-X", "POST", &url, "-d", body]);
        Client(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("ip starts"))
    }

    fn link(&self, state: &str) {
        ip(&format!("-n {0} link set {0}b {state}", self.name));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        let _ = Command::new("ip").args(["link", "delete", &format!("{}a", self.name)]).stderr(Stdio::null()).status();
    }
}

struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(arguments: &str) {
    let ran = Command::new("ip").args(arguments.split(' ')).output();
    let ran = ran.expect("`ip` of the package iproute2, which makes network namespaces");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.success(),
        "network namespaces are missing here, or the right to make them (root): ip {arguments}: {said}"
    );
}

/// Reached from other machines.
async fn sidecar() -> Sidecar {
    Sidecar::start(TestRedis::shared(), &["--listen", "0.0.0.0:0", "--insecure"]).await
}

async fn field(sidecar: &Sidecar, key: &str, name: &str) -> serde_json::Value {
    sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()[name].clone()
}

#[tokio::test]
async fn a_client_whose_machine_vanishes_is_gone_within_its_ttl_for_at_least_5_s_and_at_most_30() {
    let (sidecar, machine) = (sidecar().await, Machine::start());
    let mut cases = Vec::new();
    for (ttl_ms, bound) in [(1000, 5), (8000, 8), (60_000, 30)] {
        for waits in [None, Some(json!({"waitMs": 120_000})), Some(json!({"waitMs": 120_000, "progress": true}))] {
            let key = unique("vanish");
            let is_waiter = waits.is_some();
            let is_hold = waits.as_ref().is_none_or(|waits| waits["progress"] == true);
            let mut body = waits.unwrap_or_else(|| json!({}));
            body["ttlMs"] = json!(ttl_ms);
            if is_waiter {
                let held = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 300_000}));
                assert_eq!(held.send().await.status, 201);
            }
            let path = format!("/v1/locks/{key}{}", if is_hold { "/hold" } else { "" });
            let client = machine.client(&sidecar, &path, &body.to_string());
            let (name, before, after) =
                if is_waiter { ("waiters", json!(1), json!(0)) } else { ("state", json!("held"), json!("free")) };
            eventually("it is there", Duration::from_secs(10), async || field(&sidecar, &key, name).await == before)
                .await;
            cases.push((key, name, after, Duration::from_secs(bound), body, client));
        }
    }
    machine.link("down");
    let vanished = Instant::now();
    let ends = cases.iter().map(async |(key, name, after, bound, body, _)| {
        eventually("it is gone", *bound + SLACK, async || field(&sidecar, key, name).await == *after).await;
        println!("{name} of {body}: {:?} of {bound:?}", vanished.elapsed());
        assert!(vanished.elapsed() > *bound / 3, "a short disturbance is none: {body} {:?}", vanished.elapsed());
    });
    futures_util::future::join_all(ends).await;
}

#[tokio::test]
async fn a_link_that_is_down_for_a_moment_costs_no_hold() {
    let (sidecar, machine, key) = (sidecar().await, Machine::start(), unique("blink"));
    let _client = machine.client(&sidecar, &format!("/v1/locks/{key}/hold"), r#"{"ttlMs":20000}"#);
    eventually("it holds", Duration::from_secs(10), async || field(&sidecar, &key, "state").await == "held").await;
    let token = field(&sidecar, &key, "holder").await["token"].clone();
    machine.link("down");
    tokio::time::sleep(Duration::from_secs(4)).await;
    machine.link("up");
    // Longer than a machine that has vanished is waited for.
    let end = Instant::now() + Duration::from_secs(21);
    while Instant::now() < end {
        assert_eq!(field(&sidecar, &key, "holder").await["token"], token);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
