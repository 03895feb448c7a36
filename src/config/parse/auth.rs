//! From the flags of authentication to settings: API tokens, the policy, and callers without credentials. The keys
//! of JWTs are in `jwt.rs`.

use std::path::Path;

use super::{Check, given, millis, or_none};
use crate::auth::{Anonymous, ApiTokens, AuthConfig, CookieName, TokenFolder, bearer_token, unwise_if_short};
use crate::config::flags::{AuthFlags, QuotaFlags};
use crate::policy::{Limits, Policy};
use crate::secret::{Unwise, WRITABLE_BY_OTHERS};

impl Check {
    pub fn auth(&mut self, flags: &AuthFlags, quotas: &QuotaFlags) -> Option<AuthConfig> {
        let rules = self.claim_rules(flags);
        let jwt = self.jwt(flags, &rules);
        let api_tokens = self.api_tokens(flags);
        let policy = given(&flags.policy_file).map(Path::new).map(|file| {
            let wary = Unwise { mode: WRITABLE_BY_OTHERS, value: |_| None };
            let permissions = rules.permissions.clone();
            self.followed("--policy-file", file, move |text| Policy::parse_with(text, &permissions), wary)
        });
        let cookie_name = self.take("--cookie-name", CookieName::parse(&flags.cookie_name));
        let user_directory = self.switch("--user-directory", &flags.user_directory);
        let anonymous = given(&flags.anonymous).map(|text| self.take("--anonymous", Anonymous::parse(text)));
        // Whether a credential is configured is known even where the switch is a mistake, so that both are told.
        Some(AuthConfig {
            jwt: or_none(jwt)?,
            cookie_name: cookie_name?,
            permissions: rules.permissions,
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
