//! Parsing that tells every unknown flag in one run, together with every wrong setting.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Cli, Command, complain, exit};
use crate::config::Config;

/// The command line, or the exit code after everything that is wrong with it was told.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut args: Vec<OsString> = args.collect();
    let mut unknown = Vec::new();
    loop {
        match Cli::try_parse_from(&args) {
            Ok(cli) if unknown.is_empty() => return Ok(cli),
            Ok(cli) => {
                unknown.iter().for_each(complain);
                if let Command::Serve(flags) = &cli.command
                    && let Err(mistakes) = Config::resolve(flags)
                {
                    mistakes.iter().for_each(complain);
                }
                return Err(ExitCode::from(exit::USAGE));
            }
            Err(error) if error.kind() == ErrorKind::UnknownArgument && remove(&mut args, &error) => {
                unknown.push(sentence(&error, &args));
            }
            Err(error) => {
                unknown.iter().for_each(complain);
                let _ = error.print();
                let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                return Err(if is_help { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) });
            }
        }
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        ContextValue::Strings(texts) => texts.first().map(String::as_str),
        _ => None,
    }
}

fn sentence(error: &clap::Error, args: &[OsString]) -> String {
    let flag = context(error, ContextKind::InvalidArg).unwrap_or_default();
    if !flag.starts_with('-') {
        if args.get(1).is_some_and(|command| command == "exec") {
            return "the command comes after `--`: lockside exec KEY -- CMD ARGS".to_owned();
        }
        // A value that lost its flag may be a url with a password.
        return "a value without a flag, not shown since it may be a secret; see --help".to_owned();
    }
    match context(error, ContextKind::SuggestedArg) {
        Some(near) => format!("{flag}: no such flag; did you mean {near}?"),
        None => format!("{flag}: no such flag; see --help"),
    }
}

/// Takes the unknown flag out, with the value behind it, so that the rest can be looked at.
fn remove(args: &mut Vec<OsString>, error: &clap::Error) -> bool {
    let Some(flag) = context(error, ContextKind::InvalidArg) else { return false };
    let is_it = |arg: &OsString| arg.to_str().is_some_and(|arg| arg == flag || arg.split('=').next() == Some(flag));
    let Some(at) = args.iter().position(is_it) else { return false };
    let has_value = args[at].to_str() == Some(flag)
        && flag.starts_with("--")
        && args.get(at + 1).and_then(|next| next.to_str()).is_some_and(|next| !next.starts_with('-'));
    args.drain(at..=at + usize::from(has_value));
    true
}
