//! Each status, and which of several it is.

use super::{YES, connected, sidecar, with};
use crate::harness::{Fields, Grpc, TestRedis, unique};

const INVALID: u16 = 3;
const EXHAUSTED: u16 = 8;
const PRECONDITION: u16 = 9;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;

async fn lock(grpc: &Grpc, store: &str, resource: &str, owner: &str, seconds: i32) -> (u16, String) {
    grpc.call("TryLockAlpha1", &Fields::lock(store, resource, owner).number(4, seconds)).await.status()
}

#[tokio::test]
async fn the_checks_come_in_daprs_order_with_its_words() {
    let (some, none) = (sidecar().await, with(TestRedis::shared(), &["--dapr-stores=none"]).await);
    let (some, none) = (connected(&some).await, connected(&none).await);
    let no_store = (PRECONDITION, "lock store is not configured".to_owned());
    for (resource, owner, seconds, says) in [
        ("", "", 0, "ExpiryInSeconds is not positive in lock store nope"),
        ("r", "o", -1, "ExpiryInSeconds is not positive in lock store nope"),
        ("", "", 1, "ResourceId is empty in lock store nope"),
        ("r||s", "", 1, "LockOwner is empty in lock store nope"),
        ("r||s", "o", i32::MAX, "lock store nope not found"),
    ] {
        assert_eq!(lock(&some, "nope", resource, owner, seconds).await, (INVALID, says.to_owned()));
        let first = says.starts_with("Expiry");
        let expected = if first { (INVALID, says.to_owned()) } else { no_store.clone() };
        assert_eq!(lock(&none, "nope", resource, owner, seconds).await, expected);
    }
    for (resource, owner, says) in [
        ("", "", "ResourceId is empty in lock store nope"),
        ("r", "", "LockOwner is empty in lock store nope"),
        ("r", "o", "lock store nope not found"),
    ] {
        let fields = Fields::lock("nope", resource, owner);
        assert_eq!(some.call("UnlockAlpha1", &fields).await.status(), (INVALID, says.to_owned()));
        assert_eq!(none.call("UnlockAlpha1", &fields).await.status(), no_store);
    }
}

#[tokio::test]
async fn what_only_lockside_refuses_is_invalid_too_and_says_what_would_do() {
    let sidecar = sidecar().await;
    let grpc = connected(&sidecar).await;
    for (resource, owner, seconds, says) in [
        ("r".to_owned(), "o".to_owned(), 86_401, "expiryInSeconds: expected 1 to 86400 seconds"),
        ("a||b".to_owned(), "o".to_owned(), 1, "resourceId: expected a text without `||`"),
        ("a\nb".to_owned(), "o".to_owned(), 1, "key: a control character at byte 12; expected none"),
        ("x".repeat(502), "o".to_owned(), 1, "key: 513 bytes; expected at most 512"),
        ("r".to_owned(), "x".repeat(257), 1, "lockOwner: expected 1 to 256 bytes without control characters"),
    ] {
        assert_eq!(lock(&grpc, "lockstore", &resource, &owner, seconds).await, (INVALID, says.to_owned()));
    }
    let told = lock(&grpc, "bücher\n%", "r", "o", 1).await;
    assert_eq!(told, (INVALID, "lock store bücher\n% not found".to_owned()), "percent-encoded on its way");
}

#[tokio::test]
async fn other_methods_are_unimplemented_and_other_requests_an_error_of_their_stream_alone() {
    let sidecar = sidecar().await;
    let grpc = connected(&sidecar).await;
    for path in
        ["/dapr.proto.runtime.v1.Dapr/GetState", "/dapr.proto.runtime.v1.Dapr/", "/grpc.health.v1.Health/Check", "/"]
    {
        let reply = grpc.send(grpc.request(path), Fields::default().frame()).await;
        assert_eq!((reply.http, reply.status().0), (200, UNIMPLEMENTED), "{path}");
    }
    const LOCK: &str = "/dapr.proto.runtime.v1.Dapr/TryLockAlpha1";
    let get = grpc.send(grpc.request(LOCK).method("GET"), "").await;
    assert_eq!((get.http, get.field("allow")), (405, Some("POST")));
    let uri = format!("http://{}{LOCK}", sidecar.grpc_address());
    for (kind, http) in
        [("application/json", 415), ("", 415), ("application/grpcx", 415), ("application/grpc+proto", 200)]
    {
        let request = hyper::Request::builder().method("POST").uri(&uri).header("content-type", kind);
        assert_eq!(grpc.send(request, Fields::default().frame()).await.http, http, "{kind}");
    }
    let whole = Fields::lock("lockstore", &unique("grpc"), "o").number(4, 60).frame();
    let compressed = [&[1], &whole[1..]].concat();
    let long = Fields::lock("lockstore", &"x".repeat(20_000), "o").number(4, 60).frame();
    for (body, status) in [
        (b"".to_vec(), INTERNAL),
        (whole[..3].to_vec(), INTERNAL),
        (whole[..whole.len() - 1].to_vec(), INTERNAL),
        ([&whole[..], &whole[..]].concat(), INTERNAL),
        (Fields::default().bytes(1, b"\xff").frame().to_vec(), INTERNAL),
        (b"\0\0\0\0\x02\x0a\x05".to_vec(), INTERNAL),
        (compressed, UNIMPLEMENTED),
        (long.to_vec(), EXHAUSTED),
    ] {
        let reply = grpc.send(grpc.request(LOCK), body.clone()).await;
        assert_eq!(reply.status().0, status, "{body:x?}");
        assert!(!reply.status().1.is_empty());
    }
    assert_eq!(grpc.send(grpc.request(LOCK), whole).await.message(), YES, "the connection serves on");
}

#[tokio::test]
async fn redis_away_is_internal_and_never_unavailable() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = with(&redis, &["--redis-timeout=300ms"]).await;
    let grpc = connected(&sidecar).await;
    redis.kill();
    for (method, says) in
        [("TryLockAlpha1", "failed to try acquiring lock: "), ("UnlockAlpha1", "failed to release lock: ")]
    {
        let (status, text) = grpc.call(method, &Fields::lock("lockstore", "r", "o").number(4, 60)).await.status();
        assert!(status == INTERNAL && text.starts_with(says) && text.len() > says.len() + 10, "{status} {text}");
    }
    assert_eq!(grpc.call("GetMetadata", &Fields::default()).await.status().0, 0);
}
