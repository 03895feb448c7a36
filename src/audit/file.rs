//! Where the lines go: a file, which may be rotated by renaming it, or standard output.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Who may read the trail: its owner, who may write it, and its group.
const MODE: u32 = 0o640;

/// Where the lines go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `None`: standard output, which is never looked at.
    pub(super) path: Option<PathBuf>,
    pub(super) file: Arc<File>,
}

impl Destination {
    /// Opens the file of this path, which is made where there is none; or standard output, for `stdout`.
    pub fn open(text: &str) -> io::Result<Destination> {
        if text == "stdout" {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(Destination { path: None, file: Arc::new(file) });
        }
        let path = PathBuf::from(text);
        let file = Arc::new(open(&path)?);
        Ok(Destination { path: Some(path), file })
    }
}

/// Opens a file to write at its end.
pub fn open(path: &Path) -> io::Result<File> {
    // A pipe that no process reads is an error, and not waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open");
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    // To one that is read too slowly the thread that writes waits.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Whether the path leads to this file.
pub fn is_at(path: &Path, file: &File) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(own)) => identity(there) == identity(own),
        _ => false,
    }
}

/// Whether the file has no name any more, so that no lines in it can be found.
pub fn is_gone(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

/// Whether the last line of the file at this path has no end, as after a crash. One that cannot be read may be such a file.
pub fn is_torn(path: &Path, file: &File) -> bool {
    match file.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
            let mut last = [0];
            let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, metadata.len() - 1));
            read.is_err() || last != *b"\n"
        }
        _ => false,
    }
}
