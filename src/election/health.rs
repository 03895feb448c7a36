//! Asks the app whether it is healthy, as `--elect-while` says.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use url::{Position, Url};

use crate::redis::Tls;

/// So many failures in a row make an app unhealthy.
const FAILURES: u32 = 3;

/// Asks at each turn, which is also the longest time for an answer, for as long as there is a listener.
pub async fn watch(url: Url, tls: Option<Tls>, every: Duration, tell: watch::Sender<bool>) {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failures = FAILURES;
    while !tell.is_closed() {
        turns.tick().await;
        let asked = tokio::time::timeout(every, ask(&url, tls.as_ref())).await;
        let problem = match asked {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some(format!("no answer within {} ms", every.as_millis())),
        };
        let was_healthy = *tell.borrow();
        match problem {
            None => {
                failures = 0;
                if !was_healthy {
                    tracing::info!("--elect-while: the app is healthy: standing in its elections");
                    tell.send_replace(true);
                }
            }
            Some(problem) => {
                failures = failures.saturating_add(1);
                if failures >= FAILURES && was_healthy {
                    tracing::warn!(problem, "--elect-while: the app is not healthy: not standing in its elections");
                    tell.send_replace(false);
                }
            }
        }
    }
}

/// One request; an error that says what is wrong unless it is answered with a success.
async fn ask(url: &Url, tls: Option<&Tls>) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|error| error.to_string())?;
    let Some(tls) = tls else { return speak(url, stream).await };
    let stream = tls.connect(host, stream).await.map_err(|error| error.to_string())?;
    speak(url, stream).await
}

async fn speak(url: &Url, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
    let begun = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = begun.map_err(|error| error.to_string())?;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let request = Request::builder()
        .uri(path.parse::<Uri>().map_err(|error| error.to_string())?)
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("lockside/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut asking = pin!(sender.send_request(request));
    let answered = tokio::select! {
        answered = &mut asking => answered,
        // An app may close it with its answer, which is there all the same.
        _ = connection => asking.await,
    };
    let answered = answered.map_err(|error| error.to_string())?;
    let status = answered.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}
