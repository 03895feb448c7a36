//! Lists of many locks: few at once, in parts, at the pace of their readers, and never in the way of anything else.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Sidecar, TestRedis, eventually};
use crate::locks::volume::fill_as_another_would;

const LOCKS: usize = 100_000;
const WHOLE: &str = "/cmn/leasable-locks";

/// A Redis with 100,000 locks, and a sidecar on it that waits for a busy machine.
async fn filled() -> (TestRedis, Arc<Sidecar>) {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &["--redis-timeout=30s"]).await;
    let filler = redis.connection();
    tokio::task::spawn_blocking(move || fill_as_another_would(filler)).await.unwrap();
    (redis, Arc::new(sidecar))
}

/// Asks for a list, and reads no more of the answer than its status.
async fn begun(sidecar: &Sidecar, path: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    (std::str::from_utf8(&status[9..]).unwrap().parse().unwrap(), stream)
}

/// The rest of an answer that comes in chunks, as JSON.
async fn rest(mut stream: TcpStream) -> Value {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let (_, mut chunks) = text.split_once("\r\n\r\n").expect("a head");
    let mut body = String::new();
    while let Some((length, more)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("the length of a chunk");
        body.push_str(&more[..length]);
        chunks = &more[length + 2..];
    }
    serde_json::from_str(&body).expect("the whole list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lists_are_read_at_once_and_one_that_moves_nothing_gives_its_place_up_until_it_is_read() {
    let (_redis, sidecar) = filled().await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        let (status, stream) = begun(&sidecar, WHOLE).await;
        assert_eq!(status, 200);
        unread.push(stream);
    }
    let refused = sidecar.call("GET", "/v1/locks").send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
    let problem = refused.json();
    assert_eq!((&problem["code"], &problem["outcome"]), (&json!("too-many-requests"), &json!("not-applied")));
    for path in [WHOLE, "/cmn/leasable-locks?limit=1"] {
        let refused = sidecar.call("GET", path).send().await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
        assert_eq!(refused.json()["context"], "too-many-requests");
    }
    // Nothing else is refused for that.
    assert_eq!(sidecar.call("GET", "/v1/locks/bulk-1").send().await.status, 200);

    let waited = eventually("the places are given up", Duration::from_secs(20), async || {
        sidecar.call("GET", "/v1/locks?limit=1").send().await.status == 200
    })
    .await;
    assert!(waited > Duration::from_secs(1), "{waited:?}");
    for list in futures_util::future::join_all(unread.into_iter().map(rest)).await {
        let tokens: Vec<u64> = list.as_array().unwrap().iter().map(|lock| lock["token"].as_u64().unwrap()).collect();
        assert_eq!(tokens.len(), LOCKS, "a list that was left alone for a while is whole");
        assert!(tokens.is_sorted_by(|a, b| a < b), "in order, each once");
    }
}

/// Follows a list of pages to its end: how many there were, the keys, and the longest time that one took.
async fn followed(sidecar: &Sidecar, query: &str) -> (usize, Vec<String>, Duration) {
    let (mut pages, mut keys, mut longest, mut cursor) = (0, Vec::new(), Duration::ZERO, String::new());
    loop {
        let asked = Instant::now();
        let page = sidecar.call("GET", &format!("/v1/locks?{query}{cursor}")).send().await;
        longest = longest.max(asked.elapsed());
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        pages += 1;
        keys.extend(page["locks"].as_array().unwrap().iter().map(|lock| lock["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => {
                let next = format!("&cursor={next}");
                assert_ne!(cursor, next, "each page comes some way");
                cursor = next;
            }
            None => return (pages, keys, longest),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_few_or_no_locks_have_ends_its_page_soon_and_the_pages_find_all_of_them() {
    let (_redis, sidecar) = filled().await;
    for (prefix, count) in [("nothing-at-all", 0), ("bulk-9999", 11), ("bulk-777", 111)] {
        let (pages, keys, longest) = followed(&sidecar, &format!("prefix={prefix}")).await;
        println!("{prefix}: {count} in {pages} pages, {longest:?} at most");
        let distinct: HashSet<&String> = keys.iter().collect();
        assert_eq!((distinct.len(), keys.len()), (count, count), "{prefix}");
        // 100 ms of looking, and what a busy machine adds.
        assert!(longest < Duration::from_secs(3), "{prefix}: {longest:?}");
    }
    // A whole list of a prefix is whole.
    let whole = sidecar.call("GET", "/cmn/leasable-locks?prefix=bulk-777").send().await.json();
    assert_eq!(whole.as_array().unwrap().len(), 111);
}

#[tokio::test]
async fn a_page_ends_after_a_mebibyte_and_goes_on_behind_it() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let meta = "x".repeat(1000);
    for number in 0..1500 {
        let body = json!({"ttlMs": 600_000, "meta": meta});
        assert_eq!(sidecar.call("POST", &format!("/v1/locks/{number}")).json(&body).send().await.status, 201);
    }
    let page = sidecar.call("GET", "/v1/locks?limit=10000").send().await;
    assert!(page.body.len() < 1024 * 1024 + 4096, "{}", page.body.len());
    assert!(page.json()["next"].is_string(), "there is more");
    let (_, keys, _) = followed(&sidecar, "limit=10000").await;
    assert_eq!(keys.len(), 1500);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1500);
    let page = sidecar.call("GET", "/cmn/leasable-locks?limit=10000").send().await;
    assert!(page.body.len() < 200 * 1024 && page.header("link").is_some(), "{}", page.body.len());
}

#[tokio::test]
async fn lists_have_a_connection_of_their_own_to_redis_while_they_are_read() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let connections = || redis.ask::<String>("CLIENT", &["LIST"]).lines().count();
    let before = connections();
    for _ in 0..5 {
        assert_eq!(sidecar.call("GET", "/v1/locks").send().await.status, 200);
    }
    assert_eq!(connections(), before + 1, "one for all of them");
    eventually("it is closed when there are no lists", Duration::from_secs(30), async || connections() == before).await;
    assert_eq!(sidecar.call("GET", "/v1/locks").send().await.status, 200, "and opened again");
    // One that breaks is made again for the next list.
    redis.ask::<u64>("CLIENT", &["KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("the next list is whole", Duration::from_secs(10), async || {
        sidecar.call("GET", "/v1/locks").send().await.status == 200
    })
    .await;
}
