//! The command of the page that says who held a lock at a time.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::lines::start;
use super::{SOON, Trail, lines};
use crate::harness::{Sidecar, eventually};

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// A time behind all lines so far, and before those of later requests.
async fn later(trail: &Trail, sidecar: &Sidecar) -> String {
    let lines = trail.settled(sidecar).await;
    let last = lines.last().unwrap()["time"].as_str().unwrap().to_owned();
    eventually("the clock goes on", SOON, async || now() > last).await;
    let time = now();
    eventually("the clock goes on", SOON, async || now() > time).await;
    time
}

/// The commands of the page, in its order, run where the trail is.
fn printed(trail: &Trail, at: usize, adapt: impl Fn(&str) -> String) -> String {
    let page = include_str!("../../../docs/operations/audit.md");
    let section = page.split("\n## Who held `import` at 02:47?\n").nth(1).unwrap();
    let block = section.split("```sh\n").nth(at + 1).and_then(|rest| rest.split("```").next()).unwrap();
    let command = format!("set -euo pipefail\n{}", adapt(&block[block.find("grep").unwrap()..]));
    let folder = Path::new(&trail.path).parent().unwrap();
    let output = Command::new("bash").args(["-c", &command]).current_dir(folder).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Who held the lock at this time, read from what the one grep of the page prints, as the page says.
fn read_from_the_grep(trail: &Trail, time: &str) -> Option<String> {
    let told = printed(trail, 0, |command| {
        assert_eq!(command.lines().count(), 1, "{command}");
        assert!(command.starts_with("grep ") && !command.contains("' |"), "one grep: {command}");
        command.to_owned()
    });
    let before: Vec<Value> = lines(&told).into_iter().filter(|line| line["time"].as_str().unwrap() < time).collect();
    let granted = before.iter().rfind(|line| line["event"] == "granted")?;
    let is_over = before.iter().any(|line| line["event"] != "granted" && line["token"] == granted["token"]);
    (!is_over).then(|| granted["who"].as_str().unwrap().to_owned())
}

/// The line that the command for scripts prints, asked for this time.
fn holder(trail: &Trail, time: &str) -> Option<Value> {
    let told = printed(trail, 1, |command| {
        assert!(command.contains("2026-11-28T02:47"), "{command}");
        command.replace("2026-11-28T02:47", time)
    });
    (!told.is_empty()).then(|| serde_json::from_str(&told).unwrap())
}

#[tokio::test]
async fn the_page_says_who_held_a_lock_at_a_time() {
    let trail = Trail::new();
    let sidecar = start(&trail, &["--audit-events", "changes"]).await;
    let call = async |method: &str, query: &str, body: Value| {
        sidecar.call(method, &format!("/v1/locks/import{query}")).json(&body).send().await
    };
    let change = async |method: &str, query: String| {
        sidecar.call(method, &format!("/v1/locks/import{query}")).send().await.status
    };
    let first = call("POST", "", json!({"owner": "night-1"})).await.json()["token"].as_u64().unwrap();
    let mut times = vec![(later(&trail, &sidecar).await, Some("night-1"))];

    // A handover to one that waits.
    let waits = async || {
        let queue = sidecar.call("GET", "/v1/locks/import").send().await.json();
        queue["waiters"].as_u64() == Some(1)
    };
    let (second, status) = tokio::join!(call("POST", "", json!({"owner": "night-2", "waitMs": 20_000})), async {
        eventually("one waits", SOON, waits).await;
        change("DELETE", format!("?token={first}")).await
    });
    assert_eq!((second.status, status), (201, 204), "{}", second.text());
    let second = second.json()["token"].as_u64().unwrap();
    times.push((later(&trail, &sidecar).await, Some("night-2")));
    // A renewal that is late, and a token of no lease, higher than all.
    assert_eq!(change("PUT", format!("?token={first}")).await, 410);
    times.push((later(&trail, &sidecar).await, Some("night-2")));
    assert_eq!(change("DELETE", format!("?token={}", second + 64 * 1000)).await, 410);
    times.push((later(&trail, &sidecar).await, Some("night-2")));
    assert_eq!(change("DELETE", "?force=true".to_owned()).await, 204);
    times.push((later(&trail, &sidecar).await, None));
    let third = call("POST", "", json!({"owner": "night-3"})).await.json()["token"].as_u64().unwrap();
    times.push((later(&trail, &sidecar).await, Some("night-3")));
    assert_eq!(change("DELETE", format!("?token={third}")).await, 204);
    times.push((later(&trail, &sidecar).await, None));

    for (time, expected) in times {
        let found = holder(&trail, &time);
        let who = found.as_ref().map(|line| (line["event"].as_str().unwrap(), line["who"].as_str().unwrap()));
        assert_eq!(who, expected.map(|owner| ("granted", owner)), "{time}: {:?}", trail.lines());
        assert_eq!(read_from_the_grep(&trail, &time).as_deref(), expected, "{time}: {:?}", trail.lines());
    }
}
