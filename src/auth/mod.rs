//! From a request's headers to who is asking. Knows tokens and cookies; knows no lock and no route.

mod anonymous;
mod bearer;
mod form;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/auth.rs"]
pub mod fuzz;
pub mod jwt;
mod keys;
mod settings;
mod token_folder;
mod tokens;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::headers::values;
use crate::secret::Reloaded;
use crate::tls::CallerCertificate;
pub use anonymous::{Anonymous, Facts};
pub use bearer::{bearer_token, unwise_if_short};
use cookie::Cookie;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use jwt::{AllClaims, Claims, Verifier};
pub use settings::AuthConfig;
pub use token_folder::TokenFolder;
pub use tokens::{ApiTokens, DEFAULT_TOKEN, ServiceCredential, TokenName};

/// The cookie that carries a user's JWT.
const COOKIE_NAME: &str = "refreshToken";
/// Where Dapr's clients put the API token.
const DAPR_API_TOKEN: &str = "dapr-api-token";

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A caller with a JWT.
    User(User),
    /// A service caller, by its credential.
    System(ServiceCredential),
    /// A caller without a credential.
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
    /// What the token says altogether, where a policy may ask for it.
    pub claims: Option<AllClaims>,
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

/// The credential of a caller, kept to be verified again while a lock is held for them.
pub enum Shown {
    Bearer(Box<str>),
    /// None of them: nothing was shown.
    Cookies(Box<[Box<str>]>),
    /// Of the connection, where the request shows nothing.
    Certificate(CallerCertificate),
}

/// Verifies what callers show. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    jwt: Option<Reloaded<Verifier>>,
    api_tokens: ApiTokens,
}

impl Authenticator {
    pub fn new(config: &AuthConfig) -> Authenticator {
        Authenticator { jwt: config.jwt.clone(), api_tokens: config.api_tokens.clone() }
    }

    /// Who is asking: what the request itself shows, or else the client certificate of its connection.
    pub fn principal(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CallerCertificate>,
    ) -> Result<Principal, Unauthorized> {
        match (self.by_headers(headers)?, certificate) {
            (Principal::Anonymous, Some(certificate)) => by_certificate(certificate),
            (principal, _) => Ok(principal),
        }
    }

    /// Who is asking, by the `Authorization` header, else by the cookies. All that is shown must be good, and of one user;
    /// anonymous only where nothing is shown.
    fn by_headers(&self, headers: &HeaderMap) -> Result<Principal, Unauthorized> {
        let mut authorizations = values(headers, AUTHORIZATION);
        let Some(value) = authorizations.next() else { return self.by_cookies(cookies(headers)) };
        if authorizations.next().is_some() {
            return Err(Unauthorized("two Authorization headers".to_owned()));
        }
        let token = value.to_str().ok().and_then(bearer);
        let principal = self.by_bearer(
            token.ok_or_else(|| Unauthorized("the Authorization header holds no bearer token".to_owned()))?,
        )?;
        match (&principal, self.by_cookies(cookies(headers))?) {
            (Principal::User(user), Principal::User(other)) if user.id != other.id => {
                Err(Unauthorized(format!("a bearer token and a cookie `{COOKIE_NAME}` of two users")))
            }
            _ => Ok(principal),
        }
    }

    /// Whether callers may show an API token.
    pub fn has_api_token(&self) -> bool {
        self.api_tokens.are_set()
    }

    /// The name of the API token in the header that Dapr's clients send it in; an error where something else stands
    /// there, or where what is shown beside it is no good. Without an API token the header is not for us; of two the
    /// first counts, as with Dapr.
    pub fn dapr_system(&self, headers: &HeaderMap) -> Result<Option<TokenName>, Unauthorized> {
        let Some(token) = headers.get(DAPR_API_TOKEN).filter(|_| self.has_api_token()) else { return Ok(None) };
        match token.to_str().ok().and_then(|token| self.api_tokens.name_of(token)) {
            Some(name) => self.by_headers(headers).map(|_| Some(name)),
            None => Err(Unauthorized(format!("the header {DAPR_API_TOKEN} does not hold an API token"))),
        }
    }

    /// The claims of the cookies alone, for the dialect that knows no other identity.
    pub fn cookie_claims(&self, headers: &HeaderMap) -> Result<Claims, Unauthorized> {
        let claims = self.claims_of(cookies(headers))?;
        claims.ok_or_else(|| Unauthorized(format!("no cookie `{COOKIE_NAME}`")))
    }

    /// What a request shows, kept so that it can be verified again.
    pub fn shown(&self, headers: &HeaderMap, certificate: Option<&CallerCertificate>) -> Shown {
        let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        let shown = match shown {
            Some(token) => Shown::Bearer(token.into()),
            None => Shown::Cookies(cookies(headers).map(Into::into).collect()),
        };
        match (certificate, &shown) {
            (Some(certificate), Shown::Cookies(cookies)) if self.jwt.is_none() || cookies.is_empty() => {
                Shown::Certificate(certificate.clone())
            }
            _ => shown,
        }
    }

