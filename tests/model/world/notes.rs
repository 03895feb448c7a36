//! What a world notes of what happened, for its properties.

use std::collections::{BTreeMap, BTreeSet};

use lockside::lock::{Mode, Token};

use super::attempt::Course;
use super::network::Request;
use super::sidecar::row;
use super::{Client, Engine, Held, Sidecar, TIMEOUT_MS, World};
use crate::properties::{EXCLUSIVE, FREE_IN_TROUBLE_MS, ORDER, PLACES, TOKENS, Violation};
use crate::redis::{Reply, Value};

/// Tokens that have the same sequence: one of each shard.
const TOKENS_A_SEQUENCE: u64 = 64;

/// What the first of those who wait need not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// The key is free, or on offer to none.
    Whole,
    /// Leases share it, and there is room beside them.
    Beside,
    /// Likewise, behind a waiter whose sidecar does nothing.
    BehindOneThatDoesNothing,
}

impl World {
    /// Notes what changed.
    pub(super) fn note(&mut self, engine: &Engine) {
        self.note_grants(engine);
        self.note_terms();
        self.note_lapsed(engine);
        // From its first position on a client waits, also while it joins again.
        let is_waited_for = self.clients.iter().any(|client| self.is_live(client, |course| course.position.is_some()));
        let room = self.room(engine).filter(|_| is_waited_for);
        // A waiter that does nothing keeps others from a key that leases share, until it is taken for dead; and is offered the key
        // where they end before: each costs its own time.
        if self.room == Some(Room::BehindOneThatDoesNothing) && room == Some(Room::Whole) {
            self.free_since = None;
        }
        self.free_since = room.and(self.free_since.or(Some(self.now_ms)));
        self.room = room;
        self.note_quiet();
    }

    /// Notes which sidecars let an offer lapse: its mark is found without its lease.
    fn note_lapsed(&mut self, engine: &Engine) {
        let mut marks = self.offers(engine);
        marks.retain(|(token, _)| !self.held.iter().any(|held| held.token.get() == *token));
        for (token, sidecar) in &marks {
            if let Some(&Sidecar { name, .. }) = self.sidecars.iter().find(|other| other.name == *sidecar)
                && !self.lapsed_marks.contains(token)
            {
                self.lapsed.insert(name);
                if !self.is_excused(name) && self.broken.is_none() {
                    let how = format!("the offer of {token} to {name} lapsed, and its mark stands in the queue");
                    self.broken = Some(Violation { property: PLACES, how });
                }
            }
        }
        if !self.lapsed.is_empty() {
            let entries = self.entries(engine);
            let is_over =
                |name: &&str| !marks.iter().any(|(_, sidecar)| sidecar == name) && self.is_caught_up(name, &entries);
            let over: Vec<_> = self.lapsed.iter().copied().filter(|name| is_over(name)).collect();
            self.lapsed.retain(|name| !over.contains(name));
        }
        self.lapsed_marks = marks.into_iter().map(|(token, _)| token).collect();
    }

    /// Whether what a sidecar sends, or hears, may be lost, or come too late.
    fn is_excused(&self, name: &str) -> bool {
        self.cut_off.contains(name) || self.held_up.contains(name)
    }

    /// Whether all who wait at a sidecar are back in the queue, and none that overtook them is yet to be told.
    fn is_caught_up(&self, name: &str, entries: &[String]) -> bool {
        let mut courses = self.clients.iter().filter_map(|client| Some((client, client.course.as_deref()?)));
        courses.all(|(client, course)| {
            let is_there = course.position.is_none() || entries.contains(&course.entry);
            if self.sidecars[client.sidecar].name == name { is_there } else { !self.is_served(course) }
        })
    }

    /// Whether a lease lies there that this attempt was granted, or is offered.
    fn is_served(&self, course: &Course) -> bool {
        self.held.iter().any(|held| held.sendings().any(|sending| sending == course.sending.id))
    }

