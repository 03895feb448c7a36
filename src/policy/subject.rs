//! Who asks, as far as the policy is concerned, and whom a line is about.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::permissions::{Permissions, lists};
use super::words::{self, Char};
use crate::tls;

/// Longest name of an API token, bytes.
const LONGEST_TOKEN_NAME: usize = 63;

/// Who asks.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A caller with a JWT.
    User(UserFacts),
    /// A caller with the API token of this name.
    Token(Arc<str>),
    /// A caller with a client certificate, by its first URI or DNS name.
    Certificate(Arc<str>),
    /// A caller without credentials.
    Anonymous,
}

/// What a verified token says of its user.
#[derive(Clone, Debug, Default)]
pub struct UserFacts {
    /// `None` only where a decision is tried out for a user without a name.
    pub sub: Option<String>,
    pub claims: Arc<Map<String, Value>>,
}

impl Subject {
    /// The values of a claim: of a text that is not empty, an integer, or each of an array of these. All else is
    /// absent.
    pub fn claim(&self, name: &str) -> Vec<Cow<'_, str>> {
        match self {
            Subject::User(UserFacts { claims, .. }) => claims.get(name).map(values).unwrap_or_default(),
            Subject::Token(_) | Subject::Certificate(_) | Subject::Anonymous => Vec::new(),
        }
    }

    pub fn sub(&self) -> Option<&str> {
        match self {
            Subject::User(user) => user.sub.as_deref(),
            Subject::Token(_) | Subject::Certificate(_) | Subject::Anonymous => None,
        }
    }
}

impl UserFacts {
    /// Whether the token lists a permission of the user.
    fn is_permitted(&self, permission: &str, permissions: &Permissions) -> bool {
        permissions.granted(&self.claims).is_some_and(|granted| lists(granted, permission))
    }
}

fn values(claim: &Value) -> Vec<Cow<'_, str>> {
    let one = |value: &'_ Value| match value {
        Value::String(text) if !text.is_empty() => Some(Cow::Owned(text.clone())),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    };
    match claim {
        Value::String(text) if !text.is_empty() => vec![Cow::Borrowed(text)],
        // An array of anything else is no array of these.
        Value::Array(all) => all.iter().map(one).collect::<Option<Vec<_>>>().unwrap_or_default(),
        other => one(other).into_iter().collect(),
    }
}

/// Whom a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    AnyUser,
    User(String),
    Permission(String),
    Claim(String, String),
    AnyToken,
    Token(String),
    AnyCertificate,
    Certificate(String),
    Anonymous,
}

impl Who {
    pub fn parse(word: &[Char]) -> Result<Who, String> {
        let said = words::text(word);
        let Some((kind, rest)) = words::split(word, ':') else {
            return match said.as_str() {
                "anonymous" => Ok(Who::Anonymous),
                _ => Err(unknown(&said)),
            };
        };
        let (kind, value, is_any) = (words::text(kind), words::text(rest), matches!(rest, [star] if star.is('*')));
        if rest.is_empty() {
            return Err(format!("`{said}` names no one; expected something behind the colon"));
        }
        let star = rest.iter().any(|char| char.is('*'));
        if star && !is_any {
            return Err(format!("`{said}`: `*` stands alone or not at all; write \\* for the character"));
        }
        match kind.as_str() {
            "user" if is_any => Ok(Who::AnyUser),
            "user" => Ok(Who::User(value)),
            "token" if is_any => Ok(Who::AnyToken),
            "token" if is_token_name(&value) => Ok(Who::Token(value)),
            "token" => Err(format!("`{said}`: expected the name of a token, 1 to 63 of A-Z a-z 0-9 . _ -")),
            "cert" if is_any => Ok(Who::AnyCertificate),
            "cert" => Ok(Who::Certificate(tls::one_spelling(&value))),
            "permission" | "claim" if is_any => {
                Err(format!("`{said}`: a {kind} has no `*`; write \\* for the character"))
            }
            "permission" => Ok(Who::Permission(value)),
            "claim" => match words::split(rest, '=') {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    Ok(Who::Claim(words::text(name), words::text(value)))
                }
                _ => Err(format!("`{said}`: expected claim:NAME=VALUE")),
            },
            _ => Err(unknown(&said)),
        }
    }

    /// Whether it is about everyone of a kind.
    pub fn is_any(&self) -> bool {
        matches!(self, Who::AnyUser | Who::AnyToken | Who::AnyCertificate)
    }

    /// Whether it is about this caller, whose token lists `permissions` where these say.
    pub fn is(&self, subject: &Subject, permissions: &Permissions) -> bool {
        match (self, subject) {
            (Who::AnyUser, Subject::User(_))
            | (Who::AnyToken, Subject::Token(_))
            | (Who::AnyCertificate, Subject::Certificate(_))
            | (Who::Anonymous, Subject::Anonymous) => true,
            (Who::User(id), Subject::User(user)) => user.sub.as_deref() == Some(id),
            (Who::Permission(word), Subject::User(user)) => user.is_permitted(word, permissions),
            (Who::Claim(name, value), Subject::User(_)) => subject.claim(name).iter().any(|found| found == value),
            (Who::Token(name), Subject::Token(it)) | (Who::Certificate(name), Subject::Certificate(it)) => {
                **it == **name
            }
            _ => false,
        }
    }
}

fn unknown(said: &str) -> String {
    format!("`{said}` is no subject; expected user:, permission:, claim:, token:, cert: or anonymous")
}

/// Whether an API token may be named so.
pub fn is_token_name(name: &str) -> bool {
    (1..=LONGEST_TOKEN_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl Display for Who {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Who::AnyUser => write!(f, "user:*"),
            Who::User(id) => write!(f, "user:{id}"),
            Who::Permission(word) => write!(f, "permission:{word}"),
            Who::Claim(name, value) => write!(f, "claim:{name}={value}"),
            Who::AnyToken => write!(f, "token:*"),
            Who::Token(name) => write!(f, "token:{name}"),
            Who::AnyCertificate => write!(f, "cert:*"),
            Who::Certificate(name) => write!(f, "cert:{name}"),
            Who::Anonymous => write!(f, "anonymous"),
        }
    }
}
