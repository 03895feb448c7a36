//! The policy, the listeners and the proxies: what needs no Redis.

use std::net::TcpListener;

use super::{check, check_with};
use crate::harness::{Scratch, Sidecar, TestRedis, jwt, unique};

/// Where nothing is: what is checked here does not need it.
const NOWHERE: [&str; 2] = ["--redis-url", "redis://127.0.0.1:1"];

async fn checked(flags: &[&str]) -> super::Checked {
    check(&[&NOWHERE[..], flags].concat()).await
}

#[tokio::test]
async fn a_policy_that_names_a_token_which_is_not_there_is_a_warning() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("tokens")).unwrap();
    let (tokens, single) = (scratch.path("tokens"), scratch.file("single", "a-token-that-is-long-enough"));
    scratch.file("tokens/ci", "another-token-that-is-long-enough");
    let policy = scratch.file("policy", "token:ci lock deploy/*\ntoken:* limit locks=2\n");
    let flags = ["--api-tokens-dir", &tokens, "--policy-file", &policy];
    checked(&flags).await.assert("policy", "ok", "rules: 1");

    scratch.file("policy", "token:ci lock deploy/*\ntoken:night lock night/*\ntoken:default limit locks=2\n");
    let checked_here = checked(&flags).await;
    checked_here.assert("policy", "warn", "token:default, token:night, and there is no such API token");
    let with_single = checked(&[&flags[..], &["--api-token-file", &single]].concat()).await;
    with_single.assert("policy", "warn", "names token:night, and");

    scratch.file("policy", "token:ci lock deploy/*\nuser:* lock {sub}/*\n");
    checked(&flags).await.assert("policy", "warn", "without a JWT key");
    let secret = scratch.file("secret", jwt::SECRET);
    let with_key = checked(&[&flags[..], &["--jwt-secret-file", &secret]].concat()).await;
    with_key.assert("policy", "ok", "rules: 2");
}

#[tokio::test]
async fn a_listener_that_a_stranger_has_fails() {
    let scratch = Scratch::new();
    let (stranger, socket) = (TcpListener::bind("127.0.0.1:0").unwrap(), scratch.path("api.sock"));
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let unix = format!("unix:{socket}");
    let tcp = stranger.local_addr().unwrap().to_string();
    // It accepts, and says nothing.
    for (flag, address) in
        [("--listen", &tcp), ("--ops-listen", &tcp), ("--dapr-grpc-listen", &tcp), ("--listen", &unix)]
    {
        let checked = checked(&[flag, address]).await;
        checked.assert("listeners", "fail", &format!("cannot listen on `{address}`"));
        checked.assert("listeners", "fail", flag);
    }
    std::fs::write(scratch.path("file"), "").unwrap();
    let file = format!("unix:{}", scratch.path("file"));
    checked(&["--listen", &file]).await.assert("listeners", "fail", "a file stands there");
}

#[tokio::test]
async fn a_listener_that_a_lockside_has_is_fine() {
    let (scratch, prefix) = (Scratch::new(), unique("check"));
    let (unix, secret) = (format!("unix:{}", scratch.path("api.sock")), scratch.file("secret", jwt::SECRET));
    let flags = ["--key-prefix", &prefix, "--listen", &unix, "--listen", "127.0.0.1:0", "--jwt-secret-file", &secret];
    let flags = [&flags[..], &["--dapr-grpc-listen", "127.0.0.1:0", "--allowed-hosts", "locks.test"]].concat();
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let both = sidecar.api_address().to_owned();
    let api = both.rsplit(',').next().unwrap();
    let (ops, grpc) = (sidecar.ops_address(), sidecar.grpc_address());
    let running = ["--listen", api, "--listen", &unix, "--ops-listen", ops, "--dapr-grpc-listen", &grpc];
    let checked_here = checked(&running).await;
    checked_here.assert("listeners", "ok", &format!("a lockside answers on {api}, {unix}, {ops}, {grpc}"));
    // Crossed, they are not what they should be.
    checked(&["--listen", ops]).await.assert("listeners", "fail", ops);
    checked(&["--ops-listen", api]).await.assert("listeners", "fail", api);
    assert_eq!(sidecar.ops("/readyz").await.status, 200, "it goes on");
    assert!(std::path::Path::new(&scratch.path("api.sock")).exists(), "its socket stays");
}

#[tokio::test]
async fn a_proxy_that_takes_calls_to_lockside_is_a_warning() {
    let proxy = ("HTTP_PROXY", "http://proxy.test:3128");
    let warned = check_with(&NOWHERE, &[proxy, ("NO_PROXY", "localhost")]).await;
    warned.assert("proxies", "warn", "HTTP_PROXY is set, and NO_PROXY does not name 127.0.0.1");
    let fine = check_with(&NOWHERE, &[proxy, ("no_proxy", "localhost,127.0.0.1")]).await;
    fine.assert("proxies", "ok", "NO_PROXY excepts lockside");
    let scratch = Scratch::new();
    let unix = format!("unix:{}", scratch.path("api.sock"));
    let skipped = check_with(&[&NOWHERE[..], &["--listen", &unix]].concat(), &[proxy]).await;
    skipped.assert("proxies", "skipped", "unix sockets");
    assert!(!std::path::Path::new(&scratch.path("api.sock")).exists(), "no socket is left behind");
}
