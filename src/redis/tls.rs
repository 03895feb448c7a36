//! Whom we trust to be Redis: the certificates that vouch for it. A name that they do not vouch for is never accepted.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// TLS towards Redis, ready to connect.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates in a PEM file, and no others; without one those that this machine trusts.
    pub fn trusting(ca_file: Option<&Path>) -> Result<Tls, String> {
        let roots = match ca_file {
            Some(path) => roots_in(path)?,
            None => roots_of_the_machine()?,
        };
        // Named, since a process may have been built with several.
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(Arc::new(config)))
    }

    pub fn client(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, String> {
    let unfit = |problem: &dyn std::fmt::Display| {
        format!("`{}`: {problem}; expected certificates in PEM: -----BEGIN CERTIFICATE-----", path.display())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unfit(&error))? {
        let certificate = certificate.map_err(|error| unfit(&error))?;
        roots.add(certificate).map_err(|error| unfit(&error))?;
    }
    if roots.is_empty() { Err(unfit(&"no certificate in it")) } else { Ok(roots) }
}

fn roots_of_the_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // What does not parse there is no concern of ours.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this machine trusts no certificates, as in an image without any; name a file with CA certificates"
                .to_owned(),
        );
    }
    Ok(roots)
}
