//! `lockside show`, `release`, and what all commands share that ask a sidecar, as a shell sees them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::command::Finished;
use crate::harness::{
    API_TOKEN, Scratch, Screen, Sidecar, TestRedis, eventually, jwt, lockside, lockside_with, unique,
};

pub async fn sidecar() -> Sidecar {
    let prefix = unique("cli");
    Sidecar::start(TestRedis::shared(), &["--key-prefix", &prefix]).await
}

pub fn url(sidecar: &Sidecar) -> String {
    format!("http://{}", sidecar.api_address())
}

/// A lock with its token.
pub async fn hold(sidecar: &Sidecar, key: &str, body: Value) -> u64 {
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_u64().unwrap()
}

pub async fn run(sidecar: &Sidecar, args: &[&str]) -> Finished {
    lockside_with(args, &[("LOCKSIDE_URL", &url(sidecar))]).await
}

#[tokio::test]
async fn show_tells_free_from_held() {
    let sidecar = sidecar().await;
    let free = run(&sidecar, &["show", "a b/ü"]).await;
    assert_eq!((free.code, free.stdout.contains("free")), (Some(0), true), "{free:?}");

    let token = hold(&sidecar, "a%20b%2F%C3%BC", json!({"owner": "web-3", "meta": {"pod": "x"}})).await;
    let held = run(&sidecar, &["show", "a b/ü"]).await;
    assert_eq!(held.code, Some(0), "{}", held.stderr);
    for part in ["a b/ü", "held", "web-3 (system)", &token.to_string(), r#"{"pod":"x"}"#, "waiters"] {
        assert!(held.stdout.contains(part), "{part}: {}", held.stdout);
    }
    let json = run(&sidecar, &["show", "a b/ü", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["holder"]["token"], token);
}

#[tokio::test]
async fn show_prints_nothing_that_a_terminal_obeys() {
    let sidecar = sidecar().await;
    hold(&sidecar, "k", json!({"meta": "red \u{9b}31m \u{202e}turned"})).await;
    let shown = run(&sidecar, &["show", "k"]).await;
    assert!(shown.stdout.contains("\u{fffd}31m \u{fffd}turned"), "{}", shown.stdout);
}

#[tokio::test]
async fn release_lets_go_once_and_says_when_the_lease_is_lost() {
    let sidecar = sidecar().await;
    let token = hold(&sidecar, "orders", json!({})).await.to_string();

    let done = run(&sidecar, &["release", "orders", "--token", &token]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lost = run(&sidecar, &["release", "orders", "--token", &token]).await;
    assert_eq!(lost.code, Some(1));
    assert!(lost.stderr.contains("has ended") && lost.stderr.contains("lockside show"), "{}", lost.stderr);
}

#[tokio::test]
async fn release_by_force_says_who_had_the_lock_and_who_has_it_now() {
    let sidecar = sidecar().await;
    let first = hold(&sidecar, "orders", json!({"owner": "web-3"})).await;
    let waiter = sidecar.call("POST", "/v1/locks/orders").json(&json!({"owner": "web\u{202e}4", "waitMs": 20_000}));
    let force = async {
        let waits = async || run(&sidecar, &["show", "orders"]).await.stdout.contains("waiters    1");
        eventually("a waiter", Duration::from_secs(10), waits).await;
        run(&sidecar, &["release", "orders", "--force", "--reason", "it hangs"]).await
    };
    let (granted, forced) = tokio::join!(waiter.send(), force);
    let second = granted.json()["token"].as_u64().unwrap();

    let told = format!("force-released `orders`, held by `web-3`, token {first}; now held by `web\u{fffd}4`\n");
    assert_eq!((forced.code, forced.stdout), (Some(0), told), "{}", forced.stderr);
    let last = run(&sidecar, &["release", "orders", "--force"]).await;
    let told = format!("force-released `orders`, held by `web\u{fffd}4`, token {second}; now free\n");
    assert_eq!((last.code, last.stdout), (Some(0), told), "{}", last.stderr);
    let none = run(&sidecar, &["release", "orders", "--force"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "`orders` was not held\n"), "{}", none.stderr);
    assert!(sidecar.log().contains("it hangs"), "{}", sidecar.log());
}

#[tokio::test]
async fn release_by_force_asks_on_a_terminal_who_is_there_unless_told_not_to() {
    let sidecar = sidecar().await;
    hold(&sidecar, "orders", json!({"owner": "web-3", "meta": {"host": "pod-7", "pid": 4711}})).await;
    let mut screen = Screen::bash(&sidecar);
    for (name, answer, code) in [("none=", "\n", 1), ("no=", "n\n", 1), ("yes=", "y\n", 0)] {
        screen.press(&format!("$LOCKSIDE release orders --force; echo {name}$?,\n"));
        screen.see("`orders` is held by `web-3` (pod-7, pid 4711). Force-release it? [y/N] ").await;
        screen.press(answer);
        assert_eq!(screen.number(name).await, code, "{answer:?}");
        let shown = run(&sidecar, &["show", "orders"]).await.stdout;
        assert_eq!(shown.contains("free"), code == 0, "{answer:?}: {shown}");
    }
    hold(&sidecar, "orders", json!({"owner": "web-3"})).await;
    screen.press("$LOCKSIDE release orders --force --yes\n");
    screen.see("now free").await;
}

#[tokio::test]
async fn a_wrong_command_line_is_64() {
    for args in [
        &["release", "k", "--yes"][..],
        &["release", "k"],
        &["release", "k", "--reason", "x"],
        &["release", "k", "--token", "x", "--force"],
        &["release", "k", "--token", "1", "--reason", "x"],
        &["release", "k", "--token", "1", "--yes"],
        &["release", "k", "--token", "x"],
        &["show"],
        &["show", "k", "--url", "127.0.0.1:7420"],
        &["ls", "--url", "ftp://x"],
        &["ls", "a", "--prefix", "b"],
        &["ls", "--json", "-o", "wide"],
        &["ls", "-o", "yaml"],
        &["ls", "--token-file", "/nowhere/token"],
    ] {
        let run = lockside(args).await;
        assert_eq!(run.code, Some(64), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn in_the_sidecars_container_it_asks_that_sidecar_with_its_token_and_sends_it_nowhere_else() {
    let scratch = Scratch::new();
    let token = scratch.file("token", API_TOKEN);
    let socket = format!("unix:{}", scratch.path("api.sock"));
    let flags = ["--listen", &socket, "--api-token-file", &token, "--key-prefix", &unique("cli")];
    let own = Sidecar::start(TestRedis::shared(), &flags).await;
    let other = Sidecar::start(TestRedis::shared(), &["--api-token-file", &token]).await;
    let variables = [("LOCKSIDE_LISTEN", &*socket), ("LOCKSIDE_API_TOKEN_FILE", &*token)];

    let listed = lockside_with(&["ls"], &variables).await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert!(listed.stdout.starts_with("KEY"), "{}", listed.stdout);
    let both = [variables[0], ("LOCKSIDE_URL", &*url(&other)), variables[1]];
    assert_eq!(lockside_with(&["ls"], &both).await.code, Some(77), "another sidecar is not shown the token");
    let wrong = lockside_with(&["ls"], &[("LOCKSIDE_LISTEN", "here")]).await;
    assert_eq!((wrong.code, wrong.stderr.contains("LOCKSIDE_LISTEN: `here`")), (Some(64), true), "{}", wrong.stderr);
    let wrong_elsewhere = [("LOCKSIDE_LISTEN", "here"), ("LOCKSIDE_URL", &*url(&other))];
    assert_eq!(lockside_with(&["ls"], &wrong_elsewhere).await.code, Some(77), "what is not asked is not looked at");
    drop(own);
}

#[tokio::test]
async fn a_password_in_a_url_that_is_wrong_is_not_shown_and_a_command_without_its_dashes_is_one_sentence() {
    for url in ["ftp://u:s3cret@x", "http://u:s3cret@x/path", "u:s3cret@x"] {
        let run = lockside(&["ls", "--url", url]).await;
        assert_eq!(run.code, Some(64), "{url}: {}", run.stderr);
        assert!(run.stderr.contains("--url: ") && !run.stderr.contains("s3cret"), "{url}: {}", run.stderr);
    }
    let run = lockside(&["exec", "k", "true"]).await;
    let told = "lockside: the command comes after `--`: lockside exec KEY -- CMD ARGS\n";
    assert_eq!((run.code, run.stderr.as_str()), (Some(64), told));
}

#[tokio::test]
async fn no_sidecar_is_69_with_a_next_step() {
    let scratch = Scratch::new();
    let socket = format!("unix:{}", scratch.path("none.sock"));
    for args in [&["ls"][..], &["show", "k"], &["release", "k", "--token", "1"]] {
        let run = lockside(&[args, &["--url", &socket]].concat()).await;
        assert_eq!(run.code, Some(69), "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.contains("cannot connect to lockside at") && run.stderr.contains("lockside serve"),
            "{}",
            run.stderr
        );
    }
}

#[tokio::test]
async fn the_ops_listener_is_no_sidecar_to_talk_to() {
    let sidecar = sidecar().await;
    let ops = format!("http://{}", sidecar.ops_address());
    let run = lockside(&["ls", "--url", &ops]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("404"), "{}", run.stderr);
}

#[tokio::test]
async fn a_unix_socket_and_a_credential_lead_to_the_locks() {
    let scratch = Scratch::new();
    let listen = format!("unix:{}", scratch.path("api.sock"));
    let secret = scratch.file("secret", jwt::SECRET);
    let api_token = scratch.file("api-token", "s3cret\n");
    let prefix = unique("cli");
    let flags = ["--key-prefix", &prefix, "--jwt-secret-file", &secret, "--api-token-file", &api_token];
    let _sidecar = Sidecar::start(TestRedis::shared(), &[&["--listen", &listen][..], &flags].concat()).await;

    let anonymous = lockside(&["ls", "--url", &listen]).await;
    assert_eq!(anonymous.code, Some(77));
    assert!(anonymous.stderr.contains("--token-file"), "{}", anonymous.stderr);
    let system = lockside_with(&["ls", "--url", &listen], &[("LOCKSIDE_TOKEN_FILE", &api_token)]).await;
    assert_eq!(system.code, Some(0), "{}", system.stderr);
    let user = scratch.file("user", jwt::reader("alice"));
    let looked = lockside(&["show", "k", "--url", &listen, "--token-file", &user]).await;
    assert_eq!(looked.code, Some(0), "{}", looked.stderr);
    let forced = lockside(&["release", "k", "--force", "--url", &listen, "--token-file", &user]).await;
    assert_eq!(forced.code, Some(77));
    assert!(forced.stderr.contains("forbidden"), "{}", forced.stderr);
}

#[tokio::test]
async fn each_help_has_an_example() {
    for command in ["ls", "show", "release", "version"] {
        let help = lockside(&[command, "--help"]).await;
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.contains(&format!("Example: lockside {command}")), "{}", help.stdout);
        assert!(help.stdout.contains("LOCKSIDE_URL") && help.stdout.contains("LOCKSIDE_TOKEN_FILE"), "{}", help.stdout);
    }
}
