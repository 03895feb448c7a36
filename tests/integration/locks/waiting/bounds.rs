//! What is refused: more waiters than there may be, and numbers out of range.

use serde_json::json;

use super::{Fleet, patient};
use crate::harness::TestRedis;

#[tokio::test]
async fn more_waiters_than_there_may_be_are_sent_away_until_one_has_gone() {
    let fleet = Fleet::on(TestRedis::shared(), 1, &["--max-waiters", "2"]).await;
    let first = fleet.hold(0, 30_000).await;
    let waiting = [fleet.join(0, patient()).await, fleet.join(0, patient()).await];

    let answer = fleet.acquire(0, patient()).await;

    assert_eq!((answer.status, answer.json()["code"].as_str()), (429, Some("too-many-waiters")), "{}", answer.text());
    assert_eq!(answer.json()["outcome"], "not-applied");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(fleet.waiters().await, 2);
    assert_eq!(fleet.acquire(0, json!({})).await.status, 409, "who does not wait takes no seat");
    waiting[0].abort();
    fleet.waiters_are(1).await;
    let third = fleet.acquire(0, json!({"waitMs": 20})).await;
    assert_eq!((third.status, third.json()["code"].as_str()), (409, Some("wait-timeout")), "a seat is free");
    waiting[1].abort();
    fleet.waiters_are(0).await;
    fleet.release(0, first).await;
}

#[tokio::test]
async fn a_wait_out_of_range_is_refused_with_the_range_and_nothing_is_done() {
    let fleet = Fleet::on(TestRedis::shared(), 1, &["--max-wait", "90s"]).await;
    for wait in [json!(-1), json!(90_001), json!(1.5), json!("10"), json!(true), json!([]), json!(1e300)] {
        let answer = fleet.acquire(0, json!({"waitMs": wait})).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("bad-request")), "{wait}");
        assert!(answer.text().contains("waitMs: expected an integer from 0 to 90000"), "{}", answer.text());
    }
    for kind in ["lock", "queue"] {
        assert_eq!(fleet.keys(TestRedis::shared(), kind), Vec::<String>::new());
    }
    let first = fleet.acquire(0, json!({"waitMs": 90_000})).await;
    assert_eq!(first.status, 201, "a free key is granted at once: {}", first.text());
    let held = fleet.acquire(0, json!({"waitMs": 0})).await;
    assert_eq!((held.status, held.json()["code"].as_str()), (409, Some("held")), "0 does not wait");
}
