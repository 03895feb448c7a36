//! Parses the command line and runs; everything else is in the library.

use std::process::ExitCode;

/// Connections and holds come and go in sizes that leave glibc's heap full of holes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lockside::cli::main()
}
