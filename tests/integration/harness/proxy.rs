//! A proxy between a sidecar and its Redis, and all that can go wrong on the way.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Scratch, TestRedis};

/// What happens to what passes through, on every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Each reply takes this much longer.
    DelayReplies(Duration),
    /// Replies wait until another fault is set, and then go on.
    HoldReplies,
    /// Redis does what it is asked, and nobody hears of it.
    SwallowReplies,
    /// Redis hears nothing.
    SwallowRequests,
    /// The first request with this text reaches Redis; from then on nothing passes, either way.
    LoseReplyTo(String),
}

/// Runs as long as the runtime that started it.
pub struct Proxy {
    scratch: Scratch,
    fault: watch::Sender<Fault>,
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub fn start(redis: &TestRedis) -> Proxy {
        let proxy =
            Proxy { scratch: Scratch::new(), fault: watch::Sender::new(Fault::None), cuts: watch::Sender::new(0) };
        let listener = UnixListener::bind(proxy.socket()).expect("a socket of the test's own");
        let (redis, fault, cuts) = (redis.socket(), proxy.fault.clone(), proxy.cuts.clone());
        tokio::spawn(async move {
            while let Ok((sidecar, _)) = listener.accept().await {
                let Ok(redis) = UnixStream::connect(&redis).await else { continue };
                tokio::spawn(connection(sidecar, redis, fault.clone(), cuts.subscribe()));
            }
        });
        proxy
    }

    /// `--redis-url` of this proxy.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket())
    }

    fn socket(&self) -> String {
        self.scratch.path("proxy.sock")
    }

    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends every fault, and the connections with it where something was lost: no TCP goes on behind a gap.
    pub fn mend(&self) {
        let before = self.fault.send_replace(Fault::None);
        if !matches!(before, Fault::None | Fault::DelayReplies(_) | Fault::HoldReplies) {
            self.cut();
        }
    }
}

async fn connection(
    sidecar: UnixStream,
    redis: UnixStream,
    fault: watch::Sender<Fault>,
    mut cuts: watch::Receiver<u64>,
) {
    let ((from_sidecar, to_sidecar), (from_redis, to_redis)) = (sidecar.into_split(), redis.into_split());
    let (give, take) = mpsc::unbounded_channel();
    tokio::select! {
        () = requests(from_sidecar, to_redis, fault.clone()) => {}
        () = replies(from_redis, give, fault.subscribe()) => {}
        () = deliveries(take, to_sidecar, fault.subscribe()) => {}
        _ = cuts.changed() => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: watch::Sender<Fault>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let (chunk, now) = (&buffer[..count], fault.borrow().clone());
        let passes = match now {
            Fault::LoseReplyTo(text) if chunk.windows(text.len()).any(|part| part == text.as_bytes()) => {
                // Before the request goes on, so that no reply is faster.
                fault.send_replace(Fault::SwallowRequests);
                true
            }
            Fault::SwallowRequests => false,
            _ => true,
        };
        if passes && to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    give: mpsc::UnboundedSender<(Instant, Vec<u8>)>,
    fault: watch::Receiver<Fault>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let due = match *fault.borrow() {
            Fault::SwallowReplies | Fault::SwallowRequests => continue,
            Fault::DelayReplies(delay) => Instant::now() + delay,
            _ => Instant::now(),
        };
        let _ = give.send((due, buffer[..count].to_vec()));
    }
}

async fn deliveries(
    mut take: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
) {
    while let Some((due, chunk)) = take.recv().await {
        tokio::time::sleep_until(due).await;
        if fault.wait_for(|fault| *fault != Fault::HoldReplies).await.is_err() || to.write_all(&chunk).await.is_err() {
            return;
        }
    }
}
