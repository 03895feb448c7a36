//! `--shared` and `--limit`: commands that run beside one another, and what they are told.

use super::*;

const TELL: &str = "echo $LOCKSIDE_MODE ${LOCKSIDE_LIMIT-none}; sleep 60";

#[tokio::test]
async fn as_many_commands_run_at_once_as_the_limit_says_and_the_next_is_not_acquired() {
    let (sidecar, key) = (sidecar().await, unique("limit"));
    let limit = ["--limit", "2", "--try"];
    let mut running = [Exec::script(&sidecar, &limit, &key, TELL), Exec::script(&sidecar, &limit, &key, TELL)];
    for exec in &mut running {
        assert_eq!(exec.line().await, "shared 2");
    }
    let third = Exec::script(&sidecar, &limit, &key, "echo ran").end().await;
    assert_eq!((third.code, third.stdout.as_str()), (Some(75), ""));
    let more = Exec::script(&sidecar, &["--shared", "--limit", "3", "--try"], &key, "echo ran").end().await;
    assert_eq!((more.code, more.stdout.as_str()), (Some(0), "ran\n"));
    assert_eq!(show(&sidecar, &key).await["sharedBy"], 2);
    drop(running);
}

#[tokio::test]
async fn any_number_share_a_lock_but_none_beside_one_that_has_it_alone() {
    let (sidecar, key) = (sidecar().await, unique("shared"));
    let mut reader = Exec::script(&sidecar, &["--shared"], &key, TELL);
    assert_eq!(reader.line().await, "shared none");
    let beside = Exec::script(&sidecar, &["--shared", "--try"], &key, "echo ran").end().await;
    assert_eq!((beside.code, beside.stdout.as_str()), (Some(0), "ran\n"));
    let alone = Exec::script(&sidecar, &["--try"], &key, "echo ran").end().await;
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(75), ""));
    drop(reader);
    let alone = Exec::script(&sidecar, &[], &key, "echo $LOCKSIDE_MODE ${LOCKSIDE_LIMIT-none}").end().await;
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(0), "exclusive none\n"));
}

#[tokio::test]
async fn a_command_waits_for_a_permit_and_runs_when_one_ends_beside_those_that_last() {
    let (sidecar, key) = (sidecar().await, unique("waits"));
    let [mut first, mut second] = [(); 2].map(|()| Exec::script(&sidecar, &["--limit", "2"], &key, TELL));
    for exec in [&mut first, &mut second] {
        assert_eq!(exec.line().await, "shared 2");
    }
    let brief = Exec::script(&sidecar, &["--limit", "2", "--wait", "500ms"], &key, "echo ran").end().await;
    assert_eq!((brief.code, brief.stdout.as_str()), (Some(75), ""), "{}", brief.stderr);
    let mut third = Exec::script(&sidecar, &["--limit", "2", "--wait", "1m"], &key, TELL);
    until_waiting(&sidecar, &key).await;
    let stderr = third.child.stderr.take().expect("a pipe");
    let told = tokio::time::timeout(PATIENCE, BufReader::new(stderr).lines().next_line()).await;
    let told = told.expect("it says what it waits for").expect("UTF-8").expect("a line");
    assert!(told.starts_with(&format!("lockside: waiting for `{key}`: held by ")), "{told}");

    signal("TERM", first.id());
    assert_eq!(first.end().await.code, Some(143));

    assert_eq!(third.line().await, "shared 2");
    let shown = show(&sidecar, &key).await;
    assert_eq!((&shown["sharedBy"], &shown["waiters"]), (&json!(2), &json!(0)));
    drop(second);
}

#[tokio::test]
async fn a_limit_outside_its_range_is_wrong_usage() {
    let sidecar = sidecar().await;
    for limit in ["0", "10001", "-1", "x", "1.5"] {
        let flag = format!("--limit={limit}");
        let ended = Exec::script(&sidecar, &[&flag], "k", "echo ran").end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{limit}");
    }
}
