//! Who leads, for how long, and who is next.

use std::time::{Duration, Instant};

use super::{Candidates, SOON, TTL, candidate};
use crate::harness::{TestRedis, eventually, lockside, unique};

#[tokio::test]
async fn one_of_three_leads_and_all_name_it_with_its_token() {
    let candidates = Candidates::start(3, &[]).await;
    let leader = candidates.elected().await;
    let own = candidates.ask(leader).await;
    assert_eq!(own["name"], format!("pod-{leader}"));
    let until: jiff::Timestamp = own["validUntil"].as_str().expect("a time").parse().expect("RFC 3339");
    let left = until.duration_since(jiff::Timestamp::now());
    assert!(left.is_positive() && left.unsigned_abs() <= TTL, "{own}");
    assert!(own["validForMs"].as_u64().expect("a number") <= TTL.as_millis() as u64, "{own}");
    for number in 0..3 {
        let is_known = |told: &serde_json::Value| told["name"] == own["name"] && told["candidates"] == 3;
        let told = candidates.says(number, "the leader is known", is_known).await;
        assert_eq!((&told["token"], &told["since"]), (&own["token"], &own["since"]));
        assert_eq!((told["leader"] == true, told.get("validForMs").is_some()), (number == leader, number == leader));
        for time in ["since", "last_update"] {
            told[time].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
        }
        let ready = candidates.all[number].ops(&format!("/leader/{}", candidates.name)).await;
        assert_eq!(ready.status, if number == leader { 200 } else { 503 }, "{}", ready.text());
        let metrics = candidates.all[number].ops("/metrics").await;
        let gauge = format!("lockside_leader{{election=\"{}\"}} {}\n", candidates.name, u8::from(number == leader));
        assert!(metrics.text().contains(&gauge), "{gauge}");
    }
    let lock = candidates.all[0].call("GET", &format!("/v1/locks/election:{}", candidates.name)).send().await.json();
    assert_eq!(lock["holder"]["owner"], own["name"], "an ordinary lock: {lock}");
    assert_eq!(lock["holder"]["meta"]["election"], candidates.name.as_str());
    assert_eq!(candidates.all[0].ops("/leader/none").await.status, 404);
}

#[tokio::test]
async fn a_leader_that_resigns_is_followed_within_100_ms_and_does_not_lead_again_before_all_others() {
    let candidates = Candidates::start(3, &[]).await;
    let mut leader = candidates.elected().await;
    let (mut led, mut fastest) = (vec![leader], SOON);
    for _ in 0..6 {
        // All three stand by now: whoever resigned before is at the end of the queue.
        candidates.says(leader, "all stand", |told| told["candidates"] == 3).await;
        let begun = Instant::now();
        candidates.resign(leader, "").await;
        assert_eq!(candidates.ask(leader).await["leader"], false, "it said that it leads no longer first");
        leader = candidates.elected().await;
        fastest = fastest.min(begun.elapsed());
        led.push(leader);
    }
    assert!(fastest < Duration::from_millis(100), "the next leads after {fastest:?} at the earliest");
    for turn in led.windows(3) {
        assert!(turn[0] != turn[1] && turn[1] != turn[2] && turn[0] != turn[2], "out of turn: {led:?}");
    }
    let metrics = candidates.all[led[0]].ops("/metrics").await.text().to_owned();
    let count = |why: &str| format!("lockside_leader_changes_total{{election=\"{}\",why=\"{why}\"}} ", candidates.name);
    for why in ["elected", "resigned"] {
        assert!(metrics.contains(&count(why)), "{why}: {metrics}");
    }
}

