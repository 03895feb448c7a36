//! One that wants keys together, or one key alone.

use std::collections::VecDeque;
use std::rc::Rc;

use lockside::lock::model::queue::{Message, Word};
use lockside::lock::model::{Sending, record};
use lockside::lock::{Attempt, Claim, Key, Mode, Owner, Reentry, Token, Ttl};

use crate::redis::Reply;
use crate::world::{BEGIN_MS, Engine, Fault, TIMEOUT_MS, row, stored, text};

/// How long one that waits does so, and how often it looks at most and at a key that is free, as the queues have it.
const WAIT_MS: i64 = 4_000;
const LOOK_MS: i64 = 1_600;
const LOOK_AT_FREE_MS: i64 = 300;

/// One of the keys, and how it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leg {
    pub key: &'static str,
    pub mode: Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Wants {
    pub owner: &'static str,
    pub legs: &'static [Leg],
    pub ttl_ms: u64,
    pub attempts: u8,
    pub renewals: u8,
    /// Whether it stands in the queue of its only key.
    pub waits: bool,
}

/// A script that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub script: &'static str,
    pub args: Rc<[String]>,
    pub sent_ms: i64,
    /// Until when it may be run: then it does nothing any more, or is on its way no longer.
    pub latest_ms: i64,
    /// The sendings that it is to grant keys to.
    pub sendings: Vec<String>,
}

/// What a party counts on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    pub tokens: Vec<Token>,
    pub until_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    pub wants: &'static Wants,
    begun: u8,
    renewed: u8,
    /// An attempt is under way, until its deadline.
    pub under_way: bool,
    pub deadline_ms: i64,
    /// Its connection broke: what was sent may be run until then.
    pub overdue: Option<i64>,
    sendings: Vec<String>,
    /// Its entry in the queue, until when it waits there, and when it looks at that next.
    entry: String,
    until_ms: i64,
    pub look_at: Option<i64>,
    /// Its sidecar has crashed.
    pub has_crashed: bool,
    pub sent: VecDeque<Rc<Request>>,
    pub answers: VecDeque<(Rc<Request>, Reply)>,
    pub promise: Option<Promise>,
}

impl Party {
    pub fn new(wants: &'static Wants) -> Party {
        Party {
            wants,
            begun: 0,
            renewed: 0,
            under_way: false,
            deadline_ms: 0,
            overdue: None,
            sendings: Vec::new(),
            entry: String::new(),
            until_ms: 0,
            look_at: None,
            has_crashed: false,
            sent: VecDeque::new(),
            answers: VecDeque::new(),
            promise: None,
        }
    }

