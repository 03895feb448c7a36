//! `GET /v1/locks/{key}/queue`: who waits for a key.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Native, Who, assert_problem, path, reader};
use crate::harness::{TestRedis, eventually, unique};

impl Native {
    async fn queue(&self, key: &str) -> Vec<Value> {
        let answer = self.ask(&Who::System, "GET", &format!("{}/queue", path(key))).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["key"], key);
        body["queue"].as_array().expect("an array").clone()
    }
}

#[tokio::test]
async fn those_who_wait_are_named_in_the_order_of_their_turns_over_all_sidecars() {
    let (native, other) = (Native::start(&[]).await, Native::start(&[]).await);
    let key = unique("queue");
    assert_eq!(native.queue(&key).await, [] as [Value; 0]);
    let lease = native.granted(&Who::System, &key).await;
    let begun = Timestamp::now();
    let hostile = "b\"\\,\u{202e}ob";
    let first = other.ask(&reader("alice"), "POST", &path(&key)).json(&json!({"waitMs": 20_000})).send();
    let body = json!({"waitMs": 20_000, "owner": hostile});
    let second = native.ask(&Who::System, "POST", &path(&key)).json(&body).send();
    let is_told = std::cell::Cell::new(false);
    let first = async {
        let answer = first.await;
        is_told.set(true);
        answer
    };
    let looking = async {
        for count in 1..=2 {
            eventually("it waits", Duration::from_secs(10), async || native.queue(&key).await.len() == count).await;
            if count == 1 {
                assert_eq!(other.queue(&key).await[0]["owner"], "alice");
            }
        }
        let queue = other.queue(&key).await;
        for (waiter, (position, owner, kind)) in queue.iter().zip([(1, "alice", "user"), (2, hostile, "system")]) {
            let seen = (&waiter["position"], &waiter["owner"], &waiter["kind"]);
            assert_eq!(seen, (&json!(position), &json!(owner), &json!(kind)));
            let since: Timestamp = waiter["since"].as_str().expect("a time").parse().expect("a time");
            assert!((since - begun).get_milliseconds().abs() < 20_000, "{since} {begun}");
        }
        let listed = native.list(&format!("prefix={key}")).await.json();
        assert_eq!(listed["locks"][0]["waiters"], 2);
        assert_eq!(native.look(&key).await["waiters"], 2);
        native.release(&Who::System, &key, &lease["token"]).await;
        eventually("the first has it", Duration::from_secs(10), async || native.queue(&key).await.len() == 1).await;
        assert_eq!(native.queue(&key).await[0]["position"], 1, "the next one moves up");
        // What is force-released while it is only offered is waited for anew, behind the second.
        eventually("it is told", Duration::from_secs(10), async || is_told.get()).await;
        native.force(&Who::System, &key).await;
    };
    let second = async {
        eventually("the first waits", Duration::from_secs(10), async || !native.queue(&key).await.is_empty()).await;
        second.await
    };
    let ((), first, second) = tokio::join!(looking, first, second);
    assert_eq!((first.status, second.status), (201, 201));
}

#[tokio::test]
async fn a_thousand_are_named_at_most_and_what_no_sidecar_wrote_is_left_out() {
    let redis = TestRedis::start(&[]);
    let native = Native::start_at(&redis.url(), &[]).await;
    let key = unique("queue");
    let name = format!("{{lockside:{}}}:queue:{key}", crc32fast::hash(key.as_bytes()) % 64);
    let _: u64 = redis.ask("ZADD", &[&name, "1", "nonsense", "2", "a\nb\nc\nd\ne\nf", "0", "offer\n7\nx-1"]);
    assert_eq!(native.queue(&key).await, [] as [Value; 0]);
    for number in 0..1100 {
        let entry = format!("x-1\n{number}\n1000\n\"kind\":\"system\",\"owner\":\"o{number}\",\n\n");
        let _: u64 = redis.ask("ZADD", &[&name, &format!("{}", 100 + number), &entry]);
    }
    let queue = native.queue(&key).await;
    assert_eq!((queue.len(), &queue[0]["owner"]), (998, &json!("o0")), "two of the first thousand are nonsense");
    let _: u64 = redis.ask("DEL", &[&name]);
    let _: String = redis.ask("SET", &[&name, "a stranger's"]);
    assert_eq!(native.queue(&key).await, [] as [Value; 0]);
}

#[tokio::test]
async fn it_is_for_those_who_may_read_the_key() {
    let native = Native::start(&[]).await;
    let path = format!("{}/queue", path(&unique("queue")));
    assert_eq!(native.ask(&reader("alice"), "GET", &path).send().await.status, 200);
    assert_problem(&native.ask(&Who::Nobody, "GET", &path).send().await, 401, "unauthorized");
    assert_problem(&native.ask(&Who::System, "GET", &format!("{path}?limit=1")).send().await, 400, "bad-request");
    assert_problem(&native.ask(&Who::System, "POST", &path).send().await, 405, "method-not-allowed");
}
