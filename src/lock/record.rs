//! The lease as it lies in Redis: how its JSON is spelled, and how it is read back.
//!
//! `{"token":"N","kind":"user","owner":"alice","nonce":"n-1","since":MS,"ttl":MS, …}`, in this order: the scripts know
//! a lease by comparing the beginning of its text. Inside a JSON string each quote is escaped, so that no owner and no label
//! can imitate a field.

use serde::Deserialize;

use super::holder::{Expiry, Holder};
use super::scripts::Stored;
use super::terms::Terms;
use super::{Claim, Key, Lease, Mode, Owner, OwnerKind, Token};

/// What the terms of a lease begin with.
const TERMS: &[u8] = b",\"terms\":\"";
/// Most attempts' owner and nonce are shorter.
const ATTEMPT_BYTES: usize = 128;

/// `"kind":"user","owner":"alice",`: the owner as the lease spells it; behind it `"credential":"token:ci",`, where the
/// owner has one.
pub fn identity(owner: &Owner) -> String {
    let mut text = String::with_capacity(ATTEMPT_BYTES);
    text.push_str(match owner.kind {
        OwnerKind::User => "\"kind\":\"user\",\"owner\":",
        OwnerKind::System => "\"kind\":\"system\",\"owner\":",
    });
    push_quoted(&mut text, &owner.id);
    text.push(',');
    if let Some(credential) = &owner.credential {
        text.push_str("\"credential\":");
        push_quoted(&mut text, credential);
        text.push(',');
    }
    text
}

/// The beginning of [`identity`] that a lease must have to answer to `claim`.
pub fn claim(claim: Claim<'_>) -> String {
    match claim {
        Claim::User(id) => ["\"kind\":\"user\",\"owner\":", &quoted(id), ","].concat(),
        Claim::System => "\"kind\":\"system\",".to_owned(),
    }
}

/// `"nonce":"n-1",`: the attempt as the lease spells it.
pub fn nonce(nonce: &str) -> String {
    let mut text = String::new();
    push_nonce(&mut text, nonce);
    text
}

/// Adds [`nonce`] to a text.
pub fn push_nonce(text: &mut String, nonce: &str) {
    text.push_str("\"nonce\":");
    push_quoted(text, nonce);
    text.push(',');
}

/// `"by":"r-1",`: a sending, where the nonce does not name it, as the lease spells it.
pub fn sending(request: &str) -> String {
    if request.is_empty() { String::new() } else { format!("\"by\":{},", quoted(request)) }
}

/// The fields behind the ttl, each a JSON string with a comma before it, so that none can imitate a field.
/// `hold`: the sidecar, where one of its connections holds the lease. The mode comes first, where the scripts look for it.
pub fn further(mode: Mode, owner: &Owner, meta: Option<&str>, hold: Option<&str>, terms: Option<&str>) -> String {
    let mut text = String::new();
    let limit = mode.limit().map(|limit| limit.to_string());
    let fields = [
        ("mode", matches!(mode, Mode::Shared { .. }).then(|| mode.label())),
        ("limit", limit.as_deref()),
        ("label", owner.label.as_deref()),
        ("description", owner.description.as_deref()),
        ("meta", meta),
        ("hold", hold),
        ("terms", terms),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            text.push_str(&format!(",\"{name}\":{}", quoted(value)));
        }
    }
    text
}

/// Whose is what lies under `key`.
pub fn holder(key: &Key, found: &Stored) -> Holder {
    let stranger = || {
        let expiry =
            |valid_until_ms| Expiry { valid_until_ms, valid_for_ms: u64::try_from(found.left_ms).unwrap_or(0) };
        Holder::Stranger(u64::try_from(found.valid_until_ms).ok().map(expiry))
    };
    read(key, found).map_or_else(stranger, |lease| Holder::Lease(Box::new(lease)))
}

/// Those of the leases that a script found among those that share `key`.
pub fn leases(key: &Key, found: &[Stored]) -> Vec<Lease> {
    found.iter().filter_map(|found| read(key, found)).collect()
}

/// Reads what lies under `key`; `None` for what another program wrote.
pub fn read(key: &Key, found: &Stored) -> Option<Lease> {
    let record = parse(key, &found.text)?;
    let (terms, ttl_ms) = record.terms.as_deref().and_then(Terms::parse).unwrap_or((Terms::NONE, record.ttl));
    let limit = record.limit.as_deref().and_then(|limit| limit.parse().ok());
    Some(Lease {
        key: key.clone(),
        token: record.token(key)?,
        mode: if record.shared { Mode::Shared { limit } } else { Mode::Exclusive },
        owner: Owner {
            kind: record.kind,
            id: record.owner,
            label: record.label,
            description: record.description,
            credential: record.credential,
        },
        since_ms: record.since,
        ttl_ms,
        valid_until_ms: u64::try_from(found.valid_until_ms).ok()?,
        valid_for_ms: u64::try_from(found.left_ms).ok()?,
        promised_until: None,
        terms,
        is_resting: record.rest,
        meta: record.meta,
    })
}

/// The token of the lease that lies under `key`; `None` for another program's value.
pub fn token(key: &Key, text: &[u8]) -> Option<Token> {
    parse(key, text)?.token(key)
}

/// Whether a release left it behind, so that no owner has it.
pub fn is_rest(key: &Key, text: &[u8]) -> bool {
    parse(key, text).is_some_and(|record| record.rest)
}

