//! `lockside acl`: the ACL user of one namespace, for a Redis that several share. Asks no Redis.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::{complain, exit, say};
use crate::config::check_prefix;
use crate::lock::KeySpace;
use crate::redis::user_line;
use crate::secret::{OPEN_TO_OTHERS, Reloaded, Secret, Unwise};

#[derive(Args, Debug)]
pub struct AclFlags {
    /// First part of every Redis key of the namespace, as --key-prefix of its sidecars
    #[arg(long, env = "LOCKSIDE_KEY_PREFIX", value_name = "TEXT")]
    key_prefix: String,

    /// Name of the user [default: the key prefix]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// File with the password, of which the line has the SHA-256; one trailing newline is cut off [default: none: the
    /// user is off]
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
}

pub const HELP: &str = "\
Prints the line for an ACL file, the configuration of Redis or ACL SETUSER, where it replaces all that the user had: a user that may do what the sidecars with this key \
prefix need, and nothing else. Exit code 64 where a value is invalid, or the prefix has spaces or quotes, which no pattern of \
Redis can contain, or `:push:`.

Example: lockside acl --key-prefix team-red --password-file password";

pub fn run(flags: &AclFlags) -> ExitCode {
    match line(flags) {
        Ok((line, warnings)) => {
            warnings.iter().for_each(complain);
            say(line);
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            mistakes.iter().for_each(complain);
            ExitCode::from(exit::USAGE)
        }
    }
}

/// The line, and what is unwise about the file of the password.
fn line(flags: &AclFlags) -> Result<(String, Vec<String>), Vec<String>> {
    let mut mistakes = Vec::new();
    let mut keep = |mistake: String| mistakes.push(mistake);
    let _ = prefix(&flags.key_prefix).map_err(|problem| keep(format!("--key-prefix: {problem}")));
    let name = user(flags).map_err(&mut keep);
    let file = flags.password_file.as_deref().filter(|file| !file.is_empty());
    let password = file.map(|file| password(file).map_err(&mut keep)).transpose();
    match (name, password) {
        (Ok(name), Ok(password)) if mistakes.is_empty() => {
            let (password, warnings) = password.unzip();
            let patterns = KeySpace::patterns_anywhere(&flags.key_prefix);
            Ok((user_line(name, password.as_ref(), &patterns), warnings.unwrap_or_default()))
        }
        _ => Err(mistakes),
    }
}

/// A prefix for which there are patterns that match its namespace alone.
fn prefix(prefix: &str) -> Result<(), String> {
    check_prefix(prefix)?;
    if prefix.contains(":push:") {
        return Err(format!("`{prefix}`; expected a prefix without `:push:`, which channels of another prefix have"));
    }
    if prefix.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'')) {
        return Err(format!(
            "`{prefix}`; expected a prefix without spaces and quotes: a pattern of Redis cannot contain them, and one with \
             `?` in their place also matches other namespaces"
        ));
    }
    Ok(())
}

/// The name of the user, which is one word of the line.
fn user(flags: &AclFlags) -> Result<&str, String> {
    let given = flags.user.as_deref().filter(|name| !name.is_empty());
    let name = given.unwrap_or(&flags.key_prefix);
    if given.is_none() && name == "default" {
        return Err(
            "--user: the line of the user `default` restricts all clients that do not authenticate; pass --user \
                    default if that is intended, or another name"
                .to_owned(),
        );
    }
    let is_unfit = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\');
    if name.is_empty() || name.contains(is_unfit) {
        return Err(format!(
            "--user: `{name}`; expected a name without spaces, quotes, backslashes and control characters"
        ));
    }
    Ok(name)
}

fn password(file: &str) -> Result<(Secret, Vec<String>), String> {
    let unwise = Unwise { mode: OPEN_TO_OTHERS, value: |_: &Secret| None };
    let read = Reloaded::read("--password-file", Path::new(file), Secret::parse, unwise);
    let (password, warnings) = read.map_err(|problem| format!("--password-file: {problem}"))?;
    Ok((Secret::clone(&password.now()), warnings))
}
