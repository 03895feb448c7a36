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
    /// One, or those of a bundle in the order of its keys.
    Leases(Vec<Lease>),
    Done,
    /// Refused by a lock's state or by lockside, surely not done.
    NotApplied(String),
    /// Done, but count on nothing.
    Applied,
    Unknown,
}

#[derive(Clone, Copy)]
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
                        match dice.roll(9) {
                            0 => callers.hold(dice).await,
                            1..=3 => callers.contend(dice).await,
                            4 => callers.bundle(dice).await,
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
        Mode::roll(&mut dice, &mut body);
        if dice.roll(4) == 0 {
            // Somebody is there, for a moment.
            let asked = json!({"ttlMs": 200});
            self.acquire(&mut dice, &key, None, &asked).await;
            body["waitMs"] = json!(1500);
        }
        let lease = match (self.acquire(&mut dice, &key, name.as_deref(), &body).await, name) {
            (Said::Leases(leases), _) => Some(leases[0]),
            (Said::Unknown, Some(name)) => self.insist(&mut dice, &key, &name, &body).await,
            _ => None,
        };
        let Some(lease) = lease else { return self.ledger.fate(Fate::free(&key)) };
        let mut fate = Fate::held(&key, lease.token, lease.until_ms);
        let what = dice.roll(4);
        if what >= 2 {
            let (ttl_ms, sent_ms) = (self.longer_ms(), now_ms());
            let said = self.renew(&mut dice, &key, lease.token, ttl_ms).await;
            renewed(std::slice::from_mut(&mut fate), said, sent_ms, ttl_ms);
        }
        if what % 2 == 1 {
            let said = self.release(&mut dice, &key, lease.token).await;
            released(std::slice::from_mut(&mut fate), &said);
        }
        self.ledger.fate(fate);
    }

    /// Some keys of its own, together: what lies under each in the end is this caller's doing.
    async fn bundle(&self, mut dice: Dice) {
        let keys: Vec<String> = (0..2 + dice.roll(2)).map(|_| unique("leg")).collect();
        let mut legs: Vec<Value> = keys.iter().map(|key| json!({"key": key})).collect();
        legs.iter_mut().for_each(|leg| Mode::roll(&mut dice, leg));
        let wait_ms = dice.roll(2) * 1500;
        let body = json!({"keys": legs, "ttlMs": self.lease_ms, "owner": unique("bundler"), "waitMs": wait_ms});
        let Said::Leases(leases) = self.call(&mut dice, "POST", "/v1/bundles", &body).await else {
            return keys.iter().for_each(|key| self.ledger.fate(Fate::free(key)));
        };
        let held = keys.iter().zip(&leases).map(|(key, lease)| Fate::held(key, lease.token, lease.until_ms));
        let mut fates: Vec<Fate> = held.collect();
        let named: Vec<Value> =
            keys.iter().zip(&leases).map(|(key, lease)| json!({"key": key, "token": lease.token})).collect();
        let what = dice.roll(4);
        if what >= 2 {
            let (ttl_ms, sent_ms) = (self.longer_ms(), now_ms());
            let said = self.call(&mut dice, "PUT", "/v1/bundles", &json!({"leases": named, "ttlMs": ttl_ms})).await;
            renewed(&mut fates, said, sent_ms, ttl_ms);
        }
        if what % 2 == 1 {
            let said = self.call(&mut dice, "DELETE", "/v1/bundles", &json!({"leases": named})).await;
            released(&mut fates, &said);
        }
        fates.into_iter().for_each(|fate| self.ledger.fate(fate));
    }

    /// A key of its own, held until the caller hangs up: then the lock is gone.
    async fn hold(&self, mut dice: Dice) {
        let (key, mut body) = (unique("hold"), json!({"ttlMs": self.lease_ms}));
        Mode::roll(&mut dice, &mut body);
        let call = self.any(&mut dice).call("POST", &format!("/v1/locks/{key}/hold"));
        let lines = call.json(&body).open().await;
        self.ledger.answer(format!("hold {}", lines.status));
        tokio::time::sleep(Duration::from_millis(dice.roll(1000))).await;
        drop(lines);
        self.ledger.fate(Fate::free(&key));
    }

    /// What keys of its own are renewed for.
    fn longer_ms(&self) -> u64 {
        self.lease_ms + 30_000
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
            (Said::Leases(leases), _) => Some(leases[0]),
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
                Said::Leases(leases) => {
                    let Lease { valid_for_ms, until_ms, .. } = leases[0];
                    held.until = held_from_now(&key, &holder, token, valid_for_ms, until_ms).until;
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
            if let Said::Leases(leases) = self.acquire(dice, key, Some(name), body).await {
                return Some(leases[0]);
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
        self.call(dice, "PUT", &format!("/v1/locks/{key}?token={token}"), &json!({"ttlMs": ttl_ms})).await
    }

    async fn call(&self, dice: &mut Dice, method: &str, path: &str, body: &Value) -> Said {
        let call = self.any(dice).call(method, path).json(body);
        let sent_ms = now_ms();
        self.hear(&call.send().await, sent_ms)
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
            let leases = content["leases"].as_array().map_or(std::slice::from_ref(&content), Vec::as_slice);
            return Said::Leases(leases.iter().map(|lease| self.lease(lease, sent_ms)).collect());
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

    /// A lease that a request got which was sent at `sent_ms`.
    fn lease(&self, told: &Value, sent_ms: i64) -> Lease {
        let until_ms = told["validUntil"].as_str().expect("a time").parse::<jiff::Timestamp>();
        let until_ms = until_ms.expect("RFC 3339").as_millisecond();
        let valid_for_ms = told["validForMs"].as_u64().expect("milliseconds");
        if sent_ms + i64::try_from(valid_for_ms).unwrap() > until_ms {
            self.ledger.wrong(format!("promised for longer than redis keeps it: {told}"));
        }
        Lease { token: told["token"].as_u64().expect("a token"), valid_for_ms, until_ms }
    }
}

/// What becomes of leases that were renewed together, by a request that was sent at `sent_ms`.
fn renewed(fates: &mut [Fate], said: Said, sent_ms: i64, ttl_ms: u64) {
    // Had it run any later than its answer, they would end later.
    let ttl_ms = i64::try_from(ttl_ms).unwrap();
    let ran_in_time = sent_ms + ttl_ms..=now_ms() + ttl_ms;
    for (number, fate) in fates.iter_mut().enumerate() {
        match &said {
            Said::Leases(leases) => fate.may_end = vec![leases[number].until_ms..=leases[number].until_ms],
            Said::Applied => fate.may_end = vec![ran_in_time.clone()],
            Said::Unknown => fate.may_end.push(ran_in_time.clone()),
            Said::NotApplied(_) => {}
            Said::Done => unreachable!("a renewal answers with its leases"),
        }
    }
}

/// What becomes of leases that were released together.
fn released(fates: &mut [Fate], said: &Said) {
    for fate in fates {
        match said {
            // Lost: right if Redis has lost its data, and seen to be wrong in the end if it has not.
            Said::Done => fate.may_be = vec![None],
            Said::Unknown => fate.may_be.push(None),
            _ => {}
        }
    }
}
