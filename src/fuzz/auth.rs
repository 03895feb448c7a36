//! What holds of every credential.

use std::sync::LazyLock;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::jwt::{ClaimRules, JwtKeys, Verifier};
use super::{Authenticator, CookieName, KeySource, Principal};
use crate::auth::{ApiTokens, AuthConfig};
use crate::fuzz::{parts, text};
use crate::policy::{Limits, Permissions};
use crate::secret::{Reloaded, Secret};

const SECRET: &str = "a secret of at least thirty-two bytes";
const API_TOKEN: &str = "an api token that nobody guesses";

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let keys = JwtKeys::from_secret(SECRET.as_bytes()).expect("a secret");
    Authenticator::new(&AuthConfig {
        jwt: Some(KeySource::File(Reloaded::fixed(Verifier::new(keys, &ClaimRules::default())))),
        cookie_name: CookieName::default(),
        permissions: Permissions::default(),
        api_tokens: ApiTokens::new(Some(Reloaded::fixed(Secret::new(API_TOKEN))), None),
        policy: None,
        limits: Limits::default(),
        user_directory: false,
        anonymous: None,
    })
});

/// `claims`, `cookies`, `place`: no bytes that we did not sign are a principal; a token of ours with any claims is a
/// user within bounds or none, is found among any cookies, and is no user's with one bit changed.
pub fn credentials(data: &[u8]) {
    let [claims, cookies, place] = parts(data);
    for header in [AUTHORIZATION, COOKIE] {
        for shown in [claims.to_vec(), [b"Bearer ", claims].concat(), [b"refreshToken=", claims].concat()] {
            let principal = principal(&header, &shown);
            assert!(shown.ends_with(API_TOKEN.as_bytes()) || !is_somebody(principal.as_ref()), "{shown:?}");
        }
    }
    let Ok(claims @ Value::Object(_)) = serde_json::from_slice::<Value>(claims) else { return };
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("signed");
    let shown = principal(&AUTHORIZATION, format!("Bearer {token}").as_bytes());
    if let Some(Principal::User(user)) = &shown {
        let sub = &claims["sub"];
        assert!(*sub == json!(user.id) || sub.is_number(), "{sub} is not {}", user.id);
        assert!((1..=256).contains(&user.id.len()) && !user.id.chars().any(char::is_control), "{:?}", user.id);
        let bounded = |text: &Option<String>| text.as_ref().is_none_or(|text| (1..=1024).contains(&text.len()));
        assert!(bounded(&user.label) && bounded(&user.description));
        let granted = [&claims["permissions"], &claims["scope"]]
            .into_iter()
            .any(|granted| granted.to_string().contains("manage-locks"));
        assert!(granted || !user.manages_locks, "{claims}");
    }
    assert!(!matches!(shown, Some(Principal::System(_))));

    // Other cookies before ours, whatever is in them, do not hide it; nor do quotes.
    let others: String = text(cookies).chars().filter(|c| !c.is_control()).collect();
    if !others.contains("refreshToken") {
        for ours in [format!("refreshToken={token}"), format!("refreshToken=\"{token}\"")] {
            let found = principal(&COOKIE, format!("{others}; {ours}").as_bytes());
            assert_eq!(is_somebody(found.as_ref()), is_somebody(shown.as_ref()), "{others}");
        }
    }
    let mut forged = token.clone().into_bytes();
    let at = place.iter().fold(0_usize, |at, byte| at * 256 % forged.len() + usize::from(*byte)) % forged.len();
    forged[at] ^= 1;
    // The last character of the signature has bits that stand for nothing.
    if at + 1 < forged.len() {
        let forged = principal(&AUTHORIZATION, &[b"Bearer ", &forged[..]].concat());
        assert!(!is_somebody(forged.as_ref()), "the byte {at} of {token} is not signed");
    }
}

/// A set is refused with a reason, or has keys of algorithms for key pairs alone: no bytes of it are a secret that signs
/// tokens, and a key of no use beside its keys changes nothing.
pub fn key_set(data: &[u8]) {
    let keys = match JwtKeys::from_jwk_set(data) {
        Ok(keys) => keys,
        Err(problem) => return assert!(problem.contains("expected"), "{problem}"),
    };
    for key in &keys.keys {
        let is_symmetric = |it: &Algorithm| matches!(it, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        assert!(!key.algorithms.is_empty() && !key.algorithms.iter().any(is_symmetric), "{key:?}");
    }
    let mut set: Value = serde_json::from_slice(data).expect("it was read");
    let known = set["keys"].as_array_mut().expect("it has keys");
    known.insert(0, json!({"kty": "oct", "k": "AAAA"}));
    let more = JwtKeys::from_jwk_set(set.to_string().as_bytes()).expect("the same keys");
    assert_eq!(more.keys.len(), keys.keys.len(), "{set}");

    let verifier = Verifier::new(keys, &ClaimRules::default());
    let claims = json!({"sub": "a", "exp": 32_503_680_000_u64});
    for secret in [data, data.trim_ascii(), &data[..data.len().min(32)]] {
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)).expect("signed");
        assert!(verifier.verify(&token).is_err(), "{token}");
    }
}

/// Who shows this; `None` for a credential that is refused, or that no header can hold.
fn principal(header: &HeaderName, shown: &[u8]) -> Option<Principal> {
    let mut headers = HeaderMap::new();
    headers.insert(header.clone(), HeaderValue::from_bytes(shown).ok()?);
    AUTHENTICATOR.principal_now(&headers).ok()
}

fn is_somebody(principal: Option<&Principal>) -> bool {
    matches!(principal, Some(Principal::User(_) | Principal::System(_)))
}
