//! The accounts of all callers, and whose lease a token is. Knows callers by their names alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::Name;
use super::account::{Account, Lived};
use crate::lock::Token;

/// Accounts above which those are looked for that count nothing any more.
pub const FEW_ACCOUNTS: usize = 64;

#[derive(Default)]
pub struct Ledger {
    pub accounts: HashMap<Arc<Name>, Account>,
    /// Whose lease a token is.
    pub owners: HashMap<u64, Arc<Name>>,
    /// At so many accounts those that count nothing are dropped.
    sweep_at: usize,
}

impl Ledger {
    pub fn account(&mut self, name: &Arc<Name>) -> &mut Account {
        if self.accounts.len() >= self.sweep_at.max(FEW_ACCOUNTS) && !self.accounts.contains_key(name) {
            let now = Instant::now();
            let names: Vec<Arc<Name>> = self.accounts.keys().cloned().collect();
            names.iter().for_each(|name| self.expire(name, now));
            self.accounts.retain(|_, account| account.counts_anything(now));
            self.sweep_at = self.accounts.len() * 2;
        }
        self.accounts.entry(Arc::clone(name)).or_default()
    }

    /// How many locks a caller has or waits for. Expired ones are only looked for where they decide.
    pub fn locks(&mut self, name: &Arc<Name>, max: u64, now: Instant) -> u64 {
        if self.account(name).locks() >= max {
            self.expire(name, now);
        }
        self.account(name).locks()
    }

    fn expire(&mut self, name: &Arc<Name>, now: Instant) {
        let Some(account) = self.accounts.get_mut(name) else { return };
        for token in account.expired(now) {
            self.owners.remove(&token);
        }
    }

    pub fn enter(&mut self, name: &Arc<Name>, token: Token, lived: Lived) {
        self.owners.insert(token.get(), Arc::clone(name));
        self.account(name).leases.insert(token.get(), lived);
    }

    pub fn alter(&mut self, token: Token, change: impl FnOnce(&mut Lived)) {
        let lived =
            self.owners.get(&token.get()).and_then(|name| self.accounts.get_mut(name)?.leases.get_mut(&token.get()));
        if let Some(lived) = lived {
            change(lived);
        }
    }

    pub fn release(&mut self, token: Token, until: Instant, now: Instant) {
        let mut is_over = false;
        self.alter(token, |lived| {
            lived.until = lived.rests_until.max(until);
            is_over = lived.until <= now;
        });
        if is_over {
            self.forget(token);
        }
    }

    pub fn forget(&mut self, token: Token) {
        if let Some(name) = self.owners.remove(&token.get())
            && let Some(account) = self.accounts.get_mut(&name)
        {
            account.leases.remove(&token.get());
        }
    }
}
