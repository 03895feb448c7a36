//! What `lockside exec` waits for, for how long, and what it says of it.

use super::*;
use crate::harness::{Scratch, lockside};

/// A socket for a sidecar that starts later, or again.
struct Place {
    _scratch: Scratch,
    address: String,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        let address = format!("unix:{}", scratch.path("api.sock"));
        Place { _scratch: scratch, address }
    }

    async fn sidecar(&self) -> Sidecar {
        Sidecar::start(TestRedis::shared(), &["--listen", &self.address]).await
    }

    /// `lockside exec` with the flags, for a command that says that it has the lock.
    fn exec(&self, flags: &[&str], key: &str) -> Exec {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.args(["exec", "--url", &self.address]).args(flags).args([key, "--", "echo", "mine"]);
        Exec::of(command)
    }
}

/// What the wait says, line by line.
fn said(exec: &mut Exec) -> Lines<BufReader<tokio::process::ChildStderr>> {
    BufReader::new(exec.child.stderr.take().expect("a pipe")).lines()
}

async fn next(lines: &mut Lines<BufReader<tokio::process::ChildStderr>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
    line.expect("UTF-8").expect("a line before the end")
}

/// What the command printed, once all has ended.
async fn end(mut exec: Exec) -> (Option<i32>, Option<String>) {
    let line = tokio::time::timeout(PATIENCE, exec.lines.next_line()).await.expect("an end in time").expect("UTF-8");
    let status = tokio::time::timeout(PATIENCE, exec.child.wait()).await.expect("an end in time").expect("it ends");
    (status.code(), line)
}

fn ran() -> (Option<i32>, Option<String>) {
    (Some(0), Some("mine".to_owned()))
}

#[tokio::test]
async fn a_sidecar_that_starts_later_is_waited_for_with_any_flags_and_the_wait_is_told() {
    for flags in [&[][..], &["--try"], &["--wait", "20s"]] {
        let (place, key) = (Place::new(), unique("exec"));
        let mut exec = place.exec(flags, &key);
        let mut lines = said(&mut exec);
        let line = next(&mut lines).await;
        let told = format!("lockside: waiting for `{key}`: cannot connect to lockside at {}", place.address);
        assert!(line.starts_with(&told), "{flags:?}: {line}");
        let _sidecar = place.sidecar().await;
        assert_eq!(end(exec).await, ran(), "{flags:?}");
    }
}

#[tokio::test]
async fn a_sidecar_that_never_answers_is_waited_for_by_the_shorter_of_its_two_bounds() {
    let place = Place::new();
    for flags in [
        &["--connect-wait", "1500ms"][..],
        &["--connect-wait", "1500ms", "--try"],
        &["--connect-wait", "1500ms", "--wait", "1h"],
        &["--wait", "1500ms"],
    ] {
        let begun = std::time::Instant::now();
        let run = lockside(&[&["exec", "--url", &place.address], flags, &["k", "--", "echo", "mine"]].concat()).await;
        assert_eq!((run.code, run.stdout.as_str()), (Some(69), ""), "{flags:?}: {}", run.stderr);
        assert!(begun.elapsed() >= Duration::from_millis(1500), "{flags:?}: {:?}", begun.elapsed());
        assert!(run.stderr.contains("is `lockside serve` running?"), "{flags:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn a_sidecar_that_restarts_under_a_waiter_is_waited_for() {
    for flags in [&[][..], &["--wait", "1m", "--connect-wait", "0s"]] {
        let (place, other, key) = (Place::new(), sidecar().await, unique("exec"));
        let mut holder = Exec::script(&other, &[], &key, "echo held; read -r go; sleep 60");
        holder.line().await;
        let first = place.sidecar().await;
        let mut exec = place.exec(flags, &key);
        // By itself: what Redis knows, the answer to it may not have told yet.
        let mut lines = said(&mut exec);
        let line = next(&mut lines).await;
        assert!(line.contains("1st in the queue"), "{flags:?}: {line}");
        first.signal("KILL");
        drop(first);

        let second = place.sidecar().await;
        let waits = async || second.ops("/metrics").await.text().contains("lockside_waiters 1\n");
        eventually(&format!("it waits at the second, with {flags:?}"), PATIENCE, waits).await;
        let path = format!("/v1/locks/{key}?force=true");
        assert_eq!(other.call("DELETE", &path).send().await.status, 204);
        assert_eq!(end(exec).await, ran(), "{flags:?}");
    }
}

#[tokio::test]
async fn a_redis_that_is_away_under_a_waiter_is_waited_for() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    redis.signal("STOP");
    let key = unique("exec");
    let mut exec = Exec::start(&sidecar, &[&key, "--", "echo", "mine"]);
    let mut lines = said(&mut exec);
    let line = next(&mut lines).await;
    redis.signal("CONT");
    let told = line.strip_prefix(&format!("lockside: waiting for `{key}`: ")).unwrap_or_else(|| panic!("{line}"));
    assert!(told == "Redis has not replied yet" || told.contains("Redis did not reply in time"), "{line}");
    assert_eq!(end(exec).await, ran());
}

#[tokio::test]
async fn a_wait_is_told_with_the_holder_its_place_and_ours_once_and_not_to_who_wants_quiet() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    let mut holder = Exec::script(&sidecar, &[], &key, "echo held; exec sleep 60");
    holder.line().await;
    let mut first = Exec::start(&sidecar, &[&key, "--", "echo", "mine"]);
    until_waiting(&sidecar, &key).await;
    let mut second = Exec::start(&sidecar, &[&key, "--", "echo", "mine"]);
    let mut quiet = Exec::start(&sidecar, &["--quiet", "--wait", "2s", &key, "--", "echo", "mine"]);

    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let (host, pid) = (host.trim(), holder.id());
    for (exec, place) in [(&mut first, "1st in the queue (position 1)"), (&mut second, "in the queue (position ")] {
        let line = next(&mut said(exec)).await;
        let held = format!("lockside: waiting for `{key}`: held by {host}/{pid} ({host}, pid {pid}) for ");
        let rest = line.strip_prefix(&held).unwrap_or_else(|| panic!("{line}"));
        let (span, told) = rest.split_once("; ").expect("how long, and the place");
        assert!(span.ends_with('s') && told.contains(place), "{line}");
    }
    let mut lines = said(&mut quiet);
    let line = next(&mut lines).await;
    assert!(line.contains(&format!("`{key}` is held by `{host}/{pid}`")), "the end alone: {line}");
    assert_eq!(end(quiet).await, (Some(75), None));
}
