//! TLS on both sides: the connections that this process makes, and those that it accepts; whom it trusts, and who it
//! is. Knows certificates and their files; knows no HTTP, no Redis and no policy.

mod caller;
mod client;
mod identity;
mod listener;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub use caller::{CallerCertificate, one_spelling};
pub use client::Tls;
pub use identity::Identity;
pub use listener::{ClientTrust, ListenerTls};

/// Named, since a process may have been built with several.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// All certificates of a PEM text, at least one.
fn certificates_in(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    const EXPECTED: &str = "expected certificates in PEM: -----BEGIN CERTIFICATE-----";
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(format!("holds no certificate; {EXPECTED}")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("is no list of certificates ({error}); {EXPECTED}")),
    }
}
