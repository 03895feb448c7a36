//! Who is served over gRPC: the rules are those of every listener.

use super::{YES, connected, with};
use crate::harness::{API_TOKEN, Fields, Grpc, Scratch, Sidecar, TestRedis, jwt, unique};

const UNAUTHENTICATED: u16 = 16;
const DENIED: u16 = 7;

fn lock() -> Fields {
    Fields::lock("lockstore", &unique("grpc"), "o").number(4, 60)
}

async fn knows_both(flags: &[&str]) -> Sidecar {
    let flags = [&["--dapr-grpc-listen=127.0.0.1:0"], flags].concat();
    Sidecar::who_knows(&TestRedis::shared().url(), &flags).await
}

#[tokio::test]
async fn the_token_comes_before_everything_and_counts_in_either_metadata() {
    let sidecar = knows_both(&[]).await;
    let grpc = connected(&sidecar).await;
    let bearer = format!("Bearer {API_TOKEN}");
    for metadata in [&[("dapr-api-token", API_TOKEN)][..], &[("authorization", &bearer)]] {
        assert_eq!(grpc.call_with("TryLockAlpha1", &lock(), metadata).await.message(), YES);
    }
    let twice = [("dapr-api-token", API_TOKEN), ("dapr-api-token", "x")];
    assert_eq!(grpc.call_with("TryLockAlpha1", &lock(), &twice).await.message(), YES, "the first counts");
    for method in ["TryLockAlpha1", "UnlockAlpha1", "GetMetadata", "GetState", ""] {
        for metadata in [&[][..], &[("dapr-api-token", "x")], &[("dapr-api-token", ""), ("dapr-api-token", API_TOKEN)]]
        {
            let reply = grpc.call_with(method, &Fields::default().text(9, "x"), metadata).await;
            assert_eq!(reply.status(), (UNAUTHENTICATED, "Unauthorized".to_owned()), "{method} {metadata:?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_sent_where_none_is_configured_is_ignored() {
    let sidecar = with(TestRedis::shared(), &[]).await;
    let grpc = connected(&sidecar).await;
    assert_eq!(grpc.call_with("TryLockAlpha1", &lock(), &[("dapr-api-token", "x")]).await.message(), YES);
}

#[tokio::test]
async fn users_and_requests_through_a_proxy_and_foreign_hosts_are_refused_with_the_reason() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = with(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let grpc = connected(&sidecar).await;
    assert_eq!(grpc.call("TryLockAlpha1", &lock()).await.message(), YES, "on loopback without a token");

    let user = format!("Bearer {}", jwt::editor("alice"));
    for (metadata, status, reason) in [
        (("authorization", user.as_str()), DENIED, "missing-permission"),
        (("forwarded", "for=192.0.2.1"), UNAUTHENTICATED, "proxied-anonymous"),
        (("via", "1.1 x"), UNAUTHENTICATED, "proxied-anonymous"),
        (("x-forwarded-for", "192.0.2.1"), UNAUTHENTICATED, "proxied-anonymous"),
        (("origin", "https://evil.test"), DENIED, "origin-not-allowed"),
        (("host", "evil.test"), 3, ""),
    ] {
        let reply = grpc.call_with("TryLockAlpha1", &lock(), &[metadata]).await;
        assert_eq!(
            (reply.status().0, reply.field("lockside-reason").unwrap_or_default()),
            (status, reason),
            "{metadata:?}"
        );
    }
    for (authority, reason) in [("evil.test", Some("host-not-allowed")), ("localhost", None), ("127.0.0.9:1", None)] {
        let grpc = connected(&sidecar).await.asking(authority);
        let reply = grpc.call("TryLockAlpha1", &lock()).await;
        assert_eq!(
            (reply.status().0, reply.field("lockside-reason")),
            (if reason.is_some() { DENIED } else { 0 }, reason)
        );
    }
}

#[tokio::test]
async fn beyond_loopback_no_caller_is_served_without_a_token() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let flags = ["--dapr-grpc-listen=0.0.0.0:0", "--jwt-secret-file", &secret];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let grpc = Grpc::connect(&sidecar.grpc_address().replace("0.0.0.0", "127.0.0.1")).await;
    assert_eq!(grpc.call("TryLockAlpha1", &lock()).await.status().0, UNAUTHENTICATED);
}
