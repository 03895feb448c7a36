//! Signals reach the command's whole group, and nothing but the command decides what they do.

use super::*;

#[tokio::test]
async fn each_signal_reaches_the_command_once() {
    let sidecar = sidecar().await;
    let script = r#"
        for name in HUP INT QUIT USR1 USR2; do trap "echo $name" $name; done
        trap 'echo TERM; exit 9' TERM
        echo ready; while :; do sleep 0.02; done"#;
    let mut exec = Exec::script(&sidecar, &[], &unique("exec"), script);
    assert_eq!(exec.line().await, "ready");
    for name in ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM"] {
        signal(name, exec.id());
        assert_eq!(exec.line().await, name);
    }
    let ended = exec.end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(9), ""), "{}", ended.stderr);
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group() {
    let sidecar = sidecar().await;
    let mut exec = Exec::script(&sidecar, &[], &unique("exec"), "sleep 60 & echo $!; wait");
    let grandchild = exec.pid().await;
    signal("TERM", exec.id());
    assert_eq!(exec.end().await.code, Some(143));
    eventually("the whole group ends", PATIENCE, async || !is_alive(grandchild)).await;
}

#[tokio::test]
async fn what_nohup_ignores_the_command_ignores_too() {
    let sidecar = sidecar().await;
    let mut command = Command::new("sh");
    let line = format!(
        "trap '' HUP; exec {} exec \"$0\" -- sh -c 'echo ready; sleep 0.2; echo alive'",
        env!("CARGO_BIN_EXE_lockside")
    );
    command.args(["-c", &line, &unique("exec")]).env("LOCKSIDE_URL", url(&sidecar));
    let mut exec = Exec::of(command);
    assert_eq!(exec.line().await, "ready");
    signal("HUP", exec.id());
    assert_eq!(exec.line().await, "alive");
    assert_eq!(exec.end().await.code, Some(0));
}