#[tokio::test]
async fn a_candidate_that_stays_away_does_not_stand_before_its_time() {
    let candidates = Candidates::start(2, &[]).await;
    let leader = candidates.elected().await;
    let other = 1 - leader;
    candidates.says(leader, "both stand", |told| told["candidates"] == 2).await;
    let begun = Instant::now();
    candidates.resign(leader, "?for=2s").await;
    assert_eq!(candidates.elected().await, other);
    // A standby leaves the queue, too.
    candidates.says(other, "it is alone", |told| told["candidates"] == 1).await;
    candidates.says(other, "the first stands again", |told| told["candidates"] == 2).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "after {:?}", begun.elapsed());
    candidates.resign(leader, "?for=24h").await;
    candidates.says(other, "the standby has left", |told| told["candidates"] == 1).await;
    candidates.resign(leader, "").await;
    for query in ["?for=25h", "?for=-1s", "?for=x", "?for=", "?until=3s"] {
        let answer = candidates.all[leader].call("DELETE", &format!("{}{query}", candidates.path())).send().await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_leader_that_is_stopped_says_so_at_once_and_the_next_follows() {
    let mut candidates = Candidates::start(2, &[]).await;
    let leader = candidates.elected().await;
    candidates.says(leader, "both stand", |told| told["candidates"] == 2).await;
    candidates.all[leader].signal("TERM");
    let begun = Instant::now();
    let next = 1 - leader;
    candidates.says(next, "the next leads", |told| told["leader"] == true).await;
    assert!(begun.elapsed() < TTL, "it did not wait for the lease to end: {:?}", begun.elapsed());
    assert_eq!(candidates.all[leader].exit_code(SOON).await, Some(0));
}

#[tokio::test]
async fn a_leader_whose_lock_is_forced_is_followed_only_when_it_cannot_count_on_it_any_more() {
    let candidates = Candidates::start(2, &["--max-waiters", "0", "--max-hold", "2s", "--max-wait", "0s"]).await;
    let leader = candidates.elected().await;
    let next = 1 - leader;
    candidates.says(leader, "both stand, whatever callers may", |told| told["candidates"] == 2).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(candidates.ask(leader).await["leader"], true, "no --max-hold ends it");
    let key = format!("/v1/locks/election:{}?force=true", candidates.name);
    let begun = Instant::now();
    assert_eq!(candidates.all[next].call("DELETE", &key).send().await.status, 204);
    candidates.says(leader, "it has heard of it", |told| told["leader"] == false).await;
    candidates.says(next, "the next leads", |told| told["leader"] == true).await;
    assert!(begun.elapsed() >= TTL - Duration::from_millis(100), "silent for a ttl: {:?}", begun.elapsed());
    assert!(candidates.all[leader].ops("/metrics").await.text().contains("why=\"lost\"} 1"));
}

#[tokio::test]
async fn while_redis_is_away_the_leader_ends_by_itself_and_standbys_say_that_they_know_nothing() {
    let mut redis = TestRedis::start(&[]);
    let candidates = Candidates::start_at(&redis.url(), 2, &[]).await;
    let leader = candidates.elected().await;
    candidates.says(1 - leader, "the leader is known", |told| told.get("name").is_some()).await;
    redis.signal("STOP");
    candidates.says(leader, "it leads no longer", |told| told["leader"] == false).await;
    for number in 0..2 {
        let told = candidates.says(number, "it knows nothing", |told| told["stale"] == true).await;
        assert!(told.get("name").is_none() && told.get("token").is_none() && told["leader"] == false, "{told}");
    }
    redis.signal("CONT");
    candidates.elected().await;
    // Without its data Redis grants at once what another one still counts on.
    redis.kill();
    redis.up();
    candidates.elected().await;
}

#[tokio::test]
async fn the_command_line_says_who_leads_and_resigns() {
    let candidates = Candidates::start(2, &[]).await;
    let leader = candidates.elected().await;
    candidates.says(1 - leader, "the leader is known", |told| told.get("name").is_some()).await;
    let elect = async |number: usize, further: &[&str]| {
        let url = format!("http://{}", candidates.all[number].api_address());
        lockside(&[&["elect", &candidates.name, "--url", &url], further].concat()).await
    };
    for (number, code) in [(leader, 0), (1 - leader, 1)] {
        let told = elect(number, &[]).await;
        assert_eq!((told.code, told.stdout), (Some(code), format!("pod-{leader}\n")));
        let told = elect(number, &["--json"]).await;
        let json: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
        assert_eq!((told.code, &json["leader"]), (Some(code), &(number == leader).into()));
    }
    assert_eq!(elect(leader, &["--resign", "--for", "1h"]).await.code, Some(0));
    eventually("the other leads", SOON, async || candidates.leader().await == Some(1 - leader)).await;
    let url = format!("http://{}", candidates.all[0].api_address());
    let unknown = lockside(&["elect", "others", "--url", &url]).await;
    assert_eq!(unknown.code, Some(64));
    assert!(unknown.stderr.contains("`others`") && unknown.stderr.contains(&candidates.name), "{}", unknown.stderr);
}

#[tokio::test]
async fn a_sidecar_that_does_not_stand_names_a_new_leader_within_seconds_whatever_the_ttl() {
    let (url, name) = (TestRedis::shared().url(), unique("jobs"));
    let path = format!("/v1/elections/{name}");
    let flags = ["--elect-ttl", "60s", "--elect-while", "http://127.0.0.1:1/"];
    let observer = candidate(&url, &name, 1, &flags).await;
    let says = async || observer.call("GET", &path).send().await.json();
    eventually("it has looked", SOON, async || says().await.get("stale").is_none()).await;
    let _leader = candidate(&url, &name, 0, &["--elect-ttl", "60s"]).await;
    eventually("it names the other", Duration::from_secs(10), async || says().await["name"] == "pod-0").await;
}
