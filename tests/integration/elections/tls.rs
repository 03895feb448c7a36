//! `--elect-while` of an app that speaks TLS.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{SOON, TTL};
use crate::harness::certificates::Authority;
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, unique};

/// An app that answers each request over TLS with a status, and closes the connection at once.
struct App {
    port: u16,
    status: Arc<AtomicU16>,
}

impl App {
    async fn start((certificate, key): (String, String)) -> App {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a key that fits");
        let (acceptor, status) = (TlsAcceptor::from(Arc::new(config)), Arc::new(AtomicU16::new(204)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let app = App { port: listener.local_addr().expect("an address").port(), status: Arc::clone(&status) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust it ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 1024]).await;
                let head = format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n", status.load(Ordering::Relaxed));
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        app
    }
}

/// A candidate of an election of its own, which leads whenever it stands for long enough.
fn candidate(name: &str, url: &str, trusted: Option<&str>) -> Sidecar {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--redis-url", &TestRedis::shared().url(), "--elect", name, "--elect-ttl", "2s"]);
    command.args(["--elect-while", url]);
    if let Some(file) = trusted {
        command.env("SSL_CERT_FILE", file);
    }
    Sidecar::of(command)
}

#[tokio::test]
async fn an_app_may_answer_over_tls_if_its_certificate_is_trusted_and_its_own() {
    let (authority, scratch) = (Authority::shared(), Scratch::new());
    let trusted = scratch.file("ca.pem", authority.pem());
    let app = App::start(authority.issue(&["localhost"])).await;
    let [by_name, by_address] = ["localhost", "127.0.0.1"].map(|host| format!("https://{host}:{}/healthz", app.port));
    let names = [unique("jobs"), unique("jobs"), unique("jobs")];
    let leads = async |sidecar: &Sidecar, name: &str| sidecar.ops(&format!("/leader/{name}")).await.status == 200;

    let sidecar = candidate(&names[0], &by_name, Some(&trusted));
    let untrusting = candidate(&names[1], &by_name, Some(&scratch.file("other.pem", Authority::new().pem())));
    let misled = candidate(&names[2], &by_address, Some(&trusted));
    eventually("it leads", SOON, async || leads(&sidecar, &names[0]).await).await;
    tokio::time::sleep(TTL * 2).await;
    assert!(!leads(&untrusting, &names[1]).await, "of an authority that is not trusted");
    assert!(!leads(&misled, &names[2]).await, "a certificate of another name");

    app.status.store(503, Ordering::Relaxed);
    eventually("it leads no longer", SOON, async || !leads(&sidecar, &names[0]).await).await;
    app.status.store(200, Ordering::Relaxed);
    eventually("it leads again", SOON, async || leads(&sidecar, &names[0]).await).await;
}
