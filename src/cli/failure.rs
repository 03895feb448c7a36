//! Why a sidecar did not do what the command line asked for, and what to tell who typed it.

use std::fmt;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde::Deserialize;

use super::view::{Holder, printable};
use super::{complain, exit};
use crate::policy::Verb;

/// Why a request did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The connection is refused.
    NoSidecar(String),
    /// The connection stands, and the answer is missing, or is no HTTP.
    Broken(String),
    /// The sidecar said no.
    Refused(Box<Problem>),
    /// Who was asked on the terminal said no.
    Declined(String),
}

impl Failure {
    /// Tells what went wrong, and gives the exit code that says so.
    pub fn tell(self) -> u8 {
        match self {
            Failure::Usage(problem) => {
                complain(problem);
                exit::USAGE
            }
            Failure::NoSidecar(problem) | Failure::Broken(problem) => {
                complain(problem);
                exit::UNAVAILABLE
            }
            Failure::Refused(problem) => {
                complain(&problem);
                problem.exit_code()
            }
            Failure::Declined(what) => {
                complain(what);
                exit::FAILURE
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::NoSidecar(text) | Failure::Broken(text) | Failure::Declined(text) => {
                f.write_str(text)
            }
            Failure::Refused(problem) => problem.fmt(f),
        }
    }
}

/// An answer that no sidecar gives.
pub fn not_ours(error: &serde_json::Error) -> Failure {
    Failure::NoSidecar(format!("not a lockside API response ({error}); check --url"))
}

/// An error that the sidecar answered: `application/problem+json`.
#[derive(Debug, Deserialize)]
pub struct Problem {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub detail: String,
    /// How the key is taken: `held` or `resting`.
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub holder: Option<Holder>,
    /// Of several locks the one in the way.
    #[serde(default)]
    pub key: Option<String>,
    /// Seconds of the header `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// Reads an answer that is no success.
    pub async fn read(response: Response<Incoming>) -> Problem {
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let problem = serde_json::from_slice(&body).ok();
        let problem = problem.unwrap_or_else(|| Problem {
            status: 0,
            code: String::new(),
            detail: "not a lockside API response; check --url".to_owned(),
            state: None,
            holder: None,
            key: None,
            retry_after: None,
        });
        Problem { status, retry_after, ..problem }.masked()
    }

    /// This problem, without the control characters that a terminal would obey.
    pub fn masked(self) -> Problem {
        Problem { code: printable(&self.code), detail: printable(&self.detail), ..self }
    }

    /// The exit code of a refusal that has none of its own.
    pub fn exit_code(&self) -> u8 {
        match self.status {
            401 | 403 => exit::NOT_ALLOWED,
            500.. => exit::UNAVAILABLE,
            _ => exit::FAILURE,
        }
    }

    /// The verb that the sidecar's policy does not allow.
    fn denied_verb(&self) -> Option<&'static str> {
        let verb = self.detail.trim_end_matches('.').rsplit_once("the policy does not allow ")?.1;
        Verb::parse(verb).ok().map(Verb::label)
    }

    fn next_step(&self) -> &'static str {
        match self.code.as_str() {
            "unauthorized" => "; send credentials with --token-file",
            "forbidden" => "; this needs other permissions, see --token-file",
            "redis-unavailable" | "redis-refused" | "overloaded" | "draining" | "keys-unavailable" | "too-late" => {
                "; retry later"
            }
            "outcome-unknown" => "; check with `lockside show`",
            _ => "",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail.trim_end_matches('.');
        write!(f, "the sidecar answered {} {}: {detail}", self.status, self.code)?;
        match self.denied_verb() {
            Some(verb) if self.code == "forbidden" => write!(
                f,
                "; ask for the verb `{verb}` on this key: docs/operations/teams.md; `lockside policy test` says which line \
                 allows it"
            ),
            _ => f.write_str(self.next_step()),
        }
    }
}
