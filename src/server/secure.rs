//! A connection over TLS: the handshake, in the time that a client has for its first head, and then its requests.

use std::io::ErrorKind;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use tokio::runtime::Runtime;

use super::Handler;
use super::connection::{self, Rules};
use super::encrypted::Encrypted;
use super::head::Share;
use super::listener::Stream;
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
    mut stream: Stream,
    tls: &ListenerTls,
    handler: H,
    drain: Drain,
    rules: Rules,
    activity: Arc<Activity>,
) -> Option<Timeout> {
    let (peer_check, tls) = (stream.peer_check(), tls.clone());
    let within = rules.heads.timeout;
    stream.begin_handshake(Share::new(Arc::clone(&rules.unfinished)));
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
            stream.get_mut().0.end_handshake();
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