    /// Notes whether a trouble goes on, or what followed the last one is over.
    fn note_quiet(&mut self) {
        let Some(at_ms) = self.troubled_ms else { return };
        let goes_on = |Sidecar { connection, is_frozen, undos, .. }: &Sidecar| {
            *is_frozen || connection.is_in_trouble() || !undos.is_empty()
        };
        if self.is_full || !self.late.is_empty() || self.sidecars.iter().any(goes_on) {
            self.troubled_ms = Some(self.now_ms);
        } else if self.free_since.is_none() && self.now_ms > at_ms + FREE_IN_TROUBLE_MS {
            self.troubled_ms = None;
            // What was offered in the trouble has lapsed, too.
            self.cut_off.clear();
            self.held_up.clear();
        }
    }

    /// Whether a client is there that has an attempt of this kind under way, at a sidecar that does something.
    fn is_live(&self, client: &Client, is_of_this_kind: impl Fn(&Course) -> bool) -> bool {
        let Sidecar { is_frozen, connection, .. } = &self.sidecars[client.sidecar];
        !client.is_gone && !is_frozen && !connection.is_stalled && client.course.as_deref().is_some_and(is_of_this_kind)
    }

    /// A client was promised the key from its position in the queue: none that waits stood before it when it was granted.
    pub(super) fn check_order(&mut self, client: usize, course: &Course) {
        let number = |position: &str| position.parse::<u64>().ok();
        let (Some(own), beside) = (course.position.as_deref().and_then(number), &course.beside) else { return };
        // Who came to a queue that was lost cannot know of those who were in it. And by a clock that was set back, too, Redis
        // gives their positions again.
        let is_of_the_lost = |position: u64| position <= self.last_known;
        let are_of_one_queue = |before| is_of_the_lost(before) == is_of_the_lost(own);
        if self.behind_ms > 0 && !self.has_its_data {
            return;
        }
        // Who stood in a queue that was lost comes back before any of them is served, where nothing keeps its sidecar from it.
        let came_back = |one, other: usize| {
            let is_kept = self.is_excused(self.sidecars[self.clients[other].sidecar].name);
            !is_kept && [one, other].iter().all(|client| self.lost.waiting.contains(client))
        };
        let mut overtaken = None;
        for (at, other) in self.clients.iter().enumerate() {
            let Some(course) = other.course.as_deref().filter(|course| at != client && course.is_waiting()) else {
                continue;
            };
            if let Some(before) = course.position.as_deref().and_then(number).filter(|before| *before < own)
                && are_of_one_queue(before)
                && !other.is_gone
                && !course.was_forced
                && !self.lapsed.contains(self.sidecars[other.sidecar].name)
                && (beside.contains(&at) || came_back(client, at) && !self.is_served(course))
            {
                let how =
                    format!("{} had the position {before}, and {} has {own}", other.owner, self.clients[client].owner);
                overtaken = Some(Violation { property: ORDER, how });
            }
        }
        self.broken = self.broken.take().or(overtaken);
    }

    /// What was on offer to a client, or granted and not told yet, is force-released.
    pub(super) fn note_forced(&mut self, held: &Held) {
        for course in self.clients.iter_mut().filter_map(|client| client.course.as_deref_mut()) {
            course.was_forced |= held.by.split([' ', '+']).any(|sending| sending == course.sending.id);
        }
    }

    /// What an acquire is answered: it is granted a key only that no client waits for. `standing`: of the entries that are
    /// there now, those that were there before it, where others have come since.
    pub(super) fn check_grant(&mut self, engine: &Engine, reply: &Reply, standing: Option<&[String]>) {
        if row(reply).0 == "granted"
            && let Some(entry) =
                self.entries(engine).iter().find(|entry| standing.is_none_or(|standing| standing.contains(entry)))
        {
            let how = format!("an acquire is granted the key while {entry:?} stands in the queue");
            self.broken = Some(Violation { property: ORDER, how });
        }
    }

