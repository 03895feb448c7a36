//! TLS on the API listener: who gets past the handshake, who they are then, and how files are renewed.

mod callers;
mod cluster;
mod command_line;
mod connections;
mod handshake;
mod redis;
mod renewal;
mod settings;
mod trust;

use std::time::Duration;

use crate::harness::certificates::Authority;
use crate::harness::{Pair, Scratch, Secure, Sidecar, TestRedis};

/// What is awaited comes within this, on a busy machine too.
const SOON: Duration = Duration::from_secs(10);

/// A sidecar with a listener over TLS, whose certificate the shared authority issued for `localhost`, and its files.
pub struct Stand {
    pub sidecar: Sidecar,
    scratch: Scratch,
}

impl Stand {
    /// Asks for client certificates of the shared authority.
    async fn with_clients(flags: &[&str]) -> Stand {
        Stand::start(&[Authority::shared().pem()], flags).await
    }

    /// Asks for none.
    pub async fn without_clients(flags: &[&str]) -> Stand {
        Stand::start(&[], flags).await
    }

    /// Asks for client certificates where it has a CA for them.
    async fn start(client_cas: &[String], flags: &[&str]) -> Stand {
        let scratch = Scratch::new();
        let (certificate, key) = Authority::shared().issue(&["localhost"]);
        let (certificate, key) = (scratch.file("tls.crt", certificate), scratch.file("tls.key", key));
        let mut all = vec!["--tls-cert-file", &certificate, "--tls-key-file", &key];
        let clients = scratch.path("clients.pem");
        if !client_cas.is_empty() {
            scratch.file("clients.pem", client_cas.concat());
            all.extend(["--tls-client-ca-file", &clients]);
        }
        if !flags.contains(&"--listen") {
            all.extend(["--listen", "tls:127.0.0.1:0"]);
        }
        all.extend(flags);
        Stand { sidecar: Sidecar::start(TestRedis::shared(), &all).await, scratch }
    }

    /// A client that shows this certificate.
    pub fn client(&self, own: Option<&Pair>) -> Secure {
        Secure::new(self.sidecar.api_address(), own)
    }

    /// A client with a certificate of the shared authority for this name.
    fn named(&self, uri: &str) -> Secure {
        self.client(Some(&Authority::shared().issue_to(uri)))
    }

    async fn metric(&self, line: &str) -> bool {
        self.sidecar.ops("/metrics").await.text().lines().any(|found| found == line)
    }
}
