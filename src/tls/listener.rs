//! TLS of the connections that are accepted: the certificate that is shown, and the client certificates that are asked
//! for. All files are followed while we run, and take effect at the next handshake.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::caller::{CallerCertificate, name_of};
use super::{Identity, certificates_in, provider};
use crate::secret::{Reloaded, Watched};

/// Encrypted bytes that may wait for a client to take them, beside those that the kernel keeps.
const SEND_BUFFER: usize = 16 * 1024;

/// How connections are accepted over TLS. Clones share it.
#[derive(Clone)]
pub struct ListenerTls(Arc<Inner>);

struct Inner {
    identity: Identity,
    clients: Option<Reloaded<ClientTrust>>,
    /// Made of the trust as it is now.
    config: Mutex<Option<(u64, Arc<ServerConfig>)>>,
}

/// The CAs that issue client certificates.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    /// No two in a process have the same.
    id: u64,
    clients: Arc<NamedClients>,
}

impl ClientTrust {
    /// From what a file holds.
    pub fn parse(content: &[u8]) -> Result<ClientTrust, String> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates_in(content)? {
            roots.add(certificate).map_err(|error| format!("holds a certificate that is not of use ({error})"))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let clients = Arc::new(NamedClients(verifier.map_err(|error| error.to_string())?));
        static LAST: AtomicU64 = AtomicU64::new(0);
        Ok(ClientTrust { id: LAST.fetch_add(1, Ordering::Relaxed) + 1, clients })
    }
}

impl ListenerTls {
    /// `clients`: where it is set, a client without a certificate is refused.
    pub fn new(identity: Identity, clients: Option<Reloaded<ClientTrust>>) -> ListenerTls {
        ListenerTls(Arc::new(Inner { identity, clients, config: Mutex::default() }))
    }

    /// Whether every client that gets past the handshake has authenticated.
    pub fn asks_for_certificates(&self) -> bool {
        self.0.clients.is_some()
    }

    /// What to follow while we run.
    pub fn files(&self) -> impl Iterator<Item = Box<dyn Watched>> {
        let clients = self.0.clients.as_ref().and_then(Reloaded::file);
        std::iter::once(self.0.identity.file()).chain(clients)
    }

    /// The handshake; with the stream comes the certificate of the client, where one is asked for. With an error comes
    /// the stream, on which the client has been told.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, Option<CallerCertificate>), (io::Error, S)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (trust, config) = match self.config() {
            Ok(found) => found,
            Err(error) => return Err((io::Error::other(error), stream)),
        };
        let mut stream = TlsAcceptor::from(config).accept(stream).into_fallible().await?;
        let connection = stream.get_mut().1;
        connection.set_buffer_limit(Some(SEND_BUFFER));
        let chain = connection.peer_certificates();
        let certificate = chain.and_then(|chain| CallerCertificate::verified(chain, trust, self.clone()));
        match certificate {
            None if self.asks_for_certificates() => {
                Err((io::Error::other("the client certificate names no one"), stream.into_inner().0))
            }
            certificate => Ok((stream, certificate)),
        }
    }

    /// Verifies a client certificate once more, by the CA file as it is now.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), String> {
        let Some(clients) = &self.0.clients else { return Ok(()) };
        let Some((certificate, intermediates)) = chain.split_first() else { return Err("no certificate".to_owned()) };
        let verified = clients.now().clients.verify_client_cert(certificate, intermediates, UnixTime::now());
        verified.map(|_| ()).map_err(|error| error.to_string())
    }

    /// When a client certificate expires.
    pub(super) fn end_of(&self, certificate: &CertificateDer<'_>) -> Option<SystemTime> {
        let clients = self.0.clients.as_ref()?.now();
        // By the end of time it has expired, and the error says when.
        let end_of_time = UnixTime::since_unix_epoch(Duration::MAX);
        match clients.clients.verify_client_cert(certificate, &[], end_of_time) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
            }
            _ => None,
        }
    }

    /// Another one whenever the CA file was reloaded.
    pub(super) fn trust_id(&self) -> u64 {
        self.0.clients.as_ref().map_or(0, |clients| clients.now().id)
    }

    /// How the next handshake is made, and the trust that this verifies by, which may be another before it ends.
    fn config(&self) -> Result<(u64, Arc<ServerConfig>), Error> {
        let Inner { identity, clients, config } = &*self.0;
        let clients = clients.as_ref().map(Reloaded::now);
        let trust = clients.as_ref().map_or(0, |clients| clients.id);
        let mut config = config.lock().expect("no holder of this lock panics");
        if let Some((_, made)) = config.as_ref().filter(|(of, _)| *of == trust) {
            return Ok((trust, Arc::clone(made)));
        }
        // TLS 1.2 and 1.3; no protocol is offered by ALPN, so that all speak HTTP/1.1.
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.clients) as _),
            None => builder.with_no_client_auth(),
        };
        let mut made = builder.with_cert_resolver(Arc::new(identity.clone()));
        if clients.is_some() {
            // A resumed session would not look at the certificate again.
            made.session_storage = Arc::new(NoServerSessionStorage {});
            made.send_tls13_tickets = 0;
        }
        let made = Arc::new(made);
        *config = Some((trust, Arc::clone(&made)));
        Ok((trust, made))
    }
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ListenerTls")
    }
}

/// Trusts clients whose certificate a CA has issued, and who have a name by which the policy may know them.
#[derive(Debug)]
struct NamedClients(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        match name_of(end_entity) {
            Some(_) => Ok(verified),
            None => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
