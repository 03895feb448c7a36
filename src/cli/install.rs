//! `lockside install`: copies the running binary, such as from its image into a volume that an app mounts.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{complain, exit};

/// The running binary, whatever has become of its path.
const RUNNING: &str = "/proc/self/exe";
const MODE: u32 = 0o755;

#[derive(Args, Debug)]
pub struct InstallFlags {
    /// Directory for the binary, which gets the name `lockside` there; it is created
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub const HELP: &str = "\
Copies this binary to DIR/lockside with mode 0755. What is there is replaced in one step: a program that starts it \
meanwhile runs the old one or the new one. Exit code 1 where it cannot be written.

Example: lockside install /shared/bin";

pub fn run(flags: &InstallFlags) -> ExitCode {
    let target = flags.directory.join("lockside");
    match install(&flags.directory, &target) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format!("cannot install `{}`: {error}", target.display()));
            ExitCode::from(exit::FAILURE)
        }
    }
}

fn install(directory: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // Not by the process number: each container has a process 1.
    let name = format!(".lockside-{:016x}", getrandom::u64().map_err(io::Error::other)?);
    let beside = directory.join(name);
    let renamed = copy(&beside).and_then(|()| fs::rename(&beside, target));
    if renamed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    renamed
}

fn copy(to: &Path) -> io::Result<()> {
    let mut running = File::open(RUNNING)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(MODE).open(to)?;
    io::copy(&mut running, &mut copy)?;
    // Whatever the umask is.
    copy.set_permissions(Permissions::from_mode(MODE))?;
    copy.sync_all()
}
