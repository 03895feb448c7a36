//! The accounts of all callers, and whose lease a token is. Knows callers by their names alone.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::Name;
use super::account::Account;
use super::place::{Id, Lived, Place};
use crate::lock::{Attempt, Key, Lease, Owner, Token};

/// Accounts, and places of an account, above which those are looked for that count nothing any more.
pub const FEW: usize = 64;

#[derive(Default)]
pub struct Ledger {
    pub accounts: HashMap<Arc<Name>, Account>,
    /// Whose lease a token is, and of which attempt.
    tokens: HashMap<Token, (Arc<Name>, Id)>,
    /// At so many accounts those that count nothing are dropped.
    sweep_at: usize,
    hashes: RandomState,
    unnamed: u64,
}

impl Ledger {
    pub fn account(&mut self, name: &Arc<Name>) -> &mut Account {
        if self.accounts.len() >= self.sweep_at.max(FEW) && !self.accounts.contains_key(name) {
            let now = Instant::now();
            let names: Vec<Arc<Name>> = self.accounts.keys().cloned().collect();
            names.iter().for_each(|name| self.expire(name, now));
            self.accounts.retain(|_, account| account.counts_anything(now));
            self.sweep_at = self.accounts.len() * 2;
        }
        self.accounts.entry(Arc::clone(name)).or_default()
    }

    /// The attempt for these keys.
    pub fn id_of<'a>(&mut self, keys: impl Iterator<Item = &'a Key>, attempt: &Attempt) -> Id {
        let Some(name) = &attempt.name else { return self.unnamed() };
        let mut hasher = self.hashes.build_hasher();
        keys.for_each(|key| key.hash(&mut hasher));
        (self.owner_of(&attempt.owner), name).hash(&mut hasher);
        Id::Named(hasher.finish())
    }

    /// An attempt that is none of those before.
    pub fn unnamed(&mut self) -> Id {
        self.unnamed += 1;
        Id::Unnamed(self.unnamed)
    }

    /// A hash of what tells an owner from others.
    pub fn owner_of(&self, owner: &Owner) -> u64 {
        self.hashes.hash_one((owner.kind, &owner.id, &owner.credential))
    }

    /// How many locks a caller has or asks for. Expired ones are only looked for where they decide.
    pub fn locks(&mut self, name: &Arc<Name>, max: u64, now: Instant) -> u64 {
        if self.account(name).locks() >= max {
            self.expire(name, now);
        }
        self.account(name).locks()
    }

    fn expire(&mut self, name: &Arc<Name>, now: Instant) {
        let Some(account) = self.accounts.get_mut(name) else { return };
        for token in account.expired(now) {
            self.tokens.remove(&token);
        }
    }

    /// A sending of the attempt was answered.
    pub fn answered(&mut self, name: &Arc<Name>, id: Id) {
        let account = self.account(name);
        if let Some(place) = account.places.get_mut(&id) {
            place.under_way = place.under_way.saturating_sub(1);
            if !place.counts() {
                account.places.remove(&id);
            }
        }
    }

    /// The attempt has this lease; where it had another one before, that has ended.
    pub fn enter(&mut self, name: &Arc<Name>, id: Id, lease: &Lease, now: Instant) -> &mut Lived {
        let owner = self.owner_of(&lease.owner);
        if !self.tokens.contains_key(&lease.token) {
            self.sweep(name, now);
            self.part(name, id, now);
            let place = self.account(name).places.entry(id).or_default();
            if let Some(before) = place.lease.replace(Lived::of(lease, owner, now)) {
                self.tokens.remove(&before.token);
            }
            self.tokens.insert(lease.token, (Arc::clone(name), id));
        }
        let lived = self.lease(lease.token).expect("it was there, or was entered");
        lived.extend(lease, now);
        lived
    }

    /// Gives a lease that the attempt had, and whose key stays taken, a place of its own: the attempt may get another one.
    pub fn part(&mut self, name: &Arc<Name>, id: Id, now: Instant) {
        let rests = |lived: &mut Lived| lived.lives(now) && !lived.is_promised(now);
        let place = self.account(name).places.get_mut(&id);
        if let Some(lived) = place.and_then(|place| place.lease.take_if(rests)) {
            let own = self.unnamed();
            self.tokens.insert(lived.token, (Arc::clone(name), own));
            self.account(name).places.insert(own, Place { under_way: 0, lease: Some(lived) });
        }
    }

    /// Leases that are told of without a limit of locks, or by renewals, must not pile up.
    fn sweep(&mut self, name: &Arc<Name>, now: Instant) {
        let account = self.account(name);
        if account.places.len() >= account.sweep_at.max(FEW) {
            self.expire(name, now);
            let account = self.account(name);
            account.sweep_at = account.places.len() * 2;
        }
    }

    pub fn lease(&mut self, token: Token) -> Option<&mut Lived> {
        let (name, id) = self.tokens.get(&token)?;
        self.accounts.get_mut(name)?.places.get_mut(id)?.lease.as_mut()
    }

    /// One who had the lease has it no longer; whether it ends with that.
    pub fn leave(&mut self, token: Token) -> bool {
        self.lease(token).is_some_and(|lived| {
            lived.holders = lived.holders.saturating_sub(1);
            lived.holders == 0 && !lived.is_kept
        })
    }

    /// The lease was released; its key stays taken until then.
    pub fn release(&mut self, token: Token, until: Instant, now: Instant) {
        let Some(lived) = self.lease(token) else { return };
        lived.release(until, now);
        if !lived.lives(now) {
            self.forget(token);
        }
    }

    pub fn forget(&mut self, token: Token) {
        let Some((name, id)) = self.tokens.remove(&token) else { return };
        let Some(account) = self.accounts.get_mut(&name) else { return };
        if let Some(place) = account.places.get_mut(&id) {
            place.lease = None;
            if !place.counts() {
                account.places.remove(&id);
            }
        }
    }
}