    /// What was run after its sidecar had given it up may run behind its undo: by a clock that was set back it is in time.
    pub(super) fn note_late(&mut self, request: &Request) {
        if self.behind_ms > 0 && self.now_ms >= request.sent_ms + TIMEOUT_MS {
            self.run_late.extend(request.sending().map(str::to_owned));
        }
    }

    /// A token is above all that the sidecar had been shown that asked, also where Redis has forgotten them.
    pub(super) fn check_floor(&mut self, request: &Request, granted: &[Token]) {
        if let Some(token) = granted.iter().find(|token| token.sequence() <= request.shown)
            && self.broken.is_none()
        {
            let how =
                format!("the lease {token} is not above the sequence {} that its sidecar had seen", request.shown);
            self.broken = Some(Violation { property: TOKENS, how });
        }
    }

    /// The leases that were not there before.
    pub(super) fn new_leases(&self, engine: &Engine) -> Vec<Held> {
        let mut leases = self.leases(engine);
        leases.retain(|one| !self.held.iter().any(|old| old.token == one.token && old.attempt == one.attempt));
        leases
    }

    /// Notes the leases that were not there before.
    fn note_grants(&mut self, engine: &Engine) {
        let new = self.new_leases(engine);
        if !new.is_empty() {
            self.note_beside(engine, &new);
        }
        for Held { token, mode, .. } in &new {
            let must_rise = self.has_its_data || self.first_sequence() > self.highest / TOKENS_A_SEQUENCE;
            if token.get() <= self.highest && must_rise && self.broken.is_none() {
                let how = format!("the lease {token} came after {}", self.highest);
                self.broken = Some(Violation { property: TOKENS, how });
            }
            self.highest = self.highest.max(token.get());
            let beside = self.beside(*token);
            let most = mode.limit().map_or(usize::MAX, usize::from);
            let is_right = match mode {
                Mode::Exclusive => beside.is_empty(),
                Mode::Shared { .. } => beside.len() < most && beside.values().all(|mode| *mode != Mode::Exclusive),
            };
            if !is_right && self.broken.is_none() {
                let how = format!("the lease {token}, {mode:?}, is granted beside {beside:?}");
                self.broken = Some(Violation { property: EXCLUSIVE, how });
            }
        }
        self.held = self.leases(engine);
    }

    /// Notes who stands in the queue behind these grants.
    fn note_beside(&mut self, engine: &Engine, granted: &[Held]) {
        let entries = self.entries(engine);
        let stands = |client: &Client| client.course.as_deref().is_some_and(|course| entries.contains(&course.entry));
        let beside: BTreeSet<usize> = (0..self.clients.len()).filter(|at| stands(&self.clients[*at])).collect();
        for course in self.clients.iter_mut().filter_map(|client| client.course.as_deref_mut()) {
            let id = &course.sending.id;
            if granted.iter().any(|held| held.sendings().any(|sending| sending == id)) {
                course.beside.clone_from(&beside);
            }
        }
    }

    /// The other leases that are counted on, or whose terms keep the key: how, by their tokens.
    fn beside(&self, token: Token) -> BTreeMap<u64, Mode> {
        let promises = self.clients.iter().filter_map(|client| client.promise.as_ref());
        let promises = promises.filter(|promise| promise.until_ms > self.now_ms && !promise.is_lost);
        let taken = self.taken.iter().filter(|(_, (_, until_ms))| *until_ms > self.now_ms);
        let all = promises.map(|promise| (promise.token.get(), promise.mode));
        all.chain(taken.map(|(token, (mode, _))| (*token, *mode))).filter(|(other, _)| *other != token.get()).collect()
    }

