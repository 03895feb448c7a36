//! The lease as it lies in Redis: how its JSON is spelled, and how it is read back.
//!
//! `{"token":"N","kind":"user","owner":"alice","nonce":"n-1","since":MS,"ttl":MS, …}`, in this order: the scripts know
//! a lease by comparing the beginning of its text, which costs Redis a tenth of decoding it. Inside a JSON string each
//! quote is escaped, so that no owner and no label can imitate a field.

use serde::Deserialize;

use super::types::{Claim, Key, Lease, Owner, OwnerKind, Token};

/// `"kind":"user","owner":"alice",`: the owner as the lease spells it.
pub fn identity(owner: &Owner) -> String {
    match owner.kind {
        OwnerKind::User => claim(Claim::User(&owner.id)),
        OwnerKind::System => format!("{}\"owner\":{},", claim(Claim::System), quoted(&owner.id)),
    }
}

/// The beginning of [`identity`] that a lease must have to answer to `claim`.
pub fn claim(claim: Claim<'_>) -> String {
    match claim {
        Claim::User(id) => format!("\"kind\":\"user\",\"owner\":{},", quoted(id)),
        Claim::System => "\"kind\":\"system\",".to_owned(),
    }
}

/// `"nonce":"n-1",`: the attempt as the lease spells it.
pub fn nonce(nonce: &str) -> String {
    format!("\"nonce\":{},", quoted(nonce))
}

/// The fields behind the ttl, each with a comma before it.
pub fn further(owner: &Owner) -> String {
    let mut text = String::new();
    for (name, value) in [("label", &owner.label), ("description", &owner.description)] {
        if let Some(value) = value {
            text.push_str(&format!(",\"{name}\":{}", quoted(value)));
        }
    }
    text
}

/// Reads what lies under `key`; `None` for what lockside did not write: a stranger's.
pub fn read(key: &Key, text: &[u8], valid_until_ms: i64) -> Option<Lease> {
    let record: Record = serde_json::from_slice(text).ok()?;
    let token = Token::new(record.token.parse().ok()?)?;
    if token.shard() != key.shard() {
        return None;
    }
    Some(Lease {
        key: key.clone(),
        token,
        owner: Owner { kind: record.kind, id: record.owner, label: record.label, description: record.description },
        since_ms: record.since,
        valid_until_ms: u64::try_from(valid_until_ms).ok()?,
    })
}

#[derive(Deserialize)]
struct Record {
    token: String,
    kind: OwnerKind,
    owner: String,
    since: u64,
    label: Option<String>,
    description: Option<String>,
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: OwnerKind, id: &str) -> Owner {
        Owner { kind, id: id.to_owned(), label: Some("A \"B\"".to_owned()), description: None }
    }

    fn spelled(token: u64, owner: &Owner, attempt: &str) -> String {
        format!(
            "{{\"token\":\"{token}\",{}{}\"since\":5,\"ttl\":30{}}}",
            identity(owner),
            nonce(attempt),
            further(owner)
        )
    }

    #[test]
    fn what_is_spelled_is_read_back() {
        let key = Key::parse("orders").expect("a key");
        let token = 64 * 9 + key.shard().index() as u64;
        let alice = owner(OwnerKind::User, "al\"ice\\");
        let lease = read(&key, spelled(token, &alice, "n-1").as_bytes(), 35).expect("a lease");
        assert_eq!(lease.owner, alice);
        assert_eq!((lease.token.get(), lease.since_ms, lease.valid_until_ms), (token, 5, 35));
    }

    #[test]
    fn a_strangers_text_is_no_lease() {
        let key = Key::parse("orders").expect("a key");
        let elsewhere = 64 * 9 + (key.shard().index() as u64 + 1) % 64;
        let alice = owner(OwnerKind::User, "alice");
        for text in ["", "1", "{}", "null", "{\"token\":\"x\"}", "\u{0}", &spelled(elsewhere, &alice, "n")] {
            assert_eq!(read(&key, text.as_bytes(), 35), None, "{text}");
        }
        let token = 64 * 9 + key.shard().index() as u64;
        assert_eq!(read(&key, spelled(token, &alice, "n").as_bytes(), -1), None, "a lease always expires");
    }

    #[test]
    fn no_owner_imitates_another_ones_field() {
        let mallory = owner(OwnerKind::System, "\",\"kind\":\"user\",\"owner\":\"alice\",\"nonce\":\"n-1\",");
        let text = spelled(64, &mallory, "n-2");
        assert!(!text.contains(&claim(Claim::User("alice"))), "{text}");
        assert!(!text.contains(&nonce("n-1")), "{text}");
    }
}
