//! Parsing that tells everything that is wrong with a command line in one run: flags that are unknown, lack their value
//! or are no text, together with every wrong setting.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Cli, Command, complain, exit};
use crate::config::Config;

/// The command line, or the exit code after everything that is wrong with it was told.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut args: Vec<OsString> = args.collect();
    let mut wrong = Vec::new();
    loop {
        match Cli::try_parse_from(&args) {
            Ok(cli) if wrong.is_empty() => return Ok(cli),
            Ok(cli) => {
                wrong.iter().for_each(complain);
                if let Command::Serve(flags) = &cli.command
                    && let Err(mistakes) = Config::resolve(flags)
                {
                    mistakes.iter().for_each(complain);
                }
                return Err(ExitCode::from(exit::USAGE));
            }
            Err(error) => match mend(&mut args, &error) {
                Some(sentence) => wrong.push(sentence),
                None => {
                    wrong.iter().for_each(complain);
                    let _ = error.print();
                    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                    return Err(if is_help { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) });
                }
            },
        }
    }
}

/// Takes what is wrong out of the arguments, so that the rest can be looked at, and says what it was.
fn mend(args: &mut Vec<OsString>, error: &clap::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::UnknownArgument => remove(args, error).then(|| sentence(error, args)),
        ErrorKind::InvalidValue => {
            let mut words = context(error, ContextKind::InvalidArg)?.split(' ');
            let (flag, value) = (words.next()?.to_owned(), words.next().unwrap_or("a value").to_owned());
            let lacks_value = |at: &usize| {
                args[*at].to_str() == Some(&flag)
                    && args.get(at + 1).is_none_or(|next| next.to_str().is_some_and(|next| next.starts_with('-')))
            };
            let at = (0..args.len()).find(lacks_value)?;
            args.remove(at);
            Some(format!("{flag}: no value; expected {flag} {value}"))
        }
        ErrorKind::InvalidUtf8 => {
            // Behind `--` stands another program's command line.
            let ours = args.iter().skip(1).take_while(|arg| *arg != "--");
            let at = 1 + ours.into_iter().position(|arg| arg.to_str().is_none())?;
            let is_flag = |arg: &str| arg.starts_with("--") && !arg.contains('=');
            let begins = at - usize::from(args[at - 1].to_str().is_some_and(is_flag));
            let flag = args[begins].to_string_lossy().split('=').next().unwrap_or_default().to_owned();
            args.drain(begins..=at);
            Some(if flag.starts_with("--") { format!("{flag}: not UTF-8 text") } else { "not UTF-8 text".to_owned() })
        }
        _ => None,
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
