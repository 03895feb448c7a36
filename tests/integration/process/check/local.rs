//! The policy, the listeners and the proxies: what needs no Redis.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

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
async fn each_error_of_a_listener_has_advice_of_its_own() {
    let scratch = Scratch::new();
    let missing = format!("unix:{}", scratch.path("missing/api.sock"));
    checked(&["--listen", &missing]).await.assert("listeners", "fail", "create its directory, or choose another");
    checked(&["--ops-listen", "192.0.2.1:7420"]).await.assert("listeners", "fail", "give this machine that address");
}

#[tokio::test]
async fn a_file_of_the_audit_trail_is_not_left_behind() {
    let scratch = Scratch::new();
    let (trail, kept) = (scratch.path("audit.jsonl"), scratch.file("kept.jsonl", "{}\n"));
    let _ = checked(&["--audit", &trail]).await;
    assert!(!std::path::Path::new(&trail).exists());
    let empty = scratch.file("empty.jsonl", "");
    for there in [&kept, &empty] {
        let _ = checked(&["--audit", there]).await;
        assert!(std::path::Path::new(there).exists(), "{there}");
    }
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "{}\n");
    let run = super::run(&["--audit", &trail, "--threads", "0"], &[]).await;
    assert_eq!(run.code, Some(64), "{}", run.output());
    assert!(!std::path::Path::new(&trail).exists(), "not where a setting is refused either");
}

#[tokio::test]
async fn two_listeners_at_one_address_fail() {
    let port = crate::harness::free_port();
    let (first, second) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    let checked = checked(&["--listen", &first, "--ops-listen", &second]).await;
    checked.assert("listeners", "fail", &format!("cannot listen on `{second}`"));
}

#[tokio::test]
async fn a_stranger_that_answers_drop_by_drop_or_accepts_nothing_does_not_delay_the_check() {
    let (stranger, scratch) = (TcpListener::bind("127.0.0.1:0").unwrap(), Scratch::new());
    let address = stranger.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for accepted in stranger.incoming() {
            let mut accepted = accepted.unwrap();
            while accepted.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let begun = Instant::now();
    let dripping = checked(&["--listen", &address, "--ops-listen", "127.0.0.1:0"]).await;
    dripping.assert("listeners", "fail", &format!("cannot listen on `{address}`"));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());

    // Its backlog is full.
    let socket = scratch.path("full.sock");
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    full.bind(&socket2::SockAddr::unix(&socket).unwrap()).unwrap();
    full.listen(0).unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let one = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            one.set_nonblocking(true).unwrap();
            let _ = one.connect(&socket2::SockAddr::unix(&socket).unwrap());
            one
        })
        .collect();
    let begun = Instant::now();
    let unix = format!("unix:{socket}");
    checked(&["--listen", &unix]).await.assert("listeners", "fail", "too busy to answer");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(waiting);
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
    let one_of_two = check_with(&NOWHERE, &[proxy, ("NO_PROXY", "127.0.0.1"), ("no_proxy", "localhost")]).await;
    one_of_two.assert("proxies", "warn", "or no_proxy does not");
    let network = check_with(&NOWHERE, &[proxy, ("NO_PROXY", "127.0.0.0/8")]).await;
    network.assert("proxies", "warn", "as a part of a network alone");
    let skipped = check_with(&[&NOWHERE[..], &["--listen", &unix]].concat(), &[proxy]).await;
    skipped.assert("proxies", "skipped", "unix sockets");
    assert!(!std::path::Path::new(&scratch.path("api.sock")).exists(), "no socket is left behind");
}
