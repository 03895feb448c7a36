//! `--at-most-every`, `--min-hold`, `--delay`, `--max-hold`, `--rest`: when the lock gets free.

use std::time::Instant;

use super::*;

/// The state of a lock, and until when it is taken, milliseconds from now.
async fn shown(sidecar: &Sidecar, key: &str) -> (String, u64) {
    let shown = sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json();
    (shown["state"].as_str().unwrap().to_owned(), shown["holder"]["validForMs"].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn a_command_runs_at_most_once_in_an_interval_and_whoever_comes_too_early_is_told_when_it_ran() {
    let (sidecar, key) = (sidecar().await, unique("every"));
    let every = ["--at-most-every", "5m"];
    let ended = Exec::script(&sidecar, &every, &key, "echo ran; exit 3").end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "ran\n"), "a command that fails counts as a run");
    let (state, left) = shown(&sidecar, &key).await;
    assert_eq!(state, "resting");
    assert!((250_000..=270_000).contains(&left), "a tenth less than five minutes: {left}");

    for (flags, code) in [(&[][..], 75), (&["--try"], 75), (&["-E", "9"], 9)] {
        let ended = Exec::script(&sidecar, &[&every[..], flags].concat(), &key, "echo again").end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{flags:?}");
        let told = ended.stderr.strip_prefix(&format!("lockside: `{key}` ran at ")).expect("when it ran");
        let (since, rest) = told.split_once(" on ").expect("where it ran");
        let until = rest.split_once("; not before ").expect("when it is due").1.trim_end();
        // Midnight may be between the two.
        let times = [since, until].map(|time| time.split(' ').next_back().unwrap().split(':').count());
        assert_eq!(times, [3, 3], "{}", ended.stderr);
    }
}

#[tokio::test]
async fn while_the_command_runs_the_others_are_told_since_when() {
    let (sidecar, key) = (sidecar().await, unique("runs"));
    let mut first = Exec::script(&sidecar, &["--at-most-every", "1h"], &key, "echo here; sleep 60");
    assert_eq!(first.line().await, "here");
    let ended = Exec::script(&sidecar, &["--at-most-every", "1h"], &key, "echo again").end().await;
    assert_eq!(ended.code, Some(75));
    assert!(ended.stderr.starts_with(&format!("lockside: `{key}` running since ")), "{}", ended.stderr);
}

#[tokio::test]
async fn a_release_by_the_commands_end_knows_no_delay_and_a_death_of_the_supervisor_does() {
    let (sidecar, key) = (sidecar().await, unique("delay"));
    let flags = ["--delay", "60s", "--ttl", "2s"];
    let ended = Exec::script(&sidecar, &flags, &key, "true").end().await;
    assert_eq!((ended.code, shown(&sidecar, &key).await.0.as_str()), (Some(0), "free"));

    let mut dying = Exec::script(&sidecar, &flags, &key, "echo $PPID; sleep 60");
    let supervisor = dying.line().await;
    let killed = std::process::Command::new("kill").args(["-KILL", &supervisor]).status().unwrap();
    assert!(killed.success());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (state, left) = shown(&sidecar, &key).await;
    assert_eq!(state, "held", "{}", sidecar.log());
    assert!((40_000..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_minimum_and_a_rest_keep_the_lock_taken_behind_the_command() {
    let sidecar = sidecar().await;
    for (flags, least, most) in
        [(["--min-hold", "60s"], 40_000, 60_000), (["--rest", "60s"], 40_000, 60_000), (["--rest", "0s"], 0, 0)]
    {
        let key = unique("rest");
        assert_eq!(Exec::script(&sidecar, &flags, &key, "true").end().await.code, Some(0));
        let (_, left) = shown(&sidecar, &key).await;
        assert!((least..=most).contains(&left), "{flags:?}: {left}");
    }
}

#[tokio::test]
async fn a_rest_that_the_sidecar_does_not_keep_is_told() {
    let (sidecar, key) = (sidecar().await, unique("norest"));
    let ended = Exec::script(&sidecar, &["--rest", "25h"], &key, "exit 3").end().await;
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains(&format!("`{key}` does not stay taken for --rest: ")), "{}", ended.stderr);
    assert!(ended.stderr.contains("restMs: expected"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_rest_is_kept_by_a_redis_that_is_slow_for_a_while() {
    let redis = TestRedis::start(&[]);
    let (sidecar, key) = (Sidecar::start(&redis, &[]).await, unique("slow"));
    handle_what_is_ignored();
    let mut exec = Exec::script(&sidecar, &["--rest", "60s", "--ttl", "10s"], &key, "echo here; sleep 1");
    assert_eq!(exec.line().await, "here");
    redis.ask::<String>("CLIENT", &["PAUSE", "3000"]);
    let ended = exec.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(shown(&sidecar, &key).await.0, "resting");
}

#[tokio::test]
async fn at_the_cap_the_command_is_stopped_before_the_lock_ends() {
    let (sidecar, key) = (sidecar().await, unique("cap"));
    let begun = Instant::now();
    let flags = ["--max-hold", "3s", "--ttl", "1s"];
    let ended = Exec::script(&sidecar, &flags, &key, "trap 'echo stopped; exit' TERM; sleep 60 & wait").end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(76), "stopped\n"), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("lockside: --max-hold is over for"), "{}", ended.stderr);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn flags_that_do_not_go_together_or_beyond_what_the_sidecar_allows_are_wrong_usage() {
    let (sidecar, key) = (sidecar().await, unique("wrong"));
    for flags in [
        &["--at-most-every", "10m", "--wait", "1m"][..],
        &["--at-most-every", "10m", "--min-hold", "1m"],
        &["--at-most-every", "900ms"],
        &["--at-most-every", "48h"],
        &["--min-hold", "25h"],
        &["--delay", "24h"],
        &["--max-hold", "2s", "--ttl", "3s"],
        &["--max-hold", "1s"],
        &["--rest", "x"],
    ] {
        let ended = Exec::script(&sidecar, flags, &key, "echo ran").end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{flags:?}: {}", ended.stderr);
    }
}
