//! Whom we trust when we connect: the CA certificates that verify the server. A server whose name they do not verify is
//! never spoken to.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Identity, provider};

/// TLS towards a server, ready to connect.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates in a PEM file, and no others; without one those that this machine trusts. Where the file
    /// has the server's very own certificate, that is trusted, too, although it is a CA's, as one that signed itself is.
    pub fn trusting(ca_file: Option<&Path>) -> Result<Tls, String> {
        let (roots, pinned) = match ca_file {
            Some(path) => roots_in(path)?,
            None => (roots_of_the_machine()?, Vec::new()),
        };
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let trust = Trust { roots: roots.map_err(|error| error.to_string())?, pinned };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth();
        Ok(Tls(Arc::new(config)))
    }

    /// Shows this certificate to servers that ask for one, as its files are at each handshake.
    pub fn showing(self, identity: Identity) -> Tls {
        let mut config = self.client();
        config.client_auth_cert_resolver = Arc::new(identity);
        // A resumed session would go on with the certificate that began it.
        config.resumption = Resumption::disabled();
        Tls(Arc::new(config))
    }

    pub fn client(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }

    /// Speaks TLS on a connection to `host`, a name or an address, which may stand in brackets.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Trusts what a CA has issued, and the very certificates that are named.
#[derive(Debug)]
struct Trust {
    roots: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match &judged {
            // Its time was found good before; its name was not looked at.
            Err(Error::InvalidCertificate(CertificateError::Other(problem)))
                if is_of_a_ca(problem) && self.pinned.iter().any(|pinned| pinned == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

/// Whether a certificate was refused because it is that of a CA, as one is that signed itself.
fn is_of_a_ca(OtherError(problem): &OtherError) -> bool {
    matches!(problem.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

type Roots = (RootCertStore, Vec<CertificateDer<'static>>);

fn roots_in(path: &Path) -> Result<Roots, String> {
    let unfit = |problem: &dyn std::fmt::Display| {
        format!("`{}`: {problem}; expected certificates in PEM: -----BEGIN CERTIFICATE-----", path.display())
    };
    let (mut roots, mut all) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unfit(&error))? {
        let certificate = certificate.map_err(|error| unfit(&error))?;
        roots.add(certificate.clone()).map_err(|error| unfit(&error))?;
        all.push(certificate);
    }
    if roots.is_empty() { Err(unfit(&"no certificate in it")) } else { Ok((roots, all)) }
}

fn roots_of_the_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // What does not parse there is no concern of ours.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificates, as in an image without any; name the file with those that \
                    verify the server"
            .to_owned());
    }
    Ok(roots)
}
