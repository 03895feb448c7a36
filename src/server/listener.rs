//! Listening sockets, TCP or unix, and the connections that they accept.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::head::Share;
use super::peer::Transport;
use super::unix::{self, SocketFile};
use crate::request::Remote;
use crate::server::address::{Address, SocketAccess};

/// Connections that the kernel queues until they are accepted.
pub(super) const BACKLOG: i32 = 4096;
/// Bytes of an answer that the kernel keeps for a client that does not read; it takes twice as much memory. Its default is
/// megabytes.
const SEND_BUFFER: usize = 64 * 1024;
/// TCP keep-alive: silence after which the peer is probed, and the pause between two probes.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_AGAIN: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest pause between two lines of a hold; only bytes that were sent can stay unacknowledged.
const NEXT_LINE: Duration = Duration::from_secs(2);

/// A bound socket, not yet part of a runtime.
pub enum Bound {
    Tcp(std::net::TcpListener),
    Tls(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, Arc<SocketFile>),
}

impl Bound {
    /// Its address, with the port that the kernel chose, if the setting left it open.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Bound::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Bound::Tls(listener) => listener.local_addr().map(Address::Tls),
            Bound::Unix(_, file) => Ok(Address::Unix(file.path().to_owned())),
        }
    }
}

/// Binds an address, and shares its socket among `threads`: one entry a thread.
///
/// Architecture invariant: no SO_REUSEPORT. It would give each thread a queue of its own, but it also lets any later
/// process of the same user into the group, such as a second sidecar with other settings, and the kernel would split the
/// requests between the two. A socket that is bound without it is this process's alone; the threads share it by dup, and
/// give way to one another so that each has its part of the connections.
pub fn bind(address: &Address, among: &[Address], access: SocketAccess, threads: usize) -> io::Result<Vec<Bound>> {
    match address {
        Address::Tcp(of) | Address::Tls(of) => {
            let socket = socket2::Socket::new(Domain::for_address(*of), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            // Each connection inherits it.
            socket.set_send_buffer_size(SEND_BUFFER)?;
            if of.is_ipv6() {
                // `[::]` takes IPv4 as well, unless another listener has that family on its port.
                let has_v4 = |other: SocketAddr| other.is_ipv4() && other.port() == of.port();
                socket.set_only_v6(among.iter().filter_map(Address::socket).any(has_v4))?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&(*of).into())?;
            socket.listen(BACKLOG)?;
            let listener: std::net::TcpListener = socket.into();
            let bound = if matches!(address, Address::Tls(_)) { Bound::Tls } else { Bound::Tcp };
            (0..threads).map(|_| Ok(bound(listener.try_clone()?))).collect()
        }
        Address::Unix(path) => {
            let (listener, file) = unix::bind(path, access)?;
            let file = Arc::new(file);
            (0..threads).map(|_| Ok(Bound::Unix(listener.try_clone()?, Arc::clone(&file)))).collect()
        }
    }
}

/// Whether an address could not be bound because this machine lacks its family, or has it switched off.
pub fn lacks_family(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
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
            Bound::Tcp(listener) | Bound::Tls(listener) => {
                // Each connection inherits it.
                bound_silence(&SockRef::from(&listener), PROBE_AFTER, PROBE_AGAIN, SILENCE)?;
                Listener::Tcp(TcpListener::from_std(listener)?)
            }
            Bound::Unix(listener, file) => Listener::Unix(UnixListener::from_std(listener)?, file),
        })
    }

    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Fails only for a client that has gone, as the next read shows.
                let _ = stream.set_nodelay(true);
                Ok(Stream::new(Socket::Tcp(stream), Remote::Tcp(address)))
            }
            Listener::Unix(listener, _) => Ok(Stream::new(Socket::Unix(listener.accept().await?.0), Remote::Unix)),
        }
    }
}

