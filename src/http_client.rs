//! GET of one URL, http or https, on a connection of its own: asks an app for its health, and fetches the keys of JWTs.
//! Follows no redirect, uses no proxy. The caller sets the deadline.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::{Host, Position, Url};

use crate::tls::Tls;

/// Longest time to connect to one address.
const LONGEST_CONNECT: Duration = Duration::from_secs(1);

/// The status of the answer, whose body is not read. With `tls` the URL is https.
pub async fn status(url: &Url, tls: Option<&Tls>) -> Result<StatusCode, String> {
    request(url, tls, async |response| Ok(response.status())).await
}

/// The body of an answer with the status 200, of at most `longest` bytes. With `tls` the URL is https.
pub async fn body(url: &Url, tls: Option<&Tls>, longest: usize) -> Result<Bytes, String> {
    let read = async |response: Response<Incoming>| {
        if response.status() != StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        match Limited::new(response.into_body(), longest).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(format!("its answer is longer than {longest} bytes"))
            }
            Err(error) => Err(error.to_string()),
        }
    };
    request(url, tls, read).await
}

/// Whether the URL leads to this machine, so that no other machine can read or forge the answer.
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn request<T>(
    url: &Url,
    tls: Option<&Tls>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, String>,
) -> Result<T, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = connect(host, port).await?;
    let Some(tls) = tls else {
        // The name of this machine may have another address.
        let is_forgeable = is_local(url) && !stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        return match is_forgeable {
            true => Err(format!("`{host}` has an address that is not loopback")),
            false => exchange(url, stream, read).await,
        };
    };
    let stream = tls.connect(host, stream).await.map_err(|error| error.to_string())?;
    exchange(url, stream, read).await
}

/// To the first address that answers in time: one that drops packets does not use up the caller's deadline.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    let mut problem = format!("`{host}` has no address");
    for address in addresses {
        match timeout(LONGEST_CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => problem = error.to_string(),
            Err(_) => problem = format!("{address} did not answer within {} s", LONGEST_CONNECT.as_secs()),
        }
    }
    Err(problem)
}

async fn exchange<T>(
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, String>,
) -> Result<T, String> {
    let begun = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = begun.map_err(|error| error.to_string())?;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let request = Request::builder()
        .uri(path.parse::<Uri>().map_err(|error| error.to_string())?)
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("lockside/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut asking = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        read(response).await
    });
    tokio::select! {
        answered = &mut asking => answered,
        // The server may close it with its answer, which is there all the same.
        _ = connection => asking.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_local_by_its_name_or_its_loopback_address() {
        let is = |url: &str| is_local(&Url::parse(url).expect("a URL"));
        for url in ["http://localhost/", "http://LOCALHOST:80", "http://127.0.0.1/", "http://127.1/", "http://[::1]:8/"]
        {
            assert!(is(url), "{url}");
        }
        for url in [
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/",
            "http://[::2]/",
            "http://0.0.0.0/",
            "data:localhost",
        ] {
            assert!(!is(url), "{url}");
        }
    }
}
