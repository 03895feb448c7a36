//! Proxies that cut what is silent for too long.

use std::time::{Duration, Instant};

use super::{Watcher, acquire};
use crate::harness::http::Client;
use crate::harness::{Call, IdleProxy, Sidecar, TestRedis, unique};

/// Shorter than that of any proxy in the field, and longer than streams are silent.
const IDLE: Duration = Duration::from_secs(20);
/// Shorter than streams are silent.
const TOO_SHORT: Duration = Duration::from_secs(12);
/// A stream says twice that it lives.
const SILENCE: Duration = Duration::from_secs(35);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_nothing_to_tell_is_not_cut_by_a_proxy_that_cuts_what_is_idle() {
    let (key, election) = (unique("idle"), unique("idle"));
    // Its leader is silent for a whole ttl before it leads: nothing changes.
    let flags = ["--elect", &election, "--elect-ttl", "24h"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let token = acquire(&sidecar, &key).await;
    let (patient, hasty) =
        (IdleProxy::start(sidecar.api_address(), IDLE).await, IdleProxy::start(sidecar.api_address(), TOO_SHORT).await);
    let client = Client::new();
    let open = async |proxy: &IdleProxy, path: &str| {
        Call::new(&client, "GET", &format!("http://{}{path}", proxy.address())).open().await
    };
    let path = format!("/v1/locks/{key}/events");
    let one = Watcher::of(open(&patient, &path).await).await;
    let all = Watcher::of(open(&patient, &format!("/v1/events?prefix={key}")).await).await;
    let mut elections = open(&patient, &format!("/v1/elections/{election}/events")).await;
    let cut = Watcher::of(open(&hasty, &path).await).await;
    let begun = Instant::now();

    let ended = async { while elections.event().await.is_some() {} };
    assert!(tokio::time::timeout(SILENCE, ended).await.is_err(), "cut after {:?}", begun.elapsed());

    assert!(cut.has_ended(), "the proxy cuts nothing");
    assert_eq!((patient.cuts(), hasty.cuts()), (0, 1));
    let lock = format!("/v1/locks/{key}?token={token}");
    assert_eq!(sidecar.call("DELETE", &lock).send().await.status, 204);
    for watcher in [one, all] {
        watcher.shows(&[]).await;
        assert_eq!(watcher.shown().gaps, 0);
    }
}
