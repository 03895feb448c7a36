//! Verifies what a request and its connection show of a caller.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::bearer::bearer;
use super::jwt::{self, Claims};
use super::unauthorized::{Unauthorized, refused};
use super::{ApiTokens, AuthConfig, CookieName, Credential, KeySource, Principal, ServiceCredential, TokenName, User};
use crate::headers::values;
use crate::tls::CallerCertificate;

/// Where Dapr's clients put the API token.
const DAPR_API_TOKEN: &str = "dapr-api-token";
/// Most cookies of our name in one request.
const MOST_COOKIES: usize = 8;

/// The credentials of a caller, kept to be verified again while a lock is held for them.
pub struct Shown {
    request: ShownByRequest,
    /// Of the connection.
    certificate: Option<CallerCertificate>,
}

enum ShownByRequest {
    Bearer(Box<str>),
    /// None of them: nothing was shown.
    Cookies(Box<[Box<str>]>),
}

impl Shown {
    /// The client certificate of the connection.
    pub fn certificate(&self) -> Option<&CallerCertificate> {
        self.certificate.as_ref()
    }
}

/// What becomes of a cookie of an unknown key beside one that verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// It is the answer, so that its key can be fetched.
    Told,
    Skipped,
}

/// Verifies what callers show. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    jwt: Option<KeySource>,
    api_tokens: ApiTokens,
    cookie_name: CookieName,
}

impl Authenticator {
    pub fn new(config: &AuthConfig) -> Authenticator {
        let AuthConfig { jwt, api_tokens, cookie_name, .. } = config;
        Authenticator { jwt: jwt.clone(), api_tokens: api_tokens.clone(), cookie_name: cookie_name.clone() }
    }

    /// Who is asking: what the request itself shows, or else the client certificate of its connection. Waits for a key that is
    /// not known yet.
    pub async fn principal(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CallerCertificate>,
    ) -> Result<Principal, Unauthorized> {
        let cookies = self.cookies(headers)?;
        let by_request = self.with_fresh_keys(|unknown| self.by_headers(headers, &cookies, unknown)).await;
        with_certificate(by_request, certificate)
    }

