//! Callers of two sidecars, who take every answer at its word and write down what it means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Fate, Grant, Ledger, held_from_now, now_ms};
use crate::harness::history::Mode;
use crate::harness::{Answer, Dice, Sidecar, unique};

/// How long a caller repeats an attempt whose outcome it does not know.
const INSISTENCE: Duration = Duration::from_secs(4);
const CONTESTED: u64 = 4;

/// The callers, and where they call.
pub struct Callers {
    pub sidecars: Vec<Sidecar>,
    pub ledger: Ledger,
    /// How long the leases of keys that nobody else wants last.
    pub lease_ms: u64,
}

/// What an answer says of the request.
enum Said {
    Lease(Lease),
    Done,
    /// Refused by a lock's state or by lockside, surely not done.
    NotApplied(String),
    /// Done, but count on nothing.
    Applied,
    Unknown,
}

struct Lease {
    token: u64,
    valid_for_ms: u64,
    until_ms: i64,
}

impl Callers {
    /// Begins `rate` operations a second, whatever becomes of them, until `end`; then waits for all of them.
    pub async fn keep_calling(self: Arc<Callers>, rate: f64, mut end: watch::Receiver<bool>) -> u64 {
        let mut operations = JoinSet::new();
        let mut count = 0;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    count += 1;
                    let callers = Arc::clone(&self);
                    operations.spawn(async move {
                        let mut dice = Dice(count);
                        match dice.roll(8) {
                            0 => callers.hold(dice).await,
                            1..=2 => callers.contend(dice).await,
                            _ => callers.probe(dice).await,
                        }
                    });
                }
                Some(ended) = operations.join_next() => ended.expect("no caller panics"),
                _ = end.wait_for(|end| *end) => break,
            }
        }
        while let Some(ended) = operations.join_next().await {
            ended.expect("no caller panics");
        }
        count
    }

    /// A key of its own: whatever lies there in the end is this caller's doing.
    async fn probe(&self, mut dice: Dice) {
        let key = unique("probe");
        let name = (dice.roll(2) == 0).then(|| unique("attempt"));
        let mut body = json!({"ttlMs": self.lease_ms, "owner": unique("prober")});
        if dice.roll(4) == 0 {
            // Somebody is there, for a moment.
            let asked = json!({"ttlMs": 200});
            self.acquire(&mut dice, &key, None, &asked).await;
            body["waitMs"] = json!(1500);
        }
        let lease = match (self.acquire(&mut dice, &key, name.as_deref(), &body).await, name) {
            (Said::Lease(lease), _) => Some(lease),
            (Said::Unknown, Some(name)) => self.insist(&mut dice, &key, &name, &body).await,
            _ => None,
        };
        let Some(lease) = lease else { return self.ledger.fate(Fate::free(&key)) };
        let mut fate = Fate::held(&key, lease.token, lease.until_ms);
        let what = dice.roll(4);
        if what >= 2 {
            self.renew_probe(&mut dice, &mut fate, lease.token).await;
        }
        if what % 2 == 1 {
            match self.release(&mut dice, &key, lease.token).await {
                // Lost: right if Redis has lost its data, and seen to be wrong in the end if it has not.
                Said::Done => fate.may_be = vec![None],
                Said::Unknown => fate.may_be.push(None),
                _ => {}
            }
        }
        self.ledger.fate(fate);
    }

    /// A key of its own, held until the caller hangs up: then the lock is gone.
    async fn hold(&self, mut dice: Dice) {
        let key = unique("hold");
        let call = self.any(&mut dice).call("POST", &format!("/v1/locks/{key}/hold"));
        let lines = call.json(&json!({"ttlMs": self.lease_ms})).open().await;
        self.ledger.answer(format!("hold {}", lines.status));
        tokio::time::sleep(Duration::from_millis(dice.roll(1000))).await;
        drop(lines);
        self.ledger.fate(Fate::free(&key));
    }

    async fn renew_probe(&self, dice: &mut Dice, fate: &mut Fate, token: u64) {
        let ttl_ms = self.lease_ms + 30_000;
        let sent_ms = now_ms();
        let said = self.renew(dice, &fate.key, token, ttl_ms).await;
        // Had it run any later than its answer, it would end later.
        let ttl_ms = i64::try_from(ttl_ms).unwrap();
        let ran_in_time = sent_ms + ttl_ms..=now_ms() + ttl_ms;
        match said {
            Said::Lease(renewed) => fate.may_end = vec![renewed.until_ms..=renewed.until_ms],
            Said::Applied => fate.may_end = vec![ran_in_time],
            Said::Unknown => fate.may_end.push(ran_in_time),
            Said::NotApplied(_) => {}
            Said::Done => unreachable!("a renewal answers with a lease"),
        }
    }

    /// A key that others want, too, for a short time.
    async fn contend(&self, mut dice: Dice) {
        let key = format!("contested-{}", dice.roll(CONTESTED));
        let ttl_ms = [300, 1000, 2500][dice.roll(3) as usize];
        let wait_ms = [0, 50, 500, 2000][dice.roll(4) as usize];
        let mut body = json!({"ttlMs": ttl_ms, "waitMs": wait_ms, "owner": unique("contender")});
        Mode::roll(&mut dice, &mut body);
        let name = (dice.roll(2) == 0).then(|| unique("attempt"));
        let asked = Instant::now();
        let lease = match (self.acquire(&mut dice, &key, name.as_deref(), &body).await, name) {
            (Said::Lease(lease), _) => Some(lease),
            (Said::Unknown, Some(name)) => self.insist(&mut dice, &key, &name, &body).await,
            _ => None,
        };
        let Some(Lease { token, valid_for_ms, until_ms }) = lease else { return };
        self.ledger.grant(Grant { key: key.clone(), token, asked, told: Instant::now() });
        let holder = unique("holder");
        let mut held = held_from_now(&key, &holder, token, valid_for_ms, until_ms);
        held.mode = Mode::of(&body, asked);
        tokio::time::sleep(Duration::from_millis(dice.roll(50))).await;
        if dice.roll(3) == 0 {
            match self.renew(&mut dice, &key, token, ttl_ms).await {
                Said::Lease(lease) => {
                    held.until = held_from_now(&key, &holder, token, lease.valid_for_ms, lease.until_ms).until;
                }
                Said::NotApplied(code) if code == "lost" && Instant::now() < held.until => {
                    held.until = Instant::now();
                    self.ledger.lost(format!("{key}: {token} was lost before its time"));
                }
                _ => {}
            }
        }
        if dice.roll(4) > 0 {
            held.until = held.until.min(Instant::now()).max(held.from);
            self.release(&mut dice, &key, token).await;
        }
        self.ledger.history.add(held);
    }

    /// Repeats an attempt by its name, at any sidecar, until somebody knows.
    async fn insist(&self, dice: &mut Dice, key: &str, name: &str, body: &Value) -> Option<Lease> {
        let end = Instant::now() + INSISTENCE;
        while Instant::now() < end {
            if let Said::Lease(lease) = self.acquire(dice, key, Some(name), body).await {
                return Some(lease);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }

    async fn acquire(&self, dice: &mut Dice, key: &str, name: Option<&str>, body: &Value) -> Said {
        let mut call = self.any(dice).call("POST", &format!("/v1/locks/{key}")).json(body);
        if let Some(name) = name {
            call = call.header("idempotency-key", name);
        }
        let sent_ms = now_ms();
        self.hear(&call.send().await, sent_ms)
    }

    async fn renew(&self, dice: &mut Dice, key: &str, token: u64, ttl_ms: u64) -> Said {
        let call = self.any(dice).call("PUT", &format!("/v1/locks/{key}?token={token}"));
        let sent_ms = now_ms();
        self.hear(&call.json(&json!({"ttlMs": ttl_ms})).send().await, sent_ms)
    }

    async fn release(&self, dice: &mut Dice, key: &str, token: u64) -> Said {
        let call = self.any(dice).call("DELETE", &format!("/v1/locks/{key}?token={token}"));
        self.hear(&call.send().await, now_ms())
    }

    fn any(&self, dice: &mut Dice) -> &Sidecar {
        &self.sidecars[dice.roll(self.sidecars.len() as u64) as usize]
    }

    /// What an answer means; one that no request should get is written down as wrong.
    fn hear(&self, answer: &Answer, sent_ms: i64) -> Said {
        let Ok(content) = serde_json::from_slice::<Value>(&answer.body) else {
            self.ledger.answer(answer.status.to_string());
            if answer.status != 204 {
                self.ledger.wrong(format!("{}: {:?}", answer.status, answer.body));
            }
            return Said::Done;
        };
        if matches!(answer.status, 200 | 201) {
            self.ledger.answer(answer.status.to_string());
            let until_ms = content["validUntil"].as_str().expect("a time").parse::<jiff::Timestamp>();
            let until_ms = until_ms.expect("RFC 3339").as_millisecond();
            let valid_for_ms = content["validForMs"].as_u64().expect("milliseconds");
            if sent_ms + i64::try_from(valid_for_ms).unwrap() > until_ms {
                self.ledger.wrong(format!("promised for longer than redis keeps it: {content}"));
            }
            return Said::Lease(Lease { token: content["token"].as_u64().expect("a token"), valid_for_ms, until_ms });
        }
        let (code, outcome) = (content["code"].as_str().unwrap_or("?"), content["outcome"].as_str().unwrap_or("?"));
        self.ledger.answer(format!("{} {code}", answer.status));
        match (answer.status, code, outcome) {
            (409, "held" | "wait-timeout", "not-applied")
            | (410, "lost", "not-applied")
            | (503, "redis-unavailable" | "redis-refused" | "too-late" | "overloaded", "not-applied") => {
                Said::NotApplied(code.to_owned())
            }
            (503, "too-late", "applied") => Said::Applied,
            (504, "outcome-unknown", "unknown") => Said::Unknown,
            _ => {
                self.ledger.wrong(format!("{}: {content}", answer.status));
                Said::Unknown
            }
        }
    }
}
