//! `lockside ls`, as a shell and a terminal see it.

use std::process::Stdio;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::cli::{hold, run, sidecar, url};
use crate::harness::{Screen, Sidecar, TestRedis, eventually, free_port, unique};

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// `lockside ls --watch` with its output in pipes.
struct Watch {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    fn start(url: &str, flags: &[&str]) -> Watch {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.args(["ls", "--watch", "--url", url]).args(flags).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Watch { child, stdout, stderr }
    }

    /// Waits for a line that begins with `text`.
    async fn line(&mut self, text: &str) -> String {
        let find = async {
            loop {
                let line = self.stdout.next_line().await.unwrap().expect("it goes on");
                if line.starts_with(text) {
                    return line;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), find).await.unwrap_or_else(|_| panic!("no line {text}"))
    }
}

#[tokio::test]
async fn ls_lines_up_who_holds_what_where_and_for_how_long() {
    let sidecar = sidecar().await;
    let meta = json!({"host": "pod\u{202e}-7", "pid": 4711});
    hold(&sidecar, "orders%2F1", json!({"owner": "web-3", "ttlMs": 3_600_000, "meta": meta})).await;
    hold(&sidecar, "reports", json!({"owner": "web-4", "meta": {"host": 7}})).await;
    let aged = async || {
        let all = run(&sidecar, &["ls"]).await;
        let age = all.stdout.lines().nth(1).map(|line| words(line)[3].trim_end_matches('s').parse::<f64>().unwrap());
        age.is_some_and(|age| (1.0..60.0).contains(&age))
    };
    eventually("a lock is a second old", Duration::from_secs(10), aged).await;

    let all = run(&sidecar, &["ls"]).await;
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = all.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", all.stdout);
    assert_eq!(words(lines[0]), ["KEY", "OWNER", "HOST", "AGE", "VALID", "FOR"]);
    let first = words(lines[1]);
    assert_eq!(first[..3], ["orders/1", "web-3", "pod\u{fffd}-7"]);
    assert!(first[4].starts_with("59m") || first[4] == "1h", "{}", lines[1]);
    assert_eq!(words(lines[2])[..3], ["reports", "web-4", "-"]);
    let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
    assert_eq!(column(lines[1], "web-3"), column(lines[2], "web-4"), "{}", all.stdout);
}

#[tokio::test]
async fn a_prefix_is_an_argument_or_a_flag() {
    let sidecar = sidecar().await;
    hold(&sidecar, "orders%2F1", json!({})).await;
    hold(&sidecar, "reports", json!({})).await;
    for args in [&["ls", "orders/"][..], &["ls", "--prefix", "orders/"], &["ls", "-o", "wide", "orders/"]] {
        let some = run(&sidecar, args).await;
        assert_eq!(some.code, Some(0), "{}", some.stderr);
        assert!(some.stdout.contains("orders/1") && !some.stdout.contains("reports"), "{args:?}: {}", some.stdout);
    }
}

#[tokio::test]
async fn wide_counts_the_waiters_and_shows_what_else_is_known() {
    let sidecar = sidecar().await;
    let meta = json!({"job": "a\u{9b}b"});
    let token = hold(&sidecar, "a%20b", json!({"owner": "web-3", "meta": meta})).await;
    hold(&sidecar, "free", json!({"owner": "web-4"})).await;
    let waiter = sidecar.call("POST", "/v1/locks/a%20b").json(&json!({"waitMs": 30_000}));
    let look = async {
        let waits = async || run(&sidecar, &["show", "a b"]).await.stdout.contains("waiters    1");
        eventually("a waiter", Duration::from_secs(10), waits).await;
        let wide = run(&sidecar, &["ls", "-o", "wide"]).await;
        run(&sidecar, &["release", "a b", "--force"]).await;
        wide
    };
    let (_, wide) = tokio::join!(waiter.send(), look);
    assert_eq!(wide.code, Some(0), "{}", wide.stderr);
    let lines: Vec<&str> = wide.stdout.lines().collect();
    let head = ["KEY", "OWNER", "HOST", "AGE", "VALID", "FOR", "WAITERS", "MODE", "KIND", "TOKEN", "SINCE", "META"];
    assert_eq!(words(lines[0]), head);
    let first = words(lines[1]);
    assert_eq!(first[..3], ["a", "b", "web-3"]);
    assert_eq!(first[6..10], ["1", "exclusive", "system", &token.to_string()], "{}", wide.stdout);
    assert!(first[10].ends_with('Z') && first[11] == "{\"job\":\"a\u{fffd}b\"}", "{}", lines[1]);
    let second = words(lines[2]);
    assert_eq!((second[5], second[10]), ("0", "-"), "{}", lines[2]);
}

#[tokio::test]
async fn ls_json_is_one_array_over_all_pages() {
    let sidecar = sidecar().await;
    let keys = (0..1100).map(|number| format!("page-{number:04}"));
    let held = stream::iter(keys.clone()).map(async |key| hold(&sidecar, &key, json!({})).await).buffered(50);
    assert_eq!(held.count().await, 1100);

    for flags in [&["ls", "--json"][..], &["ls", "-o", "json"]] {
        let listed = run(&sidecar, flags).await;
        let locks: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
        let mut found: Vec<_> = locks.iter().map(|lock| lock["key"].as_str().unwrap().to_owned()).collect();
        found.sort();
        assert_eq!(found, keys.clone().collect::<Vec<_>>());
        assert_eq!(locks[0]["kind"], "system");
    }
    for flags in [&["ls"][..], &["ls", "-o", "wide"]] {
        let table = run(&sidecar, flags).await;
        assert_eq!(table.stdout.lines().count(), 1101, "{}", table.stderr);
    }
    let none = run(&sidecar, &["ls", "--json", "nothing"]).await;
    assert_eq!(none.stdout, "[]\n");
}

#[tokio::test]
async fn a_terminal_is_told_how_many_locks_there_are() {
    let sidecar = sidecar().await;
    let mut screen = Screen::bash(&sidecar);
    screen.press("$LOCKSIDE ls\n");
    screen.see("0 locks").await;
    hold(&sidecar, "orders", json!({})).await;
    screen.press("$LOCKSIDE ls\n");
    screen.see("1 lock\r").await;
    screen.press("$LOCKSIDE ls | wc --lines; echo piped=$?,\n");
    let piped = screen.see("piped=0,").await;
    assert!(!piped.contains("1 lock"), "{piped}");
}

#[tokio::test]
async fn watch_redraws_a_terminal_until_ctrl_c_which_is_130() {
    let sidecar = sidecar().await;
    hold(&sidecar, "orders-1", json!({"owner": "web-3"})).await;
    let mut screen = Screen::bash(&sidecar);
    screen.press("stty rows 6 cols 100; $LOCKSIDE ls --watch\n");
    screen.see("\u{1b}[2J").await;
    let first = screen.see("1 lock\u{1b}").await;
    assert!(first.contains("KEY") && first.contains("orders-1"), "{first}");
    for number in 2..=5 {
        hold(&sidecar, &format!("orders-{number}"), json!({})).await;
    }
    // Six rows: the head, three locks, how many there are, and where the cursor stands.
    screen.see("5 locks, the first 3 shown").await;
    screen.see("\u{1b}[H").await;
    let again = screen.see("5 locks, the first 3 shown").await;
    assert_eq!(again.matches("orders-").count(), 3, "{again}");
    screen.press("\u{3}");
    screen.see("^C").await;
    screen.press("echo code=$?,\n");
    assert_eq!(screen.number("code=").await, 130);
}

#[tokio::test]
async fn watch_appends_where_there_is_no_terminal_and_ends_with_its_reader() {
    let sidecar = sidecar().await;
    let mut watch = Watch::start(&url(&sidecar), &[]);
    let head = watch.line("KEY").await;
    assert!(!head.contains('\u{1b}'), "{head}");
    assert_eq!(watch.line("").await, "", "a list ends with an empty line");
    hold(&sidecar, "orders", json!({"owner": "web-3"})).await;
    watch.line("orders  web-3").await;
    watch.line("KEY").await;
    watch.line("orders  web-3").await;
    drop(watch.stdout);
    let ended = tokio::time::timeout(Duration::from_secs(10), watch.child.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(0));
}

#[tokio::test]
async fn watch_with_json_is_an_array_each_time() {
    let sidecar = sidecar().await;
    hold(&sidecar, "orders", json!({})).await;
    let mut watch = Watch::start(&url(&sidecar), &["--json"]);
    for _ in 0..2 {
        let line = watch.line("[").await;
        let locks: Vec<Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(locks[0]["key"], "orders");
    }
}

#[tokio::test]
async fn watch_survives_a_restart_of_the_sidecar_but_does_not_begin_without_one() {
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let none = Watch::start(&url, &[]).child.wait_with_output().await.unwrap();
    assert_eq!(none.status.code(), Some(69));

    let prefix = unique("watch");
    let flags = ["--key-prefix", &prefix, "--listen", &listen];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    hold(&sidecar, "orders", json!({"ttlMs": 600_000})).await;
    let mut watch = Watch::start(&url, &[]);
    watch.line("orders").await;
    drop(sidecar);
    let complaint = tokio::time::timeout(Duration::from_secs(20), watch.stderr.next_line()).await;
    let complaint = complaint.expect("it says so").unwrap().unwrap();
    assert!(complaint.contains("cannot connect to lockside at"), "{complaint}");
    let _again = Sidecar::start(TestRedis::shared(), &flags).await;
    watch.line("orders").await;
}
