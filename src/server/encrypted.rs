//! Requests and answers of a connection over TLS: what its stream does otherwise than that of a plain one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::listener::PeerCheck;
use super::peer::Transport;

/// A stream that encrypts. What it has written counts as written once the stream below has taken it: until then it is in
/// a buffer of ours, and an answer would be called sent that may still be lost.
pub struct Encrypted<S> {
    stream: S,
    peer_check: PeerCheck,
    /// Bytes that are encrypted, and not yet taken.
    encrypted: Option<usize>,
}

impl<S: AsyncWrite + Unpin> Encrypted<S> {
    pub fn new(stream: S, peer_check: PeerCheck) -> Encrypted<S> {
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

impl<S: Transport> Transport for Encrypted<TlsStream<S>> {
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
