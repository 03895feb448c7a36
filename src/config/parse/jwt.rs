//! From the flags of JWTs to settings: where their keys come from, and what is asked of their claims.

use std::path::Path;
use std::time::Duration;

use super::{Check, DAY, given};
use crate::auth::jwt::{ClaimRules, JwtKeys, Verifier};
use crate::auth::{KeySet, KeySource, Origin, check_url};
use crate::config::flags::AuthFlags;
use crate::policy::Permissions;
use crate::secret::{OPEN_TO_OTHERS, Unwise, WRITABLE_BY_OTHERS};
use crate::tls::Tls;

/// Shortest `--jwks-refresh`.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

/// From what a file holds to its keys.
type Read = fn(&[u8]) -> Result<JwtKeys, String>;

impl Check {
    pub(super) fn claim_rules(&mut self, flags: &AuthFlags) -> ClaimRules {
        let word = &flags.permission;
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            let problem = format!("`{word}`; expected printable ASCII without spaces, `\"` and `\\`");
            self.mistake("--permission", problem);
        }
        let permissions = self.take("--permission-claim", Permissions::parse(&flags.permission_claim, word));
        ClaimRules {
            issuer: given(&flags.jwt_issuer).map(str::to_owned),
            audience: given(&flags.jwt_audience).map(str::to_owned),
            permissions: permissions.unwrap_or_default(),
            keeps_claims: given(&flags.policy_file).is_some(),
        }
    }

    /// Where the keys come from; `Some(None)` where that is a mistake, `None` where no flag says.
    pub(super) fn jwt(&mut self, flags: &AuthFlags, rules: &ClaimRules) -> Option<Option<KeySource>> {
        let files: [(&str, &Option<String>, Read, u32); 3] = [
            ("--jwt-secret-file", &flags.jwt_secret_file, JwtKeys::from_secret, OPEN_TO_OTHERS),
            ("--jwt-public-key-file", &flags.jwt_public_key_file, JwtKeys::from_public_pem, WRITABLE_BY_OTHERS),
            ("--jwks-file", &flags.jwks_file, JwtKeys::from_jwk_file, WRITABLE_BY_OTHERS),
        ];
        let mut sources = Vec::new();
        for (flag, file, read, mode) in files {
            if let Some(file) = given(file) {
                sources.push((flag, self.key_file(flag, Path::new(file), rules, read, mode)));
            }
        }
        if given(&flags.jwks_ca_file).is_some() && given(&flags.jwks_url).is_none() {
            self.mistake("--jwks-ca-file", "given without --jwks-url");
        }
        let refresh = self.duration("--jwks-refresh", &flags.jwks_refresh, SHORTEST_REFRESH, DAY);
        let set = given(&flags.jwks_url).map(|url| self.key_set(url, refresh, flags, rules));
        let is_discovery = set.as_ref().is_some_and(|set| set.as_ref().is_some_and(KeySet::is_discovery));
        sources.extend(set.map(|set| ("--jwks-url", set.map(KeySource::Url))));
        if let [(first, _), further @ ..] = &*sources {
            for (flag, _) in further {
                self.mistake(first, format!("given together with {flag}; expected one of them"));
            }
        }
        self.judge_claims(rules, !sources.is_empty(), is_discovery);
        sources.into_iter().next().map(|(_, source)| source)
    }

    fn key_file(
        &mut self,
        flag: &'static str,
        file: &Path,
        rules: &ClaimRules,
        read: Read,
        mode: u32,
    ) -> Option<KeySource> {
        let rules = rules.clone();
        let verifier = move |content: &[u8]| Ok(Verifier::new(read(content)?, &rules));
        self.followed(flag, file, verifier, Unwise { mode, value: Verifier::warning }).map(KeySource::File)
    }

    fn key_set(
        &mut self,
        url: &str,
        refresh: Option<Duration>,
        flags: &AuthFlags,
        rules: &ClaimRules,
    ) -> Option<KeySet> {
        let ca_file = given(&flags.jwks_ca_file).map(Path::new);
        let url = self.take("--jwks-url", check_url(url));
        let tls = match (ca_file, Tls::trusting(ca_file)) {
            (_, Ok(tls)) => Some(tls),
            (Some(_), Err(problem)) => {
                self.mistake("--jwks-ca-file", problem);
                None
            }
            (None, Err(problem)) if url.as_ref().is_some_and(|url| url.scheme() == "https") => {
                self.mistake("--jwks-url", format!("{problem} (--jwks-ca-file)"));
                None
            }
            // A discovery document of loopback may name a URL with https: that is told when it is fetched.
            (None, Err(_)) => None,
        };
        Some(KeySet::new(Origin { url: url?, tls, rules: rules.clone() }, refresh?))
    }

    /// Where nothing is asked of the issuer and the service of a token, and where that is asked without a key.
    fn judge_claims(&mut self, rules: &ClaimRules, has_keys: bool, is_discovery: bool) {
        let (issuer, audience) = (&rules.issuer, &rules.audience);
        if has_keys && issuer.is_none() && audience.is_none() && !is_discovery {
            self.notes.push(
                "--jwt-issuer and --jwt-audience are not set: every token that the JWT key verifies is accepted, of any \
                 issuer and for any service"
                    .to_owned(),
            );
        }
        for (flag, value) in [("--jwt-issuer", issuer), ("--jwt-audience", audience)] {
            if value.is_some() && !has_keys {
                self.mistake(
                    flag,
                    "given without a key; add --jwks-url, --jwks-file, --jwt-public-key-file or --jwt-secret-file",
                );
            }
        }
    }
}
