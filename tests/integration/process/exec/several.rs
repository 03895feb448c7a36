//! `--also`: a command under several locks.

use super::*;

const TELL: &str = "echo $LOCKSIDE_KEY $LOCKSIDE_TOKEN $LOCKSIDE_VALID_UNTIL; echo $LOCKSIDE_LEASES; sleep 60";

fn token(state: &Value) -> u64 {
    state["holder"]["token"].as_u64().expect("a token")
}

#[tokio::test]
async fn the_command_has_all_locks_and_is_told_of_each() {
    let (sidecar, [b, a]) = (sidecar().await, [unique("b"), unique("a")]);
    let mut exec = Exec::script(&sidecar, &["--also", &a, "--ttl", "5s"], &b, TELL);
    let told = exec.line().await;
    let words: Vec<&str> = told.split(' ').collect();
    let leases: Vec<Value> = serde_json::from_str(&exec.line().await).expect("a JSON array");

    let states = [show(&sidecar, &b).await, show(&sidecar, &a).await];
    assert_eq!((words[0], words[1]), (b.as_ref(), token(&states[0]).to_string().as_str()));
    for (lease, (state, key)) in leases.iter().zip(states.iter().zip([&b, &a])) {
        assert_eq!((&lease["key"], &lease["token"]), (&json!(key), &state["holder"]["token"]), "{lease}");
    }
    let least = leases.iter().map(|lease| lease["validUntil"].as_str().expect("a time")).min();
    assert_eq!((leases.len(), Some(words[2])), (2, least));
    assert!(states[1]["holder"]["meta"]["command"].is_string());

    signal("TERM", exec.id());
    assert_eq!(exec.end().await.code, Some(143));
    for key in [&a, &b] {
        assert_eq!(show(&sidecar, key).await["state"], "free", "released when it ended");
    }
}

#[tokio::test]
async fn as_many_commands_as_the_limit_says_share_all_locks() {
    let (sidecar, [a, b]) = (sidecar().await, [unique("a"), unique("b")]);
    let flags = ["--also", &b, "--limit", "2", "--try"];
    let tell = "echo $LOCKSIDE_MODE $LOCKSIDE_LIMIT; sleep 60";
    let mut running = [(); 2].map(|()| Exec::script(&sidecar, &flags, &a, tell));
    for exec in &mut running {
        assert_eq!(exec.line().await, "shared 2");
    }
    for key in [&a, &b] {
        assert_eq!(show(&sidecar, key).await["sharedBy"], 2);
        let third = Exec::script(&sidecar, &["--limit", "2", "--try"], key, "echo ran").end().await;
        assert_eq!((third.code, third.stdout.as_str()), (Some(75), ""), "{}", third.stderr);
    }
    let [one, other] = running;
    signal("TERM", one.id());
    assert_eq!(one.end().await.code, Some(143));
    for key in [&a, &b] {
        assert_eq!(show(&sidecar, key).await["sharedBy"], 1, "the other one has it");
    }
    drop(other);
}

#[tokio::test]
async fn one_lock_that_is_held_keeps_the_command_from_running_and_is_named() {
    let (sidecar, [a, b]) = (sidecar().await, [unique("a"), unique("b")]);
    let mut other = Exec::script(&sidecar, &[], &b, "echo held; sleep 60");
    assert_eq!(other.line().await, "held");
    for wait in [&["--try"][..], &["--wait", "1s"]] {
        let refused = Exec::script(&sidecar, &[wait, &["--also", &b]].concat(), &a, "echo ran").end().await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(75), ""), "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("`{b}` is held by ")), "{}", refused.stderr);
        eventually("nothing of it is left", PATIENCE, async || show(&sidecar, &a).await["state"] == "free").await;
    }
    let waiting = Exec::script(&sidecar, &["--also", &b], &a, "echo ran");
    until_waiting(&sidecar, &b).await;
    signal("TERM", other.id());
    let ended = waiting.end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "ran\n"), "{}", ended.stderr);
}

#[tokio::test]
async fn when_one_of_the_locks_is_lost_the_command_is_stopped() {
    let (sidecar, [a, b]) = (sidecar().await, [unique("a"), unique("b")]);
    let mut exec = Exec::script(&sidecar, &["--also", &b, "--ttl", "10s"], &a, "echo $$; sleep 60");
    let pid = exec.pid().await;
    let path = format!("/v1/locks/{b}?force=true");
    assert_eq!(sidecar.call("DELETE", &path).send().await.status, 204);
    let ended = exec.end().await;
    assert_eq!(ended.code, Some(76), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("lost `{b}`: forced")), "{}", ended.stderr);
    assert!(!is_alive(pid));
    eventually("the other is free", PATIENCE, async || show(&sidecar, &a).await["state"] == "free").await;
}

#[tokio::test]
async fn what_only_one_lock_can_have_is_wrong_usage() {
    let sidecar = sidecar().await;
    for flags in [&["--rest", "1s"][..], &["--at-most-every", "1m"], &["--delay", "1s"], &["--also", "a"]] {
        let ended = Exec::script(&sidecar, &[&["--also", "a"], flags].concat(), "b", "echo ran").end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{flags:?}: {}", ended.stderr);
    }
}
