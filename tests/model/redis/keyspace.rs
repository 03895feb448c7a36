//! What lies under the keys, and when it expires.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Reply;
use super::zset::Zset;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Text(Rc<[u8]>),
    Zset(Zset),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    pub value: Value,
    /// Milliseconds since 1970; the key is there in this one yet.
    pub expires_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keyspace(BTreeMap<Vec<u8>, Stored>);

impl Keyspace {
    /// What lies under a key; what has expired is removed.
    pub fn find(&mut self, key: &[u8], now_ms: i64) -> Option<&mut Stored> {
        if self.0.get(key).is_some_and(|stored| stored.has_expired(now_ms)) {
            self.0.remove(key);
        }
        self.0.get_mut(key)
    }

    /// The text under a key.
    pub fn text(&mut self, key: &[u8], now_ms: i64) -> Result<Option<Rc<[u8]>>, Reply> {
        match self.find(key, now_ms).map(|stored| &stored.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(Rc::clone(text))),
            Some(Value::Zset(_)) => Err(wrong_type()),
        }
    }

    /// The zset under a key.
    pub fn zset(&mut self, key: &[u8], now_ms: i64) -> Result<Option<&mut Zset>, Reply> {
        match self.find(key, now_ms).map(|stored| &mut stored.value) {
            None => Ok(None),
            Some(Value::Zset(zset)) => Ok(Some(zset)),
            Some(Value::Text(_)) => Err(wrong_type()),
        }
    }

    /// The zset under a key, an empty one where there is none.
    pub fn zset_or_new(&mut self, key: &[u8]) -> Result<&mut Zset, Reply> {
        let stored = self.0.entry(key.to_vec());
        match &mut stored.or_insert(Stored { value: Value::Zset(Zset::default()), expires_ms: None }).value {
            Value::Zset(zset) => Ok(zset),
            Value::Text(_) => Err(wrong_type()),
        }
    }

    pub fn put(&mut self, key: &[u8], value: Value, expires_ms: Option<i64>) {
        self.0.insert(key.to_vec(), Stored { value, expires_ms });
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }

    /// A zset without members is no key.
    pub fn remove_if_empty(&mut self, key: &[u8]) {
        if matches!(self.0.get(key), Some(Stored { value: Value::Zset(zset), .. }) if zset.is_empty()) {
            self.0.remove(key);
        }
    }

    /// Removes all that has expired.
    pub fn purge(&mut self, now_ms: i64) {
        self.0.retain(|_, stored| !stored.has_expired(now_ms));
    }

    /// All that is there.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Stored)> {
        self.0.iter().map(|(key, stored)| (key.as_slice(), stored))
    }

    /// What lies under a key, where it is known that nothing has expired.
    pub fn peek(&self, key: &[u8]) -> Option<&Stored> {
        self.0.get(key)
    }
}

impl Stored {
    fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| now_ms > expires_ms)
    }
}

fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}
