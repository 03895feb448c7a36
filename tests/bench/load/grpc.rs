//! Dapr's lock over gRPC: all calls under way on one connection, as Dapr's SDKs have it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::Request;
use tokio::sync::Barrier;

use super::looped::{Clock, Seen};
use super::{Load, Report};

/// Try to lock and unlock in turn, each time another key; `load.connections` calls at a time.
pub async fn pairs(load: &Load) -> Report {
    let target = load.targets[0].clone();
    let stream = tokio::net::TcpStream::connect(&target).await.expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let barrier = Arc::new(Barrier::new(load.connections + 1));
    let tasks: Vec<_> = (0..load.connections)
        .map(|number| {
            let (load, barrier, sender, target) = (load.clone(), Arc::clone(&barrier), sender.clone(), target.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                let (clock, mut seen, mut count) = (Clock::start(&load), Seen::default(), 0);
                while clock.runs(&mut seen) {
                    let resource = format!("bench-{number}-{count}");
                    count += 1;
                    for (method, answer) in [("TryLockAlpha1", &b"\x08\x01"[..]), ("UnlockAlpha1", b"")] {
                        let asked = Instant::now();
                        let message = call(&sender, &target, method, &resource).await;
                        assert_eq!(&message[5..], answer, "{method} {resource}");
                        seen.answer(asked);
                    }
                }
                seen
            })
        })
        .collect();
    barrier.wait().await;
    let clock = Clock::start(load);
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.expect("no panic in a call"));
    }
    clock.report(seen)
}

async fn call(sender: &SendRequest<Bytes>, target: &str, method: &str, resource: &str) -> Vec<u8> {
    let uri = format!("http://{target}/dapr.proto.runtime.v1.Dapr/{method}");
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(());
    let mut sender = sender.clone().ready().await.expect("room for a call");
    let (response, mut body) = sender.send_request(request.expect("a request"), false).expect("sent");
    body.send_data(frame(resource), true).expect("sent");
    let mut stream = response.await.expect("an answer").into_body();
    let mut message = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.expect("data");
        stream.flow_control().release_capacity(data.len()).expect("a window");
        message.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await.expect("trailers").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
    message
}

/// Store, resource, owner, and 30 s: an unlock skips what it does not know.
fn frame(resource: &str) -> Bytes {
    let mut message = Vec::new();
    for (tag, text) in [(1, "lockstore"), (2, resource), (3, "bench")] {
        message.extend_from_slice(&[tag << 3 | 2, u8::try_from(text.len()).expect("a short text")]);
        message.extend_from_slice(text.as_bytes());
    }
    message.extend_from_slice(&[4 << 3, 30]);
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}
