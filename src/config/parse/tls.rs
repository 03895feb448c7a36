//! The certificates of this sidecar: towards its callers, and towards Redis.

use std::path::Path;

use super::{Check, given};
use crate::config::Address;
use crate::config::flags::{ListenFlags, RedisFlags};
use crate::secret::{Unwise, WRITABLE_BY_OTHERS};
use crate::tls::{ClientTrust, Identity, ListenerTls};

/// A flag, and the file that it names.
type Given<'a> = (&'static str, Option<&'a str>);

impl Check {
    /// How the listeners with TLS accept connections; `None` where there are none, or where something is wrong.
    pub fn tls(&mut self, flags: &ListenFlags, api: &[Address]) -> Option<ListenerTls> {
        let [certificate, key, clients] = [
            ("--tls-cert-file", given(&flags.tls_cert_file)),
            ("--tls-key-file", given(&flags.tls_key_file)),
            ("--tls-client-ca-file", given(&flags.tls_client_ca_file)),
        ];
        let Some(listener) = api.iter().find(|address| matches!(address, Address::Tls(_))) else {
            for (flag, file) in [certificate, key, clients] {
                if file.is_some() {
                    self.mistake(flag, "given, but no listener speaks TLS; expected --listen tls:ip:port with it");
                }
            }
            return None;
        };
        if certificate.1.is_none() && key.1.is_none() {
            let problem = format!("`{listener}` needs a certificate; add --tls-cert-file and --tls-key-file");
            self.mistake("--listen", problem);
        }
        let clients = clients.1.map(|file| {
            let wary = Unwise { mode: WRITABLE_BY_OTHERS, value: |_| None };
            self.followed(clients.0, Path::new(file), ClientTrust::parse, wary)
        });
        let identity = self.identity(certificate, key)??;
        match clients {
            // Without what it asks for, the listener would admit everyone.
            Some(None) => None,
            clients => Some(ListenerTls::new(identity, clients.flatten())),
        }
    }

    /// The client certificate towards Redis; `Some(None)` where it is no good.
    pub fn redis_identity(&mut self, flags: &RedisFlags, is_tls: bool) -> Option<Option<Identity>> {
        let certificate = ("--redis-cert-file", given(&flags.redis_cert_file));
        let key = ("--redis-key-file", given(&flags.redis_key_file));
        if !is_tls {
            for (flag, file) in [certificate, key] {
                if file.is_some() {
                    self.mistake(flag, "given, but --redis-url asks for no TLS; expected rediss:// there");
                }
            }
            return None;
        }
        self.identity(certificate, key)
    }

    /// A certificate and its key. `None` where neither is given, `Some(None)` where they are no good.
    fn identity(&mut self, certificate: Given<'_>, key: Given<'_>) -> Option<Option<Identity>> {
        let (certificate_file, key_file) = match (certificate.1, key.1) {
            (None, None) => return None,
            (Some(certificate), Some(key)) => (Path::new(certificate), Path::new(key)),
            (Some(_), None) => {
                self.mistake(certificate.0, format!("given without its key; add {}", key.0));
                return Some(None);
            }
            (None, Some(_)) => {
                self.mistake(key.0, format!("given without its certificate; add {}", certificate.0));
                return Some(None);
            }
        };
        match Identity::read((certificate.0, certificate_file), (key.0, key_file)) {
            Ok((identity, warnings)) => {
                self.warnings.extend(warnings);
                Some(Some(identity))
            }
            Err((flag, problem)) => {
                self.mistake(flag, problem);
                Some(None)
            }
        }
    }
}
