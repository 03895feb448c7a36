//! From a request's headers to who is asking. Knows tokens and cookies; knows no lock and no route.

pub mod jwt;
#[cfg(any(test, fuzzing))]
pub mod properties;

use std::borrow::Cow;

use cookie::Cookie;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use subtle::ConstantTimeEq;

use crate::config::{AuthConfig, Live, Secret};
use jwt::{Claims, Verifier};

/// The cookie that carries a user's JWT.
const COOKIE_NAME: &str = "refreshToken";
/// Where Dapr's clients put the API token.
const DAPR_API_TOKEN: &str = "dapr-api-token";

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Somebody with a JWT.
    User(User),
    /// A caller with the API token: may do everything.
    System,
    /// Nobody said who they are.
    Anonymous,
}

/// A user whose JWT was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub label: Option<String>,
    pub description: Option<String>,
    pub manages_locks: bool,
    pub credential: Credential,
}

/// What a user showed. A browser sends a cookie by itself, so that a page of another site can make it do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Header,
    Cookie,
}

/// A credential was shown that is no good. The text is for the log: it says why, and shows nothing of the credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthorized(pub String);

/// Verifies what callers show.
#[derive(Debug)]
pub struct Authenticator {
    jwt: Option<Live<Verifier>>,
    api_token: Option<Live<Secret>>,
}

impl Authenticator {
    pub fn new(config: &AuthConfig) -> Authenticator {
        Authenticator { jwt: config.jwt.clone(), api_token: config.api_token.clone() }
    }

    /// Whether anybody can show who they are: a JWT key or an API token is set.
    pub fn is_configured(&self) -> bool {
        self.jwt.is_some() || self.api_token.is_some()
    }

    /// Who is asking, by the `Authorization` header, else by the cookie. Anonymous only where neither was shown.
    pub fn principal(&self, headers: &HeaderMap) -> Result<Principal, Unauthorized> {
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        if let Some(value) = authorizations.next() {
            if authorizations.next().is_some() {
                return Err(Unauthorized("two Authorization headers".to_owned()));
            }
            let token = value.to_str().ok().and_then(bearer);
            let token =
                token.ok_or_else(|| Unauthorized("the Authorization header holds no bearer token".to_owned()))?;
            if self.is_api_token(token) {
                return Ok(Principal::System);
            }
            return user(self.verify(token)?, Credential::Header).map(Principal::User);
        }
        match cookie(headers) {
            Some(token) => user(self.verify(&token)?, Credential::Cookie).map(Principal::User),
            None => Ok(Principal::Anonymous),
        }
    }

    /// Whether the API token stands in the header that Dapr's clients send it in; an error where something else does.
    pub fn is_dapr_system(&self, headers: &HeaderMap) -> Result<bool, Unauthorized> {
        let mut shown = headers.get_all(DAPR_API_TOKEN).iter();
        let Some(token) = shown.next() else { return Ok(false) };
        if shown.next().is_some() {
            return Err(Unauthorized(format!("two {DAPR_API_TOKEN} headers")));
        }
        if self.api_token.is_none() {
            return Err(Unauthorized("no API token is set; set --api-token-file".to_owned()));
        }
        match token.to_str() {
            Ok(token) if self.is_api_token(token) => Ok(true),
            _ => Err(Unauthorized(format!("the header {DAPR_API_TOKEN} does not hold the API token"))),
        }
    }

    /// The claims of the cookie alone, for the dialect that knows no other identity.
    pub fn cookie_claims(&self, headers: &HeaderMap) -> Result<Claims, Unauthorized> {
        let token = cookie(headers).ok_or_else(|| Unauthorized(format!("no cookie `{COOKIE_NAME}`")))?;
        self.verify(&token)
    }

    fn verify(&self, token: &str) -> Result<Claims, Unauthorized> {
        let verifier = self.jwt.as_ref().ok_or_else(|| {
            Unauthorized("no JWT key is set; set --jwt-secret-file or --jwt-public-key-file".to_owned())
        })?;
        verifier.now().verify(token).map_err(Unauthorized)
    }

    fn is_api_token(&self, shown: &str) -> bool {
        let Some(token) = &self.api_token else { return false };
        token.now().expose().as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

fn user(claims: Claims, credential: Credential) -> Result<User, Unauthorized> {
    let id = claims.subject.ok_or_else(|| Unauthorized("the token names no user in `sub`".to_owned()))?;
    Ok(User {
        id,
        label: claims.label,
        description: claims.description,
        manages_locks: claims.manages_locks,
        credential,
    })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The first cookie of our name, whatever bytes other cookies hold. A value in quotes is taken without them (RFC 6265,
/// 4.1.1).
fn cookie(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers
        .get_all(COOKIE)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == COOKIE_NAME)
        .map(|cookie| Cow::Owned(cookie.value_trimmed().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn cookie_in(value: impl AsRef<[u8]>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        cookie(&headers).map(Cow::into_owned)
    }

    #[test]
    fn the_cookie_is_found_among_others_quoted_or_not() {
        assert_eq!(cookie_in("a=b; refreshToken=x.y.z; c=d").as_deref(), Some("x.y.z"));
        assert_eq!(cookie_in("a=b;refreshToken=\"x.y.z\";c=d").as_deref(), Some("x.y.z"));
        assert_eq!(cookie_in("; =;; refreshToken=x").as_deref(), Some("x"));
        assert_eq!(cookie_in("name=Jürgen; refreshToken=x").as_deref(), Some("x"));
        assert_eq!(cookie_in(b"name=\xff; refreshToken=x").as_deref(), Some("x"));
        assert_eq!(cookie_in("refreshtoken=x; xrefreshToken=y"), None);
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer x.y"), Some("x.y"));
        assert_eq!(bearer("bearer  x.y "), Some("x.y"));
        assert_eq!(bearer("Basic eDp5"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
