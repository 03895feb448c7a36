//! schemathesis asks a real sidecar everything that the document allows, and much that it does not: by every caller, with
//! every check. `tests/schemathesis/` has what it must be told, and why.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::harness::{API_TOKEN, Scratch, Sidecar, TestRedis, jwt};

/// What `make schemathesis` installs.
fn installed(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin").join(program);
    assert!(path.exists(), "{} is missing: `make schemathesis` installs it", path.display());
    path
}

/// Runs schemathesis against the listener at `base`, and prints what it says. `SCHEMATHESIS` has further arguments, of
/// which the last one counts: more examples, another seed.
async fn run(sidecar: &Sidecar, base: &str, caller: &str, args: &[&str]) {
    let scratch = Scratch::new();
    scratch.file("hooks.py", include_str!("../../../schemathesis/hooks.py"));
    let settings = include_str!("../../../schemathesis/schemathesis.toml");
    let config = scratch.file("schemathesis.toml", format!("{settings}\n{caller}"));
    let document = format!("http://{}/openapi.json", sidecar.api_address());
    let further = std::env::var("SCHEMATHESIS").unwrap_or_default();
    let mut command = Command::new(installed("schemathesis"));
    command.args(["--config-file", &config, "run", &document, "--url", &format!("http://{base}"), "--checks", "all"]);
    command.args(["--seed", "1", "--max-examples", "10", "--continue-on-failure"]).args(args);
    command.args(further.split_whitespace()).current_dir(scratch.path("")).kill_on_drop(true);
    let begun = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(1800), command.output()).await;
    let output = output.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}\nafter {:?}", begun.elapsed());
    assert!(output.status.success(), "{}: the lines `curl` above do it again", output.status);
}

/// Outcomes of a request that got beyond the question who is asking, and what for.
const REACHED: [&str; 5] = ["ok", "held", "lost", "not-found", "wait-timeout"];

/// That each of these operations was reached: not all was refused.
async fn assert_reached(sidecar: &Sidecar, operations: &[(&str, &str)]) {
    let metrics = sidecar.ops("/metrics").await.text().to_owned();
    for (dialect, operation) in operations {
        let is_it = |line: &str, outcome: &str| {
            line.starts_with("lockside_requests_total")
                && [("dialect", dialect), ("operation", operation), ("outcome", &outcome)]
                    .iter()
                    .all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
        };
        let is_reached = metrics.lines().any(|line| REACHED.iter().any(|outcome| is_it(line, outcome)));
        assert!(is_reached, "{dialect} {operation} was never reached: {metrics}");
    }
}

const OF_LEASES: [(&str, &str); 5] =
    [("leases", "list"), ("leases", "create"), ("leases", "renew"), ("leases", "release"), ("leases", "custom_remove")];
const OF_NATIVE: [(&str, &str); 8] = [
    ("native", "list"),
    ("native", "acquire"),
    ("native", "renew"),
    ("native", "release"),
    ("native", "show"),
    ("native", "fence"),
    ("native", "hold"),
    ("native", "bundle_acquire"),
];
const OF_DAPR: [(&str, &str); 4] = [("dapr", "try_lock"), ("dapr", "unlock"), ("dapr", "metadata"), ("dapr", "health")];
const OF_ADMIN: [(&str, &str); 2] = [("admin", "lock"), ("admin", "remove")];
const API: [&str; 2] = ["--exclude-tag", "Ops"];
/// So that no busy machine makes Redis look as if it were away.
const PATIENT: [&str; 1] = ["--redis-timeout=30s"];

#[tokio::test]
async fn schemathesis_finds_nothing_where_nobody_need_say_who_they_are() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &PATIENT).await;
    run(&sidecar, sidecar.api_address(), "", &API).await;
    assert_reached(&sidecar, &[&OF_LEASES[..], &OF_NATIVE, &OF_DAPR].concat()).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_as_a_user_with_a_cookie() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &PATIENT).await;
    let caller = format!("[auth.openapi.refreshToken]\napi_key = \"{}\"", jwt::editor("alice"));
    run(&sidecar, sidecar.api_address(), &caller, &API).await;
    assert_reached(&sidecar, &[&OF_ADMIN[..], &OF_LEASES, &OF_NATIVE].concat()).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_as_a_system_caller_with_the_api_token() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &PATIENT).await;
    let caller = format!("[auth.openapi.bearer]\nbearer = \"{API_TOKEN}\"");
    run(&sidecar, sidecar.api_address(), &caller, &API).await;
    assert_reached(&sidecar, &[&OF_LEASES[..], &OF_NATIVE, &OF_DAPR].concat()).await;
}

/// A listener of its own, and so a run of its own. There are no links between its operations, and so no phase for them.
#[tokio::test]
async fn schemathesis_finds_nothing_at_the_ops_listener() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &PATIENT).await;
    let args = ["--include-tag", "Ops", "--phases", "examples,coverage,fuzzing"];
    run(&sidecar, sidecar.ops_address(), "", &args).await;
}

#[tokio::test]
async fn the_document_is_openapi() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/openapi/openapi.json");
    let output = Command::new(installed("openapi-spec-validator")).arg(path).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
