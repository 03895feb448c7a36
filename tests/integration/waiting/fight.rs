//! The history checker over three sidecars whose callers wait, renew, come again, repeat themselves, and hang up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Fleet;
use crate::harness::history::{Held, History};
use crate::harness::{Call, Dice, TestRedis, unique};

const FIGHT: Duration = Duration::from_secs(15);
const TASKS: u64 = 48;
const KEYS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_renew_repeat_and_hang_up_never_hold_one_key_together_and_leave_nothing() {
    let fleet = Arc::new(Fleet::of(3).await);
    let history = Arc::new(History::default());
    let end = Instant::now() + FIGHT;
    let tasks = (0..TASKS).map(|task| {
        let (fleet, history) = (Arc::clone(&fleet), Arc::clone(&history));
        tokio::spawn(async move {
            let mut dice = Dice(task);
            for round in 0.. {
                fight(&fleet, &history, format!("owner-{task}-{round}"), &mut dice).await;
                if Instant::now() > end {
                    break;
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    println!("{} stretches were held", history.len());
    assert!(history.len() > 100, "only {} stretches were held", history.len());
    assert_eq!(history.faults(), []);
    fleet.is_empty(TestRedis::shared()).await;
}

/// One round: wait or try; perhaps hang up, repeat, renew or come again; work; release or let it expire.
async fn fight(fleet: &Fleet, history: &History, owner: String, dice: &mut Dice) {
    let key = format!("{}-{}", fleet.key, dice.roll(KEYS));
    let path = format!("/v1/locks/{key}");
    let here = &fleet.sidecars[dice.roll(3) as usize];
    let there = &fleet.sidecars[dice.roll(3) as usize];
    let ttl_ms = [300, 1000, 2500][dice.roll(3) as usize];
    let wait_ms = [0, 50, 500, 3000][dice.roll(4) as usize];
    let is_named = dice.roll(3) == 0;
    let name = unique("attempt");
    let body = json!({"ttlMs": ttl_ms, "waitMs": wait_ms, "owner": owner, "reentrant": dice.roll(2) == 0});
    fn spelled<'a>(call: Call<'a>, name: Option<&str>, body: &serde_json::Value) -> Call<'a> {
        let call = call.json(body);
        match name {
            Some(name) => call.header("idempotency-key", name),
            None => call,
        }
    }
    let name = is_named.then_some(name.as_str());
    let asking = spelled(here.call("POST", &path), name, &body).send();

    let answer = if dice.roll(4) == 0 {
        // It hangs up if it is not answered soon, and perhaps comes again by the same name.
        match tokio::time::timeout(Duration::from_millis(dice.roll(60)), asking).await {
            Ok(answer) => answer,
            Err(_) if name.is_some() => spelled(there.call("POST", &path), name, &body).send().await,
            Err(_) => return,
        }
    } else {
        asking.await
    };
    let from = Instant::now();
    if answer.status == 409 || answer.status == 503 {
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        assert!(["held", "wait-timeout", "too-late"].contains(&code.as_str()), "{code}");
        tokio::time::sleep(Duration::from_millis(dice.roll(5))).await;
        return;
    }
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    let lease = answer.json();
    let promise = |lease: &serde_json::Value| Duration::from_millis(lease["validForMs"].as_u64().unwrap());
    // Counted from when the answer was written, which was before it was read.
    let mut held = Held {
        key,
        holder: owner.clone(),
        token: lease["token"].as_u64().unwrap(),
        from,
        until: from + promise(&lease),
    };
    let one = format!("{path}?token={}", held.token);
    match dice.roll(6) {
        0 => {
            let sent = Instant::now();
            let renewed = there.call("PUT", &one).json(&json!({"ttlMs": ttl_ms})).send().await;
            match renewed.status {
                200 => held.until = sent + promise(&renewed.json()),
                410 => assert!(Instant::now() >= held.until, "a valid lease was lost: {held:?}"),
                503 => {}
                status => panic!("{status}: {}", renewed.text()),
            }
        }
        1 if name.is_some() => {
            let again =
                spelled(there.call("POST", &path), name, &json!({"ttlMs": ttl_ms, "owner": owner})).send().await;
            if again.status == 200 {
                assert_eq!(again.json()["token"], held.token, "the same attempt, the same lease");
            } else {
                assert!(Instant::now() >= held.until, "{}", again.text());
                if again.status == 201 {
                    release_quietly(there, &path, &again).await;
                }
            }
        }
        _ => {}
    }
    tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
    if dice.roll(8) > 0 {
        held.until = held.until.min(Instant::now()).max(held.from);
        let released = here.call("DELETE", &one).send().await;
        assert!(matches!(released.status, 204 | 410), "{}", released.text());
    }
    history.add(held);
}

async fn release_quietly(sidecar: &crate::harness::Sidecar, path: &str, answer: &crate::harness::Answer) {
    sidecar.call("DELETE", &format!("{path}?token={}", answer.json()["token"])).send().await;
}
