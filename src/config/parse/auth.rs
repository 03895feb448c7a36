//! From the flags of authentication to settings: keys, API tokens, the policy, and callers without credentials.

use std::path::Path;

use super::{Check, given, millis, or_none};
use crate::auth::jwt::{JwtKeys, Verifier};
use crate::auth::{Anonymous, ApiTokens, AuthConfig, TokenFolder, bearer_token, unwise_if_short};
use crate::config::flags::{AuthFlags, QuotaFlags};
use crate::policy::{Limits, Policy};
use crate::secret::{OPEN_TO_OTHERS, Unwise, WRITABLE_BY_OTHERS};

impl Check {
    pub fn auth(&mut self, flags: &AuthFlags, quotas: &QuotaFlags) -> Option<AuthConfig> {
        let secret_file = given(&flags.jwt_secret_file).map(Path::new);
        let public_file = given(&flags.jwt_public_key_file).map(Path::new);
        if secret_file.is_some() && public_file.is_some() {
            self.mistake("--jwt-secret-file", "given together with --jwt-public-key-file; expected one of them");
        }
        let (issuer, audience) = (given(&flags.jwt_issuer), given(&flags.jwt_audience));
        let policy_file = given(&flags.policy_file).map(Path::new);
        let keeps_claims = policy_file.is_some();
        let verifier = |keys: fn(&[u8]) -> Result<JwtKeys, String>| {
            let (issuer, audience) = (issuer.map(str::to_owned), audience.map(str::to_owned));
            move |content: &[u8]| -> Result<Verifier, String> {
                let verifier = Verifier::new(keys(content)?, issuer.as_deref(), audience.as_deref());
                Ok(verifier.keeping_claims(keeps_claims))
            }
        };
        let wary = |mode| Unwise { mode, value: Verifier::warning };
        let secret = secret_file
            .map(|file| self.followed("--jwt-secret-file", file, verifier(JwtKeys::from_secret), wary(OPEN_TO_OTHERS)));
        let public = public_file.map(|file| {
            self.followed("--jwt-public-key-file", file, verifier(JwtKeys::from_public_pem), wary(WRITABLE_BY_OTHERS))
        });
        let jwt = secret.or(public);
        if jwt.is_some() && issuer.is_none() && audience.is_none() {
            self.notes.push(
                "--jwt-issuer and --jwt-audience are not set: every token that the JWT key verifies is accepted, of any \
                 issuer and for any service"
                    .to_owned(),
            );
        }
        if jwt.is_none() {
            for (flag, value) in [("--jwt-issuer", issuer), ("--jwt-audience", audience)] {
                if value.is_some() {
                    self.mistake(flag, "given without a key; add --jwt-secret-file or --jwt-public-key-file");
                }
            }
        }
        let api_tokens = self.api_tokens(flags);
        let policy = policy_file.map(|file| {
            let wary = Unwise { mode: WRITABLE_BY_OTHERS, value: |_| None };
            self.followed("--policy-file", file, Policy::parse, wary)
        });
        let user_directory = self.switch("--user-directory", &flags.user_directory);
        let anonymous = given(&flags.anonymous).map(|text| self.take("--anonymous", Anonymous::parse(text)));
        // Whether a credential is configured is known even where the switch is a mistake, so that both are told.
        Some(AuthConfig {
            jwt: or_none(jwt)?,
            api_tokens: api_tokens?,
            policy: or_none(policy)?,
            limits: self.limits(quotas),
            user_directory: user_directory.unwrap_or_default(),
            anonymous: or_none(anonymous)?,
        })
    }

    fn limits(&mut self, flags: &QuotaFlags) -> Limits {
        let mut count = |flag, text: &Option<String>| {
            let number = given(text).and_then(|text| self.count(flag, text, 0, Limits::MOST as usize));
            number.map(|number| number as u64)
        };
        let locks = count("--caller-locks", &flags.caller_locks);
        let waiters = count("--caller-waiters", &flags.caller_waiters);
        let holds = count("--caller-holds", &flags.caller_holds);
        let requests = count("--caller-requests", &flags.caller_requests);
        let [shortest, longest] = Limits::TTLS;
        let ttl = given(&flags.caller_ttl).and_then(|text| self.duration("--caller-ttl", text, shortest, longest));
        Limits { locks, waiters, holds, requests, ttl_ms: ttl.map(millis) }
    }

    /// The API tokens of the file and of the folder; `None` where something is wrong with them.
    fn api_tokens(&mut self, flags: &AuthFlags) -> Option<ApiTokens> {
        let single = given(&flags.api_token_file)
            .map(|file| self.followed("--api-token-file", Path::new(file), bearer_token, unwise_if_short()));
        let of_file = single.clone().flatten();
        let folder = given(&flags.api_tokens_dir).map(|folder| match TokenFolder::read(Path::new(folder), of_file) {
            Ok((folder, warnings)) => {
                self.warnings.extend(warnings);
                Some(folder)
            }
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.mistake("--api-tokens-dir", problem));
                None
            }
        });
        Some(ApiTokens::new(or_none(single)?, or_none(folder)?))
    }
}
