//! JWT verification: which claims must hold, and what they say of a user.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use super::keys::JwtKeys;
use crate::json::string_or_integer;

/// Clocks of the issuer and of this machine may differ by this much, seconds.
const LEEWAY_SECONDS: u64 = 30;
/// Longest user id, bytes: as long as an owner may be.
const LONGEST_ID: usize = 256;
/// Longest label or description that is kept with a lock, bytes.
const LONGEST_TEXT: usize = 1024;
/// The permission that the admin dialect and taking away another's lock ask for.
const MANAGE_LOCKS: &str = "manage-locks";

/// Every claim of a token.
pub type AllClaims = Arc<Map<String, Value>>;

/// What a verified token says of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`; `None` where the token names no user.
    pub subject: Option<String>,
    pub label: Option<String>,
    pub description: Option<String>,
    pub manages_locks: bool,
    /// The last second of the token, leeway included, since 1970.
    pub good_until: u64,
    /// Every claim, where they are kept.
    pub all: Option<AllClaims>,
}

/// Verifies tokens with the keys of one file.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// Each with the claims that must hold, and the algorithms of the key.
    keys: Vec<(DecodingKey, Validation)>,
    warning: Option<&'static str>,
    /// Whether all claims are kept: without a policy most would be read for nothing.
    keeps_claims: bool,
}

impl Verifier {
    pub fn new(keys: JwtKeys, issuer: Option<&str>, audience: Option<&str>) -> Verifier {
        let warning = keys.warning();
        let validation = |algorithms: &[jsonwebtoken::Algorithm]| {
            let mut validation = Validation::new(algorithms[0]);
            validation.algorithms = algorithms.to_vec();
            validation.leeway = LEEWAY_SECONDS;
            validation.validate_nbf = true;
            validation.validate_aud = audience.is_some();
            if let Some(issuer) = issuer {
                validation.set_issuer(&[issuer]);
                validation.required_spec_claims.insert("iss".to_owned());
            }
            if let Some(audience) = audience {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            validation
        };
        let keys = keys.keys.into_iter().map(|key| {
            let validation = validation(key.algorithms);
            (key.key, validation)
        });
        Verifier { keys: keys.collect(), warning, keeps_claims: false }
    }

    /// This verifier, which keeps all claims of a token, or only those that are looked at here.
    pub fn keeping_claims(self, keeps_claims: bool) -> Verifier {
        Verifier { keeps_claims, ..self }
    }

    /// What is unwise about its keys, for the log.
    pub fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// The claims of a good token. The error says why it is not, for the log; the caller learns only that.
    pub fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|error| why(&error))?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: an extension that must be understood, and we understand none.
            return Err("critical header extensions are not supported".to_owned());
        }
        let mut reason = jsonwebtoken::errors::Error::from(ErrorKind::InvalidAlgorithm);
        for (key, validation) in self.keys.iter().filter(|(_, it)| it.algorithms.contains(&header.alg)) {
            match decode::<RawClaims>(token, key, validation) {
                Ok(verified) => {
                    let all = self.keeps_claims.then(|| all_of(token)).transpose()?;
                    return Ok(Claims { all, ..verified.claims.into() });
                }
                // Another key of the file may have signed it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => reason = error,
                Err(error) => return Err(why(&error).to_owned()),
            }
        }
        Err(why(&reason).to_owned())
    }
}

/// Every claim of a token that was verified.
fn all_of(token: &str) -> Result<AllClaims, String> {
    let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    claims.map(Arc::new).ok_or_else(|| "not a JWT".to_owned())
}

/// Why a token is not valid, in words of ours: the library's quote the token.
fn why(error: &jsonwebtoken::errors::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet (`nbf`)",
        ErrorKind::InvalidSignature => "the token's signature does not match the key",
        ErrorKind::InvalidAlgorithm => "the token's algorithm does not fit the key",
        ErrorKind::InvalidIssuer => "the token's `iss` is not that of --jwt-issuer",
        ErrorKind::InvalidAudience => "the token's `aud` is not that of --jwt-audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token has no `exp`",
            "iss" => "the token has no `iss`, which --jwt-issuer asks for",
            "aud" => "the token has no `aud`, which --jwt-audience asks for",
            _ => "the token lacks a claim",
        },
        ErrorKind::InvalidClaimFormat(_) => "a claim of the token has the wrong type",
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => "not a JWT",
        ErrorKind::Json(_) => "not a JWT, or its algorithm is unknown, or a claim has the wrong type",
        _ => "the token cannot be verified",
    }
}

#[derive(Deserialize)]
struct RawClaims {
    sub: Option<Box<RawValue>>,
    exp: Option<Value>,
    name: Option<Value>,
    description: Option<Value>,
    permissions: Option<Value>,
    scope: Option<Value>,
}

impl From<RawClaims> for Claims {
    fn from(raw: RawClaims) -> Claims {
        let id = raw
            .sub
            .and_then(|sub| string_or_integer(&sub).ok())
            .filter(|id| (1..=LONGEST_ID).contains(&id.len()) && !id.chars().any(char::is_control));
        Claims {
            subject: id,
            label: text(raw.name).filter(|label| label.len() <= LONGEST_TEXT),
            description: text(raw.description).filter(|description| description.len() <= LONGEST_TEXT),
            manages_locks: raw.permissions.or(raw.scope).is_some_and(|granted| lists(&granted, MANAGE_LOCKS)),
            // Verified before: a number from 0 on.
            good_until: raw
                .exp
                .and_then(|exp| exp.as_f64())
                .map_or(0, |exp| exp.round() as u64)
                .saturating_add(LEEWAY_SECONDS),
            all: None,
        }
    }
}

fn text(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn lists(granted: &Value, permission: &str) -> bool {
    match granted {
        Value::String(words) => words.split(' ').any(|word| word == permission),
        Value::Array(values) => values.iter().any(|value| value.as_str() == Some(permission)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manages_locks(claims: Value) -> bool {
        Claims::from(serde_json::from_value::<RawClaims>(claims).expect("claims")).manages_locks
    }

    #[test]
    fn the_permission_is_found_in_an_array_a_string_and_scope() {
        assert!(manages_locks(json!({"permissions": ["read", "manage-locks"]})));
        assert!(manages_locks(json!({"permissions": "read manage-locks"})));
        assert!(manages_locks(json!({"scope": "openid manage-locks"})));
        assert!(!manages_locks(json!({"permissions": [], "scope": "manage-locks"})), "permissions go before scope");
        assert!(!manages_locks(json!({"permissions": "manage-locks-not"})));
        assert!(!manages_locks(json!({"permissions": {"manage-locks": true}})));
        assert!(!manages_locks(json!({})));
    }

    #[test]
    fn an_integer_subject_is_its_decimal_text() {
        let subject = |sub: &str| {
            let raw = serde_json::from_str::<RawClaims>(&format!("{{\"sub\":{sub}}}")).expect("claims");
            Claims::from(raw).subject
        };
        assert_eq!(subject("42").as_deref(), Some("42"));
        let long = "1".repeat(257);
        for sub in ["42.0", "null", "\"\"", &long] {
            assert_eq!(subject(sub), None, "{sub}");
        }
    }
}
