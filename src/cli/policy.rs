//! `lockside policy test`: what a policy file says to one caller, one verb and one key. Asks no sidecar.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::view::printable;
use super::{complain, exit, say};
use crate::lock::Key;
use crate::policy::{Permissions, Policy, Subject, UserFacts, Verb, is_token_name};
use crate::secret::{Reloaded, Unwise};
use crate::tls;

#[derive(Args, Debug)]
pub struct PolicyFlags {
    /// `test`: explain what the policy file decides
    #[arg(value_enum, value_name = "ACTION")]
    action: Action,

    /// lock, read or force-release
    #[arg(value_name = "VERB")]
    verb: String,

    /// The lock
    #[arg(value_name = "KEY")]
    key: String,

    /// Who asks: user:NAME, permission:WORD and claim:NAME=VALUE, which together are one user, or token:NAME, or
    /// cert:NAME, the first URI or DNS name of a client certificate, or anonymous; may be repeated [default: anonymous]
    #[arg(long = "as", value_name = "SUBJECT")]
    subjects: Vec<String>,

    /// The policy file
    #[arg(long, env = "LOCKSIDE_POLICY_FILE", value_name = "FILE")]
    policy_file: Option<String>,

    /// The permission to manage locks, as `serve` has it
    #[arg(long, env = "LOCKSIDE_PERMISSION", value_name = "WORD", default_value = "manage-locks")]
    permission: String,

    /// Claims that list the permissions of a user, as `serve` has them; `--as permission:WORD` stands in the first
    #[arg(long, env = "LOCKSIDE_PERMISSION_CLAIM", value_name = "LIST", default_value = "permissions,scope")]
    permission_claim: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    Test,
}

pub const HELP: &str = "\
Prints the line and the pattern that allow it. Exit code 0 allowed, 77 denied, 64 where the file, the subject or the key \
is invalid; every mistake of the file is told.

Example: lockside policy test --policy-file policy --as token:ci lock deploy/web
Example: lockside policy test --policy-file policy --as user:alice \\
           --as claim:team=red read red/import
Example: lockside policy test --policy-file policy --as cert:batch lock import";

pub fn run(flags: &PolicyFlags) -> ExitCode {
    let Action::Test = flags.action;
    match decided(flags) {
        Ok(Ok(why)) => {
            say(format!("allowed: {}", printable(&why)));
            ExitCode::SUCCESS
        }
        Ok(Err(why)) => {
            say(format!("denied: {}", printable(&why)));
            ExitCode::from(exit::NOT_ALLOWED)
        }
        Err(mistakes) => {
            mistakes.iter().for_each(complain);
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Why it is allowed or not; an error where that cannot be said.
fn decided(flags: &PolicyFlags) -> Result<Result<String, String>, Vec<String>> {
    let mut mistakes = Vec::new();
    let mut keep = |mistake: String| mistakes.push(mistake);
    let permissions = Permissions::parse(&flags.permission_claim, &flags.permission);
    let permissions = permissions.map_err(|problem| keep(format!("--permission-claim: {problem}"))).unwrap_or_default();
    let policy = policy(flags.policy_file.as_deref(), permissions.clone()).map_err(&mut keep).ok();
    let subject = subject(&flags.subjects, &permissions.claims()[0]).map_err(&mut keep).ok();
    let verb = Verb::parse(&flags.verb).map_err(&mut keep).ok();
    let key = Key::parse(&flags.key).map_err(|error| keep(format!("KEY: {error}"))).ok();
    let (Some(policy), Some(subject), Some(verb), Some(key)) = (policy, subject, verb, key) else {
        return Err(mistakes);
    };
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let who = if flags.subjects.is_empty() { "anonymous".to_owned() } else { flags.subjects.join(" ") };
    let denied = || format!("no line allows {who} to {} `{key}`", verb.label());
    Ok(policy.decide(&subject, verb, key.as_str()).map(|allowed| allowed.to_string()).ok_or_else(denied))
}

fn policy(file: Option<&str>, permissions: Permissions) -> Result<Arc<Policy>, String> {
    let file = file.filter(|file| !file.is_empty());
    let file = file.ok_or_else(|| "--policy-file: which? expected --policy-file FILE".to_owned())?;
    let parse = move |text: &[u8]| Policy::parse_with(text, &permissions);
    let read = Reloaded::read("--policy-file", Path::new(file), parse, Unwise::of_nothing());
    read.map(|(policy, _)| policy.now()).map_err(|problem| format!("--policy-file: {problem}"))
}

/// All that was said of the caller together. The permissions are in the claim `listed`.
fn subject(said: &[String], listed: &str) -> Result<Subject, String> {
    let bad = |one: &str, why: &str| Err(format!("--as: `{one}`: {why}"));
    let (mut sub, mut permissions, mut claims) = (None, Vec::new(), Map::new());
    for one in said {
        match one.split_once(':') {
            None if one == "anonymous" && said.len() == 1 => return Ok(Subject::Anonymous),
            Some(("token", name)) if is_token_name(name) && said.len() == 1 => return Ok(Subject::Token(name.into())),
            Some(("cert", name)) if !name.is_empty() && said.len() == 1 => {
                return Ok(Subject::Certificate(tls::one_spelling(name).into()));
            }
            Some(("token" | "cert", _)) | None if said.len() > 1 => {
                return bad(one, "a token, a certificate and an anonymous caller stand alone");
            }
            Some(("token", _)) => return bad(one, "expected the name of a token, 1 to 63 of A-Z a-z 0-9 . _ -"),
            Some(("user", name)) if !name.is_empty() && sub.is_none() => sub = Some(name.to_owned()),
            Some(("permission", word)) if !word.is_empty() => permissions.push(Value::from(word)),
            Some(("claim", claim)) => match claim.split_once('=') {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    let values = claims.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                    values.as_array_mut().expect("made as one").push(Value::from(value));
                }
                _ => return bad(one, "expected claim:NAME=VALUE"),
            },
            _ => {
                let expected = "user:NAME, permission:WORD, claim:NAME=VALUE, token:NAME, cert:NAME or anonymous";
                return bad(one, &format!("expected one {expected}"));
            }
        }
    }
    if said.is_empty() {
        return Ok(Subject::Anonymous);
    }
    if !permissions.is_empty() {
        let values = claims.entry(listed).or_insert_with(|| Value::Array(Vec::new()));
        values.as_array_mut().expect("made as one").append(&mut permissions);
    }
    Ok(Subject::User(UserFacts { sub, claims: claims.into() }))
}