    /// Asks once more, with the keys that there are by then, where a token names a key that is not known. While these were
    /// not fetched since, such a token is neither valid nor invalid.
    async fn with_fresh_keys<T>(&self, ask: impl Fn(Unknown) -> Result<T, Unauthorized>) -> Result<T, Unauthorized> {
        let Some(set) = self.jwt.as_ref().and_then(KeySource::set) else { return ask(Unknown::Skipped) };
        match ask(Unknown::Told) {
            Err(Unauthorized::UnknownKey(_)) => {
                let is_fetched = set.fetch_again().await;
                match ask(Unknown::Skipped) {
                    Err(Unauthorized::UnknownKey(why)) if !is_fetched => Err(set.not_fetched_since(&why)),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    /// Who is asking by the keys that are known.
    pub fn principal_now(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CallerCertificate>,
    ) -> Result<Principal, Unauthorized> {
        let by_request = self.cookies(headers).and_then(|cookies| self.by_headers(headers, &cookies, Unknown::Skipped));
        with_certificate(by_request, certificate)
    }

    /// Who is asking, by the `Authorization` header, else by the cookies. All that is shown must be good, and of one user;
    /// anonymous only where nothing is shown.
    fn by_headers(
        &self,
        headers: &HeaderMap,
        cookies: &[Box<str>],
        unknown: Unknown,
    ) -> Result<Principal, Unauthorized> {
        let mut authorizations = values(headers, AUTHORIZATION);
        let Some(value) = authorizations.next() else { return self.by_cookies(cookies, unknown) };
        if authorizations.next().is_some() {
            return Err(refused("two Authorization headers"));
        }
        let token = value.to_str().ok().and_then(bearer);
        let principal =
            self.by_bearer(token.ok_or_else(|| refused("the Authorization header holds no bearer token"))?)?;
        match (&principal, self.by_cookies(cookies, unknown)?) {
            (Principal::User(user), Principal::User(other)) if user.id != other.id => {
                Err(refused(format!("a bearer token and a cookie `{}` of two users", self.cookie_name)))
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
    pub async fn dapr_system(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CallerCertificate>,
    ) -> Result<Option<TokenName>, Unauthorized> {
        let Some(token) = headers.get(DAPR_API_TOKEN).filter(|_| self.has_api_token()) else { return Ok(None) };
        match token.to_str().ok().and_then(|token| self.api_tokens.name_of(token)) {
            Some(name) => self.principal(headers, certificate).await.map(|_| Some(name)),
            None => Err(refused(format!("the header {DAPR_API_TOKEN} does not hold an API token"))),
        }
    }

    /// The claims of the cookies alone, for the dialect that knows no other identity. Waits for a key that is not known yet.
    pub async fn cookie_claims(&self, headers: &HeaderMap) -> Result<Claims, Unauthorized> {
        let cookies = self.cookies(headers)?;
        let claims = self.with_fresh_keys(|unknown| self.claims_of(&cookies, unknown)).await?;
        claims.ok_or_else(|| refused(format!("no cookie `{}`", self.cookie_name)))
    }

    /// What a request shows, kept so that it can be verified again.
    pub fn shown(&self, headers: &HeaderMap, certificate: Option<&CallerCertificate>) -> Shown {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        let request = match bearer {
            Some(token) => ShownByRequest::Bearer(token.into()),
            None => ShownByRequest::Cookies(self.cookies(headers).unwrap_or_default().into()),
        };
        Shown { request, certificate: certificate.cloned() }
    }

    /// When a user's token ends, leeway included, or the certificate of the connection, whichever is sooner; `None` where neither
    /// was shown.
    pub fn good_until(&self, shown: &Shown) -> Option<SystemTime> {
        let claims = match &shown.request {
            ShownByRequest::Bearer(token) => self.verify(token).ok(),
            ShownByRequest::Cookies(cookies) => self.claims_of(cookies, Unknown::Skipped).ok().flatten(),
        };
        let of_token =
            claims.and_then(|claims| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims.good_until)));
        let of_certificate = shown.certificate.as_ref().and_then(CallerCertificate::ends);
        [of_token, of_certificate].into_iter().flatten().min()
    }

    /// Who shows this by the keys that are known.
    pub fn principal_of(&self, shown: &Shown) -> Result<Principal, Unauthorized> {
        let by_request = match &shown.request {
            ShownByRequest::Bearer(token) => self.by_bearer(token),
            ShownByRequest::Cookies(cookies) => self.by_cookies(cookies, Unknown::Skipped),
        };
        with_certificate(by_request, shown.certificate.as_ref())
    }

    /// Whether the keys were fetched since that moment; has them fetched otherwise. Keys of a file are always up to date.
    pub fn has_fetched_since(&self, moment: Instant) -> bool {
        self.jwt.as_ref().and_then(KeySource::set).is_none_or(|set| set.has_fetched_since(moment))
    }

    /// Waits for a key that is no longer known. An error where the keys were not fetched again in time.
    pub async fn settle(&self, shown: &Shown) -> Result<(), Unauthorized> {
        match (self.principal_of(shown), self.jwt.as_ref().and_then(KeySource::set)) {
            (Err(Unauthorized::UnknownKey(why)), Some(set)) if !set.fetch_again().await => {
                Err(set.not_fetched_since(&why))
            }
            _ => Ok(()),
        }
    }

    fn by_bearer(&self, token: &str) -> Result<Principal, Unauthorized> {
        if let Some(name) = self.api_tokens.name_of(token) {
            return Ok(Principal::System(ServiceCredential::Token(name)));
        }
        user(self.verify(token)?, Credential::Header).map(Principal::User)
    }

    /// The cookies of our name. Each may cost a verification.
    fn cookies(&self, headers: &HeaderMap) -> Result<Vec<Box<str>>, Unauthorized> {
        if self.jwt.is_none() {
            return Ok(Vec::new());
        }
        let cookies: Vec<_> = self.cookie_name.values(headers).take(MOST_COOKIES + 1).map(Into::into).collect();
        match cookies.len() > MOST_COOKIES {
            true => Err(refused(format!("more than {MOST_COOKIES} cookies `{}`", self.cookie_name))),
            false => Ok(cookies),
        }
    }

    /// A cookie where no JWT key is configured is not for us.
    fn by_cookies(&self, cookies: &[Box<str>], unknown: Unknown) -> Result<Principal, Unauthorized> {
        if self.jwt.is_none() {
            return Ok(Principal::Anonymous);
        }
        match self.claims_of(cookies, unknown)? {
            Some(claims) => user(claims, Credential::Cookie).map(Principal::User),
            None => Ok(Principal::Anonymous),
        }
    }

    /// Of several cookies of our name, as those of two paths or domains come, all that verify must name one user: of these
    /// the one counts that is good for longest. An error where none verifies, `None` where there is none.
    fn claims_of(&self, cookies: &[Box<str>], unknown: Unknown) -> Result<Option<Claims>, Unauthorized> {
        let mut found: Option<Claims> = None;
        let mut failed = None;
        for cookie in cookies {
            match self.verify(cookie) {
                // It may be of another user than those whose keys are known.
                Err(reason @ Unauthorized::UnknownKey(_)) if unknown == Unknown::Told => return Err(reason),
                // Of several reasons the one that may pass: a key that is not known yet.
                Err(reason @ Unauthorized::UnknownKey(_)) => failed = Some(reason),
                Err(reason) => failed = failed.or(Some(reason)),
                Ok(claims) if found.as_ref().is_some_and(|found| found.subject != claims.subject) => {
                    return Err(refused(format!("cookies `{}` of two users", self.cookie_name)));
                }
                Ok(claims) if found.as_ref().is_some_and(|found| found.good_until >= claims.good_until) => {}
                Ok(claims) => found = Some(claims),
            }
        }
        match (found, failed) {
            (None, Some(reason)) => Err(reason),
            (found, _) => Ok(found),
        }
    }

    fn verify(&self, token: &str) -> Result<Claims, Unauthorized> {
        let keys = self.jwt.as_ref().ok_or_else(|| {
            refused("no JWT key is set; set --jwks-url, --jwks-file, --jwt-public-key-file or --jwt-secret-file")
        })?;
        match keys.now() {
            Ok(keys) => keys.verify(token),
            // What is no JWT is refused whatever the keys are.
            Err(no_keys) => Err(jwt::check_form(token).err().unwrap_or(no_keys)),
        }
    }
}

/// Who is asking by both: what the request shows goes before the certificate of its connection, which must be valid, too.
fn with_certificate(
    by_request: Result<Principal, Unauthorized>,
    certificate: Option<&CallerCertificate>,
) -> Result<Principal, Unauthorized> {
    let Some(certificate) = certificate else { return by_request };
    certificate.check().map_err(Unauthorized::Certificate)?;
    match by_request? {
        Principal::Anonymous => Ok(Principal::System(ServiceCredential::Certificate(Arc::clone(certificate.name())))),
        principal => Ok(principal),
    }
}

fn user(claims: Claims, credential: Credential) -> Result<User, Unauthorized> {
    let id = claims.subject.ok_or_else(|| refused("the token names no user in `sub`"))?;
    Ok(User {
        id,
        label: claims.label,
        description: claims.description,
        manages_locks: claims.manages_locks,
        credential,
        claims: claims.all,
    })
}