/// Whether the owner of the lease that lies under `key` has it still: its terms may keep the key taken for longer.
pub fn is_promised(key: &Key, found: &Stored) -> bool {
    let has_terms = found.text.windows(TERMS.len()).any(|bytes| bytes == TERMS);
    !has_terms || read(key, found).is_some_and(|lease| lease.is_promised())
}

/// What a lease has to do with a sending of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// This sending was granted it, or told of it.
    This,
    /// Another sending of its attempt was.
    SameAttempt,
    /// Another attempt of its owner was.
    SameOwner,
}

/// What a lease has to do with the sending `request` of an attempt, of which `identity` and `nonce` are spelled as the
/// lease has them; `None` where it is another owner's.
pub fn relation(text: &str, identity: &str, nonce: &str, request: &str) -> Option<Relation> {
    let behind_token = text.strip_prefix("{\"token\":\"")?.split_once("\",")?.1;
    let attempt = behind_token.strip_prefix(identity)?;
    let told = text.split_once("\",\"by\":\"").and_then(|(_, by)| by.split_once('"'));
    let is_this = match told {
        Some((by, _)) => by.split(' ').any(|sending| sending.strip_prefix('+').unwrap_or(sending) == request),
        None => attempt.starts_with(&self::nonce(request)),
    };
    Some(if is_this {
        Relation::This
    } else if attempt.starts_with(nonce) {
        Relation::SameAttempt
    } else {
        Relation::SameOwner
    })
}

fn parse(key: &Key, text: &[u8]) -> Option<Record> {
    serde_json::from_slice::<Record>(text).ok().filter(|record| record.token(key).is_some())
}

impl Record {
    /// A token of another shard is not ours.
    fn token(&self, key: &Key) -> Option<Token> {
        self.token.parse().ok().and_then(Token::new).filter(|token| token.shard() == key.shard())
    }
}

#[derive(Deserialize)]
struct Record {
    token: String,
    kind: OwnerKind,
    owner: String,
    credential: Option<Box<str>>,
    since: u64,
    ttl: u64,
    label: Option<String>,
    description: Option<String>,
    meta: Option<String>,
    terms: Option<String>,
    limit: Option<String>,
    #[serde(default)]
    rest: bool,
    /// Where a script found it among those that share its key.
    #[serde(default)]
    shared: bool,
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_quoted(&mut quoted, text);
    quoted
}

fn push_quoted(json: &mut String, text: &str) {
    let is_plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if is_plain {
        ["\"", text, "\""].into_iter().for_each(|part| json.push_str(part));
    } else {
        json.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: OwnerKind, id: &str) -> Owner {
        Owner { kind, id: id.to_owned(), label: Some("A \"B\"".to_owned()), description: None, credential: None }
    }

    fn spelled(token: u64, owner: &Owner, attempt: &str) -> String {
        format!(
            "{{\"token\":\"{token}\",{}{}\"since\":5,\"ttl\":30{}}}",
            identity(owner),
            nonce(attempt),
            further(Mode::Exclusive, owner, Some("[1]"), None, None)
        )
    }

    fn found(text: &str, valid_until_ms: i64) -> Stored {
        Stored { text: text.to_owned().into(), valid_until_ms, left_ms: valid_until_ms }
    }

    #[test]
    fn what_is_spelled_is_read_back() {
        let key = Key::parse("orders").expect("a key");
        let number = 64 * 9 + key.shard().index() as u64;
        let alice = owner(OwnerKind::User, "al\"ice\\");
        let lease = read(&key, &found(&spelled(number, &alice, "n-1"), 35)).expect("a lease");
        assert_eq!((lease.owner, lease.meta.as_deref()), (alice, Some("[1]")));
        assert_eq!((lease.token.get(), lease.since_ms, lease.ttl_ms, lease.valid_until_ms), (number, 5, 30, 35));
        let ci = Owner { credential: Some("token:ci".into()), ..owner(OwnerKind::System, "web") };
        let lease = read(&key, &found(&spelled(number, &ci, "n-1"), 35)).expect("a lease");
        assert_eq!(lease.owner, ci);
    }

    #[test]
    fn a_strangers_text_is_no_lease() {
        let key = Key::parse("orders").expect("a key");
        let elsewhere = 64 * 9 + (key.shard().index() as u64 + 1) % 64;
        let alice = owner(OwnerKind::User, "alice");
        for text in ["", "1", "{}", "null", "{\"token\":\"x\"}", "\u{0}", &spelled(elsewhere, &alice, "n")] {
            assert_eq!(read(&key, &found(text, 35)), None, "{text}");
            assert_eq!(token(&key, text.as_bytes()), None, "{text}");
        }
        let number = 64 * 9 + key.shard().index() as u64;
        assert_eq!(read(&key, &found(&spelled(number, &alice, "n"), -1)), None, "a lease always expires");
    }

    #[test]
    fn no_owner_imitates_another_ones_field() {
        let ci = Owner { credential: Some("token:ci".into()), ..owner(OwnerKind::System, "web") };
        let imitated = owner(OwnerKind::System, "web\",\"credential\":\"token:ci");
        assert_ne!(identity(&ci), identity(&imitated));
        let mallory = owner(OwnerKind::System, "\",\"kind\":\"user\",\"owner\":\"alice\",\"nonce\":\"n-1\",");
        let text = spelled(64, &mallory, "n-2");
        assert!(!text.contains(&claim(Claim::User("alice"))), "{text}");
        assert!(!text.contains(&nonce("n-1")), "{text}");
    }
}
