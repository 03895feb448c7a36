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

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// From a text to a URL that keys may come from: https, or http of this machine.
pub fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("`{text}`; expected a URL such as https://issuer.example/keys"))?;
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err("expected a URL with a host and without a user, such as https://issuer.example/keys".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if http_client::is_local(&url) => Ok(url),
        "http" => Err(format!("`{text}`: http is for loopback only, since its answer can be forged; use https")),
        _ => Err(format!("`{text}`; expected https, or http of loopback")),
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
            return Err(format!("the discovery document is of the issuer `{issuer}`; --jwt-issuer says `{expected}`"));
        }
        let url = check_url(&jwks_uri).map_err(|problem| format!("`jwks_uri` of the discovery document: {problem}"))?;
        let set = self.body(&url).await.map_err(|problem| format!("{}: {problem}", shown(&url)))?;
        Ok(Found { set, issuer: Some(issuer) })
    }

    async fn body(&self, url: &Url) -> Result<Bytes, String> {
        let tls = match url.scheme() {
            "https" => Some(self.tls.as_ref().ok_or("https needs CA certificates; set --jwks-ca-file")?),
            _ => None,
        };
        http_client::body(url, tls, LONGEST).await
    }

    /// What verifies tokens by the keys that were found.
    pub fn verifier(&self, found: &Found) -> Result<Verifier, String> {
        let keys = JwtKeys::from_jwk_set(&found.set).map_err(|problem| format!("the answer {problem}"))?;
        let issuer = found.issuer.clone().or_else(|| self.rules.issuer.clone());
        Ok(Verifier::new(keys, &ClaimRules { issuer, ..self.rules.clone() }))
    }
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
            assert!(check_url(text).is_err_and(|problem| !problem.contains("password")), "{text}");
        }
    }
}
