//! A client over TLS: one connection at a time, with or without a certificate of its own.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::http::Lines;
use super::{Answer, certificates::Authority};

/// A certificate and its key, PEM.
pub type Pair = (String, String);

/// How to connect.
#[derive(Clone)]
pub struct Secure {
    pub config: ClientConfig,
    address: String,
}

impl Secure {
    /// To a listener, which the shared authority vouches for under the name `localhost`.
    pub fn new(address: &str, own: Option<&Pair>) -> Secure {
        Secure::with_versions(address, own, rustls::ALL_VERSIONS)
    }

    pub fn with_versions(address: &str, own: Option<&Pair>, versions: &[&'static SupportedProtocolVersion]) -> Secure {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(Authority::shared().pem().as_bytes()).expect("a certificate");
        roots.add(authority).expect("a certificate of use");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain.expect("certificates"), key).expect("a key that fits")
            }
        };
        Secure { config, address: address.trim_start_matches("tls:").to_owned() }
    }

    /// The handshake alone. In TLS 1.3 a server may refuse a client behind it.
    pub async fn shake(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }

    pub async fn connect(&self) -> Result<Connected, String> {
        let stream = self.shake().await.map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        Ok(Connected { sender, task: tokio::spawn(connection).abort_handle() })
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        self.connect().await?.ask(method, path, body).await
    }
}

/// A connection. Dropped, its socket is closed as that of a process that is killed: without a close_notify.
pub struct Connected {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Connected {
    pub async fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        self.ask_with(method, path, body, &[]).await
    }

    pub async fn ask_with(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let (parts, body) = self.send(method, path, body, headers).await?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// The head of the answer, and what comes behind it, line by line.
    pub async fn open(&mut self, method: &str, path: &str, body: &Value) -> Lines {
        Lines::of(self.send(method, path, Some(body), &[]).await.expect("an answer"))
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body)).expect("a good request");
        self.sender.send_request(request).await.map_err(|error| error.to_string())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}
