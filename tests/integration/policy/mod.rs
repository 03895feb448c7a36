//! Who may do what: named API tokens, and a policy file that is followed while the sidecar runs.

mod attempts;
mod bundles;
mod callers;
mod dapr;
mod follow;
mod holders;
mod lists;
mod owners;
mod quotas;
pub mod routes;
mod settings;
mod streams;
mod watchers;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Call, Scratch, Sidecar, TestRedis, eventually, jwt, unique};

/// How long a file may take until it counts, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Who asks: a user by its JWT, with further claims, a caller with an API token, or one without credentials.
#[derive(Clone, Debug)]
pub enum As {
    User(&'static str, Value),
    Token(&'static str),
    Nobody,
}

/// The API token of this caller.
fn token(name: &str) -> String {
    format!("the token of {name} in the tests")
}

/// A sidecar with a policy, a JWT secret and tokens, in a namespace of its own on the shared Redis.
pub struct Guarded {
    pub sidecar: Sidecar,
    scratch: Scratch,
}

impl Guarded {
    pub async fn start(policy: &str, tokens: &[&str], flags: &[&str]) -> Guarded {
        let prefix = unique("policy");
        Guarded::start_in(&prefix, policy, tokens, flags).await
    }

    /// In the namespace of another one.
    pub async fn start_in(prefix: &str, policy: &str, tokens: &[&str], flags: &[&str]) -> Guarded {
        let scratch = Scratch::new();
        let (secret, file) = (scratch.file("secret", jwt::SECRET), scratch.file("policy", policy));
        std::fs::create_dir(scratch.path("tokens")).unwrap();
        for name in tokens {
            scratch.file(&format!("tokens/{name}"), token(name));
        }
        let folder = scratch.path("tokens");
        let own = ["--jwt-secret-file", &secret, "--policy-file", &file, "--key-prefix", prefix];
        let tokens: &[&str] = if tokens.is_empty() { &[] } else { &["--api-tokens-dir", &folder] };
        let sidecar = Sidecar::start(TestRedis::shared(), &[&own, tokens, flags].concat()).await;
        Guarded { sidecar, scratch }
    }

    pub fn ask(&self, who: &As, method: &str, path: &str) -> Call<'_> {
        let call = self.sidecar.call(method, path);
        match who {
            As::User(name, claims) => {
                let mut all = json!({"sub": name, "exp": jwt::seconds(3600)});
                all.as_object_mut().unwrap().extend(claims.as_object().cloned().unwrap_or_default());
                call.cookie(&jwt::signed(&all))
            }
            As::Token(name) => call.bearer(&token(name)),
            As::Nobody => call,
        }
    }

    /// A lease that is granted.
    pub async fn granted(&self, who: &As, key: &str, body: Value) -> Value {
        let answer = self.ask(who, "POST", &path(key)).json(&body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    pub async fn acquire(&self, who: &As, key: &str) -> Answer {
        self.ask(who, "POST", &path(key)).send().await
    }

    /// Writes the policy, and waits until it counts: until the caller's acquire of a key is answered so.
    pub async fn rewrite(&self, policy: &str, who: &As, key: &str, status: u16) {
        self.scratch.file("policy", policy);
        eventually("the policy counts", SOON, async || self.acquire(who, key).await.status == status).await;
    }

    pub async fn release(&self, who: &As, key: &str, token: &Value) -> Answer {
        self.ask(who, "DELETE", &format!("{}?token={token}", path(key))).send().await
    }
}

/// The path of a key.
pub fn path(key: &str) -> String {
    format!("/v1/locks/{}", key.replace('%', "%25").replace('/', "%2F"))
}

/// An answer of the native API that says that the policy does not allow this verb, and nothing else.
pub fn assert_denied(answer: &Answer, verb: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["code"], "forbidden");
    assert_eq!(problem["detail"], format!("Not allowed: the policy does not allow {verb}."));
    assert_eq!(answer.header("lockside-reason"), Some("missing-permission"));
    let names = ["type", "title", "status", "detail", "code", "outcome", "requestId"];
    assert!(problem.as_object().unwrap().keys().all(|name| names.contains(&name.as_str())), "{problem}");
}