/// A connection.
pub struct Stream {
    socket: Socket,
    remote: Remote,
    peer_check: PeerCheck,
    /// While a handshake goes on: the bytes of it so far.
    handshake: Option<(Share, usize)>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Once set, the next write first checks that the client is still connected, and resets it.
#[derive(Clone, Default)]
pub struct PeerCheck(Arc<AtomicBool>);

impl PeerCheck {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stream {
    fn new(socket: Socket, remote: Remote) -> Stream {
        Stream { socket, remote, peer_check: PeerCheck::default(), handshake: None }
    }

    /// What the client sends until the end of its handshake is kept, so it counts as an unfinished head does.
    pub fn begin_handshake(&mut self, share: Share) {
        self.handshake = Some((share, 0));
    }

    pub fn end_handshake(&mut self) {
        self.handshake = None;
    }

    /// Where it comes from.
    pub fn remote(&self) -> Remote {
        self.remote
    }

    pub fn peer_check(&self) -> PeerCheck {
        self.peer_check.clone()
    }

    /// An error if the client has closed: the kernel would take the bytes, and no client would read them.
    fn look(&self) -> io::Result<()> {
        if !self.peer_check.0.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        // Asks the kernel, because tokio learns of the close only in its next turn; and the close counts, even behind
        // unread bytes.
        let mut socket = [match &self.socket {
            Socket::Tcp(socket) => PollFd::new(socket, PollFlags::RDHUP),
            Socket::Unix(socket) => PollFd::new(socket, PollFlags::RDHUP),
        }];
        poll(&mut socket, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if socket[0].revents().is_empty() { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Transport for Stream {
    fn bound_silence(&self, limit: Duration) {
        let Socket::Tcp(socket) = &self.socket else { return };
        let again = if limit < Duration::from_secs(10) { Duration::from_secs(1) } else { NEXT_LINE };
        // Fails only for a client that has gone, as the next read shows.
        let _ = bound_silence(&SockRef::from(socket), limit / 3, again, limit - NEXT_LINE - limit / 20);
    }

    /// The kernel is asked, and knows.
    fn reads_before_a_write(&self) -> bool {
        false
    }
}

/// Has the kernel probe the peer `after` so long a silence, `again` after each further pause, and end the connection once
/// sent bytes have stayed unacknowledged for `silence`.
fn bound_silence(socket: &SockRef<'_>, after: Duration, again: Duration, silence: Duration) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after).with_interval(again))?;
    socket.set_tcp_user_timeout(Some(silence))
}

macro_rules! delegate {
    ($self:expr, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(delegate!(self.as_mut(), stream => Pin::new(stream).poll_read(cx, buf)))?;
        if let Some((share, bytes)) = &mut self.handshake {
            *bytes += buf.filled().len() - before;
            if !share.count(*bytes) {
                return Poll::Ready(Err(io::Error::other("the unfinished handshakes take all the room")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.look()?;
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::server::head::{ALL_HEADS, Unfinished};

    #[tokio::test]
    async fn what_is_sent_of_a_handshake_counts_until_it_ends() {
        let all = Unfinished::default();
        all.store(ALL_HEADS - 10, Ordering::Relaxed);
        let (mut client, server) = UnixStream::pair().expect("a pair");
        let mut stream = Stream::new(Socket::Unix(server), Remote::Unix);
        stream.begin_handshake(Share::new(Arc::clone(&all)));
        client.write_all(&[0; 8]).await.expect("sent");
        stream.read_exact(&mut [0; 8]).await.expect("there is room for 10 bytes");
        client.write_all(&[0; 3]).await.expect("sent");
        stream.read_exact(&mut [0; 3]).await.expect_err("there is no room for 11");
        stream.end_handshake();
        assert_eq!(all.load(Ordering::Relaxed), ALL_HEADS - 10);
        client.write_all(&[0; 20]).await.expect("sent");
        stream.read_exact(&mut [0; 20]).await.expect("it has ended");
    }
}
