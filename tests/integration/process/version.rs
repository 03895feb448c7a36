//! `lockside version`.

use std::env::consts::ARCH;

use serde_json::{Value, json};

use super::cli::{run, sidecar};
use crate::harness::{Scratch, jwt, lockside, unique};
use crate::harness::{Sidecar, TestRedis};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As this build was told.
fn commit() -> &'static str {
    option_env!("LOCKSIDE_COMMIT").filter(|commit| !commit.is_empty()).unwrap_or("unknown")
}

fn profile() -> Option<&'static str> {
    option_env!("LOCKSIDE_PROFILE").filter(|profile| !profile.is_empty())
}

/// What `lockside version` prints, up to the sidecar's version.
fn own_lines() -> String {
    let profile = profile().map_or("no profile".to_owned(), |digest| format!("profile {digest}"));
    format!("version  {VERSION}\ncommit   {}\nbuild    {ARCH}, {profile}\n", commit())
}

#[tokio::test]
async fn version_names_the_binary_and_the_sidecar() {
    let sidecar = sidecar().await;
    let shown = run(&sidecar, &["version"]).await;
    let expected = format!("{}sidecar  {VERSION}\n", own_lines());
    assert_eq!((shown.code, shown.stdout), (Some(0), expected), "{}", shown.stderr);
    let shown = run(&sidecar, &["version", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let build =
        json!({"version": VERSION, "commit": commit(), "architecture": ARCH, "profile": profile(), "sidecar": VERSION});
    assert_eq!(shown, build);
    assert_eq!(lockside(&["--version"]).await.stdout, format!("lockside {VERSION}\n"));
}

#[tokio::test]
async fn version_needs_neither_a_sidecar_nor_a_credential() {
    let scratch = Scratch::new();
    let nowhere = format!("unix:{}", scratch.path("none.sock"));
    let alone = lockside(&["version", "--url", &nowhere]).await;
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    let expected = format!("{}sidecar  unknown: cannot connect to lockside", own_lines());
    assert!(alone.stdout.starts_with(&expected), "{}", alone.stdout);
    let alone = lockside(&["version", "--json", "--url", &nowhere]).await;
    assert_eq!(serde_json::from_str::<Value>(&alone.stdout).unwrap()["sidecar"], Value::Null);

    let unreadable = lockside(&["version", "--url", &nowhere, "--token-file", "/nowhere/token"]).await;
    assert_eq!(unreadable.code, Some(0), "{}", unreadable.stderr);
    assert!(unreadable.stdout.contains("sidecar  unknown: --token-file: "), "{}", unreadable.stdout);

    let secret = scratch.file("secret", jwt::SECRET);
    let token = scratch.file("token", "s3cret\n");
    let prefix = unique("version");
    let flags = ["--key-prefix", &prefix, "--jwt-secret-file", &secret, "--api-token-file", &token];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let shown = run(&sidecar, &["version"]).await;
    assert!(shown.stdout.ends_with(&format!("sidecar  {VERSION}\n")), "{}", shown.stdout);
}
