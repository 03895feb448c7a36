//! A connection over TLS: the handshake, in the time that a client has for its first head, and then its requests.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio_rustls::server::TlsStream;

use super::Handler;
use super::connection::{self, Rules};
use super::listener::{PeerCheck, Stream};
use super::peer::Transport;
use super::refusal::refuse;
use super::timeouts::{Activity, Timeout};
use crate::drain::Drain;
use crate::log::{LogThrottle, Suppressed};
use crate::tls::ListenerTls;

/// Handshakes have a thread of their own: each costs milliseconds of a processor, before any credential, and renewals of
/// locks are not to wait for them.
static HANDSHAKES: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).thread_name("handshakes").enable_time();
    runtime.build().expect("a thread can be started")
});

/// Serves one connection to its end; why it was cut, if it was.
pub async fn converse<H: Handler>(
    stream: Stream,
    tls: &ListenerTls,
    handler: H,
    drain: Drain,
    rules: Rules,
    activity: Arc<Activity>,
) -> Option<Timeout> {
    let (peer_check, tls) = (stream.peer_check(), tls.clone());
    let within = rules.heads.timeout;
    let mut handshake = HANDSHAKES.spawn(async move { tokio::time::timeout(within, tls.accept(stream)).await });
    let accepted = tokio::select! {
        accepted = &mut handshake => accepted,
        () = drain.begun() => {
            handshake.abort();
            return None;
        }
    };
    match accepted.expect("a handshake does not panic") {
        Ok(Ok((stream, certificate))) => {
            let rules = Rules { certificate, ..rules };
            let stream = Encrypted::new(stream, peer_check.clone());
            connection::converse(stream, peer_check, handler, drain, rules, activity).await
        }
        // A client that has gone, such as a probe of the port.
        Ok(Err((error, _))) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => None,
        Ok(Err((error, mut stream))) => {
            static FAILED: LazyLock<LogThrottle> = LazyLock::new(LogThrottle::new);
            if let Some(Suppressed(withheld)) = FAILED.admit(Instant::now()) {
                tracing::info!(peer = %activity.peer, %error, withheld, "TLS handshake failed");
            }
            // Behind the alert, which would be lost if the connection were reset.
            refuse(&mut stream, &[]).await;
            Some(Timeout::Handshake)
        }
        Err(_) => Some(Timeout::Head),
    }
}

/// A stream that encrypts. What it has written counts as written once the stream below has taken it: until then it is in
/// a buffer of ours, and whoever is to be told that an answer was sent would be told too early.
struct Encrypted<S> {
    stream: S,
    peer_check: PeerCheck,
    /// Bytes that are encrypted, and not yet taken.
    encrypted: Option<usize>,
}

impl<S: AsyncWrite + Unpin> Encrypted<S> {
    fn new(stream: S, peer_check: PeerCheck) -> Encrypted<S> {
        Encrypted { stream, peer_check, encrypted: None }
    }

    /// Writes by `write`, unless bytes of the last call are still to be taken.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let count = match self.encrypted {
            Some(count) => count,
            None => *self.encrypted.insert(ready!(write(Pin::new(&mut self.stream), cx))?),
        };
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.encrypted = None;
        Poll::Ready(Ok(count))
    }
}

impl Transport for Encrypted<TlsStream<Stream>> {
    fn bound_silence(&self, limit: Duration) {
        self.stream.get_ref().0.bound_silence(limit);
    }

    /// The kernel knows nothing of a close_notify.
    fn reads_before_a_write(&self) -> bool {
        self.peer_check.is_set()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_through(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_through(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_still_in_our_buffer_is_not_written() {
        let (mut client, server) = duplex(16);
        let mut stream = Encrypted::new(BufWriter::with_capacity(64, server), PeerCheck::default());
        let write = tokio::spawn(async move { stream.write(&[7; 40]).await });
        let mut taken = [0; 16];
        client.read_exact(&mut taken).await.expect("bytes");
        assert!(!write.is_finished(), "24 of 40 bytes are on their way");
        let mut rest = [0; 24];
        client.read_exact(&mut rest).await.expect("bytes");
        assert_eq!(write.await.expect("no panic").expect("written"), 40);
        assert!(taken.iter().chain(&rest).all(|byte| *byte == 7), "each byte once");
    }

    #[tokio::test]
    async fn what_no_one_takes_is_an_error() {
        let (client, server) = duplex(16);
        let mut stream = Encrypted::new(BufWriter::with_capacity(64, server), PeerCheck::default());
        let write = tokio::spawn(async move { stream.write(&[7; 40]).await });
        tokio::task::yield_now().await;
        drop(client);
        assert!(write.await.expect("no panic").is_err());
    }
}
