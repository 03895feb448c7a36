//! What others write into the index, and say on the channels: the list goes on, and who waits is served.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Dice, Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn odd_entries_of_the_index_hide_no_lock() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let acquire = async |key: &str| {
        let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 60_000})).send().await;
        assert_eq!(answer.status, 201);
    };
    acquire("before").await;
    for shard in 0..64 {
        let zset = format!("{{lockside:{shard}}}:tokens");
        let scores = ["-inf", "-1", "0", "0.5", "1.5", "64", "9007199254740992", "1e300", "inf"];
        for (index, score) in scores.iter().enumerate() {
            redis.ask::<u64>("ZADD", &[&zset, score, &format!("nothing-{index}")]);
        }
        redis.ask::<u64>("ZADD", &[&zset, "65.5", "", "66.5", &"x".repeat(600), "67", "a\nb"]);
        // More than a page of them at the end that no integer reaches.
        for index in 0..70 {
            redis.ask::<u64>("ZADD", &[&zset, "inf", &format!("endless-{index}")]);
        }
        let mut command = redis::cmd("ZADD");
        command.arg(&zset).arg("68").arg(&b"\xFF\xFE"[..]);
        command.query::<u64>(&mut redis.connection()).unwrap();
    }
    acquire("behind").await;
    let answer = sidecar.call("GET", "/v1/locks").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list: Value = answer.json();
    let keys: Vec<&Value> = list["locks"].as_array().unwrap().iter().map(|lock| &lock["key"]).collect();
    assert_eq!(keys, ["before", "behind"]);
    assert_eq!(list["next"], Value::Null);
    assert_eq!(sidecar.ops("/metrics").await.status, 200);
}

/// A message that nobody of ours says.
fn odd(dice: &mut Dice, key: &str) -> Vec<u8> {
    let words: [&[u8]; 12] = [
        b"turn",
        b"dropped",
        b"lost",
        b"offer",
        b"echo",
        b"\n",
        b"\n\n",
        key.as_bytes(),
        b"-1",
        b"9007199254740993",
        b"\xFF\x00",
        b"99999999999999999999999",
    ];
    let count = dice.roll(9);
    (0..count)
        .flat_map(|_| [words[dice.roll(12) as usize], [&b"\n"[..], b""][dice.roll(4).min(1) as usize]].concat())
        .collect()
}

#[tokio::test]
async fn odd_messages_keep_nobody_from_the_turn() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let key = unique("odd");
    let path = format!("/v1/locks/{key}");
    let holder = sidecar.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await;
    assert_eq!(holder.status, 201);
    let waits = sidecar.call("POST", &path).json(&json!({"ttlMs": 60_000, "waitMs": 60_000})).send();
    let noise = async {
        eventually("it waits", Duration::from_secs(10), async || {
            sidecar.call("GET", &path).send().await.json()["waiters"] == 1
        })
        .await;
        let channels: Vec<String> = redis.ask("PUBSUB", &["SHARDCHANNELS"]);
        assert_eq!(channels.len(), 2, "{channels:?}");
        let (mut dice, mut connection) = (Dice(42), redis.connection());
        for count in 0..2000 {
            let mut command = redis::cmd("SPUBLISH");
            command.arg(&channels[count % 2]).arg(odd(&mut dice, &key));
            assert_eq!(command.query::<u64>(&mut connection).unwrap(), 1);
        }
        let token = &holder.json()["token"];
        let answer = sidecar.call("GET", &path).send().await.json();
        assert_eq!((&answer["holder"]["token"], &answer["waiters"]), (token, &json!(1)), "nothing has changed");
        let released = sidecar.call("DELETE", &format!("{path}?token={token}")).send().await;
        assert_eq!(released.status, 204);
    };
    let both = async { tokio::join!(waits, noise) };
    let (granted, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("it is served");
    assert_eq!(granted.status, 201, "{}", granted.text());
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
    let held: Value = sidecar.call("GET", &path).send().await.json();
    assert_eq!((&held["holder"]["token"], &held["waiters"]), (&granted.json()["token"], &json!(0)));
}
