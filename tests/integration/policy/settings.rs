//! What is wrong with a policy or a folder of tokens is told at start, all of it; and `lockside policy test`.

use super::{As, Guarded, path};
use crate::harness::{Scratch, lockside, lockside_with, unique};

#[tokio::test]
async fn every_mistake_of_both_is_told_in_one_run() {
    let scratch = Scratch::new();
    let policy = scratch.file("policy", "token:ci lok *\nuser:* lock {sub}*\n");
    std::fs::create_dir(scratch.path("tokens")).unwrap();
    scratch.file("tokens/ci", "the same token of two callers");
    scratch.file("tokens/web", "the same token of two callers\n");
    scratch.file("tokens/empty", "");
    scratch.file("tokens/.hidden", "");
    let folder = scratch.path("tokens");
    let args = ["serve", "--policy-file", &policy, "--api-tokens-dir", &folder, "--max-ttl", "x"];
    let ended = lockside(&args).await;
    assert_eq!(ended.code, Some(64));
    for expected in
        ["--max-ttl:", "line 1: `lok`", "line 2: `{sub}*`", "tokens/empty` is empty", "holds the token of `ci`"]
    {
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("the same token"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_decision_is_explained() {
    let scratch = Scratch::new();
    let policy = scratch.file(
        "policy",
        "# teams\nuser:* lock,read {claim:team}/* {sub}\ntoken:ci lock deploy/*\nanonymous lock pod/*\n",
    );
    for (subjects, verb, key, code, told) in [
        (&["token:ci"][..], "lock", "deploy/web", 0, "allowed: line 3, token:ci, pattern deploy/*"),
        (&["token:ci"], "read", "deploy/web", 77, "denied: no line allows token:ci to read `deploy/web`"),
        (&["token:web"], "lock", "deploy/web", 77, "denied"),
        (&[], "lock", "pod/1", 0, "allowed: line 4, anonymous, pattern pod/*"),
        (&["anonymous"], "lock", "deploy/1", 77, "denied: no line allows anonymous to lock `deploy/1`"),
        (&["user:ann", "claim:team=red", "claim:team=blue"], "read", "blue/1", 0, "pattern {claim:team}/*"),
        (&["user:ann"], "read", "ann", 0, "pattern {sub}"),
        (&["user:ann"], "read", "red/1", 77, "denied"),
        (&["permission:manage-locks"], "force-release", "x", 0, "allowed: built in"),
        (&["permission:lead"], "force-release", "x", 77, "denied"),
    ] {
        let mut args = vec!["policy", "test", "--policy-file", &policy, verb, key];
        args.extend(subjects.iter().flat_map(|subject| ["--as", *subject]));
        let ended = lockside(&args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.output());
        assert!(ended.stdout.contains(told), "{args:?}: {}", ended.stdout);
    }
    for (args, told) in [
        (&["--as", "root", "lock", "k"][..], "--as: `root`"),
        (&["--as", "token:a", "--as", "user:b", "lock", "k"], "stand alone"),
        (&["lok", "k"], "`lok` is no verb"),
        (&["lock", ""], "KEY:"),
    ] {
        let ended = lockside(&[&["policy", "test", "--policy-file", &policy], args].concat()).await;
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.output());
        assert!(ended.stderr.contains(told), "{args:?}: {}", ended.stderr);
    }
    let broken = scratch.file("broken", "a b c\nd e f\n");
    let ended = lockside_with(&["policy", "test", "lock", "k"], &[("LOCKSIDE_POLICY_FILE", &broken)]).await;
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("line 1: `a`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 2: `d`"), "{}", ended.stderr);
    assert_eq!(lockside(&["policy", "test", "lock", "k"]).await.code, Some(64), "no file");
}

#[tokio::test]
async fn the_help_of_a_decision_explains_each_subject_and_a_certificate_is_one() {
    let help = lockside(&["policy", "--help"]).await.stdout;
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("cert:NAME, the first URI or DNS name of a client certificate"), "{help}");
    let scratch = Scratch::new();
    let policy = scratch.file("policy", "cert:batch.internal lock import\n");
    let args = ["policy", "test", "--policy-file", &policy, "--as", "cert:batch.internal", "lock", "import"];
    let ended = lockside(&args).await;
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "allowed: line 1, cert:batch.internal, pattern import"));
}

#[tokio::test]
async fn what_is_said_at_start_of_callers_without_credentials_is_what_the_policy_lets_them_do() {
    for (level, said) in [
        ("full", "are served, with what the policy's `anonymous` lines allow (--anonymous full)"),
        ("lock", "by the native and the Dapr API, with what the policy's `anonymous` lines allow (--anonymous lock)"),
        ("none", "are refused (--anonymous none)"),
    ] {
        let guarded = Guarded::start("anonymous lock,force-release pod/*\n", &[], &["--anonymous", level]).await;
        let log = guarded.sidecar.log();
        assert!(log.contains(said) && !log.contains("every permission"), "{level}: {log}");
        assert!(!log.contains("without force-release"), "{level}: {log}");
        let key = format!("pod/{}", unique("k"));
        let statuses = if level == "none" { [401, 401, 401] } else { [201, 204, 403] };
        let force = format!("{}?force=true", path(&key));
        let (granted, forced) =
            (guarded.acquire(&As::Nobody, &key).await, guarded.ask(&As::Nobody, "DELETE", &force).send().await);
        let denied = guarded.acquire(&As::Nobody, &unique("other")).await;
        assert_eq!([granted.status, forced.status, denied.status], statuses, "{level}");
    }
}
