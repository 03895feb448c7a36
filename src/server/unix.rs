//! Listening unix sockets: who may connect, which file may be replaced, and which is removed at the end.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::BACKLOG;
use crate::server::address::SocketAccess;

/// Longest wait for another process that starts or stops at a socket in this directory.
const TURN: Duration = Duration::from_secs(1);

/// The file of a listening socket. It is removed with the last listener, unless another file has replaced it.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// While it is open the inode is in use, so that no other file can be given its number.
    _socket: UnixListener,
}

impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _turn = take_turn(&self.path);
        if self.path.symlink_metadata().is_ok_and(|found| identity(&found) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`. A socket that refuses connections was left behind by a killed process, and is replaced; any other
/// file there is an error.
pub fn bind(path: &Path, access: SocketAccess) -> io::Result<(UnixListener, SocketFile)> {
    let _turn = take_turn(path);
    make_way(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the socket's mode, so that at no moment the umask decides.
    let _ = fchmod(&socket, Mode::empty());
    socket.bind(&SockAddr::unix(path)?)?;
    let identity = identity(&path.symlink_metadata()?);
    let listener = UnixListener::from(socket);
    let file = SocketFile { path: path.to_owned(), identity, _socket: listener.try_clone()? };
    if let Some(group) = access.group {
        chown(path, None, Some(group)).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot give it to the group {group} of --listen-group: {error}"))
        })?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(access.mode))?;
    listener.set_nonblocking(true)?;
    // Last, because a listening socket must be one that is served.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok((listener, file))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Removes a socket that no process listens on; an error if there is any other file.
fn make_way(path: &Path) -> io::Result<()> {
    let taken = |what: &str| Err(io::Error::new(io::ErrorKind::AlreadyExists, what.to_owned()));
    let kind = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return taken(match () {
            () if kind.is_symlink() => "a symbolic link stands there, which lockside does not replace",
            () if kind.is_dir() => "a directory stands there, which lockside does not replace",
            () if kind.is_fifo() => "a FIFO stands there, which lockside does not replace",
            () => "a file stands there, which lockside does not replace",
        });
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Never waits: a full backlog is `EAGAIN` at once, and a sign of life.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => taken("a process listens there"),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => std::fs::remove_file(path),
            Some(Errno::AGAIN) => taken("a process listens there, and is too busy to answer"),
            Some(Errno::PROTOTYPE) => taken("a socket of another kind is in use there"),
            Some(Errno::NOENT) => Ok(()),
            _ => Err(error),
        },
    }
}

/// Locks the directory while the file lives, so that no other process that starts or stops there removes the socket that
/// was just made. If the lock cannot be had in time, goes on without it.
fn take_turn(path: &Path) -> Option<File> {
    let directory = File::open(path.parent()?).ok()?;
    let begun = Instant::now();
    while flock(&directory, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        if begun.elapsed() > TURN {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(directory)
}
