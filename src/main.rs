//! Parses the command line and runs; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockside::cli::main()
}
