//! `lockside show`, `ls`, `watch` and `release --force` of a lock that leases share.

use std::time::Duration;

use serde_json::json;

use super::cli::{hold, run, sidecar, url};
use super::watch::Watch;
use crate::harness::{Screen, Sidecar, eventually};

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Permits of `encoder`; their tokens.
async fn permits<const COUNT: usize>(sidecar: &Sidecar, owners: [&str; COUNT]) -> [u64; COUNT] {
    let mut tokens = [0; COUNT];
    for (token, owner) in tokens.iter_mut().zip(owners) {
        let meta = json!({"host": format!("pod-of-{owner}"), "pid": 4711});
        *token = hold(sidecar, "encoder", json!({"owner": owner, "limit": 3, "ttlMs": 600_000, "meta": meta})).await;
    }
    tokens
}

#[tokio::test]
async fn show_has_a_row_for_each_who_shares_the_lock() {
    let sidecar = sidecar().await;
    let [one, two] = permits(&sidecar, ["web-3", "web\u{202e}4"]).await.map(|token| token.to_string());
    let bare = hold(&sidecar, "encoder", json!({"mode": "shared", "ttlMs": 600_000})).await.to_string();
    let shown = run(&sidecar, &["show", "encoder"]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = shown.stdout.lines().collect();
    let facts = ["key        encoder", "state      held", "mode       shared", "shared by  3", "waiters    0", ""];
    assert_eq!(lines[..6], facts, "{}", shown.stdout);
    assert_eq!(words(lines[6]), ["OWNER", "HOST", "LIMIT", "TOKEN", "VALID", "FOR"]);
    let rows: Vec<Vec<&str>> = lines[7..].iter().map(|line| words(line)).collect();
    assert_eq!(rows.len(), 3, "{}", shown.stdout);
    for (row, (owner, token)) in rows.iter().zip([("web-3", &one), ("web\u{fffd}4", &two)]) {
        let host = format!("pod-of-{owner},");
        assert_eq!(row[..6], [owner, &host, "pid", "4711", "3", token], "{}", shown.stdout);
    }
    assert_eq!(rows[2][1..4], ["-", "-", &bare], "{}", shown.stdout);
    assert!(rows.iter().all(|row| row.last().is_some_and(|left| left.starts_with("9m5"))), "{}", shown.stdout);
}

#[tokio::test]
async fn show_ls_and_watch_say_which_of_them_was_released_and_rests() {
    let sidecar = sidecar().await;
    let [one, two] = permits(&sidecar, ["web-3", "web-4"]).await;
    let mut watch = Watch::start(&url(&sidecar), &["encoder"]);
    assert_eq!(watch.line().await, "held      encoder  shared by 2");
    assert_eq!(watch.line().await, "synced");
    let rest = |token: u64| format!("/v1/locks/encoder?token={token}&restMs=600000");
    assert_eq!(sidecar.call("DELETE", &rest(two)).send().await.status, 204);
    let line = watch.line().await;
    assert!(
        line.starts_with("released  encoder  `web-4` for another ") && line.ends_with(&format!("token {two}")),
        "{line}"
    );
    let shown = run(&sidecar, &["show", "encoder"]).await;
    let owners: Vec<Vec<&str>> = shown.stdout.lines().skip(7).map(|line| words(line)[..2].to_vec()).collect();
    assert_eq!(owners, [vec!["web-3", "pod-of-web-3,"], vec!["web-4", "(released)"]], "{}", shown.stdout);
    let listed = run(&sidecar, &["ls"]).await;
    let rows: Vec<Vec<&str>> = listed.stdout.lines().skip(1).map(|line| words(line)[1..3].to_vec()).collect();
    assert_eq!(rows, [vec!["web-3", "(shared)"], vec!["web-4", "(released)"]], "{}", listed.stdout);

    assert_eq!(sidecar.call("DELETE", &rest(one)).send().await.status, 204);
    let shown = run(&sidecar, &["show", "encoder"]).await;
    assert!(shown.stdout.contains("state      resting\n"), "{}", shown.stdout);
    let forced = run(&sidecar, &["release", "encoder", "--force"]).await;
    assert_eq!(forced.stdout, "force-released `encoder`, shared by 2; now free\n", "{}", forced.stderr);
}

#[tokio::test]
async fn ls_has_a_row_for_each_lease_with_its_mode() {
    let sidecar = sidecar().await;
    let [one, two] = permits(&sidecar, ["web-3", "web-4"]).await.map(|token| token.to_string());
    let listed = run(&sidecar, &["ls", "-o", "wide"]).await;
    let rows: Vec<Vec<&str>> = listed.stdout.lines().skip(1).map(words).collect();
    assert_eq!((listed.code, rows.len()), (Some(0), 2), "{}", listed.output());
    for (row, (owner, token)) in rows.iter().zip([("web-3", &one), ("web-4", &two)]) {
        assert_eq!(row[..3], ["encoder", owner, &format!("pod-of-{owner}")], "{}", listed.stdout);
        assert_eq!(row[5..11], ["0", "shared,", "limit", "3", "system", token], "{}", listed.stdout);
    }
}

#[tokio::test]
async fn watch_says_how_many_share_the_lock_and_of_each_when_it_begins_and_ends() {
    let sidecar = sidecar().await;
    let [one, _] = permits(&sidecar, ["web-3", "web-4"]).await;
    let mut watch = Watch::start(&url(&sidecar), &["encoder"]);
    assert_eq!(watch.line().await, "held      encoder  shared by 2");
    assert_eq!(watch.line().await, "synced");
    let [three] = permits(&sidecar, ["web-5"]).await;
    let line = watch.line().await;
    assert!(
        line.starts_with("granted   encoder  `web-5` for another ") && line.ends_with(&three.to_string()),
        "{line}"
    );
    assert_eq!(run(&sidecar, &["release", "encoder", "--token", &one.to_string()]).await.code, Some(0));
    assert_eq!(watch.line().await, format!("released  encoder  token {one}"));
}

#[tokio::test]
async fn release_by_force_ends_all_who_share_the_lock_and_says_how_many() {
    let sidecar = sidecar().await;
    permits(&sidecar, ["web-3", "web-4"]).await;
    let forced = run(&sidecar, &["release", "encoder", "--force"]).await;
    assert_eq!((forced.code, forced.stdout.as_str()), (Some(0), "force-released `encoder`, shared by 2; now free\n"));
    let [one] = permits(&sidecar, ["web-3"]).await;
    let forced = run(&sidecar, &["release", "encoder", "--force"]).await;
    let told = format!("force-released `encoder`, held by `web-3`, token {one}; now free\n");
    assert_eq!((forced.code, forced.stdout), (Some(0), told));

    permits(&sidecar, ["web-3", "web-4", "web-5"]).await;
    let waiter = sidecar.call("POST", "/v1/locks/encoder").json(&json!({"owner": "writer", "waitMs": 20_000}));
    let force = async {
        let waits = async || run(&sidecar, &["show", "encoder"]).await.stdout.contains("waiters    1");
        eventually("a waiter", Duration::from_secs(10), waits).await;
        run(&sidecar, &["release", "encoder", "--force", "--reason", "they hang"]).await
    };
    let (granted, forced) = tokio::join!(waiter.send(), force);
    let told = "force-released `encoder`, shared by 3; now held by `writer`\n";
    assert_eq!((granted.status, forced.code, forced.stdout.as_str()), (201, Some(0), told), "{}", forced.stderr);
    assert_eq!(sidecar.log().matches("they hang").count(), 3, "{}", sidecar.log());
}

#[tokio::test]
async fn release_by_force_of_a_token_ends_that_lease_alone() {
    let sidecar = sidecar().await;
    let tokens = permits(&sidecar, ["web-3", "web-4", "web-5"]).await.map(|token| token.to_string());
    let force = async |token: &str| run(&sidecar, &["release", "encoder", "--force", "--token", token]).await;
    for (token, (owner, now)) in
        tokens.iter().zip([("web-3", "shared by 2"), ("web-4", "held by `web-5`"), ("web-5", "free")])
    {
        let forced = force(token).await;
        let told = format!("force-released `encoder`, held by `{owner}`, token {token}; now {now}\n");
        assert_eq!((forced.code, forced.stdout), (Some(0), told), "{}", forced.stderr);
        let again = force(token).await;
        assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""));
        assert!(again.stderr.contains("has ended"), "{}", again.stderr);
    }
    // Of a lock that is held alone, too.
    let other = hold(&sidecar, "orders", json!({"owner": "web-6"})).await.to_string();
    let wrong = run(&sidecar, &["release", "orders", "--force", "--token", &tokens[0]]).await;
    assert_eq!(wrong.code, Some(1), "{}", wrong.output());
    let forced = run(&sidecar, &["release", "orders", "--force", "--token", &other, "--reason", "x", "--yes"]).await;
    let told = format!("force-released `orders`, held by `web-6`, token {other}; now free\n");
    assert_eq!((forced.code, forced.stdout), (Some(0), told), "{}", forced.stderr);
}

#[tokio::test]
async fn on_a_terminal_it_says_how_many_or_which_of_them_lose_the_lock() {
    let sidecar = sidecar().await;
    let [one, two, _] = permits(&sidecar, ["web-3", "web-4", "web-5"]).await;
    let mut screen = Screen::bash(&sidecar);
    for (token, owner) in [(one, "web-3"), (two, "web-4")] {
        screen.press(&format!("$LOCKSIDE release encoder --force --token {token}\n"));
        let asked =
            format!("lease of `encoder` with token {token}, held by `{owner}` (pod-of-{owner}, pid 4711)? [y/N] ");
        screen.see(&asked).await;
        if token == one {
            screen.press("n\n");
            screen.see("`encoder` was not released").await;
        } else {
            screen.press("y\n");
            screen.see("; now shared by 2").await;
        }
    }
    screen.press("$LOCKSIDE release encoder --force\n");
    screen.see("`encoder` is shared by 2. Force-release all of them? [y/N] ").await;
    screen.press("y\n");
    screen.see("force-released `encoder`, shared by 2; now free").await;
}
