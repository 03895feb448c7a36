//! What `lockside exec` exits with where there is no lock: a script can tell a lock that is held from a lock service that is
//! unavailable, or does not allow it.

use super::*;
use crate::harness::{Scratch, jwt, lockside};

/// Runs `exec` with the flags for a command that must not run.
async fn refused(url: &str, flags: &[&str], key: &str) -> (Option<i32>, String) {
    let run = lockside(&[&["exec", "--url", url], flags, &[key, "--", "echo", "ran"]].concat()).await;
    assert_eq!(run.stdout, "", "{}", run.stderr);
    (run.code, run.stderr)
}

#[tokio::test]
async fn each_reason_for_no_lock_has_its_exit_code() {
    let redis = TestRedis::start(&[]);
    let (scratch, key) = (Scratch::new(), unique("exec"));
    let secret = scratch.file("secret", jwt::SECRET);
    let wrong = scratch.file("wrong", "not-a-token-of-this-sidecar");
    let open = Sidecar::start(&redis, &[]).await;
    let strict = Sidecar::start(&redis, &["--jwt-secret-file", &secret, "--anonymous", "none"]).await;
    let full = Sidecar::start(&redis, &["--max-waiters", "0"]).await;
    let lease = open.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 600_000})).send().await;
    assert_eq!(lease.status, 201);
    let (nowhere, own) = (format!("unix:{}", scratch.path("none.sock")), ["--conflict-exit-code", "9"]);
    let ops = format!("http://{}", open.ops_address());

    for (sidecar, flags, code) in [
        (url(&open), &["--try"][..], 75),
        (url(&open), &["--wait", "300ms"], 75),
        (url(&open), &["--try", own[0], own[1]], 9),
        (url(&open), &["--wait", "300ms", own[0], own[1]], 9),
        (url(&open), &["--try", own[0], "255"], 255),
        (url(&full), &["--wait", "300ms", own[0], own[1]], 9),
        (url(&strict), &["--try", own[0], own[1]], 77),
        (url(&strict), &["--try", "--token-file", &wrong], 77),
        (nowhere, &["--connect-wait", "0s", "--try", own[0], own[1]], 69),
        (ops, &["--try", own[0], own[1]], 69),
    ] {
        let (ended, said) = refused(&sidecar, flags, &key).await;
        assert_eq!(ended, Some(code), "{flags:?}: {said}");
        assert!(said.starts_with("lockside: "), "{said}");
    }

    redis.signal("STOP");
    let (ended, said) = refused(&url(&open), &["--try", own[0], own[1]], &unique("exec")).await;
    redis.signal("CONT");
    assert_eq!(ended, Some(69), "{said}");
}

#[tokio::test]
async fn a_conflict_exit_code_is_from_1_to_255() {
    for code in ["0", "256", "-1", "x"] {
        let run = lockside(&["exec", &format!("--conflict-exit-code={code}"), "k", "--", "true"]).await;
        assert_eq!((run.code, run.stderr.contains("--conflict-exit-code")), (Some(64), true), "{code}: {}", run.stderr);
    }
    let sidecar = sidecar().await;
    let ended = exec(&sidecar, &["--conflict-exit-code", "9", &unique("exec"), "--", "sh", "-c", "exit 75"]).await;
    assert_eq!(ended.code, Some(75), "the command's own: {}", ended.stderr);
}
