//! The history checker over three sidecars whose callers wait, hold, renew, come again, repeat themselves, and hang up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Fleet;
use crate::harness::history::{Held, History, Mode};
use crate::harness::{Call, Dice, TestRedis, heavy, unique};

const FIGHT: Duration = Duration::from_secs(30);
const TASKS: u64 = 48;
const KEYS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_hold_renew_repeat_and_hang_up_never_hold_one_key_together_and_leave_nothing() {
    let _turn = heavy().await;
    let fleet = Arc::new(Fleet::of(3).await);
    let history = Arc::new(History::default());
    let end = Instant::now() + FIGHT;
    let tasks = (0..TASKS).map(|task| {
        let (fleet, history) = (Arc::clone(&fleet), Arc::clone(&history));
        tokio::spawn(async move {
            let mut dice = Dice(task);
            for round in 0.. {
                let owner = format!("owner-{task}-{round}");
                match dice.roll(4) {
                    0 => hold(&fleet, &history, owner, &mut dice).await,
                    _ => fight(&fleet, &history, owner, &mut dice).await,
                }
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
    let mut body = json!({"ttlMs": ttl_ms, "waitMs": wait_ms, "owner": owner, "reentrant": dice.roll(2) == 0});
    Mode::roll(dice, &mut body);
    let mode = Mode::of(&body, Instant::now());
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
    let mut held = Held {
        key,
        holder: owner.clone(),
        token: lease["token"].as_u64().unwrap(),
        from,
        until: promised(&lease),
        mode,
    };
    let one = format!("{path}?token={}", held.token);
    match dice.roll(6) {
        0 => {
            let renewed = there.call("PUT", &one).json(&json!({"ttlMs": ttl_ms})).send().await;
            match renewed.status {
                200 => held.until = promised(&renewed.json()),
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

/// One round by a connection: wait or try; work for as long as it holds, perhaps for several renewals; close.
async fn hold(fleet: &Fleet, history: &History, owner: String, dice: &mut Dice) {
    let key = format!("{}-{}", fleet.key, dice.roll(KEYS));
    let sidecar = &fleet.sidecars[dice.roll(3) as usize];
    let ttl_ms = [150, 300, 1000][dice.roll(3) as usize];
    let wait_ms = [0, 500, 3000][dice.roll(3) as usize];
    let mut body = json!({"ttlMs": ttl_ms, "waitMs": wait_ms, "owner": owner});
    Mode::roll(dice, &mut body);
    let mode = Mode::of(&body, Instant::now());
    let mut lines = sidecar.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).open().await;
    if lines.status != 200 {
        assert!(matches!(lines.status, 409 | 503), "{}", lines.status);
        tokio::time::sleep(Duration::from_millis(dice.roll(5))).await;
        return;
    }
    let work = Duration::from_millis(dice.roll(200));
    let Some(first) = lines.next().await else { panic!("a hold that says nothing") };
    let (token, from) = (first["token"].as_u64().unwrap(), Instant::now());
    let mut until = promised(&first);
    let end = from + work;
    while let Ok(line) = tokio::time::timeout_at(end.into(), lines.next()).await {
        let line = line.expect("a hold ends with a word");
        if line["event"] == "lost" {
            // A busy machine may be too slow for a short ttl.
            assert!(["redis", "expired"].contains(&line["reason"].as_str().unwrap()), "{line}");
            break;
        }
        until = promised(&line);
    }
    history.add(Held { key, holder: owner, token, from, until: until.min(Instant::now()), mode });
    drop(lines);
}

/// Until when what was answered can be relied on: it may be read long after it was written, so not longer than Redis's
/// clock says, which is this machine's.
fn promised(line: &serde_json::Value) -> Instant {
    let valid_until: jiff::Timestamp = line["validUntil"].as_str().unwrap().parse().unwrap();
    let left_ms = u64::try_from(valid_until.as_millisecond() - jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    Instant::now() + Duration::from_millis(left_ms.min(line["validForMs"].as_u64().unwrap()))
}

async fn release_quietly(sidecar: &crate::harness::Sidecar, path: &str, answer: &crate::harness::Answer) {
    sidecar.call("DELETE", &format!("{path}?token={}", answer.json()["token"])).send().await;
}
