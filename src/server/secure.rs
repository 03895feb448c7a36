//! A connection over TLS: the handshake, in the time that a client has for its first head, and then its requests.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use super::Handler;
use super::connection::{self, Rules};
use super::encrypted::Encrypted;
use super::head::Share;
use super::listener::Stream;
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
    let stream = Handshaking::new(stream, Share::new(Arc::clone(&rules.unfinished)));
    let mut handshake = HANDSHAKES.spawn(async move { tokio::time::timeout(within, tls.accept(stream)).await });
    let accepted = tokio::select! {
        accepted = &mut handshake => accepted,
        () = drain.begun() => {
            handshake.abort();
            return None;
        }
    };
    match accepted.expect("a handshake does not panic") {
        Ok(Ok((mut stream, certificate))) => {
            stream.get_mut().0.end();
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

/// A stream below a handshake: what a client sends before its end is kept, so it counts as an unfinished head does.
struct Handshaking<S> {
    stream: S,
    /// Until the handshake ends: its bytes so far.
    share: Option<(Share, usize)>,
}

impl<S> Handshaking<S> {
    fn new(stream: S, share: Share) -> Handshaking<S> {
        Handshaking { stream, share: Some((share, 0)) }
    }

    fn end(&mut self) {
        self.share = None;
    }
}

impl<S: Transport> Transport for Handshaking<S> {
    fn bound_silence(&self, limit: Duration) {
        self.stream.bound_silence(limit);
    }

    fn reads_before_a_write(&self) -> bool {
        self.stream.reads_before_a_write()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Handshaking<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some((share, bytes)) = &mut self.share {
            *bytes += buf.filled().len() - before;
            if !share.count(*bytes) {
                return Poll::Ready(Err(io::Error::other("the unfinished handshakes take all the room")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Handshaking<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
    use std::sync::atomic::Ordering;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::server::head::{ALL_HEADS, Unfinished};

    #[tokio::test]
    async fn what_is_sent_of_a_handshake_counts_until_it_ends() {
        let all = Unfinished::default();
        all.store(ALL_HEADS - 10, Ordering::Relaxed);
        let (mut client, server) = duplex(64);
        let mut stream = Handshaking::new(server, Share::new(Arc::clone(&all)));
        client.write_all(&[0; 8]).await.expect("sent");
        stream.read_exact(&mut [0; 8]).await.expect("there is room for 10 bytes");
        client.write_all(&[0; 3]).await.expect("sent");
        stream.read_exact(&mut [0; 3]).await.expect_err("there is no room for 11");
        stream.end();
        assert_eq!(all.load(Ordering::Relaxed), ALL_HEADS - 10);
        client.write_all(&[0; 20]).await.expect("sent");
        stream.read_exact(&mut [0; 20]).await.expect("it has ended");
    }
}
