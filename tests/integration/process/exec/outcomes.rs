//! What a command gets, and what its caller gets back.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::harness::lockside;

#[tokio::test]
async fn a_command_runs_under_its_lock_and_gives_its_exit_code() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    let script = r#"echo "$LOCKSIDE_KEY"; echo "$LOCKSIDE_TOKEN"; echo "$LOCKSIDE_VALID_UNTIL"; read -r go; exit 7"#;
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["exec", "--ttl", "20s", &key, "--", "sh", "-c", script]).env("LOCKSIDE_URL", url(&sidecar));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut exec = Exec { child, lines };

    assert_eq!(exec.line().await, key);
    let (token, valid_until) = (exec.line().await, exec.line().await);
    let shown = show(&sidecar, &key).await;
    assert_eq!(shown["holder"]["token"].to_string(), token);
    assert_eq!(shown["holder"]["meta"]["command"], "sh");
    assert_eq!(shown["holder"]["meta"]["pid"], exec.id());
    assert!(valid_until.parse::<jiff::Timestamp>().is_ok(), "{valid_until}");

    stdin.write_all(b"go\n").await.unwrap();
    let ended = exec.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(7), ""));
    assert_eq!(show(&sidecar, &key).await["state"], "free", "released before lockside exec ended");
}

#[tokio::test]
async fn exit_codes_are_those_of_a_shell() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["lockside-no-such-command"], 127),
        (&["/etc/passwd"], 126),
        (&["sh", "-c", "exit 76"], 76),
    ] {
        let ended = exec(&sidecar, &[&["--try", &key, "--"], command].concat()).await;
        assert_eq!(ended.code, Some(code), "{command:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn arguments_reach_the_command_as_they_are() {
    let sidecar = sidecar().await;
    let ended = exec(&sidecar, &[&unique("exec"), "--", "printf", "%s|", "--try", "--", "a b", "", "-h"]).await;
    assert_eq!(ended.stdout, "--try|--|a b||-h|\n", "{}", ended.stderr);
}

#[tokio::test]
async fn one_after_another_always_finds_the_lock_free() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    for _ in 0..20 {
        let ended = exec(&sidecar, &["--try", &key, "--", "true"]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_lock_that_is_held_is_75_for_who_does_not_wait_or_not_long() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    let mut holder = Exec::script(&sidecar, &[], &key, "echo held; exec sleep 60");
    holder.line().await;

    let tried = exec(&sidecar, &["--try", &key, "--", "echo", "no"]).await;
    assert_eq!((tried.code, tried.stdout.as_str()), (Some(75), ""));
    let owner = show(&sidecar, &key).await["holder"]["owner"].as_str().unwrap().to_owned();
    assert!(tried.stderr.contains(&format!("is held by `{owner}` for another")), "{}", tried.stderr);
    assert!(tried.stderr.contains("--wait"), "{}", tried.stderr);
    let waited = exec(&sidecar, &["--wait", "300ms", &key, "--", "echo", "no"]).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(75), ""), "{}", waited.stderr);
    assert!(waited.stderr.contains(&format!("is held by `{owner}` for another")), "{}", waited.stderr);
}

#[tokio::test]
async fn without_a_bound_it_waits_longer_than_the_sidecar_does() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--max-wait", "700ms"]).await;
    let key = unique("exec");
    let mut holder = Exec::script(&sidecar, &[], &key, "echo held; sleep 2");
    holder.line().await;
    let waited = exec(&sidecar, &[&key, "--", "echo", "mine"]).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), "mine\n"), "{}", waited.stderr);
    assert_eq!(holder.end().await.code, Some(0));
}

#[tokio::test]
async fn who_is_killed_while_waiting_waits_no_more() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    let mut holder = Exec::script(&sidecar, &[], &key, "echo held; exec sleep 60");
    holder.line().await;
    for (name, code) in [("TERM", Some(143)), ("INT", Some(130)), ("KILL", None)] {
        let waiting = Exec::start(&sidecar, &[&key, "--", "echo", "mine"]);
        until_waiting(&sidecar, &key).await;
        signal(name, waiting.id());
        let ended = waiting.end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{name}");
        eventually("nobody waits", PATIENCE, async || show(&sidecar, &key).await["waiters"] == 0).await;
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_64_and_no_sidecar_69() {
    for args in [
        &["exec", "k"][..],
        &["exec", "k", "true"],
        &["exec", "k", "--"],
        &["exec", "", "--", "true"],
        &["exec", "--ttl", "30", "k", "--", "true"],
        &["exec", "--try", "--wait", "1s", "k", "--", "true"],
        &["exec", "--token-file", "/nowhere", "k", "--", "true"],
    ] {
        let run = lockside(args).await;
        assert_eq!((run.code, run.stdout.as_str()), (Some(64), ""), "{args:?}: {}", run.stderr);
    }
    let run = lockside(&["exec", "--url", "unix:/nowhere/lockside.sock", "--connect-wait=0s", "k", "--", "true"]).await;
    assert_eq!(run.code, Some(69), "{}", run.stderr);
    assert!(run.stderr.contains("cannot connect to lockside at unix:/nowhere/lockside.sock"), "{}", run.stderr);

    let sidecar = sidecar().await;
    let long = exec(&sidecar, &["--ttl", "8000h", &unique("exec"), "--", "true"]).await;
    assert_eq!(long.code, Some(64));
    assert!(long.stderr.contains("ttlMs: expected"), "{}", long.stderr);
}
