//! Whether callers without credentials are served, and what they may do: one rule, for every API.

/// What a caller without a credential may do. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anonymous {
    /// Nothing.
    None,
    /// What the native and the Dapr API offer, as a service caller, but for force-release.
    Lock,
    /// Everything that a service caller may do.
    Full,
}

/// What the rule depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether a JWT key is configured.
    pub has_key: bool,
    /// Whether an API token is configured.
    pub has_token: bool,
    /// Whether only this machine can reach the listener: loopback, or a unix socket.
    pub is_local: bool,
    /// Whether the listener admits only callers with a client certificate.
    pub has_certificates: bool,
    /// Whether `--insecure` was given.
    pub is_insecure: bool,
}

impl Anonymous {
    pub fn parse(text: &str) -> Result<Anonymous, String> {
        match text {
            "none" => Ok(Anonymous::None),
            "lock" => Ok(Anonymous::Lock),
            "full" => Ok(Anonymous::Full),
            _ => Err(format!("`{text}`; expected full, lock or none")),
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Anonymous::None => "none",
            Anonymous::Lock => "lock",
            Anonymous::Full => "full",
        }
    }

    /// The rule for one listener: what was `asked` for, else what fits what is configured. An error where a listener that
    /// others can reach would serve callers without a credential, and no setting says that it may.
    pub fn on(asked: Option<Anonymous>, facts: Facts) -> Result<Anonymous, String> {
        let Facts { has_key, has_token, is_local, has_certificates, is_insecure } = facts;
        match asked {
            // None gets there.
            _ if has_certificates => Ok(Anonymous::None),
            Some(level) if level > Anonymous::None && !is_local && !is_insecure => {
                Err(format!("`{}` beyond loopback and unix sockets needs --insecure", level.label()))
            }
            Some(level) => Ok(level),
            None if has_token => Ok(Anonymous::None),
            None if !has_key && (is_local || is_insecure) => Ok(Anonymous::Full),
            None if has_key && is_local => Ok(Anonymous::Lock),
            None => Ok(Anonymous::None),
        }
    }

    /// What is said of it at start where there is a policy: it alone says what those who are served may do.
    pub fn sentence_under_a_policy(self) -> &'static str {
        match self {
            Anonymous::None => self.sentence(),
            Anonymous::Lock => {
                "callers without credentials are served by the native and the Dapr API, with what the policy's `anonymous` \
                 lines allow (--anonymous lock)"
            }
            Anonymous::Full => {
                "callers without credentials are served, with what the policy's `anonymous` lines allow (--anonymous full)"
            }
        }
    }

    /// What is said of it at start where there is none.
    pub fn sentence(self) -> &'static str {
        match self {
            Anonymous::None => "callers without credentials are refused (--anonymous none)",
            Anonymous::Lock => {
                "callers without credentials are served by the native and the Dapr API, without force-release \
                 (--anonymous lock)"
            }
            Anonymous::Full => "callers without credentials are served with every permission (--anonymous full)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Anonymous::{Full, Lock, None as Nothing};
    use super::*;

    /// Key, token, local, insecure; and the default, and whether `full` and `lock` may be asked for.
    const TABLE: [([bool; 4], Anonymous, bool); 16] = [
        ([false, false, true, false], Full, true),
        ([false, false, true, true], Full, true),
        ([true, false, true, false], Lock, true),
        ([true, false, true, true], Lock, true),
        ([false, true, true, false], Nothing, true),
        ([false, true, true, true], Nothing, true),
        ([true, true, true, false], Nothing, true),
        ([true, true, true, true], Nothing, true),
        ([false, false, false, false], Nothing, false),
        ([false, false, false, true], Full, true),
        ([true, false, false, false], Nothing, false),
        ([true, false, false, true], Nothing, true),
        ([false, true, false, false], Nothing, false),
        ([false, true, false, true], Nothing, true),
        ([true, true, false, false], Nothing, false),
        ([true, true, false, true], Nothing, true),
    ];

    #[test]
    fn what_callers_without_a_credential_may_do_follows_from_what_is_configured() {
        for ([has_key, has_token, is_local, is_insecure], default, may_ask) in TABLE {
            let facts = Facts { has_key, has_token, is_local, has_certificates: false, is_insecure };
            assert_eq!(Anonymous::on(None, facts), Ok(default), "{facts:?}");
            assert_eq!(Anonymous::on(Some(Nothing), facts), Ok(Nothing), "{facts:?}");
            for level in [Lock, Full] {
                let found = Anonymous::on(Some(level), facts);
                assert_eq!(found.clone().ok(), may_ask.then_some(level), "{facts:?}");
                assert!(may_ask || found.is_err_and(|problem| problem.contains("--insecure")), "{facts:?}");
            }
        }
    }

    #[test]
    fn no_caller_without_a_credential_gets_to_a_listener_that_asks_for_certificates() {
        for (facts, _, _) in TABLE {
            let [has_key, has_token, is_local, is_insecure] = facts;
            let facts = Facts { has_key, has_token, is_local, has_certificates: true, is_insecure };
            for asked in [None, Some(Nothing), Some(Lock), Some(Full)] {
                assert_eq!(Anonymous::on(asked, facts), Ok(Nothing), "{facts:?}");
            }
        }
    }

    #[test]
    fn a_level_is_one_of_three_words() {
        for level in [Nothing, Lock, Full] {
            assert_eq!(Anonymous::parse(level.label()), Ok(level));
        }
        for text in ["", "Full", "true", "full ", "all"] {
            assert!(Anonymous::parse(text).is_err_and(|problem| problem.contains("full, lock or none")), "{text}");
        }
    }
}
