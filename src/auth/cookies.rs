//! The cookie that carries a user's JWT.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use cookie::Cookie;
use hyper::HeaderMap;
use hyper::header::COOKIE;

use crate::headers::values;

/// The name of the cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(Arc<str>);

impl CookieName {
    /// A name that a cookie may have (RFC 6265, 4.1.1).
    pub fn parse(text: &str) -> Result<CookieName, String> {
        let fits = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let expected = || format!("`{text}`; expected the name of a cookie: A-Z a-z 0-9 ! # $ % & ' * + - . ^ _ ` | ~");
        if fits { Ok(CookieName(text.into())) } else { Err(expected()) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The values of the cookies of this name, whatever bytes others hold. A value in quotes is taken without them
    /// (RFC 6265, 4.1.1).
    pub fn values<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = Cow<'a, str>> {
        values(headers, COOKIE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .flat_map(Cookie::split_parse)
            .filter_map(Result::ok)
            .filter(|cookie| cookie.name() == self.as_str())
            .map(|cookie| Cow::Owned(cookie.value_trimmed().to_owned()))
    }
}

impl Default for CookieName {
    fn default() -> CookieName {
        CookieName("refreshToken".into())
    }
}

impl Display for CookieName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn cookie_in(value: impl AsRef<[u8]>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        CookieName::default().values(&headers).next().map(Cow::into_owned)
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
        assert_eq!(CookieName::default().values(&headers).collect::<Vec<_>>(), ["a", "d", "e"]);
    }

    #[test]
    fn a_name_is_one_that_a_cookie_may_have() {
        for name in ["refreshToken", "__Host-session", "KEYCLOAK_IDENTITY", "a.b"] {
            assert_eq!(CookieName::parse(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "a b", "a=b", "a;b", "a\"b", "ä", "a,b", "a\n"] {
            assert!(CookieName::parse(name).is_err(), "{name}");
        }
    }
}
