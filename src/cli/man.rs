//! `lockside man`: the manual, a page for each command, made of what `--help` says.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{complain, exit};

#[derive(Args, Debug)]
pub struct ManFlags {
    /// Write a page for each command into this directory, which is created; without it, lockside.1 is printed
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub const HELP: &str = "\
Example: lockside man | man -l -
Example: lockside man ~/.local/share/man/man1";

pub fn run(flags: &ManFlags) -> ExitCode {
    let mut command = super::documented().disable_help_subcommand(true);
    command.build();
    let written = match &flags.directory {
        Some(directory) => write_all(&command, directory),
        None => print(&command).map_err(|error| format!("cannot write the page: {error}")),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(problem);
            ExitCode::from(exit::FAILURE)
        }
    }
}

fn print(command: &Command) -> io::Result<()> {
    let page = page(command)?;
    // A closed pipe is no reason to fail.
    let _ = io::stdout().write_all(&page);
    Ok(())
}

fn write_all(command: &Command, directory: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| format!("cannot write `{}`: {error}", path.display());
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for command in std::iter::once(command).chain(command.get_subcommands()) {
        let path = directory.join(Man::new(command.clone()).get_filename());
        page(command).and_then(|page| std::fs::write(&path, page)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(concat!("lockside ", env!("CARGO_PKG_VERSION"))).manual("lockside");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = Roff::default();
    if let Some(text) = command.get_after_help() {
        notes(&mut rest, &text.to_string());
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    } else {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold("lockside"), roman("(1)")]);
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// As `--help` has it: with the `--` that some arguments need.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut synopsis = Roff::default();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([roman(usage.trim_start_matches("Usage: "))]);
    synopsis
}

/// The end of the help: paragraphs are filled, what is indented and examples stay as they are.
fn notes(page: &mut Roff, text: &str) {
    page.control("SH", ["NOTES"]);
    let mut was_set = false;
    for line in text.lines() {
        let is_set = line.starts_with(' ') || line.starts_with("Example: ");
        match (was_set, is_set) {
            (false, true) => drop(page.control("nf", [])),
            (true, false) => drop(page.control("fi", [])),
            _ => {}
        }
        was_set = is_set;
        if line.is_empty() {
            page.control("PP", [])
        } else {
            page.text([roman(line)])
        };
    }
    if was_set {
        page.control("fi", []);
    }
}
