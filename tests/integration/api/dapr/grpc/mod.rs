//! The Dapr API over gRPC, frame by frame; Dapr's own SDKs are played by `make test-sdks`.

mod callers;
mod errors;
mod hardship;
mod undone;

use crate::harness::{Fields, Grpc, Sidecar, TestRedis, unique};

pub const YES: &[u8] = b"\x08\x01";
/// False is not written.
pub const NO: &[u8] = b"";

/// On the Redis that tests share.
pub async fn sidecar() -> Sidecar {
    with(TestRedis::shared(), &[]).await
}

pub async fn with(redis: &TestRedis, flags: &[&str]) -> Sidecar {
    Sidecar::start(redis, &[&["--dapr-grpc-listen=127.0.0.1:0"], flags].concat()).await
}

pub async fn connected(sidecar: &Sidecar) -> Grpc {
    Grpc::connect(&sidecar.grpc_address()).await
}

#[tokio::test]
async fn one_owner_has_it_and_no_other_not_even_that_owner_again() {
    let sidecar = sidecar().await;
    let (grpc, name) = (connected(&sidecar).await, unique("grpc"));
    assert_eq!(grpc.try_lock(&name, "web-1", 60).await.message(), YES);
    assert_eq!(grpc.try_lock(&name, "web-2", 60).await.message(), NO);
    assert_eq!(grpc.try_lock(&name, "web-1", 60).await.message(), NO);
    let held = sidecar.call("GET", &format!("/v1/locks/lockstore%7C%7C{name}")).send().await.json();
    assert_eq!((&held["holder"]["owner"], &held["holder"]["kind"]), (&"web-1".into(), &"system".into()), "{held}");
    assert_eq!(grpc.unlock(&name, "web-2").await.message(), b"\x08\x02");
    assert_eq!(grpc.unlock(&name, "web-1").await.message(), b"");
    assert_eq!(grpc.unlock(&name, "web-1").await.message(), b"\x08\x01");
    assert_eq!(grpc.try_lock(&name, "web-2", 60).await.message(), YES);
}

#[tokio::test]
async fn the_metadata_names_the_stores_and_metrics_count_each_call() {
    let sidecar = with(TestRedis::shared(), &["--dapr-stores=one,two"]).await;
    let grpc = connected(&sidecar).await;
    let reply = grpc.call("GetMetadata", &Fields::default()).await;
    let store = |name: &str| {
        let parts = Fields::default().text(1, name).text(2, "lock.lockside").text(3, "v1").frame();
        parts.slice(5..)
    };
    let version = env!("CARGO_PKG_VERSION");
    let stores = Fields::default().text(1, "lockside").bytes(3, &store("one")).bytes(3, &store("two"));
    assert_eq!(reply.message(), &stores.text(8, version).frame()[5..]);

    let lock = Fields::lock("one", &unique("grpc"), "o");
    assert_eq!(grpc.call("TryLockAlpha1", &lock.clone().number(4, 60)).await.message(), YES);
    assert_eq!(grpc.call("UnlockAlpha1", &lock).await.message(), b"");
    let metrics = sidecar.ops("/metrics").await.text().to_owned();
    for operation in ["metadata", "try_lock", "unlock"] {
        let series =
            format!(r#"lockside_requests_total{{dialect="dapr_grpc",operation="{operation}",outcome="ok"}} 1"#);
        assert!(metrics.contains(&series), "{series}");
    }
}

#[tokio::test]
async fn many_calls_at_once_on_one_connection_have_one_winner_each() {
    let sidecar = sidecar().await;
    let grpc = connected(&sidecar).await;
    for _ in 0..5 {
        let name = unique("grpc");
        let calls = (0..100).map(|owner| {
            let (grpc, name) = (&grpc, &name);
            async move { grpc.try_lock(name, &format!("web-{owner}"), 60).await.message() == YES }
        });
        let won = futures_util::future::join_all(calls).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_unix_socket_serves_it_too() {
    let scratch = crate::harness::Scratch::new();
    let listen = format!("--dapr-grpc-listen=unix:{}", scratch.path("grpc.sock"));
    let sidecar = Sidecar::start(TestRedis::shared(), &[&listen]).await;
    let grpc = connected(&sidecar).await;
    assert_eq!(grpc.try_lock(&unique("grpc"), "o", 60).await.message(), YES);
}
