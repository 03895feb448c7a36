//! A master that was frozen and replaced, and wakes up together with a sidecar that knows of nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::LONGEST;
use super::load::redis_key;
use crate::harness::{Answer, Cluster, Redundant, Sidecar, Trio, eventually, unique};

const KEYS: usize = 20;
/// Bytes that the scripts for some of them take, and no question of another kind.
const ASKED: u64 = 1500;

/// What a sidecar that sleeps with the old master answers when both wake up, beside the tokens that another has meanwhile
/// been given by the new one.
async fn what_the_stale_one_grants<R: Redundant>(redis: &mut R, flags: &[&str]) -> Vec<(u64, Answer)> {
    let prefix = unique("stale");
    let asleep = Sidecar::start_at(&redis.url(), &[&["--key-prefix", &prefix][..], flags].concat()).await;
    // The new master may have no replica until the stale one is back.
    let awake = Sidecar::start_at(&redis.url(), &["--key-prefix", &prefix]).await;
    let first = unique("stale");
    let old = redis.master(&redis_key(&prefix, &first));
    let mut keys = vec![first];
    while keys.len() < KEYS {
        let key = unique("stale");
        if redis.master(&redis_key(&prefix, &key)) == old {
            keys.push(key);
        }
    }
    // The stale master knows every script already, and each shard has been used.
    let body = json!({"ttlMs": 20_000, "owner": "asleep"});
    for sidecar in [&asleep, &awake] {
        for key in &keys {
            let path = format!("/v1/locks/{key}");
            let lease = sidecar.call("POST", &path).json(&body).send().await;
            assert_eq!(lease.status, 201, "{}", lease.text());
            let path = format!("{path}?token={}", lease.json()["token"]);
            assert_eq!(sidecar.call("DELETE", &path).send().await.status, 204);
        }
    }
    redis.is_replicated(&redis_key(&prefix, &keys[0]));
    asleep.signal("STOP");
    redis.freeze(old);
    redis.promoted(&redis_key(&prefix, &keys[0]), old);

    // Asked while it sleeps: its requests wait in its sockets, and go to the stale master as soon as both wake up.
    let asked: Vec<_> = keys
        .iter()
        .map(|key| {
            let call = asleep.call("POST", &format!("/v1/locks/{key}")).json(&body);
            Box::pin(call.send())
        })
        .collect();
    let granted = async {
        let mut tokens = Vec::new();
        for key in &keys {
            tokens.push(granted(&awake, key).await);
        }
        let before = unread(redis.port(old));
        asleep.signal("CONT");
        // Not too long: it also asks others who the master is.
        let begun = Instant::now();
        while unread(redis.port(old)) < before + ASKED && begun.elapsed() < Duration::from_millis(200) {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("{} bytes wait for the stale master", unread(redis.port(old)) - before);
        redis.resume(old);
        tokens
    };
    let (answers, tokens) = tokio::join!(join_all(asked), granted);
    tokens.into_iter().zip(answers).collect()
}

/// Bytes that wait at a port until its server reads them.
fn unread(port: u16) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("a list of the kernel's");
    let at_port = format!(":{port:04X}");
    let waiting = sockets.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, unread) = fields[4].split_once(':').filter(|_| fields[1].ends_with(&at_port))?;
        u64::from_str_radix(unread, 16).ok()
    });
    waiting.sum()
}

