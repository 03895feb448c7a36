//! Where a command's descendants go: into other process groups and sessions, away from parents that end. A lost lock finds
//! them everywhere.

use super::*;
use crate::harness::Scratch;

/// Starts one of each kind, none of which obeys SIGTERM, and says their ids.
const SCATTERED: &str = r#"
    stubborn='trap "" TERM HUP; echo $$; while :; do sleep 0.05; done'
    sh -c "$stubborn" &
    setsid sh -c "$stubborn" &
    (setsid sh -c "$stubborn" &)
    timeout 600 sh -c "$stubborn" &
    bash -mc "sh -c '$stubborn' & wait" &
    nohup sh -c "$stubborn" 2>/dev/null &
    exec sh -c "$stubborn""#;
const COUNT: usize = 7;

async fn scattered(sidecar: &Sidecar, key: &str) -> (Exec, Vec<u32>) {
    let mut exec = Exec::script(sidecar, &["--ttl", "2s"], key, SCATTERED);
    let mut pids = Vec::new();
    for _ in 0..COUNT {
        pids.push(exec.pid().await);
    }
    (exec, pids)
}

#[tokio::test]
async fn every_descendant_is_dead_wherever_it_went_before_another_gets_the_lock() {
    for loss in ["sidecar", "force", "wrapper", "supervisor"] {
        let (mine, other) = tokio::join!(sidecar(), sidecar());
        let key = unique("exec");
        let (exec, pids) = scattered(&mine, &key).await;
        match loss {
            "sidecar" => mine.signal("KILL"),
            "force" => {
                let path = format!("/v1/locks/{key}?force=true");
                assert_eq!(other.call("DELETE", &path).send().await.status, 204);
                // The supervisor learns of it by the next renewal.
                eventually("all are dead", PATIENCE, async || !pids.iter().any(|pid| is_alive(*pid))).await;
            }
            "wrapper" => signal("KILL", exec.id()),
            _ => signal("KILL", supervisor(&exec)),
        }
        wait_for(&other, &key).await;
        let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        assert!(left.is_empty(), "{loss}: {left:?} of {pids:?} outlived the lock");
        if loss != "wrapper" {
            assert_eq!(exec.end().await.code, Some(76), "{loss}");
        }
    }
}

/// The only child of `lockside exec`.
fn supervisor(exec: &Exec) -> u32 {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of_ours = |pid: &u32| stat(*pid).is_some_and(|stat| stat[1] == exec.id().to_string());
    pids.into_iter().find(of_ours).expect("the supervisor")
}

#[tokio::test]
async fn what_a_command_that_ended_by_itself_left_behind_is_left_alone() {
    let sidecar = sidecar().await;
    let mut exec = Exec::script(&sidecar, &[], &unique("exec"), "setsid sleep 60 >/dev/null 2>&1 & echo $!");
    let left = exec.pid().await;
    assert_eq!(exec.end().await.code, Some(0));
    assert!(is_alive(left));
    signal("KILL", left);
}

/// Runs as another user, who may not kill what the setuid program under `exec` became.
#[tokio::test]
async fn a_process_that_may_not_be_killed_is_named_and_71_says_so() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root: it runs `lockside exec` as another user");
    let sidecar = sidecar().await;
    let scratch = Scratch::new();
    let path = scratch.path("as-root");
    let install = std::process::Command::new("install").args(["-m", "4755", "/usr/bin/setpriv", &path]).status();
    assert!(install.expect("install runs").success());
    let open = std::process::Command::new("chmod").args(["755", scratch.path("").trim_end_matches('/')]).status();
    assert!(open.expect("chmod runs").success());
    let (key, script) = (unique("exec"), format!("{path} --reuid=0 sleep 600 >/dev/null 2>&1 & echo $!; exec sleep 600"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_lockside"), "exec"]);
    command.args(["--ttl", "2s", &key, "--", "sh", "-c", &script]).env("LOCKSIDE_URL", url(&sidecar));
    let mut exec = Exec::of(command);
    let left = exec.pid().await;
    eventually("it is root's", PATIENCE, async || {
        std::fs::read_to_string(format!("/proc/{left}/cmdline")).is_ok_and(|line| line.starts_with("sleep"))
    })
    .await;
    sidecar.signal("KILL");

    let ended = exec.end().await;
    let is_alive = is_alive(left);
    signal("KILL", left);
    assert_eq!((ended.code, is_alive), (Some(71), true), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("cannot kill process {left} (sleep)")), "{}", ended.stderr);
}
