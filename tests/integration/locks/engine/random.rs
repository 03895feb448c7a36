//! Random interleavings: a few callers of two sidecars on one Redis, with everything going wrong that leaves Redis its
//! data, and a checker over all that they were promised. `ENGINE_SECONDS` makes it longer, `ENGINE_SEED` different.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{World, path, promised};
use crate::harness::history::{Held, History, Mode};
use crate::harness::http::Lines;
use crate::harness::{Answer, Dice, Fault, Proxy, TestRedis, eventually, unique};

const CALLERS: u64 = 16;
const KEYS: u64 = 4;
/// Longer than any wait and any silence of a sidecar together: then the caller hangs up.
const PATIENCE: Duration = Duration::from_secs(6);

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_promises_overlap_and_tokens_rise_whatever_callers_sidecars_and_connections_do() {
    let (seconds, seed) = (setting("ENGINE_SECONDS", 10), setting("ENGINE_SEED", 1));
    let (redis, mut world) = (TestRedis::alone(), World::new());
    let proxy = Proxy::start(redis);
    world.add(&proxy.url(), &["--redis-timeout=500ms"]).await;
    world.add(&redis.url(), &[]).await;
    let begun = Instant::now();
    let model = Model { world, begun, history: History::default(), lines: Mutex::default(), wrong: Mutex::default() };
    let end = begun + Duration::from_secs(seconds);

    let callers = (0..CALLERS).map(|number| model.calls(seed * 1000 + number, end));
    tokio::join!(join_all(callers), model.troubles(&proxy, seed, end));

    println!("{} promises in {seconds} s", model.history.len());
    assert!(model.history.len() as u64 > 5 * seconds, "only {} promises", model.history.len());
    let faults = model.history.faults();
    model.print_those_in(&format!("{faults:?}"));
    let wrong = std::mem::take(&mut *model.wrong.lock().unwrap());
    assert!(faults.is_empty() && wrong.is_empty(), "seed {seed}: {faults:#?} {wrong:#?}");
    model.nothing_is_left(redis).await;
}

struct Model {
    world: World,
    begun: Instant,
    history: History,
    /// What is in the history, by its token.
    lines: Mutex<Vec<(u64, String)>>,
    /// What no caller should be told.
    wrong: Mutex<Vec<String>>,
}

/// What an owner was told of a key in one round.
struct Claims {
    key: String,
    owner: String,
    told: Vec<Held>,
}

impl Claims {
    fn add(&mut self, lease: &Value, token: &Value) {
        let (from, until) = (Instant::now(), promised(lease));
        let (key, holder) = (self.key.clone(), self.owner.clone());
        let token = token.as_u64().expect("a token");
        self.told.push(Held { key, holder, token, from, until: until.max(from), mode: Mode::Alone });
    }

    /// The owner relies on nothing that ends later.
    fn cap(&mut self, until: Instant) {
        self.told.iter_mut().for_each(|held| held.until = held.until.min(until).max(held.from));
    }

    fn token(&self) -> Option<u64> {
        self.told.last().map(|held| held.token)
    }

    /// Until when it relies on the lease `token`.
    fn until(&self, token: u64) -> Option<Instant> {
        self.told.iter().filter(|held| held.token == token).map(|held| held.until).max()
    }
}

impl Model {
    async fn calls(&self, seed: u64, end: Instant) {
        let mut dice = Dice(seed);
        for round in 0.. {
            if Instant::now() > end {
                return;
            }
            let (key, kind) = (self.world.key_of(&dice.roll(KEYS).to_string()), dice.roll(4));
            let owner = format!("{}-{seed}-{round}", ["hold", "twice", "acquire", "acquire"][kind as usize]);
            let mut claims = Claims { key, owner, told: Vec::new() };
            match kind {
                0 => self.holds(&mut dice, &mut claims).await,
                1 => self.sends_twice(&mut dice, &mut claims).await,
                _ => self.acquires(&mut dice, &mut claims).await,
            }
            claims.told.into_iter().for_each(|held| self.record(held));
            tokio::time::sleep(Duration::from_millis(dice.roll(10))).await;
        }
    }

    /// Writes down a stretch, for the checker, and for whoever reads what it found.
    fn record(&self, held: Held) {
        let ms = |at: Instant| at.duration_since(self.begun).as_millis();
        let line =
            format!("{} {}: {} from {} until {} ms", held.key, held.token, held.holder, ms(held.from), ms(held.until));
        self.lines.lock().unwrap().push((held.token, line));
        self.history.add(held);
    }

    fn print_those_in(&self, faults: &str) {
        for (token, line) in self.lines.lock().unwrap().iter() {
            if faults.contains(&token.to_string()) {
                println!("{line}");
            }
        }
    }

    fn says(&self, wrong: String) {
        self.wrong.lock().unwrap().push(wrong);
    }

    /// What a round asks for.
    fn body(dice: &mut Dice, claims: &Claims) -> Value {
        let ttl_ms = [150, 400, 1000, 2500][dice.roll(4) as usize];
        let wait_ms = [0, 100, 800, 2500][dice.roll(4) as usize];
        json!({"ttlMs": ttl_ms, "waitMs": wait_ms, "owner": claims.owner})
    }

