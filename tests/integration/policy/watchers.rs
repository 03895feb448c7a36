//! Whoever watches takes a place among the caller's waiters, in each way to watch, so that none takes the places of others.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::quotas::{OPEN, TOKENS, assert_exceeded};
use super::{As, Guarded, SOON, path};
use crate::harness::{Answer, eventually, unique};

const CI: As = As::Token("ci");
const WEB: As = As::Token("web");
/// Longer than any test.
const LONG: &str = "waitMs=600000";

/// A sidecar that takes part in an election, whose events are one of the ways to watch.
struct Stage {
    guarded: Arc<Guarded>,
    election: String,
}

impl Stage {
    async fn start(limits: &str, flags: &[&str]) -> Stage {
        let election = unique("jobs");
        let flags = [&["--elect", &election], flags].concat();
        let guarded = Guarded::start(&format!("{OPEN}{limits}"), &TOKENS, &flags).await;
        Stage { guarded: Arc::new(guarded), election }
    }

    /// Each way to watch.
    fn ways(&self) -> [(&'static str, String); 4] {
        let key = path(&unique("watched"));
        [
            ("a wait for a change", format!("{key}?{LONG}")),
            ("the events of a key", format!("{key}/events")),
            ("the events of a prefix", format!("/v1/events?prefix={}", unique("none"))),
            ("the events of an election", format!("/v1/elections/{}/events", self.election)),
        ]
    }

    /// Watches once there is a place, until it ends, or until the task is aborted: then its client has hung up.
    fn watch(&self, who: As, path: &str) -> JoinHandle<u16> {
        let (guarded, path) = (Arc::clone(&self.guarded), path.to_owned());
        tokio::spawn(async move {
            loop {
                match attempt(&guarded, &who, &path).await {
                    429 => tokio::time::sleep(Duration::from_millis(20)).await,
                    status => return status,
                }
            }
        })
    }

    /// One that is refused.
    async fn refused(&self, who: &As, path: &str) -> Answer {
        let call = self.guarded.ask(who, "GET", path).header("if-none-match", "\"0\"");
        tokio::time::timeout(SOON, call.send()).await.expect("it is refused at once")
    }

    /// Whether there is a place for one more: an acquire that may wait, of a key that is free.
    async fn has_place(&self, who: &As) -> bool {
        let call = self.guarded.ask(who, "POST", &path(&unique("k")));
        let answer = call.json(&json!({"waitMs": 1, "ttlMs": 1000})).send().await;
        assert!(matches!(answer.status, 201 | 429), "{}", answer.text());
        answer.status == 201
    }

    /// Until the caller has so many free places: how many of three requests at once may wait for a key that another holds.
    async fn until_free(&self, who: &As, expected: usize) {
        let held = unique("held");
        let lease = self.guarded.granted(&WEB, &held, json!({"ttlMs": 60_000})).await;
        let wait = || self.guarded.ask(who, "POST", &path(&held)).json(&json!({"waitMs": 300})).send();
        eventually(&format!("{expected} places are free"), SOON, async || {
            let (one, two, three) = tokio::join!(wait(), wait(), wait());
            [one, two, three].iter().filter(|answer| answer.status == 409).count() == expected
        })
        .await;
        self.guarded.release(&WEB, &held, &lease["token"]).await;
    }

    async fn until_place(&self, who: &As, expected: bool) {
        let what = if expected { "a place is free" } else { "no place is free" };
        eventually(what, SOON, async || self.has_place(who).await == expected).await;
    }
}

/// Watches until it ends; its status.
async fn attempt(guarded: &Guarded, who: &As, path: &str) -> u16 {
    let mut events = guarded.ask(who, "GET", path).header("if-none-match", "\"0\"").open().await;
    while events.event().await.is_some() {}
    events.status
}

#[tokio::test]
async fn each_way_to_watch_takes_a_place_among_the_waiters_of_its_caller_until_it_ends() {
    let stage = Stage::start("token:ci limit waiters=2\n", &[]).await;
    for (way, path_of_it) in stage.ways() {
        println!("{way}");
        let watching = [stage.watch(CI, &path_of_it), stage.watch(CI, &path_of_it)];
        stage.until_free(&CI, 0).await;
        assert_exceeded(&stage.refused(&CI, &path_of_it).await, "waiters", 2);
        // Another caller is served, and what needs no such place is, too.
        let other = stage.watch(WEB, &path_of_it);
        assert!(stage.has_place(&WEB).await, "{way}");
        let key = unique("k");
        let lease = stage.guarded.granted(&CI, &key, json!({"ttlMs": 60_000})).await;
        let renewed = stage.guarded.ask(&CI, "PUT", &format!("{}?token={}", path(&key), lease["token"])).send().await;
        assert_eq!((renewed.status, stage.guarded.release(&CI, &key, &lease["token"]).await.status), (200, 204));
        let mut hold = stage.guarded.ask(&CI, "POST", &format!("{}/hold", path(&key))).json(&json!({})).open().await;
        assert_eq!(hold.next().await.unwrap()["event"], "acquired", "{way}");
        // One of the two hangs up, its place is taken again, and then all hang up.
        watching[0].abort();
        stage.until_free(&CI, 1).await;
        let again = stage.watch(CI, &path_of_it);
        stage.until_free(&CI, 0).await;
        assert!(!watching[1].is_finished() && !other.is_finished() && !again.is_finished(), "{way}");
        for watching in [&watching[1], &again, &other] {
            watching.abort();
        }
        stage.until_free(&CI, 2).await;
    }
    let metrics = stage.guarded.sidecar.ops("/metrics").await;
    assert!(metrics.text().contains(r#"lockside_quota_exceeded_total{limit="waiters"}"#));
}

#[tokio::test]
async fn a_wait_for_a_change_gives_its_place_back_when_it_is_answered() {
    let stage = Stage::start("token:ci limit waiters=1\n", &[]).await;
    let key = unique("watched");
    let waiting = stage.watch(CI, &format!("{}?{LONG}", path(&key)));
    stage.until_place(&CI, false).await;
    stage.guarded.granted(&WEB, &key, json!({"ttlMs": 60_000})).await;
    let status = tokio::time::timeout(SOON, waiting).await.expect("it is told").unwrap();
    assert_eq!((status, stage.has_place(&CI).await), (200, true));
    let unchanged = stage.watch(CI, &format!("{}?waitMs=100", path(&unique("free"))));
    assert_eq!((unchanged.await.unwrap(), stage.has_place(&CI).await), (304, true));
}

#[tokio::test]
async fn a_look_needs_no_place() {
    let stage = Stage::start("token:ci limit waiters=0\n", &[]).await;
    for (way, path_of_it) in stage.ways() {
        assert_exceeded(&stage.refused(&CI, &path_of_it).await, "waiters", 0);
        println!("{way}");
    }
    let key = path(&unique("watched"));
    for (method, path, status) in [
        ("GET", format!("{key}?waitMs=0"), 304),
        ("GET", key.clone(), 304),
        ("HEAD", format!("{key}/events"), 200),
        ("HEAD", "/v1/events".to_owned(), 200),
        ("GET", format!("/v1/elections/{}", stage.election), 200),
        ("GET", "/v1/locks".to_owned(), 200),
    ] {
        let answer = stage.guarded.ask(&CI, method, &path).header("if-none-match", "\"0\"").send().await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_watch_that_was_refused_for_another_reason_keeps_no_place() {
    let stage = Stage::start("token:ci limit waiters=2\n", &["--max-watchers", "1"]).await;
    let events = format!("{}/events", path(&unique("watched")));
    let _only = stage.guarded.ask(&WEB, "GET", &events).open().await;
    for _ in 0..3 {
        let refused = stage.refused(&CI, &events).await;
        assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too-many-requests")));
    }
    assert!(stage.has_place(&CI).await);
}

#[tokio::test]
async fn a_caller_that_watches_all_it_can_leaves_the_seats_of_others() {
    let flags = ["--max-watchers", "6", "--max-waiters", "6"];
    let stage = Stage::start("token:ci limit waiters=4\n", &flags).await;
    for (way, path_of_it) in stage.ways() {
        let flood = (0..30).map(|_| {
            let (guarded, path) = (Arc::clone(&stage.guarded), path_of_it.clone());
            tokio::spawn(async move { attempt(&guarded, &CI, &path).await })
        });
        let flood: Vec<JoinHandle<u16>> = flood.collect();
        eventually("what is too much is refused", SOON, async || {
            flood.iter().filter(|watching| watching.is_finished()).count() == 26
        })
        .await;
        let others = [(); 2].map(|()| {
            let (guarded, path) = (Arc::clone(&stage.guarded), path_of_it.clone());
            tokio::spawn(async move { attempt(&guarded, &WEB, &path).await })
        });
        // A refusal would be answered at once.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(others.iter().all(|watching| !watching.is_finished()), "{way}");
        others.iter().for_each(JoinHandle::abort);
        for watching in flood {
            if watching.is_finished() {
                assert_eq!(watching.await.unwrap(), 429, "{way}");
            } else {
                watching.abort();
            }
        }
        stage.until_place(&CI, true).await;
        let is_of_places = |line: &str| line.starts_with("lockside_waiters ") || line.starts_with("lockside_watchers{");
        eventually("all have gone", SOON, async || {
            let metrics = stage.guarded.sidecar.ops("/metrics").await;
            let mut lines = metrics.text().lines();
            lines.all(|line| !is_of_places(line) || line.ends_with(" 0"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_lower_limit_cuts_no_stream_short() {
    let stage = Stage::start("token:ci limit waiters=1\n", &[]).await;
    let key = unique("watched");
    let mut events = stage.guarded.ask(&CI, "GET", &format!("{}/events", path(&key))).open().await;
    let mut next = async || tokio::time::timeout(SOON, events.event()).await.expect("in time").expect("it goes on");
    assert_eq!((next().await.0, next().await.0), ("state".to_owned(), "synced".to_owned()));
    let policy = format!("{OPEN}token:ci limit waiters=0 locks=0\n");
    stage.guarded.rewrite(&policy, &CI, &unique("k"), 429).await;
    assert_exceeded(&stage.refused(&CI, "/v1/events").await, "waiters", 0);
    let lease: Value = stage.guarded.granted(&WEB, &key, json!({"ttlMs": 60_000})).await;
    let (name, told) = next().await;
    assert_eq!((name.as_str(), &told["token"]), ("granted", &lease["token"]));
}
