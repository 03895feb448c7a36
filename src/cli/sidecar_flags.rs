//! How the command line is told which sidecar to ask: where it is, the credential to show, and the certificates of TLS.

use std::path::{Path, PathBuf};

use clap::Args;
use hyper::header::HeaderValue;

use super::client::Sidecar;
use super::failure::Failure;
use super::place::{self, Place};
use crate::config::Address;
use crate::secret::{Reloaded, Secret, Unwise};
use crate::tls::{Identity, Tls};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sidecar")]
pub struct SidecarFlags {
    /// Where the sidecar's API is: http://host:port, https://host:port, or unix:/path [default: LOCKSIDE_LISTEN, as in
    /// the sidecar's container, or http://127.0.0.1:7420]
    #[arg(long, env = "LOCKSIDE_URL", value_name = "URL")]
    url: Option<Place>,

    /// File with the bearer token, an API token or a JWT; not needed if the sidecar does not require authentication
    #[arg(long, env = "LOCKSIDE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// PEM file with the CA certificates for https:// [default: the system's]
    #[arg(long, env = "LOCKSIDE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// PEM file with the client certificate, for a sidecar that asks for one
    #[arg(long, env = "LOCKSIDE_CERT_FILE", value_name = "FILE")]
    cert_file: Option<PathBuf>,

    /// PEM file with the key of --cert-file
    #[arg(long, env = "LOCKSIDE_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl SidecarFlags {
    /// The sidecar, once the file with the credential is read.
    pub fn sidecar(&self) -> Result<Sidecar, Failure> {
        let (place, own_token) = match &self.url {
            // The container's own sidecar and its token are nothing to another one.
            Some(url) => (url.clone(), None),
            None => {
                let own = OwnSidecar::of_environment().map_err(Failure::Usage)?;
                (own.place.unwrap_or_default(), own.token_file)
            }
        };
        let file = given(self.token_file.as_ref());
        let credential = match (file, own_token) {
            (Some(file), _) => Some(credential("--token-file", file)),
            (None, Some(file)) => Some(credential(API_TOKEN_FILE, &file)),
            (None, None) => None,
        };
        let credential = credential.transpose().map_err(Failure::Usage)?;
        let tls = match place {
            Place::Tls { .. } => self.tls().map(Some),
            _ => self.without_tls().map(|()| None),
        };
        Ok(Sidecar::new(place, credential, tls.map_err(Failure::Usage)?))
    }

    /// A file that was asked for by its flag, and would not be used. A variable may be set for the other sidecars of a
    /// container.
    fn without_tls(&self) -> Result<(), String> {
        for (flag, variable, file) in [
            ("--ca-file", "LOCKSIDE_CA_FILE", &self.ca_file),
            ("--cert-file", "LOCKSIDE_CERT_FILE", &self.cert_file),
            ("--key-file", "LOCKSIDE_KEY_FILE", &self.key_file),
        ] {
            if let Some(file) = given(file.as_ref())
                && std::env::var_os(variable).as_deref() != Some(file.as_os_str())
            {
                return Err(format!(
                    "{flag}: given, but the sidecar is not asked over TLS; expected --url https://host:port"
                ));
            }
        }
        Ok(())
    }

    fn tls(&self) -> Result<Tls, String> {
        let tls = Tls::trusting(given(self.ca_file.as_ref())).map_err(|problem| format!("--ca-file: {problem}"))?;
        match (given(self.cert_file.as_ref()), given(self.key_file.as_ref())) {
            (None, None) => Ok(tls),
            (Some(certificate), Some(key)) => {
                let read = Identity::read(("--cert-file", certificate), ("--key-file", key));
                let (identity, _) = read.map_err(|(flag, problem)| format!("{flag}: {problem}"))?;
                Ok(tls.showing(identity))
            }
            (Some(_), None) => Err("--cert-file: given without its key; add --key-file".to_owned()),
            (None, Some(_)) => Err("--key-file: given without its certificate; add --cert-file".to_owned()),
        }
    }
}

/// An empty path, as an unset variable in a pod's manifest gives, counts as not given.
fn given(file: Option<&PathBuf>) -> Option<&Path> {
    file.map(PathBuf::as_path).filter(|file| *file != Path::new(""))
}

/// The settings by which the sidecar of this container was started.
const LISTEN: &str = "LOCKSIDE_LISTEN";
const API_TOKEN_FILE: &str = "LOCKSIDE_API_TOKEN_FILE";

/// The sidecar in whose container the command line runs, as in `kubectl exec`.
struct OwnSidecar {
    place: Option<Place>,
    token_file: Option<PathBuf>,
}

impl OwnSidecar {
    fn of_environment() -> Result<OwnSidecar, String> {
        let listen = std::env::var(LISTEN).unwrap_or_default();
        let first = Some(place::nearest(&listen)).filter(|first| !first.is_empty());
        let place = first.map(|first| first.parse::<Address>().map_err(|problem| format!("{LISTEN}: {problem}")));
        let token_file = std::env::var_os(API_TOKEN_FILE).filter(|file| !file.is_empty()).map(PathBuf::from);
        Ok(OwnSidecar { place: place.transpose()?.map(Place::from), token_file })
    }
}

fn credential(name: &str, file: &Path) -> Result<HeaderValue, String> {
    let secret = Reloaded::read("--token-file", file, Secret::parse, Unwise::of_nothing());
    let (secret, _) = secret.map_err(|problem| format!("{name}: {problem}"))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", secret.now().expose()));
    let mut value = value.map_err(|_| format!("{name}: `{}` holds no token on one line", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}