    async fn send(&self, at: usize, claims: &Claims, name: Option<&str>, body: &Value) -> Option<Answer> {
        let mut call = self.world.sidecars[at].call("POST", &path(&claims.key)).json(body);
        if let Some(name) = name {
            call = call.header("idempotency-key", name);
        }
        tokio::time::timeout(PATIENCE, call.try_send()).await.ok()?.ok()
    }

    /// Writes down what an acquire was told.
    fn hear(&self, claims: &mut Claims, answer: Option<Answer>) {
        let Some(answer) = answer else { return };
        match answer.status {
            200 | 201 => claims.add(&answer.json(), &answer.json()["token"]),
            409 | 503 | 504 => {}
            status => self.says(format!("{status}: {}", answer.text())),
        }
    }

    /// One sending, perhaps given up and repeated; then perhaps a renewal, another entry, and a release.
    async fn acquires(&self, dice: &mut Dice, claims: &mut Claims) {
        let (at, name) = (dice.roll(2) as usize, (dice.roll(2) == 0).then(|| unique("attempt")));
        let mut body = Model::body(dice, claims);
        body["reentrant"] = json!(dice.roll(2) == 0);
        let patience = if dice.roll(4) == 0 { Duration::from_millis(dice.roll(80)) } else { PATIENCE };
        let answer = tokio::time::timeout(patience, self.send(at, claims, name.as_deref(), &body)).await;
        self.hear(claims, answer.ok().flatten());
        if claims.told.is_empty() && name.is_some() && dice.roll(2) == 0 {
            let again = self.send(dice.roll(2) as usize, claims, name.as_deref(), &body).await;
            self.hear(claims, again);
        }
        match dice.roll(4) {
            0 => self.renews(dice, claims).await,
            1 => self.enters(dice, claims).await,
            _ => {}
        }
        self.ends(dice, claims).await;
    }

    /// Two sendings of one attempt at once, one at each sidecar.
    async fn sends_twice(&self, dice: &mut Dice, claims: &mut Claims) {
        let (name, body) = (unique("attempt"), Model::body(dice, claims));
        let patience = [PATIENCE, Duration::from_millis(dice.roll(600))][dice.roll(2) as usize];
        let one = tokio::time::timeout(patience, self.send(0, claims, Some(&name), &body));
        let two = self.send(1, claims, Some(&name), &body);
        // Told when it comes, not when both are there.
        let told = Mutex::new(Claims { key: claims.key.clone(), owner: claims.owner.clone(), told: Vec::new() });
        tokio::join!(
            async {
                let answer = one.await.ok().flatten();
                self.hear(&mut told.lock().unwrap(), answer);
            },
            async {
                let answer = two.await;
                self.hear(&mut told.lock().unwrap(), answer);
            }
        );
        claims.told = told.into_inner().unwrap().told;
        self.ends(dice, claims).await;
    }

