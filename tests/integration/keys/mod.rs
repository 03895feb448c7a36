//! The keys of JWTs: sets from files and from URLs, their rotation and their troubles, and what claims say.

mod algorithms;
mod claims;
mod confusion;
mod discovery;
mod rotation;
mod settings;
mod trouble;
mod unavailable;

use std::time::Duration;

use serde_json::Value;

use crate::harness::issuer::{Issuer, KEYS, Page};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt};

/// How long a change may take on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// A sidecar that fetches the set of an issuer, and has it.
async fn following(issuer: &Issuer, path: &str, flags: &[&str]) -> Sidecar {
    let sidecar = Sidecar::start(TestRedis::shared(), &[&["--jwks-url", &issuer.url(path)], flags].concat()).await;
    unfit(&sidecar, 0).await;
    eventually("the keys are there", SOON, async || !sidecar.ops("/readyz").await.text().contains("jwt-keys")).await;
    sidecar
}

/// A sidecar with these keys as a set, from a file.
async fn with_file(set: &Value, flags: &[&str]) -> Sidecar {
    let scratch = Scratch::new();
    let file = scratch.file("keys.json", set.to_string());
    Sidecar::start(TestRedis::shared(), &[&["--jwks-file", &file], flags].concat()).await
}

/// A sidecar with these keys as a set, from a URL.
async fn with_url(set: &Value, flags: &[&str]) -> (Issuer, Sidecar) {
    let issuer = Issuer::plain(Page::Json(set.clone())).await;
    let sidecar = following(&issuer, KEYS, flags).await;
    (issuer, sidecar)
}

/// The status of a list with this token, on a connection of its own.
async fn status(sidecar: &Sidecar, token: &str) -> u16 {
    sidecar.call("GET", "/v1/locks?limit=1").bearer(token).header("connection", "close").send().await.status
}

/// Waits for the metric of the URL.
async fn unfit(sidecar: &Sidecar, value: u8) {
    let line = format!("lockside_secret_file_unfit{{flag=\"jwks-url\"}} {value}");
    eventually(&line, SOON, async || sidecar.ops("/metrics").await.text().contains(&line)).await;
}

/// Claims of a user who may manage locks, good for an hour.
fn claims() -> Value {
    jwt::editor_claims("alice")
}
