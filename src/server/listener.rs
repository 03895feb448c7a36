//! Listening sockets: TCP, or a unix socket whose file is ours to remove.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Address;

/// Connections that the kernel holds for us while we accept.
const BACKLOG: i32 = 4096;

/// A bound socket, not yet part of a runtime.
pub enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, Arc<SocketFile>),
}

impl Bound {
    /// Where it stands: with the port that the kernel chose, where the setting left that open.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Bound::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Bound::Unix(_, file) => Ok(Address::Unix(file.0.clone())),
        }
    }
}

/// Removes the socket's file when the last listener on it goes.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds `address` once for each of `count` threads.
pub fn bind(address: &Address, count: usize) -> io::Result<Vec<Bound>> {
    match address {
        Address::Tcp(address) => {
            let mut address = *address;
            let mut listeners = Vec::new();
            for _ in 0..count {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                // Several listeners on one port, so that the kernel spreads connections over the threads.
                socket.set_reuse_port(count > 1)?;
                socket.set_nonblocking(true)?;
                socket.bind(&address.into())?;
                socket.listen(BACKLOG)?;
                let listener: std::net::TcpListener = socket.into();
                // Port 0 lets the kernel choose: once, for all of them.
                address = listener.local_addr()?;
                listeners.push(Bound::Tcp(listener));
            }
            Ok(listeners)
        }
        Address::Unix(path) => {
            if path.exists() && StdUnixStream::connect(path).is_err() {
                // Left behind by a process that was killed.
                std::fs::remove_file(path)?;
            }
            let listener = std::os::unix::net::UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            let file = Arc::new(SocketFile(path.clone()));
            (0..count).map(|_| Ok(Bound::Unix(listener.try_clone()?, Arc::clone(&file)))).collect()
        }
    }
}

/// A listener of the current runtime.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Arc<SocketFile>),
}

impl Listener {
    /// Must be called inside a runtime.
    pub fn new(bound: Bound) -> io::Result<Listener> {
        Ok(match bound {
            Bound::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener, file) => Listener::Unix(UnixListener::from_std(listener)?, file),
        })
    }

    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Fails only for a client that has gone, which is found soon enough.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// A connection.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
