//! What holds of whatever lies in Redis under our names, and of whatever Redis answers.

use bytes::Bytes;

use super::record::{self, Relation};
use super::row::Row;
use super::scripts::Stored;
use super::{Key, Mode, Owner, OwnerKind, Terms, Token};
use crate::auth::{Credential, User};
use crate::directory;
use crate::fuzz::{parts, text};
use crate::redis::{Info, RedisFailure, Reply};

/// `value`, `key`, `nonce`, `request`, `meta`: what lies under a key is a lease of that key's shard or another program's; a
/// lease that we spell is read back as it was, whatever its owner is called, and is no other owner's.
pub fn record(data: &[u8]) {
    let [value, key, nonce, request, meta] = parts(data);
    let (name, nonce, request, meta) = (text(value), text(nonce), text(request), text(meta));
    let Ok(key) = Key::parse(&text(key)) else { return };
    strange(&key, value);

    let request: String = request.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\')).collect();
    let meta = (!meta.is_empty()).then_some(meta);
    for kind in [OwnerKind::User, OwnerKind::System] {
        let label = Some(nonce.clone()).filter(|label| !label.is_empty());
        let owner = Owner { kind, id: name.clone(), label, description: meta.clone(), credential: None };
        let number = 64 * 9 + key.shard().index() as u64;
        let attempt = record::identity(&owner) + &record::nonce(&nonce);
        let terms = Terms { delay_ms: request.len() as u64, ..Terms::NONE };
        let mode = if request.len().is_multiple_of(2) { Mode::Exclusive } else { Mode::Shared { limit: Some(3) } };
        let spelled = terms.spelled(30);
        let further = record::further(mode, &owner, meta.as_deref(), Some("a09-1"), spelled.as_deref());
        let by = record::sending(&request);
        let text = format!("{{\"token\":\"{number}\",{attempt}{by}\"since\":5,\"ttl\":30{further}}}");
        let found = Stored { text: text.clone().into(), valid_until_ms: 35, left_ms: 30 };
        let lease = record::read(&key, &found).expect("a lease of ours is read back");
        assert_eq!((lease.owner.clone(), lease.meta, lease.token.get()), (owner.clone(), meta.clone(), number));
        assert_eq!((lease.terms, lease.ttl_ms, lease.is_resting), (terms, 30, false));
        assert_eq!(lease.mode, Mode::Exclusive, "it lies alone, whatever it says");

        // As the scripts know it: by what the text has behind its token, and by its nonce.
        let behind = text.split_once("\",").expect("a token").1;
        assert!(behind.starts_with(&record::claim(owner.claim())));
        let other = Owner { id: format!("{name}x"), ..owner.clone() };
        assert!(kind == OwnerKind::System || !behind.starts_with(&record::claim(other.claim())));
        assert!(!behind.starts_with(&record::identity(&other)));
        let (identity, nonce) = (record::identity(&owner), record::nonce(&nonce));
        let relation = |identity: &str, nonce: &str, request: &str| record::relation(&text, identity, nonce, request);
        if !request.is_empty() && !request.starts_with('+') {
            assert_eq!(relation(&identity, &nonce, &request), Some(Relation::This), "{text}");
            assert_eq!(relation(&identity, &nonce, &format!("{request}x")), Some(Relation::SameAttempt), "{text}");
            let another = record::nonce("another");
            if !nonce.starts_with(&another) {
                assert_eq!(relation(&identity, &another, &format!("{request}x")), Some(Relation::SameOwner), "{text}");
            }
        }
        assert_eq!(relation(&record::identity(&other), &nonce, &request), None, "{text}");
    }
}

fn strange(key: &Key, value: &[u8]) {
    let found = Stored { text: Bytes::copy_from_slice(value), valid_until_ms: 35, left_ms: 30 };
    let lease = record::read(key, &found);
    assert_eq!(lease.as_ref().map(|lease| lease.token), record::token(key, value));
    if let Some(lease) = lease {
        assert_eq!((&lease.key, lease.token.shard()), (key, key.shard()));
        assert!((1..1 << 53).contains(&lease.token.get()));
    }
    for (valid_until_ms, left_ms) in [(-1, -1), (-2, 5), (5, -2), (i64::MIN, i64::MIN)] {
        let found = Stored { text: found.text.clone(), valid_until_ms, left_ms };
        assert!(record::read(key, &found).is_none(), "a lease always expires");
    }
    if let Ok(value) = std::str::from_utf8(value) {
        record::relation(value, "\"", "\"", "r");
    }
    let user = User {
        id: "alice".to_owned(),
        label: None,
        description: None,
        manages_locks: false,
        claims: None,
        credential: Credential::Cookie,
    };
    if let Ok(Some(known)) = directory::known(value, user.clone()) {
        assert_eq!((known.id, known.manages_locks, known.credential), (user.id, false, user.credential));
    }
}

/// A reply: each part of it is what it must be, or nonsense that may have happened; nothing is taken for a token that
/// none can be, and the members of an index lead on.
pub fn rows(data: &[u8]) {
    let info = Info::parse(&text(data));
    assert!(info.major().is_none() || info.version.is_some());
    let reply = reply(&mut &data[..], 0);
    if let Err(failure) = reply.clone().into_rows().and_then(|_| Row::of(reply.clone())) {
        assert!(matches!(&failure, RedisFailure::Nonsense(_)) && failure.may_have_happened());
    }
    let of = || Row::of(reply.clone());
    if let (Ok(mut row), Ok(mut same), Ok(mut text)) = (of(), of(), of()) {
        let (token, number) = (row.token(), same.number::<u64>());
        assert_eq!(token.ok(), number.ok().and_then(Token::new));
        if let Ok(found) = text.found() {
            let key = Key::parse("orders").expect("a key");
            assert!(record::read(&key, &found).is_none_or(|lease| lease.token.shard() == key.shard()));
        }
    }
    if let (Ok(members), Ok(rows)) = (reply.clone().into_members(), reply.into_rows()) {
        assert_eq!(members.len(), rows.len() / 2);
        for ((_, score), row) in members.iter().zip(rows.iter().skip(1).step_by(2)) {
            let exact = row.number::<f64>().expect("a score is a number");
            assert!(!(0.0..9e15).contains(&exact) || *score as f64 >= exact, "{exact} is asked for again");
        }
    }
}

/// Any reply, from bytes: `i` an integer and `g` a text up to a 0, `[` an array up to `]`, all else nothing.
fn reply(rest: &mut &[u8], depth: usize) -> Reply {
    let Some((first, behind)) = rest.split_first() else { return Reply::Nil };
    *rest = behind;
    let mut word = || {
        let end = behind.iter().position(|byte| *byte == 0).unwrap_or(behind.len());
        *rest = behind.get(end + 1..).unwrap_or_default();
        &behind[..end]
    };
    match first {
        b'i' => Reply::Integer(text(word()).parse().unwrap_or(i64::MIN)),
        b'g' => Reply::Text(Bytes::copy_from_slice(word())),
        b'[' if depth < 8 => {
            let mut rows = Vec::new();
            while rest.first().is_some_and(|byte| *byte != b']') {
                rows.push(reply(rest, depth + 1));
            }
            *rest = rest.get(1..).unwrap_or_default();
            Reply::Rows(rows)
        }
        _ => Reply::Nil,
    }
}
