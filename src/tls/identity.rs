//! A certificate and its key, each in a file of its own. Both are followed while we run: a new pair takes effect at the
//! next handshake; one that does not fit together leaves the last good one in use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureScheme};

use super::{certificates_in, provider};
use crate::secret::{Change, Content, OPEN_TO_OTHERS, Unwise, Watched, look};

/// A certificate with its key. Clones share it.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    certificate: Named,
    key: Named,
    now: RwLock<Arc<CertifiedKey>>,
    looks: Mutex<Looks>,
}

/// A file, and the flag that names it.
#[derive(Clone)]
struct Named {
    flag: &'static str,
    path: PathBuf,
}

/// What the two files hold.
type Found = [Content; 2];

struct Looks {
    /// What was last acted upon.
    settled: Found,
    last: Found,
}

/// The flag that is wrong, and why.
type Problem = (&'static str, String);

impl Identity {
    /// Reads the files of a certificate and of its key, each by its flag. With it comes what is unwise about them.
    pub fn read(
        certificate: (&'static str, &Path),
        key: (&'static str, &Path),
    ) -> Result<(Identity, Vec<String>), Problem> {
        let [certificate, key] = [certificate, key].map(|(flag, path)| Named { flag, path: path.to_owned() });
        let found = [certificate.content(), key.content()];
        let now = RwLock::new(Arc::new(fit(&certificate, &key, &found)?));
        let unwise = Unwise { mode: OPEN_TO_OTHERS, value: |()| None };
        let warnings = unwise.of_a_file(key.flag, &key.path, &());
        let looks = Mutex::new(Looks { settled: found.clone(), last: found });
        Ok((Identity(Arc::new(Inner { certificate, key, now, looks })), warnings))
    }

    /// What to follow while we run.
    pub fn file(&self) -> Box<dyn Watched> {
        Box::new(self.clone())
    }

    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.now.read().expect("no holder of this lock panics"))
    }
}

impl Named {
    fn content(&self) -> Content {
        look(&self.path)
    }

    fn says(&self, problem: impl std::fmt::Display) -> Problem {
        (self.flag, format!("`{}` {problem}", self.path.display()))
    }
}

fn fit(certificate: &Named, key: &Named, found: &Found) -> Result<CertifiedKey, Problem> {
    let [chain, secret] = found;
    let chain = chain.as_ref().map_err(|problem| (certificate.flag, problem.clone()))?;
    let secret = secret.as_ref().map_err(|problem| (key.flag, problem.clone()))?;
    let chain = certificates_in(chain).map_err(|problem| certificate.says(problem))?;
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|_| key.says("holds no private key; expected one in PEM: -----BEGIN PRIVATE KEY-----"))?;
    CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            key.says(format!("is not the key of the certificate in `{}`", certificate.path.display()))
        }
        Error::InvalidCertificate(_) => certificate.says("holds a certificate that cannot be read"),
        _ => key.says("holds a key of no kind that TLS uses; expected RSA, ECDSA or Ed25519"),
    })
}

impl Watched for Identity {
    fn flag(&self) -> &'static str {
        self.0.certificate.flag
    }

    fn look(&self) -> Change {
        let Inner { certificate, key, now, looks } = &*self.0;
        let found = [certificate.content(), key.content()];
        let mut looks = looks.lock().expect("no holder of this lock panics");
        // Two looks in a row, as for every file that is followed: the second of two files may just be written.
        let before = std::mem::replace(&mut looks.last, found.clone());
        if before != found || looks.settled == found {
            return Change::Same;
        }
        looks.settled = found.clone();
        match fit(certificate, key, &found) {
            Ok(pair) => {
                *now.write().expect("no holder of this lock panics") = Arc::new(pair);
                let unwise = Unwise { mode: OPEN_TO_OTHERS, value: |()| None };
                Change::Taken(unwise.of_a_file(key.flag, &key.path, &()))
            }
            Err((_, problem)) => Change::Unfit(problem),
        }
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.0.certificate.flag)
    }
}