    async fn renews(&self, dice: &mut Dice, claims: &mut Claims) {
        let Some(token) = claims.token() else { return };
        let ttl_ms = [700, 2000][dice.roll(2) as usize];
        let put = format!("{}?token={token}", path(&claims.key));
        let call = self.world.sidecars[dice.roll(2) as usize].call("PUT", &put).json(&json!({"ttlMs": ttl_ms}));
        let before = claims.until(token);
        // It may shorten the lease, whatever becomes of its answer.
        claims.cap(Instant::now() + Duration::from_millis(ttl_ms * 99 / 100 - 2));
        let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, call.try_send()).await else { return };
        match answer.status {
            200 => claims.add(&answer.json(), &json!(token)),
            410 if Some(Instant::now()) < before => self.says(format!("{}: {token} was lost early", claims.key)),
            410 | 503 | 504 => {}
            status => self.says(format!("{status}: {}", answer.text())),
        }
    }

    async fn enters(&self, dice: &mut Dice, claims: &mut Claims) {
        if claims.told.is_empty() {
            return;
        }
        let body = json!({"ttlMs": 2000, "owner": claims.owner, "reentrant": true});
        let answer = self.send(dice.roll(2) as usize, claims, None, &body).await;
        self.hear(claims, answer);
    }

    /// Works, and releases or lets it expire.
    async fn ends(&self, dice: &mut Dice, claims: &mut Claims) {
        tokio::time::sleep(Duration::from_millis(dice.roll(30))).await;
        let Some(token) = claims.token() else { return };
        if dice.roll(6) == 0 {
            return;
        }
        let before = claims.until(token);
        claims.cap(Instant::now());
        let delete = format!("{}?token={token}", path(&claims.key));
        let call = self.world.sidecars[dice.roll(2) as usize].call("DELETE", &delete);
        let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, call.try_send()).await else { return };
        match answer.status {
            410 if Some(Instant::now()) < before => self.says(format!("{}: {token} was lost early", claims.key)),
            204 | 410 | 503 | 504 => {}
            status => self.says(format!("{status}: {}", answer.text())),
        }
    }

    async fn opens(&self, at: usize, claims: &mut Claims, name: Option<&str>, body: &Value) -> Option<Lines> {
        let mut call = self.world.sidecars[at].call("POST", &format!("{}/hold", path(&claims.key))).json(body);
        if let Some(name) = name {
            call = call.header("idempotency-key", name);
        }
        let mut lines = tokio::time::timeout(PATIENCE, call.open()).await.ok()?;
        if lines.status != 200 {
            return None;
        }
        let first = tokio::time::timeout(PATIENCE, lines.next()).await.ok()??;
        claims.add(&first, &first["token"]);
        Some(lines)
    }

    /// A hold; perhaps another one of the same attempt, or an acquire of its owner, beside it.
    async fn holds(&self, dice: &mut Dice, claims: &mut Claims) {
        let name = (dice.roll(2) == 0).then(|| unique("attempt"));
        let (at, body) = (dice.roll(2) as usize, Model::body(dice, claims));
        let Some(mut lines) = self.opens(at, claims, name.as_deref(), &body).await else { return };
        let mut is_told_elsewhere = false;
        self.reads(dice, claims, &mut lines, &mut is_told_elsewhere).await;
        match dice.roll(3) {
            0 if name.is_some() => {
                is_told_elsewhere = true;
                let again = self.opens(dice.roll(2) as usize, claims, name.as_deref(), &body).await;
                // The older one ends first, or at its own time.
                if let Some(mut newer) = again {
                    if dice.roll(2) == 0 {
                        drop(lines);
                        self.reads(dice, claims, &mut newer, &mut is_told_elsewhere).await;
                    } else {
                        self.reads(dice, claims, &mut newer, &mut is_told_elsewhere).await;
                        drop(lines);
                    }
                    claims.cap(Instant::now());
                    return;
                }
            }
            1 => {
                is_told_elsewhere = true;
                self.enters(dice, claims).await;
                self.reads(dice, claims, &mut lines, &mut is_told_elsewhere).await;
            }
            _ => {}
        }
        claims.cap(Instant::now());
        drop(lines);
        self.ends(dice, claims).await;
    }

    /// Reads a hold for a while.
    async fn reads(&self, dice: &mut Dice, claims: &mut Claims, lines: &mut Lines, is_told_elsewhere: &mut bool) {
        let end = Instant::now() + Duration::from_millis(dice.roll(900));
        let Some(token) = claims.token() else { return };
        while let Ok(Some(line)) = tokio::time::timeout_at(end.into(), lines.next()).await {
            match line["event"].as_str() {
                Some("renewed") => claims.add(&line, &json!(token)),
                Some("lost") => {
                    let reason = line["reason"].as_str().unwrap_or_default();
                    let expected: &[&str] = if *is_told_elsewhere { &["superseded"] } else { &["redis", "expired"] };
                    if !expected.contains(&reason) && !["redis", "expired"].contains(&reason) {
                        self.says(format!("{}: {line}", claims.key));
                    }
                    // What another request of this owner was told stays, where this one is only superseded.
                    if !*is_told_elsewhere {
                        claims.cap(Instant::now());
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    /// What goes wrong, one thing after another: a sidecar stands still, or the way to Redis loses or delays what passes.
    async fn troubles(&self, proxy: &Proxy, seed: u64, end: Instant) {
        let mut dice = Dice(seed);
        let pause = async |ms: u64| tokio::time::sleep(Duration::from_millis(ms)).await;
        while Instant::now() < end {
            match dice.roll(8) {
                0 | 1 => {
                    let frozen = &self.world.sidecars[dice.roll(2) as usize];
                    frozen.signal("STOP");
                    pause(50 + dice.roll(1900)).await;
                    frozen.signal("CONT");
                }
                2 => {
                    proxy.set(Fault::HoldReplies);
                    pause(dice.roll(700)).await;
                }
                3 => {
                    proxy.set(Fault::SwallowReplies);
                    pause(dice.roll(700)).await;
                }
                4 => {
                    proxy.set(Fault::HoldRequests);
                    pause(dice.roll(700)).await;
                    proxy.half_open();
                    proxy.set(Fault::None);
                    pause(dice.roll(1500)).await;
                    proxy.deliver_late();
                }
                5 => proxy.cut(),
                _ => {
                    proxy.set(Fault::DelayReplies(Duration::from_millis(dice.roll(200))));
                    pause(dice.roll(1000)).await;
                }
            }
            proxy.mend();
            pause(dice.roll(400)).await;
        }
    }

    /// Every key is free in the end, and every place given up.
    async fn nothing_is_left(&self, redis: &TestRedis) {
        let keys =
            |kind: &str| -> Vec<String> { redis.ask("KEYS", &[&format!("{{{}:*}}:{kind}:*", self.world.prefix)]) };
        eventually("no lock is left", Duration::from_secs(10), async || keys("lock").is_empty()).await;
        eventually("no place is left", Duration::from_secs(5), async || keys("queue").is_empty()).await;
        for number in 0..KEYS {
            for at in 0..2 {
                let key = self.world.key_of(&number.to_string());
                let token = self.world.held_of(at, &key, 1000).await;
                self.world.release_of(at, &key, token).await;
            }
        }
    }
}
