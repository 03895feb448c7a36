//! Sixty seconds of everything that can happen to sidecars and their Redis: never do two say at once that they lead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{SOON, candidate};
use crate::harness::{Dice, Redundant, Sidecar, Trio, http, unique};

const FLAGS: [&str; 4] = ["--redis-timeout", "300ms", "--elect-ttl", "1s"];
const CANDIDATES: usize = 3;
/// Longer than a leader counts on its lock, so that there are many leaders.
const PAUSE: Duration = Duration::from_secs(2);
const TROUBLE: Duration = Duration::from_secs(60);
/// Longest time for which a sidecar or a server is frozen: longer than a leader counts on its lock.
const LONGEST_FREEZE_MS: u64 = 2500;

/// An answer that a sidecar gave that says that it leads, by the clock of who asked.
struct Claim {
    of: usize,
    token: u64,
    sent: Instant,
    received: Instant,
}

/// Asks a candidate again and again who leads; a request that is not answered is as good as none.
async fn observe(of: usize, address: Arc<Mutex<String>>, path: String, ends: Arc<AtomicBool>) -> Vec<Claim> {
    let mut claims = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let (client, address) = (http::Client::new(), address.lock().await.clone());
        let sent = Instant::now();
        let url = format!("http://{address}{path}");
        let answered = tokio::time::timeout(Duration::from_secs(5), http::Call::new(&client, "GET", &url).try_send());
        if let Ok(Ok(answer)) = answered.await
            && answer.status == 200
            && answer.json()["leader"] == true
        {
            let token = answer.json()["token"].as_u64().expect("the leader's token");
            claims.push(Claim { of, token, sent, received: Instant::now() });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_say_at_once_that_they_lead_through_kills_freezes_and_failovers() {
    let mut redis = Trio::start(&[]);
    let (url, name) = (redis.url(), unique("jobs"));
    let (mut sidecars, mut addresses, mut observers) = (Vec::new(), Vec::new(), Vec::new());
    let ends = Arc::new(AtomicBool::new(false));
    for number in 0..CANDIDATES {
        let sidecar = candidate(&url, &name, number, &FLAGS).await;
        let address = Arc::new(Mutex::new(sidecar.api_address().to_owned()));
        // Two a sidecar: one that waits for a frozen one must not be all that asks.
        for _ in 0..2 {
            let path = format!("/v1/elections/{name}");
            observers.push(tokio::spawn(observe(number, Arc::clone(&address), path, Arc::clone(&ends))));
        }
        sidecars.push(sidecar);
        addresses.push(address);
    }

    let (mut dice, begun) = (Dice(7), Instant::now());
    while begun.elapsed() < TROUBLE {
        let freeze = Duration::from_millis(dice.roll(LONGEST_FREEZE_MS));
        let number = dice.roll(CANDIDATES as u64) as usize;
        match dice.roll(9) {
            0 | 1 => {
                sidecars[number].signal("STOP");
                tokio::time::sleep(freeze).await;
                sidecars[number].signal("CONT");
            }
            2 => restart(&mut sidecars[number], "KILL", &addresses[number], &url, &name, number).await,
            3 => restart(&mut sidecars[number], "TERM", &addresses[number], &url, &name, number).await,
            4 => {
                let path = format!("/v1/elections/{name}");
                let _ = sidecars[number].call("DELETE", &path).try_send().await;
            }
            5 | 6 => {
                // Redis forgets the leader, and the others ask for the lock again, which they are granted at once.
                let path = format!("/v1/elections/{name}");
                let mut standbys = Vec::new();
                for sidecar in &sidecars {
                    if sidecar.call("GET", &path).send().await.json()["leader"] == false {
                        standbys.push(sidecar);
                    }
                }
                redis.servers[redis.master("")].ask::<()>("FLUSHALL", &[]);
                for sidecar in standbys {
                    let _ = sidecar.call("DELETE", &format!("{path}?for=1ms")).try_send().await;
                }
            }
            7 => {
                let master = redis.master("");
                redis.freeze(master);
                tokio::time::sleep(freeze).await;
                redis.resume(master);
                redis.settled();
            }
            _ => {
                let master = redis.master("");
                redis.kill(master);
                redis.promoted("", master);
                redis.restart(master);
                redis.settled();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    tokio::time::sleep(PAUSE * 2).await;
    ends.store(true, Ordering::Relaxed);
    let mut claims = Vec::new();
    for observer in observers {
        claims.extend(tokio::time::timeout(SOON, observer).await.expect("in time").expect("no panic"));
    }

    claims.sort_by_key(|claim| claim.received);
    let (mut latest, mut changes) = (None::<&Claim>, 0);
    for claim in &claims {
        // Whoever was told that one leads, and asks another then, must not be told that it leads by an older lease.
        for other in &claims {
            let is_later = other.received <= claim.sent;
            let is_other = other.of != claim.of || other.token != claim.token;
            assert!(
                !(is_later && is_other && other.token >= claim.token),
                "pod-{} led by {}, and {:?} later pod-{} led by {}",
                other.of,
                other.token,
                claim.sent - other.received,
                claim.of,
                claim.token
            );
            if other.received > claim.sent {
                break;
            }
        }
        changes += usize::from(latest.is_none_or(|latest| latest.token != claim.token));
        latest = Some(claim);
    }
    println!("{} answers said that one leads; {changes} leaders", claims.len());
    assert!(changes >= 5, "{changes} leaders in all");
    let led: Duration = TROUBLE / 10;
    assert!(claims.len() as u128 > led.as_millis() / 50, "{} claims", claims.len());
}

/// Ends a sidecar by a signal, and starts another one in its place.
async fn restart(sidecar: &mut Sidecar, signal: &str, address: &Mutex<String>, url: &str, name: &str, number: usize) {
    sidecar.signal(signal);
    sidecar.exit_code(SOON).await;
    *sidecar = candidate(url, name, number, &FLAGS).await;
    sidecar.api_address().clone_into(&mut *address.lock().await);
}
