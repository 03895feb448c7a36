//! How the command line talks to a sidecar: one connection a request, over TCP or a unix socket, without pooling. Knows
//! HTTP; of the routes, only how a key is written into them.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::{TcpStream, UnixStream};

use super::failure::{Failure, Problem, not_ours};
use super::place::Place;
use super::view::{Holder, Shown};
use crate::tls::Tls;

/// Longest time for a connection, and for an answer that waits for nothing but Redis.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Everything in a path segment or a query value but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A sidecar to talk to, and the credential to show it.
#[derive(Clone, Debug)]
pub struct Sidecar {
    place: Place,
    credential: Option<HeaderValue>,
    /// For `https://`.
    tls: Option<Tls>,
}

impl Sidecar {
    pub fn new(place: Place, credential: Option<HeaderValue>, tls: Option<Tls>) -> Sidecar {
        Sidecar { place, credential, tls }
    }

    /// Sends a request and reads the body of its answer, which is a problem unless its status is a success.
    pub async fn ask(&self, method: &str, path: &str) -> Result<Bytes, Failure> {
        self.answer(method, path).await.map(Response::into_body)
    }

    /// [`Sidecar::ask`], with a body.
    pub async fn tell(&self, method: &str, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        self.answer_to(method, path, body).await.map(Response::into_body)
    }

    /// Who holds a lock, one of them where several do.
    pub async fn holder(&self, key: &str) -> Result<Option<Holder>, Failure> {
        self.show(key).await.map(|shown| shown.holder)
    }

    /// What is known of a lock.
    pub async fn show(&self, key: &str) -> Result<Shown, Failure> {
        let body = self.ask("GET", &path_of(key)).await?;
        serde_json::from_slice(&body).map_err(|error| not_ours(&error))
    }

    /// Sends a request and reads the whole answer, which is a problem unless its status is a success.
    pub async fn answer(&self, method: &str, path: &str) -> Result<Response<Bytes>, Failure> {
        self.answer_to(method, path, Bytes::new()).await
    }

    async fn answer_to(&self, method: &str, path: &str, body: Bytes) -> Result<Response<Bytes>, Failure> {
        let connection = self.connect().await?;
        let read = async {
            let response = connection.send(method, path, body).await?;
            if !response.status().is_success() {
                return Err(Failure::Refused(Box::new(Problem::read(response).await)));
            }
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| self.silent(&error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answer = tokio::time::timeout(TIMEOUT, read).await;
        answer.unwrap_or_else(|_| Err(self.silent(&format!("nothing within {} s", TIMEOUT.as_secs()))))
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Connection<'_>, Failure> {
        let connected = tokio::time::timeout(TIMEOUT, self.open()).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let (sender, socket) = connected.map_err(|error| {
            let step = match error.kind() {
                io::ErrorKind::InvalidData => "check --url, --ca-file, --cert-file and --key-file",
                _ => "is `lockside serve` running? otherwise check --url",
            };
            Failure::NoSidecar(format!("cannot connect to lockside at {}: {error}; {step}", self.place))
        })?;
        Ok(Connection { sidecar: self, sender, socket, name: None })
    }

    async fn open(&self) -> io::Result<(http1::SendRequest<Full<Bytes>>, std::os::fd::OwnedFd)> {
        use std::os::fd::AsFd;
        match &self.place {
            Place::Tcp { host, port } | Place::Tls { host, port } => {
                // An IPv6 address stands in brackets in a URL, and not in a look-up.
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let stream = TcpStream::connect((host, *port)).await?;
                stream.set_nodelay(true)?;
                let socket = stream.as_fd().try_clone_to_owned()?;
                let sender = match &self.tls {
                    Some(tls) => handshake(tls.connect(host, stream).await?).await?,
                    None => handshake(stream).await?,
                };
                Ok((sender, socket))
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                let socket = stream.as_fd().try_clone_to_owned()?;
                Ok((handshake(stream).await?, socket))
            }
        }
    }

    /// The failure that no answer is.
    pub fn silent(&self, error: &dyn fmt::Display) -> Failure {
        Failure::Broken(format!("no reply from lockside at {}: {error}", self.place))
    }
}

async fn handshake<S>(stream: S) -> io::Result<http1::SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A connection for one request.
pub struct Connection<'a> {
    sidecar: &'a Sidecar,
    sender: http1::SendRequest<Full<Bytes>>,
    /// The socket once more: while anybody has it open, the sidecar sees no end.
    pub socket: std::os::fd::OwnedFd,
    /// Of the attempt.
    name: Option<HeaderValue>,
}

impl Connection<'_> {
    /// Names the attempt, so that it can be repeated.
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(HeaderValue::from_str(name).expect("a name of printable ASCII")), ..self }
    }

    /// Sends the request; answers once the head of the response is there, whatever its status.
    pub async fn send(mut self, method: &str, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let host = match &self.sidecar.place {
            Place::Tcp { host, port } | Place::Tls { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, host);
        // A command is not the app on whose questions an election may depend.
        request = request.header("lockside-observe", "true");
        if let Some(credential) = &self.sidecar.credential {
            request = request.header(AUTHORIZATION, credential);
        }
        if let Some(name) = &self.name {
            request = request.header("idempotency-key", name);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).expect("an encoded path and checked headers");
        self.sender.send_request(request).await.map_err(|error| self.sidecar.silent(&cause(&error)))
    }
}

/// Why a connection broke: hyper itself only says that it did. Over TLS 1.3 a client certificate is refused only behind
/// the handshake.
fn cause(error: &hyper::Error) -> String {
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) if error.kind() == io::ErrorKind::InvalidData => {
            format!("{error}; check --cert-file and --key-file")
        }
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

/// The path of a key's lock.
pub fn path_of(key: &str) -> String {
    format!("/v1/locks/{}", encoded(key))
}

/// A text as a path segment or a query value.
pub fn encoded(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_path_segment_whatever_is_in_it() {
        assert_eq!(path_of("a/b c?d#e%f:ü"), "/v1/locks/a%2Fb%20c%3Fd%23e%25f%3A%C3%BC");
        assert_eq!(path_of("orders-1.x_y~z"), "/v1/locks/orders-1.x_y~z");
    }
}
