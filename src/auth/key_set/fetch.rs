//! One fetch of a JWK set: from its URL, or from the one that an issuer's discovery document names.

use std::fmt::{self, Display, Formatter};

use bytes::Bytes;
use serde::Deserialize;
use url::{Position, Url};

use crate::auth::jwt::{ClaimRules, JwtKeys, Verifier};
use crate::http_client;
use crate::tls::Tls;

/// How the path of an issuer's discovery document ends (OpenID Connect Discovery 1.0, 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Longest answer, bytes.
const LONGEST: usize = 1024 * 1024;
/// Longest text of the issuer that is told, bytes.
const LONGEST_EXCERPT: usize = 200;

/// Where a set comes from, and what is asked of tokens.
pub struct Origin {
    pub url: Url,
    /// For https.
    pub tls: Option<Tls>,
    pub rules: ClaimRules,
}

/// What a fetch found.
#[derive(PartialEq, Eq)]
pub struct Found {
    set: Bytes,
    /// Of the discovery document.
    issuer: Option<String>,
}

impl Found {
    pub fn is_of_another_issuer(&self, other: &Found) -> bool {
        self.issuer != other.issuer
    }
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// From a text to a URL that keys may come from: https, or http of this machine.
pub fn check_url(text: &str) -> Result<Url, String> {
    // The text may hold a secret, wherever its mistake is: it is never quoted.
    let url = Url::parse(text)
        .map_err(|_| "expected a URL such as https://issuer.example/keys, its host name in ASCII (xn--...)")?;
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err("expected a URL with a host and without a user, such as https://issuer.example/keys".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if http_client::is_local(&url) => Ok(url),
        "http" => {
            let origin = &url[..Position::BeforePath];
            Err(format!("`{}`: http is for loopback only, since its answer can be forged; use https", excerpt(origin)))
        }
        scheme => Err(format!("`{}`; expected https, or http of loopback", excerpt(scheme))),
    }
}

impl Origin {
    pub fn is_discovery(&self) -> bool {
        self.url.path().ends_with(DISCOVERY)
    }

    /// The set, as it is there now.
    pub async fn fetch(&self) -> Result<Found, String> {
        if !self.is_discovery() {
            return Ok(Found { set: self.body(&self.url).await?, issuer: None });
        }
        let document = self.body(&self.url).await?;
        let Discovered { issuer, jwks_uri } = serde_json::from_slice(&document)
            .map_err(|_| "the answer is no discovery document; expected JSON with `issuer` and `jwks_uri`")?;
        if let Some(expected) = self.rules.issuer.as_ref().filter(|expected| **expected != issuer) {
            let issuer = excerpt(&issuer);
            return Err(format!("the discovery document is of the issuer `{issuer}`; --jwt-issuer says `{expected}`"));
        }
        let url = check_url(&jwks_uri).map_err(|problem| format!("`jwks_uri` of the discovery document: {problem}"))?;
        let set = self.body(&url).await.map_err(|problem| format!("{}: {problem}", excerpt(shown(&url))))?;
        Ok(Found { set, issuer: Some(issuer) })
    }

    async fn body(&self, url: &Url) -> Result<Bytes, String> {
        let tls = match url.scheme() {
            "https" => Some(self.tls.as_ref().ok_or("https needs CA certificates; set --jwks-ca-file")?),
            _ => None,
        };
        http_client::body(url, tls, LONGEST).await.map_err(|problem| excerpt(&problem))
    }

    /// What verifies tokens by the keys that were found.
    pub fn verifier(&self, found: &Found) -> Result<Verifier, String> {
        let keys = JwtKeys::from_jwk_set(&found.set).map_err(|problem| format!("the answer {problem}"))?;
        let issuer = found.issuer.clone().or_else(|| self.rules.issuer.clone());
        Ok(Verifier::new(keys, &ClaimRules { issuer, ..self.rules.clone() }))
    }
}

/// A text that the issuer may have chosen, as it can stand in a line of the log and of `/readyz`: not long, and without
/// control characters.
fn excerpt(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        if kept.len() >= LONGEST_EXCERPT {
            return kept + "…";
        }
        match c.is_control() {
            true => kept.extend(c.escape_default()),
            false => kept.push(c),
        }
    }
    kept
}

/// Without its query, which may hold a secret.
fn shown(url: &Url) -> &str {
    &url[..Position::AfterPath]
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(shown(&self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for text in [
            "https://issuer.example/keys",
            "https://10.0.0.1:8443/realms/a/.well-known/openid-configuration",
            "http://localhost:8080/keys?x=y",
            "http://127.0.0.1/keys",
            "http://[::1]:80/",
        ] {
            assert!(check_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "keys.json",
            "/etc/keys",
            "file:///etc/keys",
            "http://issuer.example/keys",
            "http://10.0.0.1/keys",
            "http://localhost.example/keys",
            "https://user@issuer.example/keys",
            "https://user:password@issuer.example/keys",
            "ftp://127.0.0.1/",
        ] {
            assert!(check_url(text).is_err(), "{text}");
        }
        for text in [
            "https://user:hidden@issuer.example/keys",
            "http://user:hidden@issuer.example/keys",
            "https://user:hidden@issuer.example:port/keys",
            "http://issuer.example/keys?code=hidden",
            "http://issuer.example/hidden",
            "https://issuer .example/keys?code=hidden",
            "ftp://127.0.0.1/?code=hidden",
            "hidden",
        ] {
            assert!(check_url(text).is_err_and(|problem| !problem.contains("hidden")), "{text}");
        }
    }

    #[test]
    fn a_text_of_the_issuer_is_told_shortened_and_on_one_line() {
        assert_eq!(excerpt("https://issuer.example/ä"), "https://issuer.example/ä");
        assert_eq!(excerpt("a\nb\x1b[31m\0\u{85}"), "a\\nb\\u{1b}[31m\\u{0}\\u{85}");
        assert_eq!(excerpt(&"x".repeat(LONGEST_EXCERPT)), "x".repeat(LONGEST_EXCERPT));
        assert_eq!(excerpt(&"x".repeat(1_000_000)), "x".repeat(LONGEST_EXCERPT) + "…");
    }
}
