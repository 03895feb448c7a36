//! `lockside completions`: what a shell needs to complete a command line of lockside.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

#[derive(Args, Debug)]
pub struct CompletionsFlags {
    /// The shell to make them for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub const HELP: &str = "\
Example: lockside completions bash >/etc/bash_completion.d/lockside
Example: lockside completions zsh >~/.zfunc/_lockside
Example: lockside completions fish >~/.config/fish/completions/lockside.fish";

pub fn run(flags: &CompletionsFlags) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut super::documented(), "lockside", &mut script);
    // A closed pipe is no reason to fail.
    let _ = std::io::stdout().write_all(&script);
    ExitCode::SUCCESS
}
