//! On a terminal, a command behaves as without lockside.

use super::*;
use crate::harness::{Scratch, Screen};

#[tokio::test]
async fn ctrl_c_reaches_the_command_and_not_lockside() {
    let sidecar = sidecar().await;
    let mut screen = Screen::bash(&sidecar);
    let key = unique("exec");
    screen.press(&format!(
        "$LOCKSIDE exec {key} -- sh -c 'trap \"echo caught; exit 3\" INT; echo rea\"\"dy; while :; do sleep 0.05; done'; echo code=$?\n"
    ));
    screen.see("ready").await;
    screen.press("\x03");
    screen.see("caught").await;
    screen.see("code=3").await;
    assert_eq!(show(&sidecar, &key).await["state"], "free");
    screen.press(&format!("$LOCKSIDE exec {key} -- sh -c 'echo rea\"\"dy; exec sleep 60'\n"));
    screen.see("ready").await;
    screen.press("\x03");
    eventually("it has ended", PATIENCE, async || show(&sidecar, &key).await["state"] == "free").await;
    screen.press("echo code=$?\n");
    screen.see("code=130").await;
}

#[tokio::test]
async fn ctrl_c_ends_the_script_around_it_and_a_signal_to_lockside_does_not() {
    let sidecar = sidecar().await;
    let (scratch, key) = (Scratch::new(), unique("exec"));
    let line = format!("$LOCKSIDE exec {key} -- sh -c 'echo pid=$PPID,; exec sleep 60'\necho went on: $?\n");
    let script = scratch.file("script.sh", line);
    let mut screen = Screen::bash(&sidecar);

    screen.press(&format!("bash {script}\n"));
    screen.number("pid=").await;
    screen.press("\x03");
    eventually("it has ended", PATIENCE, async || show(&sidecar, &key).await["state"] == "free").await;
    screen.press("echo code=$?\n");
    let shown = screen.see("code=130").await;
    assert!(!shown.contains("went on"), "{shown}");

    screen.press(&format!("bash {script}\n"));
    let supervisor = screen.number("pid=").await;
    signal("INT", parent(supervisor));
    screen.see("went on: 130").await;
}

#[tokio::test]
async fn ctrl_c_while_waiting_ends_the_wait() {
    let sidecar = sidecar().await;
    let key = unique("exec");
    let mut holder = Exec::script(&sidecar, &[], &key, "echo held; exec sleep 60");
    holder.line().await;
    let mut screen = Screen::bash(&sidecar);
    screen.press(&format!("$LOCKSIDE exec {key} -- true; echo code=$?\n"));
    until_waiting(&sidecar, &key).await;
    screen.press("\x03");
    screen.see("code=130").await;
}

#[tokio::test]
async fn the_command_has_the_terminal_and_the_shell_gets_it_back() {
    let sidecar = sidecar().await;
    let mut screen = Screen::bash(&sidecar);
    // Not even a script that is no shell of its own terminal is left in the background afterwards.
    let line = format!("$LOCKSIDE exec {} -- sh -c \"read x; echo \\\"got <\\$x>\\\"\"", unique("exec"));
    screen.press(&format!("sh -c '{line}; echo next; read y; echo \"then <$y>\"'\n"));
    screen.press("one\n");
    screen.see("got <one>").await;
    screen.press("two\n");
    screen.see("then <two>").await;
}

#[tokio::test]
async fn a_job_is_stopped_and_continued_and_keeps_its_lock() {
    let sidecar = sidecar().await;
    let mut screen = Screen::bash(&sidecar);
    let key = unique("exec");
    screen.press(&format!("$LOCKSIDE exec --ttl 1s {key} -- sh -c 'echo pid=$$,; exec cat'\n"));
    let pid = screen.number("pid=").await;
    let token = show(&sidecar, &key).await["holder"]["token"].clone();
    let in_foreground = || stat(pid).is_some_and(|stat| stat[2] == stat[5]);
    assert!(in_foreground());

    screen.press("\x1a");
    screen.see("Stopped").await;
    assert!(!in_foreground());
    let begun = std::time::Instant::now();
    eventually("the lock outlasts its ttl", PATIENCE, async || {
        assert_eq!(show(&sidecar, &key).await["holder"]["token"], token);
        begun.elapsed() > Duration::from_secs(2)
    })
    .await;

    screen.press("fg\n");
    eventually("the command is in the foreground", PATIENCE, async || in_foreground()).await;
    screen.press("hello\n");
    screen.see("hello\r\nhello").await;
    screen.press("\x04");
    eventually("it has ended", PATIENCE, async || show(&sidecar, &key).await["state"] == "free").await;
    screen.press("echo code=$?\n");
    screen.see("code=0").await;
}

#[tokio::test]
async fn in_a_pipeline_the_terminal_stays_with_the_job() {
    let sidecar = sidecar().await;
    let mut screen = Screen::bash(&sidecar);
    screen.press(&format!(
        "$LOCKSIDE exec {} -- sh -c 'trap \"echo caught; exit 3\" INT; echo rea\"\"dy; while :; do sleep 0.05; done' | (trap '' INT; cat); echo code=${{PIPESTATUS[0]}}\n",
        unique("exec")
    ));
    screen.see("ready").await;
    screen.press("\x03");
    screen.see("caught").await;
    screen.see("code=3").await;
}
