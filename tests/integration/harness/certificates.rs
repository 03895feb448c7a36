//! Certificates of the tests' own: an authority, and what it vouches for.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};

use super::unique;

/// Whoever vouches for certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        // A name of its own: OpenSSL takes a certificate whose issuer has its name for a self-signed one, and looks for an
        // issuer by its name alone.
        params.distinguished_name.push(DnType::CommonName, unique("the authority of the tests"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// The one of all tests.
    pub fn shared() -> &'static Authority {
        static SHARED: LazyLock<Authority> = LazyLock::new(Authority::new);
        &SHARED
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate for `names` (host names and addresses) and its key, both PEM.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue_for(&CertificateParams::new(names).expect("good names"))
    }

    /// A certificate whose only name is a URI, and its key.
    pub fn issue_to(&self, uri: &str) -> (String, String) {
        self.issue_for(&named(uri))
    }

    /// One that expired long ago.
    pub fn issue_expired(&self, uri: &str) -> (String, String) {
        let mut params = named(uri);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        self.issue_for(&params)
    }

    /// One that expires in so long.
    pub fn issue_for_a_while(&self, uri: &str, lasts: Duration) -> (String, String) {
        let mut params = named(uri);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        params.not_after = date_time_ymd(1970, 1, 1) + now + lasts;
        self.issue_for(&params)
    }

    fn issue_for(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.0).expect("a certificate").pem(), key.serialize_pem())
    }
}

fn named(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
    params
}