    /// Whether the first of those who wait need not wait.
    fn room(&self, engine: &Engine) -> Option<Room> {
        if self.is_free(engine) {
            return Some(Room::Whole);
        }
        let entries = self.entries(engine);
        let mut held = self.held.clone();
        held.retain(|held| !self.is_offered_to_none(engine, held));
        if held.is_empty() {
            return Some(Room::Whole);
        }
        // One whose sidecar is not there keeps none from a key that leases share.
        let is_there =
            |entry: &&String| self.clients.iter().any(|client| self.is_live(client, |course| course.entry == **entry));
        let first = entries.iter().find(is_there)?;
        let is_shared = held.iter().all(|held| held.mode != Mode::Exclusive);
        let room = if entries.first() == Some(first) { Room::Beside } else { Room::BehindOneThatDoesNothing };
        (is_shared && held.len() < limit_of(first)?).then_some(room)
    }

    /// Whether a lease is on offer to a waiter that has gone, or that does nothing.
    fn is_offered_to_none(&self, engine: &Engine, held: &Held) -> bool {
        let is_told = |course: &Course| held.by.split([' ', '+']).any(|sending| sending == course.sending.id);
        self.is_on_offer(engine, held.token) && !self.clients.iter().any(|client| self.is_live(client, is_told))
    }

    fn queue(&self, engine: &Engine) -> Vec<String> {
        let stored = self.redis.peek(engine.space.queue(&engine.key).as_bytes());
        match stored.map(|stored| &stored.value) {
            Some(Value::Zset(zset)) => {
                zset.iter().map(|(member, _)| String::from_utf8_lossy(member).into_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The waiters in the queue in Redis, without its marks.
    pub fn entries(&self, engine: &Engine) -> Vec<String> {
        let is_mark = |entry: &str| ["offer\n", "rejoin\n", "alive\n"].iter().any(|mark| entry.starts_with(mark));
        self.queue(engine).into_iter().filter(|entry| !is_mark(entry)).collect()
    }

    /// The offers that are marked in the queue: of which lease, and to which sidecar.
    pub fn offers(&self, engine: &Engine) -> Vec<(u64, String)> {
        let marks = self.queue(engine);
        let offer = |mark: &String| {
            let (token, sidecar) = mark.strip_prefix("offer\n")?.split_once('\n')?;
            Some((token.parse().ok()?, sidecar.to_owned()))
        };
        marks.iter().filter_map(offer).collect()
    }

    pub fn is_on_offer(&self, engine: &Engine, token: Token) -> bool {
        self.offers(engine).iter().any(|(offered, _)| *offered == token.get())
    }

    /// The first sequence of this millisecond, by Redis's clock: a token is drawn from none before it.
    fn first_sequence(&self) -> u64 {
        const YEAR_2025_MS: i64 = 1_735_689_600_000;
        u64::try_from(self.clock_ms() - YEAR_2025_MS).map_or(0, |ms| ms * 64)
    }

    /// The last sequence that Redis gave, as far as it knows.
    pub(super) fn highest_sequence(&self, engine: &Engine) -> u64 {
        u64::try_from(self.last_token(engine)).map_or(0, |token| token / TOKENS_A_SEQUENCE)
    }

    /// The last token that Redis granted, as far as it knows.
    pub(super) fn last_token(&self, engine: &Engine) -> i64 {
        let tokens = self.redis.peek(engine.space.tokens(engine.key.shard()));
        match tokens.map(|stored| &stored.value) {
            Some(Value::Zset(zset)) => zset.score(b"\xff").unwrap_or(0),
            _ => 0,
        }
    }
}

/// How many may share the key where this entry's request is to be granted; `None`: it wants the key alone.
fn limit_of(entry: &str) -> Option<usize> {
    let further = entry.lines().nth(5)?.strip_prefix(",\"mode\":\"shared\"")?;
    let limit = further.strip_prefix(",\"limit\":\"").and_then(|text| text.split('"').next()?.parse().ok());
    Some(limit.unwrap_or(usize::MAX))
}
