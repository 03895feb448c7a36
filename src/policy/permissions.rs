//! Where a token lists the permissions of its user, and which of them is the one to manage locks.

use std::sync::Arc;

use serde_json::{Map, Value};

/// The claims that list permissions, unless a flag names others.
const CLAIMS: [&str; 2] = ["permissions", "scope"];
/// The permission to manage locks, unless a flag names another.
const MANAGE_LOCKS: &str = "manage-locks";

/// Which claims list the permissions of a user, and what the permission to manage locks is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    claims: Arc<[String]>,
    manage_locks: Arc<str>,
}

impl Permissions {
    /// `claims`: names of claims or dotted paths to one, in the order in which they are looked for.
    pub fn new(claims: Vec<String>, manage_locks: &str) -> Permissions {
        Permissions { claims: claims.into(), manage_locks: manage_locks.into() }
    }

    /// From lists of claims with commas. An empty list, as an unset variable gives, stands for the default.
    pub fn parse(lists: &[String], manage_locks: &str) -> Result<Permissions, String> {
        if lists.iter().all(String::is_empty) {
            return Ok(Permissions::new(CLAIMS.map(str::to_owned).into(), manage_locks));
        }
        let names = lists.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return Err(format!("`{}` names no claim", lists.join(",")));
        }
        // The names of some issuers' claims are URLs.
        match names.iter().find(|name| !name.contains("://") && name.split('.').any(str::is_empty)) {
            Some(name) => {
                Err(format!("`{name}` has an empty part; expected a name, or a path such as realm_access.roles"))
            }
            None => Ok(Permissions::new(names, manage_locks)),
        }
    }

    /// Whether they stand where they do unless a flag says otherwise.
    pub fn are_in_default_claims(&self) -> bool {
        self.claims.iter().eq(&CLAIMS)
    }

    /// The claims, in the order in which they are looked for.
    pub fn claims(&self) -> &[String] {
        &self.claims
    }

    /// The permission to manage locks.
    pub fn manage_locks(&self) -> &Arc<str> {
        &self.manage_locks
    }

    /// What the first of the claims that is there holds.
    pub fn granted<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        self.claims.iter().find_map(|name| claim(claims, name))
    }

    /// Whether a claim's value lists the permission to manage locks.
    pub fn manages_locks(&self, granted: &Value) -> bool {
        lists(granted, &self.manage_locks)
    }
}

impl Default for Permissions {
    fn default() -> Permissions {
        Permissions::new(CLAIMS.map(str::to_owned).into(), MANAGE_LOCKS)
    }
}

/// The claim of that very name, else the one that the dotted path leads to. `null` is absent.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let is_there = |value: &&Value| !value.is_null();
    claims.get(name).filter(is_there).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, member| value.get(member)).filter(is_there)
    })
}

/// Whether a claim lists a permission: words in a text, or an array of them.
pub(super) fn lists(granted: &Value, permission: &str) -> bool {
    match granted {
        Value::String(words) => words.split(' ').any(|word| word == permission),
        Value::Array(values) => values.iter().any(|value| value.as_str() == Some(permission)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manages_locks(names: &[&str], claims: Value) -> bool {
        let permissions = Permissions::new(names.iter().map(|name| (*name).to_owned()).collect(), "locks:admin");
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        permissions.granted(&claims).is_some_and(|granted| permissions.manages_locks(granted))
    }

    #[test]
    fn the_first_claim_that_is_there_decides() {
        let names = ["roles", "realm_access.roles", "scp"];
        for (claims, expected) in [
            (json!({"roles": ["locks:admin"]}), true),
            (json!({"roles": [], "scp": "locks:admin"}), false),
            (json!({"roles": null, "scp": "locks:admin"}), true),
            (json!({"roles": 7, "scp": "locks:admin"}), false),
            (json!({"realm_access": {"roles": ["user", "locks:admin"]}}), true),
            (json!({"realm_access": {"roles": null}, "scp": "openid locks:admin"}), true),
            (json!({"realm_access": {}, "scp": ["locks:admin"]}), true),
            (json!({"realm_access": "roles", "scp": "locks:administrator"}), false),
            (json!({"scope": "locks:admin", "permissions": ["locks:admin"]}), false),
            (json!({}), false),
        ] {
            assert_eq!(manages_locks(&names, claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn claims_are_named_in_lists_without_empty_parts() {
        let parse = |lists: &[&str]| {
            let lists: Vec<String> = lists.iter().map(|list| (*list).to_owned()).collect();
            Permissions::parse(&lists, "manage-locks").map(|permissions| permissions.claims().join(" "))
        };
        for (lists, expected) in [
            (&["a, b.c"][..], "a b.c"),
            (&["a", "https://example.com/roles.", ""], "a https://example.com/roles."),
            (&[""], "permissions scope"),
            (&[], "permissions scope"),
        ] {
            assert_eq!(parse(lists).as_deref(), Ok(expected), "{lists:?}");
        }
        for wrong in [",", " ", "a..b", ".a", "a.", "."] {
            assert!(parse(&[wrong]).is_err_and(|problem| problem.contains(&format!("`{wrong}`"))), "{wrong}");
        }
    }

    #[test]
    fn a_claim_of_that_very_name_goes_before_a_path() {
        let (name, array, text) = ("a.b", json!(["locks:admin"]), json!("locks:admin"));
        assert!(manages_locks(&[name], json!({"a.b": text, "a": {"b": []}})));
        assert!(!manages_locks(&[name], json!({"a.b": "user", "a": {"b": array}})));
        assert!(manages_locks(&[name], json!({"a.b": null, "a": {"b": array}})));
        assert!(manages_locks(&["https://example.com/roles"], json!({"https://example.com/roles": array})));
        assert!(!manages_locks(&[name], json!({"a": [{"b": array}]})), "no path leads through an array");
        assert!(!manages_locks(&["a.b.c"], json!({"a": {"b.c": array}})), "each part is one member");
    }

    #[test]
    fn permissions_are_words_in_a_text_or_an_array_of_them() {
        for (granted, expected) in [
            (json!("locks:admin"), true),
            (json!("a locks:admin b"), true),
            (json!("a,locks:admin"), false),
            (json!(""), false),
            (json!(["a b", "locks:admin"]), true),
            (json!(["a locks:admin"]), false),
            (json!([["locks:admin"]]), false),
            (json!({"locks:admin": true}), false),
            (json!(true), false),
        ] {
            assert_eq!(manages_locks(&["scp"], json!({"scp": granted})), expected, "{granted}");
        }
    }
}
