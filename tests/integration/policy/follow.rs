//! The policy and the tokens are followed while the sidecar runs.

use std::time::Duration;

use serde_json::json;

use super::{As, Guarded, SOON, path, token};
use crate::harness::{eventually, unique};

async fn metric(guarded: &Guarded, line: &str) -> bool {
    guarded.sidecar.ops("/metrics").await.text().lines().any(|told| told == line)
}

#[tokio::test]
async fn a_broken_policy_keeps_the_old_one_and_tells_every_mistake() {
    let guarded = Guarded::start("token:ci lock a/*", &["ci"], &[]).await;
    let ci = As::Token("ci");
    assert_eq!(guarded.acquire(&ci, &format!("a/{}", unique("k"))).await.status, 201);
    guarded.scratch.file("policy", "token:ci lok *\nroot lock *\ntoken:ci lock {sub}*\n");
    let unfit = r#"lockside_secret_file_unfit{flag="policy-file"} 1"#;
    eventually("it is unfit", SOON, async || metric(&guarded, unfit).await).await;
    let log = guarded.sidecar.log();
    for mistake in ["line 1: `lok`", "line 2: `root`", "line 3: `{sub}*`"] {
        assert!(log.contains(mistake), "{mistake}: {log}");
    }
    assert_eq!(guarded.acquire(&ci, &format!("a/{}", unique("k"))).await.status, 201, "as before");
    assert_eq!(guarded.acquire(&ci, &format!("b/{}", unique("k"))).await.status, 403);
    guarded.rewrite("token:ci lock b/*", &ci, &format!("a/{}", unique("k")), 403).await;
    assert_eq!(guarded.acquire(&ci, &format!("b/{}", unique("k"))).await.status, 201);
    let fit = r#"lockside_secret_file_unfit{flag="policy-file"} 0"#;
    eventually("it is fit", SOON, async || metric(&guarded, fit).await).await;
    let denied = guarded.sidecar.ops("/metrics").await;
    let denied = denied.text().lines().find_map(|line| line.strip_prefix(r#"lockside_denied_total{verb="lock"} "#));
    assert!(denied.unwrap().parse::<u64>().unwrap() >= 2, "{denied:?}");
    assert!(guarded.sidecar.log().contains("denied by the policy"));
}

#[tokio::test]
async fn callers_are_answered_while_the_policy_changes_under_load() {
    let guarded = Guarded::start("token:ci lock *", &["ci"], &[]).await;
    let ci = As::Token("ci");
    let changing = async {
        for number in 0..6 {
            let (line, status) = if number % 2 == 0 { ("token:ci lock a/*", 403) } else { ("token:ci lock *", 201) };
            guarded.scratch.file("policy", line);
            let changed = async || guarded.acquire(&ci, &unique("b")).await.status == status;
            eventually("it counts", SOON, changed).await;
        }
    };
    let asking = async {
        loop {
            let answer = guarded.acquire(&ci, &format!("a/{}", unique("k"))).await;
            assert_eq!(answer.status, 201, "allowed by both: {}", answer.text());
        }
    };
    tokio::select! { () = changing => {} () = asking => {} }
}

#[tokio::test]
async fn a_token_whose_file_is_gone_is_revoked_and_its_holds_end() {
    let guarded = Guarded::start("token:* lock *", &["ci", "web"], &[]).await;
    let (ci, web) = (As::Token("ci"), As::Token("web"));
    let hold = |who: &As| {
        let call = guarded.ask(who, "POST", &format!("{}/hold", path(&unique("held"))));
        call.json(&json!({"ttlMs": 1500})).open()
    };
    let (mut of_ci, mut of_web) = (hold(&ci).await, hold(&web).await);
    assert_eq!((of_ci.status, of_web.status), (200, 200));
    std::fs::remove_file(guarded.scratch.path("tokens/ci")).unwrap();
    let refused = async || guarded.acquire(&ci, &unique("k")).await.status == 401;
    eventually("it is revoked", SOON, refused).await;
    let end = loop {
        let line = of_ci.next().await.expect("the end is told");
        if line["event"] == "lost" {
            break line;
        }
    };
    assert_eq!(end["reason"], "unauthorized");
    assert_eq!(guarded.acquire(&web, &unique("k")).await.status, 201, "another token is another matter");
    let next = tokio::time::timeout(Duration::from_millis(1200), async {
        while let Some(line) = of_web.next().await {
            assert_ne!(line["event"], "lost", "{line}");
        }
    });
    assert!(next.await.is_err(), "the other hold goes on");
    // Another file with the same name is another token.
    guarded.scratch.file("tokens/ci", "another token of ci in the tests");
    let call = || guarded.sidecar.call("POST", &path(&unique("k"))).bearer("another token of ci in the tests");
    eventually("the new one counts", SOON, async || call().send().await.status == 201).await;
    guarded.scratch.file("tokens/ci", token("web"));
    let unfit = r#"lockside_secret_file_unfit{flag="api-tokens-dir"} 1"#;
    eventually("two names of one token are unfit", SOON, async || metric(&guarded, unfit).await).await;
    assert_eq!(call().send().await.status, 201, "its last token counts");
    assert!(!guarded.sidecar.log().contains(&token("web")), "no token in the log");
}
