//! Parsing that tells everything that is wrong with a command line in one run: flags that are unknown, lack their value
//! or are no text, together with every wrong setting.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};

use super::{Cli, Command, complain, exit, serve};

/// The command line, or the exit code after everything that is wrong with it was told.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut args: Vec<OsString> = args.collect();
    drop_empty(&mut args);
    let mut wrong = not_utf8(&args);
    loop {
        let parsed = without_empty_variables().try_get_matches_from(&args);
        match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
            Ok(cli) if wrong.is_empty() => return Ok(cli),
            Ok(cli) => {
                wrong.iter().for_each(complain);
                if let Command::Serve(flags) = &cli.command
                    && let Err(mistakes) = serve::settings(flags)
                {
                    mistakes.iter().for_each(complain);
                }
                return Err(ExitCode::from(exit::USAGE));
            }
            Err(error) => match mend(&mut args, &error) {
                Some(sentence) => wrong.push(sentence),
                None => {
                    wrong.iter().for_each(complain);
                    // What was taken out may be what is missing now.
                    if !wrong.is_empty() && error.kind() == ErrorKind::MissingRequiredArgument {
                        return Err(ExitCode::from(exit::USAGE));
                    }
                    if let Some(sentence) = without_value(&error) {
                        complain(sentence);
                        return Err(ExitCode::from(exit::USAGE));
                    }
                    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                    // Help names every variable, also those that are empty.
                    let whole = Cli::command().try_get_matches_from(&args).err().filter(|_| is_help);
                    let _ = whole.unwrap_or(error).print();
                    return Err(if is_help { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) });
                }
            },
        }
    }
}

/// The variables of all commands: a setting is what has one.
pub fn variables() -> Vec<String> {
    let command = Cli::command();
    let args = command.get_subcommands().flat_map(clap::Command::get_arguments);
    args.filter_map(Arg::get_env).map(|name| name.to_string_lossy().into_owned()).collect()
}

/// The command line's grammar, to which an empty variable is an unset one, and one that cannot be read is told elsewhere.
fn without_empty_variables() -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let unset = |arg: Arg| {
        if arg.get_env().is_some_and(is_empty) || is_no_text(&arg) { arg.env(None::<&str>) } else { arg }
    };
    let names: Vec<String> = Cli::command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
    names.into_iter().fold(Cli::command(), |command, name| command.mut_subcommand(name, |it| it.mut_args(unset)))
}

/// Whether an argument takes a text and its variable is none.
fn is_no_text(arg: &Arg) -> bool {
    let takes_any = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    !takes_any && arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.to_str().is_none())
}

/// The variables of this command that are no text, a sentence each, unless a flag stands for them.
fn not_utf8(args: &[OsString]) -> Vec<String> {
    let command = Cli::command();
    let Some(command) = args.get(1).and_then(|name| command.find_subcommand(name)) else { return Vec::new() };
    let is_given = |arg: &Arg| {
        let is_it = |given: &OsString| {
            given.to_str().and_then(|given| given.strip_prefix("--")?.split('=').next()) == arg.get_long()
        };
        arg.get_long().is_some() && args.iter().any(is_it)
    };
    let unfit = command.get_arguments().filter(|arg| is_no_text(arg) && !is_given(arg));
    unfit.filter_map(Arg::get_env).map(|name| format!("{}: not UTF-8 text", name.to_string_lossy())).collect()
}

/// Takes the settings out that are empty, `--flag=` or `--flag ''`: an empty one is an unset one.
fn drop_empty(args: &mut Vec<OsString>) {
    let command = Cli::command();
    let Some(command) = args.get(1).and_then(|name| command.find_subcommand(name)) else { return };
    let settings: Vec<&Arg> = command.get_arguments().filter(|arg| arg.get_env().is_some()).collect();
    let find = |flag: &str| settings.iter().find(|arg| arg.get_long() == flag.strip_prefix("--"));
    let mut at = 2;
    // Behind `--` stands another program's command line.
    while at < args.len() && args[at] != "--" {
        let flag = args[at].to_str().unwrap_or_default();
        let count = if flag.strip_suffix('=').is_some_and(|flag| find(flag).is_some()) {
            1
        } else if args.get(at + 1).is_some_and(|value| value.is_empty())
            && find(flag).is_some_and(|arg| !arg.is_require_equals_set())
        {
            2
        } else {
            at += 1;
            continue;
        };
        args.drain(at..at + count);
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
        ErrorKind::ArgumentConflict => {
            let arg = context(error, ContextKind::InvalidArg)
                .filter(|arg| context(error, ContextKind::PriorArg) == Some(arg))?;
            let flag = arg.split([' ', '[', '=']).next()?.to_owned();
            drop_repeated(args, &flag, arg.contains(" <")).then(|| format!("{flag}: given twice; expected once"))
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

/// Takes a flag out wherever it stands but the first time, with its value where that is a word of its own.
fn drop_repeated(args: &mut Vec<OsString>, flag: &str, has_value: bool) -> bool {
    // Behind `--` stands another program's command line.
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let is_it = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
    let all: Vec<usize> = (1..end).filter(|at| is_it(&args[*at])).collect();
    for at in all.iter().skip(1).rev() {
        let is_alone = has_value && args[*at] == flag && at + 1 < end;
        args.drain(*at..=at + usize::from(is_alone));
    }
    all.len() > 1
}

/// What is wrong with a value that may be a URL with a password, which is not shown.
fn without_value(error: &clap::Error) -> Option<String> {
    let value = context(error, ContextKind::InvalidValue)?;
    if error.kind() != ErrorKind::ValueValidation || !value.contains('@') {
        return None;
    }
    let flag = context(error, ContextKind::InvalidArg)?.split(' ').next()?;
    let why = std::error::Error::source(error)?;
    Some(format!("{flag}: {why} (value hidden)"))
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
        return "unexpected argument (value hidden); see --help".to_owned();
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
