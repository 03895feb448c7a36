//! The certificate by which a caller authenticated its connection: its name, and whether it is still trusted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::ListenerTls;

/// Longest name that is taken as a caller's, bytes.
const LONGEST_NAME: usize = 255;
/// For so long a certificate that was found good needs no second look, unless the CA file changes.
const FRESH: Duration = Duration::from_secs(30);

/// A client certificate that was verified in a handshake. Clones share it.
#[derive(Clone)]
pub struct CallerCertificate(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    chain: Vec<CertificateDer<'static>>,
    ends: Option<SystemTime>,
    tls: ListenerTls,
    /// By which trust, and when it was last verified.
    verified: Mutex<(u64, Instant)>,
}

impl CallerCertificate {
    /// Of a chain that was verified just now by the CA file of this `trust`; `None` where it names no one.
    pub(super) fn verified(chain: &[CertificateDer<'_>], trust: u64, tls: ListenerTls) -> Option<CallerCertificate> {
        let (name, ends) = (name_of(chain.first()?)?, tls.end_of(chain.first()?));
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let verified = Mutex::new((trust, Instant::now()));
        Some(CallerCertificate(Arc::new(Inner { name: name.into(), chain, ends, tls, verified })))
    }

    /// Its first URI, or else its first DNS name, in lower case.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// When it expires.
    pub fn ends(&self) -> Option<SystemTime> {
        self.0.ends
    }

    /// Whether the CA file still verifies it now. An error says why not.
    pub fn check(&self) -> Result<(), String> {
        let Inner { chain, ends, tls, verified, .. } = &*self.0;
        let mut verified = verified.lock().expect("no holder of this lock panics");
        let trust = tls.trust_id();
        let has_ended = ends.is_some_and(|end| SystemTime::now() >= end);
        if has_ended || verified.0 != trust || verified.1.elapsed() >= FRESH {
            tls.verify(chain)?;
            *verified = (trust, Instant::now());
        }
        Ok(())
    }
}

impl std::fmt::Debug for CallerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallerCertificate({})", self.0.name)
    }
}

/// The name by which a certificate's holder is known: the first URI among its subject alternative names, such as a
/// SPIFFE ID, or else the first DNS name, in lower case, as its letters' case means nothing.
pub(super) fn name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let uri = certificate.valid_uri_names().find(|name| has_scheme(name));
    let name = uri.or_else(|| certificate.valid_dns_names().next())?;
    let is_fit = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_fit.then(|| one_spelling(name))
}

/// The one spelling of a URI or DNS name that may be written in several, so that names may be compared.
pub fn one_spelling(name: &str) -> String {
    if has_scheme(name) { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// Whether a name is a URI (RFC 3986, 3.1), which no DNS name is: the two kinds are told apart by their text alone.
fn has_scheme(name: &str) -> bool {
    let scheme = name.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_name_is_in_lower_case_and_a_uri_is_as_it_is() {
        for (name, spelled) in [
            ("Importer.Example", "importer.example"),
            ("*.Example", "*.example"),
            ("spiffe://Cluster.test/NS", "spiffe://Cluster.test/NS"),
            ("urn:Job", "urn:Job"),
            ("4a:B", "4a:b"),
        ] {
            assert_eq!(one_spelling(name), spelled);
        }
    }
}
