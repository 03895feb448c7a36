//! An issuer of JWTs: signs them with keys of its own, and serves the public halves over HTTP or HTTPS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, Header, encode};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::certificates::Authority;
use super::jwt::Pair;

/// Where the set is.
pub const KEYS: &str = "/keys";
/// Where the discovery document is.
pub const DISCOVERY: &str = "/realm/.well-known/openid-configuration";

/// What is answered to one path.
#[derive(Clone)]
pub enum Page {
    Json(Value),
    /// A whole answer, head and body.
    Raw(Vec<u8>),
    /// The same, after so long.
    Slow(Duration, Value),
    /// Nothing at all.
    Silence,
}

/// A server of keys.
pub struct Issuer {
    origin: String,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A key with a name.
pub struct Key {
    pub name: &'static str,
    pub algorithm: Algorithm,
    pub pair: Pair,
}

impl Key {
    pub fn new(name: &'static str, algorithm: Algorithm, pair: Pair) -> Key {
        Key { name, algorithm, pair }
    }

    /// Its public half.
    pub fn public(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.pair.private, self.algorithm).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = self.name.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A token that names it.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(self.name), claims)
    }

    pub fn sign_as(&self, name: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: name.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.pair.private).expect("a signed token")
    }
}

/// A set of keys.
pub fn set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

impl Issuer {
    /// Over HTTP, on loopback.
    pub async fn plain(page: Page) -> Issuer {
        Issuer::start("0", page, None).await
    }

    /// Over HTTP, at this port.
    pub async fn at(port: &str, page: Page) -> Issuer {
        Issuer::start(port, page, None).await
    }

    /// Over HTTPS, with a certificate of the tests' authority for `localhost`.
    pub async fn secure(page: Page) -> Issuer {
        let (certificate, key) = Authority::shared().issue(&["localhost"]);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a key that fits");
        Issuer::start("0", page, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(port: &str, page: Page, acceptor: Option<TlsAcceptor>) -> Issuer {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let pages = Arc::new(Mutex::new(HashMap::from([(KEYS.to_owned(), page)])));
        let issuer =
            Issuer { origin: format!("{scheme}://localhost:{port}"), pages: Arc::clone(&pages), asked: Arc::default() };
        let asked = Arc::clone(&issuer.asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, pages, asked) = (acceptor.clone(), Arc::clone(&pages), Arc::clone(&asked));
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(stream, &pages, &asked).await,
                        Some(acceptor) => {
                            // A client that does not trust it ends the handshake.
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            answer(stream, &pages, &asked).await;
                        }
                    }
                });
            }
        });
        issuer
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// From now on this is at that path.
    pub fn serve(&self, path: &str, page: Page) {
        self.pages.lock().expect("no panic while held").insert(path.to_owned(), page);
    }

    /// How often a path was asked for.
    pub fn fetches(&self, path: &str) -> usize {
        self.asked.lock().expect("no panic while held").iter().filter(|asked| *asked == path).count()
    }
}

/// Reads one request and answers it.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    pages: &Mutex<HashMap<String, Page>>,
    asked: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().expect("no panic while held").push(path.clone());
    let page = pages.lock().expect("no panic while held").get(&path).cloned();
    let bytes = match page {
        Some(Page::Json(value)) => whole(&value.to_string()),
        Some(Page::Raw(bytes)) => bytes,
        Some(Page::Slow(after, value)) => {
            tokio::time::sleep(after).await;
            whole(&value.to_string())
        }
        Some(Page::Silence) => {
            // Until the client has enough of it.
            let _ = stream.read_u8().await;
            return;
        }
        None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

/// An answer with this body.
pub fn whole(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