/// The token of a key that is free, as soon as the new master is known.
async fn granted(sidecar: &Sidecar, key: &str) -> u64 {
    let (path, body) = (format!("/v1/locks/{key}"), json!({"ttlMs": 60_000, "owner": "awake"}));
    let (begun, mut answer) = (Instant::now(), sidecar.call("POST", &path).json(&body).send().await);
    while answer.status != 201 {
        assert!(begun.elapsed() < LONGEST, "not granted by the new master: {}", answer.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = sidecar.call("POST", &path).json(&body).send().await;
    }
    answer.json()["token"].as_u64().expect("a token")
}

/// Longer than a failover takes: what is asked of a frozen master is still in time when it goes on.
const PATIENT: Duration = Duration::from_secs(10);

/// What a master grants in time that was asked while it was frozen, and that goes on when the sidecar knows of its
/// replacement.
async fn answers_of_a_replaced_master_do_not_count<R: Redundant>() {
    let redis = &mut R::start(&[]);
    let prefix = unique("replaced");
    let timeout = format!("{}s", PATIENT.as_secs());
    let sidecar = Sidecar::start_at(&redis.url(), &["--key-prefix", &prefix, "--redis-timeout", &timeout]).await;
    let first = unique("replaced");
    let old = redis.master(&redis_key(&prefix, &first));
    let mut keys = vec![first];
    while keys.len() < KEYS {
        let key = unique("replaced");
        if redis.master(&redis_key(&prefix, &key)) == old {
            keys.push(key);
        }
    }
    // The master knows the script, and the sidecar its clock.
    granted(&sidecar, &keys.pop().expect("a key")).await;
    redis.freeze(old);
    // Once it reads no more.
    let before = unread(redis.port(old));
    let asked = keys.iter().map(|key| {
        let call = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 60_000}));
        Box::pin(call.send())
    });
    let resumed = async {
        let begun = Instant::now();
        while unread(redis.port(old)) < before + ASKED {
            assert!(begun.elapsed() < PATIENT / 2, "nothing was asked of the frozen master");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        redis.promoted(&redis_key(&prefix, &keys[0]), old);
        let place = redis.place();
        let is_known = async || sidecar.ops("/readyz").await.text().contains(&place);
        eventually("the sidecar knows the new master", LONGEST, is_known).await;
        assert!(begun.elapsed() < PATIENT, "the failover took {:?}", begun.elapsed());
        println!("{} bytes wait for the replaced master after {:?}", unread(redis.port(old)), begun.elapsed());
        redis.resume(old);
    };
    let (answers, ()) = tokio::join!(join_all(asked), resumed);
    redis.settled();
    let mut unknown = 0;
    for (key, answer) in keys.iter().zip(answers) {
        match answer.status {
            503 | 504 => unknown += 1,
            // Asked when the new master was known.
            201 => {
                let look = sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json();
                assert_eq!(look["holder"]["token"], answer.json()["token"], "{}", answer.text());
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert_ne!(unknown, 0, "nothing was asked of the frozen master");
    println!("{unknown} of {} got no answer of the replaced master", keys.len());
}

async fn grants_nothing_that_counts<R: Redundant>() {
    let mut redis = R::start(&[]);
    // All of them: one that was not told of the new master yet still says that it has what the stale one grants.
    let all = R::REPLICAS.to_string();
    let flags = ["--min-replicas", &all, "--replica-timeout", "300ms"];
    let answers = what_the_stale_one_grants(&mut redis, &flags).await;
    say(&answers);
    for (token, answer) in answers {
        assert_ne!(answer.status, 201, "after {token}: {}", answer.text());
    }
}

async fn grants_higher_tokens_at_most<R: Redundant>() {
    let mut redis = R::start(&[]);
    let answers = what_the_stale_one_grants(&mut redis, &[]).await;
    say(&answers);
    for (token, answer) in answers {
        if answer.status == 201 {
            assert!(answer.json()["token"].as_u64() > Some(token), "after {token}: {}", answer.text());
        }
    }
}

fn say(answers: &[(u64, Answer)]) {
    let mut statuses: Vec<u16> = answers.iter().map(|(_, answer)| answer.status).collect();
    statuses.sort_unstable();
    println!("asked of a stale master, or soon after: {statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_all_replicas_a_stale_master_that_sentinels_replaced_grants_nothing_that_counts() {
    grants_nothing_that_counts::<Trio>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_replica_a_stale_master_of_a_cluster_grants_nothing_that_counts() {
    grants_nothing_that_counts::<Cluster>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_master_that_sentinels_replaced_grants_higher_tokens_at_most() {
    grants_higher_tokens_at_most::<Trio>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_master_of_a_cluster_grants_higher_tokens_at_most() {
    grants_higher_tokens_at_most::<Cluster>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_master_that_sentinels_replaced_grants_afterwards_is_told_to_no_caller() {
    answers_of_a_replaced_master_do_not_count::<Trio>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replaced_master_of_a_cluster_grants_afterwards_is_told_to_no_caller() {
    answers_of_a_replaced_master_do_not_count::<Cluster>().await;
}
