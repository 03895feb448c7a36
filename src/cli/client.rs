//! How the command line talks to a sidecar: one connection a request, over TCP or a unix socket, without pooling. Knows
//! HTTP; of the routes, only how a key is written into them.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::net::{TcpStream, UnixStream};

use super::failure::{Failure, Problem, not_ours};
use super::place::{self, Place};
use super::view::Holder;
use crate::config::Address;
use crate::secret::{Reloaded, Secret, Unwise};
use crate::tls::{Identity, Tls};

/// Longest time for a connection, and for an answer that waits for nothing but Redis.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Everything in a path segment or a query value but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sidecar")]
pub struct SidecarFlags {
    /// Where the sidecar's API is: http://host:port, https://host:port, or unix:/path [default: LOCKSIDE_LISTEN, as in the sidecar's container, or
    /// http://127.0.0.1:7420]
    #[arg(long, env = "LOCKSIDE_URL", value_name = "URL")]
    url: Option<Place>,

    /// File with the bearer token, an API token or a JWT; not needed if the sidecar does not require authentication
    #[arg(long, env = "LOCKSIDE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// PEM file with the CA certificates for https:// [default: the system's]
    #[arg(long, env = "LOCKSIDE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// PEM file with the client certificate, for a sidecar that asks for one
    #[arg(long, env = "LOCKSIDE_CERT_FILE", value_name = "FILE")]
    cert_file: Option<PathBuf>,

    /// PEM file with the key of --cert-file
    #[arg(long, env = "LOCKSIDE_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl SidecarFlags {
    /// The sidecar, once the file with the credential is read.
    pub fn sidecar(&self) -> Result<Sidecar, Failure> {
        let (place, own_token) = match &self.url {
            // The container's own sidecar and its token are nothing to another one.
            Some(url) => (url.clone(), None),
            None => {
                let own = OwnSidecar::of_environment().map_err(Failure::Usage)?;
                (own.place.unwrap_or_default(), own.token_file)
            }
        };
        let file = given(self.token_file.as_ref());
        let credential = match (file, own_token) {
            (Some(file), _) => Some(credential("--token-file", file)),
            (None, Some(file)) => Some(credential(API_TOKEN_FILE, &file)),
            (None, None) => None,
        };
        let credential = credential.transpose().map_err(Failure::Usage)?;
        let tls = matches!(place, Place::Tls { .. }).then(|| self.tls()).transpose().map_err(Failure::Usage)?;
        Ok(Sidecar { place, credential, tls })
    }

    fn tls(&self) -> Result<Tls, String> {
        let tls = Tls::trusting(given(self.ca_file.as_ref())).map_err(|problem| format!("--ca-file: {problem}"))?;
        match (given(self.cert_file.as_ref()), given(self.key_file.as_ref())) {
            (None, None) => Ok(tls),
            (Some(certificate), Some(key)) => {
                let read = Identity::read(("--cert-file", certificate), ("--key-file", key));
                let (identity, _) = read.map_err(|(flag, problem)| format!("{flag}: {problem}"))?;
                Ok(tls.showing(identity))
            }
            (Some(_), None) => Err("--cert-file: given without its key; add --key-file".to_owned()),
            (None, Some(_)) => Err("--key-file: given without its certificate; add --cert-file".to_owned()),
        }
    }
}

/// An empty path, as an unset variable in a pod's manifest gives, counts as not given.
fn given(file: Option<&PathBuf>) -> Option<&Path> {
    file.map(PathBuf::as_path).filter(|file| *file != Path::new(""))
}

/// The settings by which the sidecar of this container was started.
const LISTEN: &str = "LOCKSIDE_LISTEN";
const API_TOKEN_FILE: &str = "LOCKSIDE_API_TOKEN_FILE";

/// The sidecar in whose container the command line runs, as in `kubectl exec`.
struct OwnSidecar {
    place: Option<Place>,
    token_file: Option<PathBuf>,
}

impl OwnSidecar {
    fn of_environment() -> Result<OwnSidecar, String> {
        let listen = std::env::var(LISTEN).unwrap_or_default();
        let first = Some(place::nearest(&listen)).filter(|first| !first.is_empty());
        let place = first.map(|first| first.parse::<Address>().map_err(|problem| format!("{LISTEN}: {problem}")));
        let token_file = std::env::var_os(API_TOKEN_FILE).filter(|file| !file.is_empty()).map(PathBuf::from);
        Ok(OwnSidecar { place: place.transpose()?.map(Place::from), token_file })
    }
}

fn credential(name: &str, file: &Path) -> Result<HeaderValue, String> {
    let secret = Reloaded::read("--token-file", file, Secret::parse, Unwise::of_nothing());
    let (secret, _) = secret.map_err(|problem| format!("{name}: {problem}"))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", secret.now().expose()));
    let mut value = value.map_err(|_| format!("{name}: `{}` holds no token on one line", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A sidecar to talk to, and the credential to show it.
#[derive(Clone, Debug)]
pub struct Sidecar {
    place: Place,
    credential: Option<HeaderValue>,
    /// For `https://`.
    tls: Option<Tls>,
}

impl Sidecar {
    /// Sends a request and reads the body of its answer, which is a problem unless its status is a success.
    pub async fn ask(&self, method: &str, path: &str) -> Result<Bytes, Failure> {
        self.answer(method, path).await.map(Response::into_body)
    }

    /// [`Sidecar::ask`], with a body.
    pub async fn tell(&self, method: &str, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        self.answer_to(method, path, body).await.map(Response::into_body)
    }

    /// Who holds a lock.
    pub async fn holder(&self, key: &str) -> Result<Option<Holder>, Failure> {
        #[derive(Deserialize)]
        struct Shown {
            holder: Option<Holder>,
        }
        let body = self.ask("GET", &path_of(key)).await?;
        serde_json::from_slice::<Shown>(&body).map(|shown| shown.holder).map_err(|error| not_ours(&error))
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
