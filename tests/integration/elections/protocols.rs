//! What apps written for other leader electors ask, played by a plain client.

use super::{Candidates, TTL, candidate, news};
use crate::harness::{Sidecar, TestRedis, eventually, http, unique};

/// The leader-elector of `kubernetes/contrib` (`election/README.md`): its apps send `GET http://localhost:4040/`, read
/// `name` of the answer, and compare it with their own name.
#[tokio::test]
async fn an_app_of_the_old_kubernetes_leader_elector_works_unchanged() {
    let candidates = Candidates::start(3, &[]).await;
    let leader = candidates.elected().await;
    let name = format!("\"name\":\"pod-{leader}\"");
    for sidecar in &candidates.all {
        eventually("every pod names the leader", TTL * 5, async || {
            let port = sidecar.api_address().rsplit(':').next().expect("a port");
            let request = format!("GET / HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n");
            http::raw(sidecar.api_address(), &request).contains(&name)
        })
        .await;
    }
    // The fault of its image 0.5, contrib issue 2933: standbys went on naming a leader that was gone.
    candidates.all[leader].signal("KILL");
    let standbys = (0..3).filter(|number| *number != leader);
    for number in standbys {
        let next = |told: &serde_json::Value| told.get("name").is_some_and(|name| *name != format!("pod-{leader}"));
        candidates.says(number, "it names another leader", next).await;
    }
}

/// NAIS's elector (`nais/elector`, `README.md`): `ELECTOR_GET_URL` answers `name` and `last_update`, `ELECTOR_SSE_URL` streams
/// the same objects as events without a name.
#[tokio::test]
async fn an_app_of_nais_finds_the_leader_at_its_url_and_hears_of_the_next_one() {
    let candidates = Candidates::start(2, &[]).await;
    let leader = candidates.elected().await;
    let told = candidates.ask(leader).await;
    assert_eq!(told["name"], format!("pod-{leader}"));
    told["last_update"].as_str().expect("a text").parse::<jiff::Timestamp>().expect("RFC 3339");
    let other = &candidates.all[1 - leader];
    candidates.says(leader, "both stand", |told| told["candidates"] == 2).await;
    let mut events = other.call("GET", &format!("{}/events", candidates.path())).open().await;
    assert_eq!(events.status, 200);
    candidates.resign(leader, "").await;
    let next = format!("pod-{}", 1 - leader);
    loop {
        let event = news(&mut events).await.expect("an event");
        assert!(event.get("last_update").is_some(), "{event}");
        if event["name"] == next.as_str() {
            break;
        }
    }
}

#[tokio::test]
async fn the_root_answers_where_there_is_exactly_one_election() {
    let (one, two) = (unique("one"), unique("two"));
    let url = TestRedis::shared().url();
    let without = Sidecar::start_at(&url, &[]).await;
    assert_eq!(without.call("GET", "/").send().await.status, 404);
    let both = candidate(&url, &format!("{one},{two}={one}"), 0, &[]).await;
    assert_eq!(both.call("GET", "/").send().await.status, 404);
    for name in [&one, &two] {
        assert_eq!(both.call("GET", &format!("/v1/elections/{name}")).send().await.status, 200);
    }
    let single = candidate(&url, &one, 1, &[]).await;
    assert_eq!(single.call("GET", "/").send().await.status, 200);
    assert_eq!(single.call("GET", "/").header("host", "evil.test").send().await.status, 403);
    let unknown = single.call("GET", &format!("/v1/elections/{two}")).send().await;
    let problem = unknown.json();
    assert_eq!((unknown.status, &problem["code"]), (404, &"no-such-election".into()));
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains(&two) && detail.contains(&one), "{detail}");
}