    /// When a user's token ends, leeway included; `None` where none was shown.
    pub fn good_until(&self, shown: &Shown) -> Option<SystemTime> {
        let claims = match shown {
            Shown::Bearer(token) => self.verify(token).ok(),
            Shown::Cookies(cookies) => self.claims_of(borrowed(cookies)).ok().flatten(),
            Shown::Certificate(_) => None,
        };
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims?.good_until))
    }

    /// Who shows this by now.
    pub fn principal_of(&self, shown: &Shown) -> Result<Principal, Unauthorized> {
        match shown {
            Shown::Bearer(token) => self.by_bearer(token),
            Shown::Cookies(cookies) => self.by_cookies(borrowed(cookies)),
            Shown::Certificate(certificate) => by_certificate(certificate),
        }
    }

    fn by_bearer(&self, token: &str) -> Result<Principal, Unauthorized> {
        if let Some(name) = self.api_tokens.name_of(token) {
            return Ok(Principal::System(ServiceCredential::Token(name)));
        }
        user(self.verify(token)?, Credential::Header).map(Principal::User)
    }

    /// A cookie where no JWT key is configured is not for us.
    fn by_cookies<'a>(&self, cookies: impl Iterator<Item = Cow<'a, str>>) -> Result<Principal, Unauthorized> {
        if self.jwt.is_none() {
            return Ok(Principal::Anonymous);
        }
        match self.claims_of(cookies)? {
            Some(claims) => user(claims, Credential::Cookie).map(Principal::User),
            None => Ok(Principal::Anonymous),
        }
    }

    /// Of several cookies of our name, as those of two paths or domains come, all that verify must name one user: of these
    /// the one counts that is good for longest. An error where none verifies, `None` where there is none.
    fn claims_of<'a>(&self, cookies: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<Claims>, Unauthorized> {
        let mut found: Option<Claims> = None;
        let mut refused = None;
        for cookie in cookies {
            match self.verify(&cookie) {
                Err(reason) => refused = refused.or(Some(reason)),
                Ok(claims) if found.as_ref().is_some_and(|found| found.subject != claims.subject) => {
                    return Err(Unauthorized(format!("cookies `{COOKIE_NAME}` of two users")));
                }
                Ok(claims) if found.as_ref().is_some_and(|found| found.good_until >= claims.good_until) => {}
                Ok(claims) => found = Some(claims),
            }
        }
        match (found, refused) {
            (None, Some(reason)) => Err(reason),
            (found, _) => Ok(found),
        }
    }

    fn verify(&self, token: &str) -> Result<Claims, Unauthorized> {
        let verifier = self.jwt.as_ref().ok_or_else(|| {
            Unauthorized("no JWT key is set; set --jwt-secret-file or --jwt-public-key-file".to_owned())
        })?;
        verifier.now().verify(token).map_err(Unauthorized)
    }
}

fn by_certificate(certificate: &CallerCertificate) -> Result<Principal, Unauthorized> {
    certificate.check().map_err(|problem| Unauthorized(format!("the client certificate: {problem}")))?;
    Ok(Principal::System(ServiceCredential::Certificate(Arc::clone(certificate.name()))))
}

fn user(claims: Claims, credential: Credential) -> Result<User, Unauthorized> {
    let id = claims.subject.ok_or_else(|| Unauthorized("the token names no user in `sub`".to_owned()))?;
    Ok(User {
        id,
        label: claims.label,
        description: claims.description,
        manages_locks: claims.manages_locks,
        credential,
        claims: claims.all,
    })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn borrowed(texts: &[Box<str>]) -> impl Iterator<Item = Cow<'_, str>> {
    texts.iter().map(|text| Cow::Borrowed(&**text))
}

/// The cookies of our name, whatever bytes others hold. A value in quotes is taken without them (RFC 6265, 4.1.1).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cow<'_, str>> {
    values(headers, COOKIE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .filter(|cookie| cookie.name() == COOKIE_NAME)
        .map(|cookie| Cow::Owned(cookie.value_trimmed().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn cookie_in(value: impl AsRef<[u8]>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        cookies(&headers).next().map(Cow::into_owned)
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
    fn every_cookie_of_the_name_is_found_in_whichever_header() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("refreshToken=a; b=c; refreshToken=d"));
        headers.append(COOKIE, HeaderValue::from_static("refreshToken=e"));
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), ["a", "d", "e"]);
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer x.y"), Some("x.y"));
        assert_eq!(bearer("bearer  x.y "), Some("x.y"));
        assert_eq!(bearer("Basic eDp5"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
