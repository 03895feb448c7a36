//! A cluster of which a part is away: the rest is served, and what is said of it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{path_at, sidecar_at_all};
use crate::harness::{Cluster, Redundant, Sidecar, eventually};

const SEEN: Duration = Duration::from_secs(10);

async fn is_raised(sidecar: &Sidecar, metric: &str) -> bool {
    sidecar.ops("/metrics").await.text().contains(&format!("{metric} 1\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_master_is_refused_at_once_and_the_rest_is_served() {
    const PARTIAL: &str = "lockside_redis_warning{warning=\"partial\"}";
    let mut cluster = Cluster::start(&[]);
    let sidecar = sidecar_at_all(&cluster, &[]).await;
    let (away, there) = (path_at(&cluster, 0), path_at(&cluster, 1));
    // Long enough to be of use when it comes, on a busy machine too.
    let body = json!({"ttlMs": 250});
    let token = async |path: &str| {
        let answer = sidecar.call("POST", path).json(&body).send().await;
        (answer.status == 201).then(|| answer.json()["token"].as_u64().expect("a token"))
    };
    let before = token(&away).await.expect("granted");
    assert!(token(&there).await.is_some());
    assert!(!is_raised(&sidecar, PARTIAL).await);

    // Nobody is left to take its place.
    cluster.kill(3);
    cluster.kill(0);
    eventually("it is a warning", SEEN, async || is_raised(&sidecar, PARTIAL).await).await;
    let ready = sidecar.ops("/readyz").await;
    let masters = format!("127.0.0.1:{}, 127.0.0.1:{}", cluster.port(1), cluster.port(2));
    let told = format!("ready\nredis: a cluster, its masters {masters}\n");
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.text().starts_with(&told), "{} instead of {told}", ready.text());
    assert!(ready.text().contains("\nwarning: partial: "), "{}", ready.text());
    assert!(ready.text().contains(&format!("127.0.0.1:{}", cluster.port(0))), "it is named: {}", ready.text());
    let begun = Instant::now();
    let metrics = sidecar.ops("/metrics").await;
    println!("metrics after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1), "a scrape waits for nobody: {:?}", begun.elapsed());
    assert!(!metrics.text().contains("\nlockside_locks_held "), "a part is no number");
    assert_eq!(sidecar.call("GET", "/v1/locks").send().await.status, 503, "nor a list");
    for _ in 0..3 {
        let begun = Instant::now();
        let refused = sidecar.call("POST", &away).json(&body).send().await;
        println!("refused after {:?}", begun.elapsed());
        assert_eq!((refused.status, refused.json()["outcome"].as_str()), (503, Some("not-applied")));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        eventually("the rest is served", SEEN, async || token(&there).await.is_some()).await;
    }

    // Without its data.
    cluster.restart(0);
    let higher = async || token(&away).await.is_some_and(|token| token > before);
    let took = eventually("served again, by a higher token", SEEN, higher).await;
    println!("served {took:?} after the master came back");
    eventually("the warning ends", SEEN, async || !is_raised(&sidecar, PARTIAL).await).await;

    for master in 0..3 {
        cluster.freeze(master);
    }
    eventually("not ready", SEEN, async || sidecar.ops("/readyz").await.status == 503).await;
    for master in 0..3 {
        cluster.resume(master);
    }
    eventually("ready", SEEN, async || sidecar.ops("/readyz").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_that_answers_tells_of_the_others() {
    let mut cluster = Cluster::start(&[]);
    cluster.kill(4);
    let (gone, replica) = (cluster.port(4), cluster.port(5));
    let url = format!("redis-cluster://127.0.0.1:{gone},127.0.0.1:{replica}");
    let sidecar = Sidecar::start_at(&url, &[]).await;
    let place = cluster.place();
    eventually("all masters are known", SEEN, async || sidecar.ops("/readyz").await.text().contains(&place)).await;
    for master in 0..Cluster::MASTERS {
        let granted = sidecar.call("POST", &path_at(&cluster, master)).json(&json!({"ttlMs": 1000})).send().await;
        assert_eq!(granted.status, 201, "{}", granted.text());
    }
    let metrics = sidecar.ops("/metrics").await;
    let first = "lockside_redis_reconnections_total{reason=\"first\"} 3\n";
    assert!(metrics.text().contains(first), "one connection a master: {}", metrics.text());
}
