//! JWT verification: which keys are fit, which algorithms follow from them, which claims must hold.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

/// Clocks of the issuer and of this machine may differ by this much, seconds.
const LEEWAY_SECONDS: u64 = 30;
/// Longest user id, bytes: as long as an owner may be.
const LONGEST_ID: usize = 256;
/// Longest label or description that is kept with a lock, bytes.
const LONGEST_TEXT: usize = 1024;
/// The permission that the admin dialect and taking away another's lock ask for.
const MANAGE_LOCKS: &str = "manage-locks";

/// A key that verifies tokens, and the algorithms that it may do so with: they follow from the key, never from the
/// token.
#[derive(Clone)]
pub struct JwtKey {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
    secret_bytes: Option<usize>,
}

impl JwtKey {
    /// HS256, HS384, HS512. Refuses a PEM file: a public key as an HMAC secret lets everybody sign.
    pub fn from_secret(bytes: &[u8]) -> Result<JwtKey, &'static str> {
        if contains(bytes, b"-----BEGIN ") {
            return Err("is a PEM file, not a secret; give it to --jwt-public-key-file");
        }
        Ok(JwtKey {
            key: DecodingKey::from_secret(bytes),
            algorithms: vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            secret_bytes: Some(bytes.len()),
        })
    }

    /// RS and PS for an RSA key, ES256 for P-256, ES384 for P-384, EdDSA for Ed25519.
    pub fn from_public_pem(bytes: &[u8]) -> Result<JwtKey, &'static str> {
        const EXPECTED: &str = "holds no key that fits; expected a PEM public key: RSA, P-256, P-384 or Ed25519";
        if contains(bytes, b"PRIVATE KEY-----") {
            return Err("holds a private key; expected the public one");
        }
        let (key, algorithms) = if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
            use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
            (key, vec![RS256, RS384, RS512, PS256, PS384, PS512])
        } else if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            // The uncompressed point tells the curve: one byte, and two coordinates.
            let algorithm = match key.try_get_as_bytes().map(<[u8]>::len) {
                Ok(65) => Algorithm::ES256,
                Ok(97) => Algorithm::ES384,
                _ => return Err(EXPECTED),
            };
            (key, vec![algorithm])
        } else if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            (key, vec![Algorithm::EdDSA])
        } else {
            return Err(EXPECTED);
        };
        Ok(JwtKey { key, algorithms, secret_bytes: None })
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtKey").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// What a verified token says of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`; `None` where the token names no user.
    pub subject: Option<String>,
    pub label: Option<String>,
    pub description: Option<String>,
    pub manages_locks: bool,
}

/// Verifies tokens with one key.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: JwtKey,
    validation: Validation,
}

impl Verifier {
    pub fn new(key: JwtKey, issuer: Option<&str>, audience: Option<&str>) -> Verifier {
        let mut validation = Validation::new(key.algorithms[0]);
        validation.algorithms.clone_from(&key.algorithms);
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
        Verifier { key, validation }
    }

    /// Whether its key is a secret below the 32 bytes that HS256 asks for (RFC 7518, 3.2).
    pub fn has_short_secret(&self) -> bool {
        self.key.secret_bytes.is_some_and(|bytes| bytes < 32)
    }

    /// The claims of a good token. The error says why it is not, for the log; the caller learns only that.
    pub fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|error| why(&error))?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: an extension that must be understood, and we understand none.
            return Err("critical header extensions are not supported".to_owned());
        }
        let token = decode::<RawClaims>(token, &self.key.key, &self.validation).map_err(|error| why(&error))?;
        Ok(token.claims.into())
    }
}

/// Why a token is not valid, in words of ours: the library's quote the token.
fn why(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
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
    sub: Option<Value>,
    name: Option<Value>,
    description: Option<Value>,
    permissions: Option<Value>,
    scope: Option<Value>,
}

impl From<RawClaims> for Claims {
    fn from(raw: RawClaims) -> Claims {
        let id = text(raw.sub).filter(|id| id.len() <= LONGEST_ID && !id.chars().any(char::is_control));
        Claims {
            subject: id,
            label: text(raw.name).filter(|label| label.len() <= LONGEST_TEXT),
            description: text(raw.description).filter(|description| description.len() <= LONGEST_TEXT),
            manages_locks: raw.permissions.or(raw.scope).is_some_and(|granted| lists(&granted, MANAGE_LOCKS)),
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
    fn keys_that_do_not_fit_are_refused() {
        let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
        assert!(JwtKey::from_secret(pem.as_bytes()).is_err());
        assert!(JwtKey::from_public_pem(pem.as_bytes()).is_err());
        assert!(JwtKey::from_public_pem(b"secret").is_err());
        let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
        assert_eq!(
            JwtKey::from_public_pem(private.as_bytes()).expect_err("private"),
            "holds a private key; expected the public one"
        );
        let short = |secret: &[u8]| {
            Verifier::new(JwtKey::from_secret(secret).expect("a secret"), None, None).has_short_secret()
        };
        assert!(short(&[0xff; 31]) && !short(&[0xff; 32]));
    }
}