    /// The key of the queue that it stands in.
    pub fn key(&self) -> &'static str {
        self.wants.legs[0].key
    }

    pub fn is_idle(&self) -> bool {
        !self.under_way && self.overdue.is_none() && self.sent.is_empty() && self.answers.is_empty()
    }

    pub fn may_begin(&self) -> bool {
        self.is_idle() && !self.has_crashed && self.promise.is_none() && self.begun < self.wants.attempts
    }

    pub fn may_renew(&self) -> bool {
        self.is_idle() && !self.has_crashed && self.promise.is_some() && self.renewed < self.wants.renewals
    }

    /// Whether it was granted this, or offered, by this sending's name.
    pub fn sent_by(&self, sending: &str) -> bool {
        self.sendings.iter().any(|own| own == sending)
    }

    /// Whether this is its entry in the queue.
    pub fn stands_by(&self, entry: &str) -> bool {
        self.entry == entry
    }

    fn send(&mut self, now_ms: i64, script: &'static str, args: Vec<String>, sendings: Vec<String>) {
        let not_after_ms = BEGIN_MS + now_ms + TIMEOUT_MS - 1;
        let args = args.into_iter().chain([not_after_ms.to_string()]).collect();
        self.sent.push_back(Rc::new(Request { script, args, sent_ms: now_ms, latest_ms: not_after_ms, sendings }));
    }

    /// Looks at the queue, as a sidecar does by itself; what it sends for that has no end.
    fn look(&mut self, engine: &Engine, now_ms: i64) {
        self.look_at = None;
        let process = self.wants.owner.split('-').next().unwrap_or_default().to_owned();
        let further = [process, String::new(), self.entry.clone()];
        let args = Self::line(engine, self.key()).into_iter().chain(further).collect();
        let latest_ms = BEGIN_MS + now_ms + TIMEOUT_MS;
        let request = Request { script: "queue_advance", args, sent_ms: now_ms, latest_ms, sendings: Vec::new() };
        self.sent.push_back(Rc::new(request));
    }

    /// Its sidecar ends: what was sent may be run yet.
    pub fn crash(&mut self) -> Vec<Rc<Request>> {
        (self.has_crashed, self.under_way, self.overdue, self.look_at) = (true, false, None, None);
        self.answers.clear();
        self.sent.drain(..).collect()
    }

    /// What every script that may grant a key is given first.
    fn line(engine: &Engine, key: &str) -> Vec<String> {
        let key = Key::parse(key).expect("a key");
        let shard = key.shard();
        [key.as_str(), engine.space.number(shard), "0", engine.space.push(shard)].map(str::to_owned).to_vec()
    }

    pub fn begin(&mut self, engine: &Engine, now_ms: i64) {
        (self.begun, self.renewed, self.under_way, self.deadline_ms) = (self.begun + 1, 0, true, now_ms + TIMEOUT_MS);
        let Wants { owner, legs, ttl_ms, waits, .. } = self.wants;
        let sendings: Vec<Sending> = legs
            .iter()
            .enumerate()
            .map(|(at, leg)| {
                let ttl = Ttl::from_ms(*ttl_ms, u64::MAX).expect("a ttl");
                let attempt = Attempt::plain(Owner::system((*owner).to_owned()), ttl, Reentry::Refuse);
                Sending::of(&Attempt { mode: leg.mode, ..attempt }, format!("{owner}{}{at}", self.begun), owner)
            })
            .collect();
        self.sendings = sendings.iter().map(|sending| sending.id.clone()).collect();
        let ids = self.sendings.clone();
        if *waits {
            let Sending { id, further, .. } = &sendings[0];
            let (identity, nonce) = (sendings[0].identity(), sendings[0].nonce());
            let entry = format!("{owner}\n{id}\n{ttl_ms}\n{identity}\n{nonce}\n{further}");
            (self.entry, self.until_ms) = (entry.clone(), now_ms + WAIT_MS);
            let further = [entry, id.clone(), WAIT_MS.to_string(), String::new(), "refuse".to_owned()];
            let args = Self::line(engine, self.key()).into_iter().chain(further).collect();
            return self.send(now_ms, "queue_join", args, Vec::new());
        }
        let of_leg = |(leg, sending): (&Leg, &Sending)| {
            let ttl_ms = ttl_ms.to_string();
            let words = [sending.identity(), sending.nonce(), &sending.request, &ttl_ms, &sending.further, "refuse"];
            Self::line(engine, leg.key).into_iter().chain(words.map(str::to_owned)).collect::<Vec<_>>()
        };
        let args = legs.iter().zip(&sendings).flat_map(of_leg).collect();
        let script = match legs {
            [Leg { mode: Mode::Exclusive, .. }] => "acquire",
            [_] => "share",
            _ => "acquire_all",
        };
        self.send(now_ms, script, args, ids);
    }

    /// Undoes each leg by itself, as nothing says whether it was granted.
    fn undo(&mut self, engine: &Engine, now_ms: i64) {
        (self.under_way, self.look_at) = (false, None);
        let entry = std::mem::take(&mut self.entry);
        let identity = record::identity(&Owner::system(self.wants.owner.to_owned()));
        for (leg, id) in self.wants.legs.iter().zip(self.sendings.clone()) {
            if engine.plant.has(Fault::UndoesOneLeg) && leg.key != self.key() {
                continue;
            }
            let args = Self::line(engine, leg.key).into_iter().chain([identity.clone(), id, entry.clone()]).collect();
            self.send(now_ms, "undo", args, Vec::new());
        }
    }

    pub fn renew(&mut self, engine: &Engine, now_ms: i64) {
        self.renewed += 1;
        let Some(Promise { tokens, .. }) = self.promise.clone() else { return };
        let (claim, ttl_ms) = (record::claim(Claim::System), self.wants.ttl_ms.to_string());
        let of_leg = |(leg, token): (&Leg, Token)| {
            let push = engine.space.push(Key::parse(leg.key).expect("a key").shard());
            [leg.key, &token.to_string(), &claim, &ttl_ms, push, ""].map(str::to_owned)
        };
        let args = self.wants.legs.iter().zip(tokens).flat_map(of_leg).collect();
        self.send(now_ms, "renew_all", args, Vec::new());
    }

    pub fn release(&mut self, engine: &Engine, now_ms: i64) {
        let Some(Promise { tokens, .. }) = self.promise.take() else { return };
        for (leg, token) in self.wants.legs.iter().zip(tokens) {
            let further =
                [token.to_string(), record::claim(Claim::System), String::new(), String::new(), String::new()];
            let args = Self::line(engine, leg.key).into_iter().chain(further).collect();
            self.send(now_ms, "release", args, Vec::new());
        }
    }

    /// Takes its turn, or looks sooner.
    pub fn hear(&mut self, engine: &Engine, now_ms: i64, message: &str) {
        match Message::parse(message).map(|message| message.word) {
            Some(Word::Turn { id, token, .. }) if self.sent_by(&id) => self.take(engine, now_ms, token),
            Some(Word::Offer { left_ms }) => self.look_after(now_ms, left_ms),
            _ => {}
        }
    }

    fn take(&mut self, engine: &Engine, now_ms: i64, token: Token) {
        if !self.under_way
            || self.has_crashed
            || self.overdue.is_some()
            || self.sent.iter().any(|request| request.script == "renew")
        {
            return;
        }
        let push = engine.space.push(Key::parse(self.key()).expect("a key").shard());
        let identity = record::identity(&Owner::system(self.wants.owner.to_owned()));
        let (ttl_ms, id) = (self.wants.ttl_ms.to_string(), self.sendings[0].clone());
        let args = [self.key(), &token.to_string(), &identity, &ttl_ms, push, "take", &id, ""];
        self.look_at = None;
        self.send(now_ms, "renew", args.map(str::to_owned).to_vec(), Vec::new());
    }

    /// Looks when what it waits for has ended, or before.
    fn look_after(&mut self, now_ms: i64, left_ms: i64) {
        let pause_ms = if left_ms < 0 { LOOK_AT_FREE_MS } else { (left_ms + 3).min(LOOK_MS) };
        if self.under_way && !self.has_crashed {
            self.look_at = Some(self.look_at.map_or(now_ms + pause_ms, |at| at.min(now_ms + pause_ms)));
        }
    }

    pub fn answer(&mut self, engine: &Engine, now_ms: i64, request: &Request, reply: &Reply) {
        let (word, rest) = row(reply);
        let until_ms = request.sent_ms + i64::try_from(self.wants.ttl_ms).expect("a short ttl");
        let promised = match (request.script, word) {
            ("acquire" | "share", "granted") => Some(vec![token(rest)]),
            ("acquire_all", "granted") => Some(rest.iter().map(|leg| token(row(leg).1)).collect()),
            ("renew", "renewed") => Some(vec![stored(rest).map(|found| token_of(&found.text)).expect("a lease")]),
            ("renew_all", "renewed") => self.promise.as_ref().map(|promise| promise.tokens.clone()),
            ("queue_join" | "queue_advance", _) => return self.waits_on(engine, now_ms, word, rest),
            _ => None,
        };
        if let Some(tokens) = promised {
            (self.promise, self.under_way, self.look_at) = (Some(Promise { tokens, until_ms }), false, None);
        } else if ["acquire", "share", "acquire_all"].contains(&request.script) {
            self.under_way = false;
        } else if request.script == "renew" {
            // The offer had lapsed: it leaves, and comes back no more.
            self.undo(engine, now_ms);
        } else if request.script == "renew_all" {
            self.promise = None;
        }
    }

    /// What it was told of the queue that it waits in.
    fn waits_on(&mut self, engine: &Engine, now_ms: i64, word: &str, rest: &[Reply]) {
        let number = |reply: &Reply| text(reply).parse().unwrap_or(-1);
        match (word, rest) {
            ("turn", [token, ..]) => {
                self.take(engine, now_ms, text(token).parse().ok().and_then(Token::new).expect("a token"))
            }
            ("waiting", [_, left_ms]) | ("free", [left_ms, ..]) => self.look_after(now_ms, number(left_ms)),
            ("held", [lease, _, left_ms, ..]) | ("shared", [lease, _, _, left_ms, ..]) => {
                let is_its = self.sendings.iter().any(|id| text(lease).contains(&format!("\"{id}\"")));
                match lease {
                    Reply::Bulk(lease) if is_its => self.take(engine, now_ms, token_of(lease)),
                    _ => self.look_after(now_ms, number(left_ms)),
                }
            }
            _ => self.look_after(now_ms, LOOK_MS),
        }
    }

    pub fn next_due(&self) -> Option<i64> {
        let waits_until = (self.under_way && self.wants.waits && self.overdue.is_none()).then_some(self.until_ms);
        let promised = self.promise.as_ref().map(|promise| promise.until_ms);
        [self.overdue, self.look_at, waits_until, promised].into_iter().flatten().min()
    }

    pub fn due(&mut self, engine: &Engine, now_ms: i64) {
        if self.promise.as_ref().is_some_and(|promise| now_ms >= promise.until_ms) {
            self.promise = None;
        }
        let is_over = self.under_way && self.wants.waits && self.overdue.is_none() && now_ms >= self.until_ms;
        if is_over || self.overdue.is_some_and(|overdue| now_ms >= overdue) {
            self.overdue = None;
            self.undo(engine, now_ms);
        } else if self.look_at.is_some_and(|at| now_ms >= at) {
            self.look(engine, now_ms);
        }
    }
}

fn token(row: &[Reply]) -> Token {
    let of_text = |text: String| text.parse().ok().and_then(Token::new);
    match row {
        [Reply::Bulk(lease), ..] if lease.starts_with(b"{") => token_of(lease),
        [token, ..] => of_text(text(token)).expect("a token"),
        [] => panic!("no token"),
    }
}

fn token_of(lease: &[u8]) -> Token {
    let text = String::from_utf8_lossy(lease);
    let digits = text.split_once("\"token\":\"").and_then(|(_, behind)| behind.split('"').next());
    digits.and_then(|digits| digits.parse().ok()).and_then(Token::new).expect("a token")
}
