//! Unknown names: an unknown field of a body or an unknown query parameter is refused, not ignored; the answer has the
//! nearest name that exists.

use std::fmt::Write;

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

use super::failure::Failure;
use super::wire::decoded;

/// Names that several APIs have for one thing.
const SAME: [&[&str]; 3] = [
    &["ttlMs", "leasePeriod", "expiryInSeconds", "duration", "timeout", "lease", "leaseMs"],
    &["owner", "lockOwner"],
    &["key", "resourceId"],
];
/// Longest part of an unknown name that is shown and compared, characters.
const LONGEST: usize = 64;

/// The names of the fields of a body.
pub type Fields = fn() -> &'static [&'static str];

/// Refuses a query parameter that is not among `known`; `fields` are those of the body.
pub fn parameters(query: Option<&str>, known: &[&str], fields: Fields) -> Result<(), Failure> {
    let Some(query) = query else { return Ok(()) };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if known.contains(&name) {
            continue;
        }
        let name = decoded(name).unwrap_or_else(|_| String::from_utf8_lossy(name.as_bytes()));
        if !known.contains(&&*name) {
            return Err(unknown("query parameter", &name, known, ("field", fields())));
        }
    }
    Ok(())
}

/// The failure for a body that has a field which `T` does not know; `None` where it has not.
pub fn field<T: DeserializeOwned>(body: &[u8], parameters: &[&str]) -> Option<Failure> {
    let known = fields_of::<T>();
    let members: Members = serde_json::from_slice(body).ok()?;
    let name = members.0.into_iter().find(|name| !known.contains(&name.as_str()))?;
    Some(unknown("field", &name, known, ("query parameter", parameters)))
}

fn unknown(kind: &str, name: &str, known: &[&str], (other_kind, others): (&str, &[&str])) -> Failure {
    let name: String = name.chars().take(LONGEST).collect();
    let mut text = format!("unknown {kind} `{}`", name.escape_debug());
    let candidates = known.iter().map(|known| (*known, false)).chain(others.iter().map(|other| (*other, true)));
    // Programming languages reserve such names: a user who sends one has not misspelled another.
    let candidates = candidates.filter(|_| !name.starts_with("__"));
    let nearest = candidates.map(|(candidate, is_other)| (distance(&name, candidate), is_other, candidate)).min();
    let _ = match nearest {
        Some((0, true, there)) if there == name => write!(text, "; `{there}` is a {other_kind}"),
        Some((far, is_other, there)) if far <= name.len().max(there.len()).div_ceil(2) => {
            let place = if is_other { format!("the {other_kind} ") } else { String::new() };
            write!(text, "; did you mean {place}`{there}`?")
        }
        _ => Ok(()),
    };
    let expected = match known.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, all)) => format!("{} or {last}", all.join(", ")),
    };
    let _ = write!(text, "; expected {expected}");
    Failure::BadRequest(text.replace("?; ", "? "))
}

/// How far apart two names are: the letters to insert, delete or replace. Case, hyphens and underscores are ignored. Two
/// names are one letter apart if one begins with the other, or if two APIs use them for one thing.
fn distance(name: &str, known: &str) -> usize {
    let letters = |name: &str| -> Vec<char> {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (name, known) = (letters(name), letters(known));
    if name == known {
        return 0;
    }
    let is_same = |names: &&[&str]| [&name, &known].iter().all(|it| names.iter().any(|other| letters(other) == **it));
    let begins = name.len() >= 3 && known.len() >= 3 && (name.starts_with(&known) || known.starts_with(&name));
    if begins || SAME.iter().any(is_same) {
        return 1;
    }
    strsim::generic_levenshtein(&name, &known)
}

/// The names of an object's members.
struct Members(Vec<String>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = map.next_key()? {
                    map.next_value::<serde::de::IgnoredAny>()?;
                    names.push(name);
                }
                Ok(Members(names))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The names of the fields of a struct, as its `Deserialize` tells them.
pub fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    let _ = T::deserialize(Names(&mut fields));
    fields
}

/// The fields of an operation without a body.
pub fn no_fields() -> &'static [&'static str] {
    &[]
}

struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Error::custom("only the names were asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("no struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only its fields' names are asked for")]
    struct Body {
        ttl_ms: u64,
        wait_ms: u64,
        owner: String,
    }

    fn told(failure: Option<Failure>) -> String {
        failure.map(|failure| failure.reason().to_owned()).unwrap_or_default()
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest() {
        assert_eq!(fields_of::<Body>(), ["ttlMs", "waitMs", "owner"]);
        for (body, name, nearest) in [
            ("{\"ttl\":1}", "`ttl`", "did you mean `ttlMs`?"),
            ("{\"owner\":\"x\",\"ttl_ms\":1}", "`ttl_ms`", "did you mean `ttlMs`?"),
            ("{\"TTLMS\":1}", "`TTLMS`", "did you mean `ttlMs`?"),
            ("{\"tllMs\":1}", "`tllMs`", "did you mean `ttlMs`?"),
            ("{\"leasePeriod\":60}", "`leasePeriod`", "did you mean `ttlMs`?"),
            ("{\"leaseMs\":5}", "`leaseMs`", "did you mean `ttlMs`?"),
            ("{\"lease\":5}", "`lease`", "did you mean `ttlMs`?"),
            ("{\"duration\":5}", "`duration`", "did you mean `ttlMs`?"),
            ("{\"timeout\":5}", "`timeout`", "did you mean `ttlMs`?"),
            ("{\"__proto__\":{}}", "`__proto__`; expected", ""),
            ("{\"__owner__\":{}}", "`__owner__`; expected", ""),
            ("{\"wait\":1}", "`wait`", "did you mean `waitMs`?"),
            ("{\"lock_owner\":1}", "`lock_owner`", "did you mean `owner`?"),
            ("{\"token\":1}", "`token`", "`token` is a query parameter"),
            ("{\"Token\":1}", "`Token`", "the query parameter `token`?"),
            ("{\"\":1}", "``", "expected ttlMs, waitMs or owner"),
            ("{\"zzzzzzzzzzzz\\n\":1}", "`zzzzzzzzzzzz\\n`", "expected ttlMs, waitMs or owner"),
        ] {
            let told = told(field::<Body>(body.as_bytes(), &["token"]));
            assert!(told.starts_with(&format!("unknown field {name}")) && told.contains(nearest), "{told}");
            assert!(told.ends_with("expected ttlMs, waitMs or owner"), "{told}");
        }
        for body in ["{}", "{\"ttlMs\":1,\"ttlMs\":[]}", "{", "[]", "{\"ttlMs\":1}x"] {
            assert!(field::<Body>(body.as_bytes(), &[]).is_none(), "{body}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_nearest() {
        let told = |query: &str| told(parameters(Some(query), &["token", "force"], || &["ttlMs"]).err());
        for (query, name, nearest) in [
            ("token=1&dryRun=true", "`dryRun`", "expected token or force"),
            ("Token=1", "`Token`", "did you mean `token`?"),
            ("tok%65m=1", "`tokem`", "did you mean `token`?"),
            ("ttlMs=1", "`ttlMs`", "`ttlMs` is a field"),
            ("ttl_ms=1", "`ttl_ms`", "the field `ttlMs`?"),
            ("%FF=1", "`%FF`", "expected token or force"),
            ("=1", "``", "expected token or force"),
            ("force=true&+token=1", "` token`", "did you mean `token`?"),
        ] {
            let told = told(query);
            assert!(told.starts_with(&format!("unknown query parameter {name}")) && told.contains(nearest), "{told}");
        }
        for query in ["", "&", "token=1&", "force", "%74oken=1&force=true", "token=a=b"] {
            assert_eq!(told(query), "", "{query}");
        }
        assert!(parameters(None, &[], no_fields).is_ok());
    }
}
