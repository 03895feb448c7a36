//! JWT verification: which claims must hold, and what they say of a user.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::keys::JwtKey;
pub use super::keys::JwtKeys;
use super::unauthorized::{Unauthorized, refused};
use super::verified::{Fingerprint, Verified, this_second};
use crate::json::string_or_integer;
use crate::policy::Permissions;

/// Clocks of the issuer and of this machine may differ by this much, seconds.
const LEEWAY_SECONDS: u64 = 30;
/// Longest user id, bytes: as long as an owner may be.
const LONGEST_ID: usize = 256;
/// Longest label or description that is kept with a lock, bytes.
const LONGEST_TEXT: usize = 1024;

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

/// What is asked of the claims of a token, and what is read from them.
#[derive(Clone, Debug, Default)]
pub struct ClaimRules {
    /// The `iss` that each token must name.
    pub issuer: Option<String>,
    /// The `aud` that each token must name.
    pub audience: Option<String>,
    pub permissions: Permissions,
    /// Whether all claims are kept: without a policy most would be read for nothing.
    pub keeps_claims: bool,
}

/// Verifies tokens with the keys of one file, or of one set that was fetched.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<Candidate>,
    /// The `iss` that each token must name.
    issuer: Option<String>,
    warning: Option<&'static str>,
    skipped: Vec<&'static str>,
    shows_private: bool,
    permissions: Permissions,
    keeps_claims: bool,
    verified: Verified,
}

/// A key that may have signed a token.
#[derive(Clone, Debug)]
struct Candidate {
    key: DecodingKey,
    /// The claims that must hold, and the algorithms of the key.
    validation: Validation,
    /// By which tokens name it.
    id: Option<Box<str>>,
}

impl Verifier {
    pub fn new(keys: JwtKeys, rules: &ClaimRules) -> Verifier {
        let (warning, skipped, shows_private) = (keys.warning(), keys.skipped, keys.shows_private);
        let candidate =
            |JwtKey { key, algorithms, id }| Candidate { key, validation: rules.validation(algorithms), id };
        Verifier {
            keys: keys.keys.into_iter().map(candidate).collect(),
            issuer: rules.issuer.clone(),
            warning,
            skipped,
            shows_private,
            permissions: rules.permissions.clone(),
            keeps_claims: rules.keeps_claims,
            verified: Verified::default(),
        }
    }

    /// What is unwise about its keys, for the log.
    pub fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Why keys of a set were skipped, one reason a key.
    pub fn skipped(&self) -> &[&'static str] {
        &self.skipped
    }

    /// Whether the set shows the private half of a key.
    pub fn shows_private(&self) -> bool {
        self.shows_private
    }

    /// The claims of a good token. The error says why it is not, for the log; the caller learns only that.
    pub fn verify(&self, token: &str) -> Result<Claims, Unauthorized> {
        let (fingerprint, begun) = (Fingerprint::of(token), this_second());
        if let Some(claims) = self.verified.find(fingerprint, begun) {
            let all = self.keeps_claims.then(|| all_of(token)).transpose()?;
            return Ok(Claims { all, ..Claims::clone(&claims) });
        }
        let claims = self.verify_anew(token)?;
        // The later one of both, should the clock have been set meanwhile.
        self.verified.keep(fingerprint, this_second().max(begun), &claims);
        Ok(claims)
    }

    fn verify_anew(&self, token: &str) -> Result<Claims, Unauthorized> {
        let header = decode_header(token).map_err(|error| refused(why(&error)))?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: an extension that must be understood, and we understand none.
            return Err(refused("critical header extensions are not supported"));
        }
        // A token that names no key is tried with all of them, and a key without a name is tried for every token.
        let named = header.kid.as_deref();
        let may_be = |key: &Candidate| named.is_none() || key.id.is_none() || key.id.as_deref() == named;
        let mut reason = jsonwebtoken::errors::Error::from(ErrorKind::InvalidAlgorithm);
        for key in self.keys.iter().filter(|key| may_be(key) && key.validation.algorithms.contains(&header.alg)) {
            match decode::<RawClaims>(token, &key.key, &key.validation) {
                Ok(verified) => return self.claims(token, verified.claims),
                // Another key of the file may have signed it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => reason = error,
                Err(error) => return Err(refused(why(&error))),
            }
        }
        let is_known = named.is_none() || self.keys.iter().any(|key| key.id.as_deref() == named);
        Err(match why(&reason) {
            why if is_known => refused(why),
            // Where keys have no names, a token may name one all the same.
            why if self.keys.iter().all(|key| key.id.is_none()) => Unauthorized::UnknownKey(why.to_owned()),
            _ => Unauthorized::UnknownKey("the token's `kid` names no key that is known".to_owned()),
        })
    }

    /// What a token says whose signature and claims are good.
    fn claims(&self, token: &str, raw: RawClaims) -> Result<Claims, Unauthorized> {
        // The library also takes an array that has it.
        if self.issuer.is_some() && raw.iss.as_ref().and_then(Value::as_str) != self.issuer.as_deref() {
            return Err(refused(why(&ErrorKind::InvalidIssuer.into())));
        }
        let is_default = self.permissions.are_in_default_claims();
        let all = (self.keeps_claims || !is_default).then(|| all_of(token)).transpose()?;
        let granted = match &all {
            Some(all) if !is_default => self.permissions.granted(all),
            _ => raw.permissions.as_ref().or(raw.scope.as_ref()),
        };
        let manages_locks = granted.is_some_and(|granted| self.permissions.manages_locks(granted));
        Ok(Claims { manages_locks, all: all.filter(|_| self.keeps_claims), ..raw.into() })
    }
}

impl ClaimRules {
    fn validation(&self, algorithms: &[jsonwebtoken::Algorithm]) -> Validation {
        let mut validation = Validation::new(algorithms[0]);
        validation.algorithms = algorithms.to_vec();
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.validate_aud = self.audience.is_some();
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }
}

/// Whether it has the form of a JWT.
pub fn check_form(token: &str) -> Result<(), Unauthorized> {
    decode_header(token).map(|_| ()).map_err(|error| refused(why(&error)))
}

/// Every claim of a token that was verified.
fn all_of(token: &str) -> Result<AllClaims, Unauthorized> {
    let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    claims.map(Arc::new).ok_or_else(|| refused("not a JWT"))
}

/// Why a token is not valid, in words of ours: the library's quote the token.
fn why(error: &jsonwebtoken::errors::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet (`nbf`)",
        ErrorKind::InvalidSignature => "the token's signature does not match the key",
        ErrorKind::InvalidAlgorithm => "the token's algorithm does not fit the key",
        ErrorKind::InvalidIssuer => "the token's `iss` is not that of --jwt-issuer, or of the discovery document",
        ErrorKind::InvalidAudience => "the token's `aud` is not that of --jwt-audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token has no `exp`",
            "iss" => "the token has no `iss`, which --jwt-issuer or the discovery document asks for",
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
    iss: Option<Value>,
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
            manages_locks: false,
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

#[cfg(test)]
mod tests {
    use super::*;

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
