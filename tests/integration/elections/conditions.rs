//! When a sidecar stands: `--elect-while`.

use std::time::Instant;

use super::{Candidates, SOON, TTL, candidate, news};
use crate::harness::{Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn a_sidecar_leads_only_while_its_app_is_healthy() {
    let redis = TestRedis::shared();
    // An HTTP server like any other that can be frozen.
    let apps = [Sidecar::start(redis, &[]).await, Sidecar::start(redis, &[]).await];
    let name = unique("jobs");
    let mut all = Vec::new();
    for (number, app) in apps.iter().enumerate() {
        let url = format!("http://{}/healthz", app.ops_address());
        all.push(candidate(&redis.url(), &name, number, &["--elect-while", &url]).await);
    }
    let candidates = Candidates { name, all };
    let leader = candidates.elected().await;
    candidates.says(leader, "both stand", |told| told["candidates"] == 2).await;
    apps[leader].signal("STOP");
    let begun = Instant::now();
    candidates.says(leader, "it leads no longer", |told| told["leader"] == false).await;
    let lost = begun.elapsed();
    candidates.says(1 - leader, "the other leads", |told| told["leader"] == true).await;
    // The app may have been told that it leads just before it hung, and counts on that for a ttl at most.
    let followed = begun.elapsed();
    assert!(followed > TTL, "followed after {followed:?}");
    // Three probes of an eighth of the ttl each, and the one that was under way; with room for a busy machine.
    assert!(lost < TTL, "after {lost:?}");
    assert!(candidates.all[leader].ops("/metrics").await.text().contains("why=\"unhealthy\"} 1"));
    candidates.says(1 - leader, "it is alone", |told| told["candidates"] == 1).await;
    apps[leader].signal("CONT");
    candidates.says(1 - leader, "it stands again", |told| told["candidates"] == 2).await;
}

#[tokio::test]
async fn an_app_that_never_was_healthy_is_not_stood_for() {
    let closed = "http://127.0.0.1:1/";
    let candidates = Candidates::start(1, &["--elect-while", closed]).await;
    for _ in 0..20 {
        assert_eq!(candidates.ask(0).await["leader"], false);
        tokio::time::sleep(TTL / 10).await;
    }
    assert_eq!(candidates.ask(0).await["candidates"], 0);
}

#[tokio::test]
async fn a_sidecar_leads_only_while_its_app_asks() {
    let candidates = Candidates::start(1, &["--elect-while", "asked:2s"]).await;
    // Not before the first time.
    tokio::time::sleep(TTL * 2).await;
    let gauge = format!("/leader/{}", candidates.name);
    assert_eq!(candidates.all[0].ops(&gauge).await.status, 503);
    candidates.elected().await;
    // The readiness probe does not count.
    eventually("it leads no longer", SOON, async || candidates.all[0].ops(&gauge).await.status == 503).await;
    assert!(candidates.all[0].ops("/metrics").await.text().contains("why=\"unhealthy\"} 1"));
    // Who listens asks.
    let mut events = candidates.all[0].call("GET", &format!("{}/events", candidates.path())).open().await;
    eventually("it leads again", SOON, async || candidates.all[0].ops(&gauge).await.status == 200).await;
    let begun = Instant::now();
    while begun.elapsed() < TTL * 3 {
        news(&mut events).await.expect("an event");
        assert_eq!(candidates.all[0].ops(&gauge).await.status, 200);
    }
}

#[tokio::test]
async fn neither_the_command_line_nor_a_page_of_another_site_is_the_app_that_asks() {
    let candidates = Candidates::start(1, &["--elect-while", "asked:2s"]).await;
    candidates.elected().await;
    let sidecar = &candidates.all[0];
    let (gauge, url) = (format!("/leader/{}", candidates.name), format!("http://{}", sidecar.api_address()));
    let events = format!("{}/events", candidates.path());
    let listening = sidecar.call("GET", &events).header("lockside-observe", "true").open().await;
    eventually("it leads no longer", SOON, async || {
        let mut elect = tokio::process::Command::new(env!("CARGO_BIN_EXE_lockside"));
        let output = elect.args(["elect", &candidates.name, "--url", &url]).output().await.expect("it runs");
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        let page = sidecar.call("GET", &candidates.path()).header("sec-fetch-site", "cross-site").send().await;
        assert_eq!(page.status, 200);
        sidecar.ops(&gauge).await.status == 503
    })
    .await;
    drop(listening);
    assert_eq!(sidecar.ops(&gauge).await.status, 503, "nor does the end of its stream count");
}
