//! What a caller was not told of does not stay: it cancelled, its connection broke, or its answer could not be sent.

use std::time::Duration;

use super::{YES, connected, sidecar, with};
use crate::harness::{Fault, Fields, Grpc, Proxy, Sidecar, TestRedis, eventually, unique};

const LOCK: &str = "/dapr.proto.runtime.v1.Dapr/TryLockAlpha1";

async fn is_free(sidecar: &Sidecar, resource: &str) -> bool {
    let answer = sidecar.call("GET", &format!("/v1/locks/lockstore%7C%7C{resource}")).send().await;
    answer.json()["holder"].is_null()
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_redis_is_slow_leaves_nothing() {
    let redis = TestRedis::start(&[]);
    let proxy = Proxy::start(&redis);
    let sidecar = Sidecar::start_at(&proxy.url(), &["--dapr-grpc-listen=127.0.0.1:0", "--redis-timeout=5s"]).await;
    let grpc = connected(&sidecar).await;
    let names: Vec<String> = (0..20).map(|_| unique("grpc")).collect();
    proxy.set(Fault::SwallowReplies);
    for name in &names {
        let (pending, mut body) = grpc.begin(grpc.request(LOCK)).await;
        body.send_data(Fields::lock("lockstore", name, "web-1").number(4, 3600).frame(), true).expect("sent");
        // As a client does whose deadline passes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        body.send_reset(h2::Reason::CANCEL);
        drop(pending);
    }
    proxy.mend();
    for name in &names {
        eventually("it is rolled back", Duration::from_secs(15), async || is_free(&sidecar, name).await).await;
    }
    let held = sidecar.call("GET", "/v1/locks").send().await.json();
    assert_eq!(held["locks"].as_array().map(Vec::len), Some(0), "{held}");
}

#[tokio::test]
async fn a_reply_that_finds_no_room_is_no_grant_once_its_caller_has_gone() {
    let sidecar = sidecar().await;
    let name = unique("grpc");
    // A client that lets no byte of a body come.
    let stream = tokio::net::TcpStream::connect(sidecar.grpc_address()).await.expect("connected");
    let (mut sender, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = Grpc::connect(&sidecar.grpc_address()).await.request(LOCK).body(()).expect("a request");
    let (response, mut body) = sender.send_request(request, false).expect("sent");
    body.send_data(Fields::lock("lockstore", &name, "web-1").number(4, 3600).frame(), true).expect("sent");
    let mut response = response.await.expect("a head").into_body();
    let is_held = async || !is_free(&sidecar, &name).await;
    eventually("it is granted", Duration::from_secs(10), is_held).await;
    let silence = tokio::time::timeout(Duration::from_millis(300), response.data()).await;
    assert!(silence.is_err(), "no byte of the answer came");
    connection.abort();
    eventually("it is rolled back", Duration::from_secs(10), async || is_free(&sidecar, &name).await).await;
}

#[tokio::test]
async fn a_grant_that_was_told_stays_when_its_connection_ends() {
    let sidecar = sidecar().await;
    for _ in 0..50 {
        let (grpc, name) = (connected(&sidecar).await, unique("grpc"));
        assert_eq!(grpc.try_lock(&name, "web-1", 60).await.message(), YES);
        grpc.connection.abort();
        let again = connected(&sidecar).await;
        assert_eq!(again.try_lock(&name, "web-2", 60).await.message(), b"");
    }
}

#[tokio::test]
async fn a_sidecar_that_is_stopped_answers_what_is_under_way_and_says_goodbye() {
    let redis = TestRedis::start(&[]);
    let mut sidecar = with(&redis, &[]).await;
    let (grpc, name) = (connected(&sidecar).await, unique("grpc"));
    let (pending, mut body) = grpc.begin(grpc.request(LOCK)).await;
    let frame = Fields::lock("lockstore", &name, "web-1").number(4, 60).frame();
    body.send_data(frame.slice(..7), false).expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    sidecar.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    body.send_data(frame.slice(7..), true).expect("sent");
    assert_eq!(pending.reply().await.message(), YES);
    let ended = tokio::time::timeout(Duration::from_secs(5), grpc.connection).await.expect("an end in time");
    assert!(matches!(ended, Ok(Ok(()))), "GOAWAY, NO_ERROR: {ended:?}");
    assert_eq!(sidecar.exit_code(Duration::from_secs(10)).await, Some(0));
}
