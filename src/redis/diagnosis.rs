//! Why there is no connection, in a sentence that names the address and says what to change. What is not known better
//! stays as the client library said it, without the names of its types.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{Kind, Link, Problem, Setup};
use super::{Patterns, RedisFailure, advice};
use crate::redis::settings::{RedisConfig, RedisServer};

/// How long the other side may take to show what it speaks.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long Redis may take to let us in and to say what it has against a name.
const NAMING_PATIENCE: Duration = Duration::from_secs(1);
/// The beginning of a TLS handshake that goes nowhere: who speaks TLS answers with an alert.
const BAD_HELLO: [u8; 10] = [0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x00];
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 0x14..=0x17;

/// Where we want to connect.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Host { host: String, port: u16, is_tls: bool },
    Socket(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Host { host, port, .. } if host.contains(':') => write!(f, "`[{host}]:{port}`"),
            Target::Host { host, port, .. } => write!(f, "`{host}:{port}`"),
            Target::Socket(path) => write!(f, "`{}`", path.display()),
        }
    }
}

impl Target {
    pub fn new((host, port): &(String, u16), config: &RedisConfig) -> Target {
        Target::Host { host: host.clone(), port: *port, is_tls: config.tls.is_some() }
    }

    /// Where `config` leads: of several servers, to the first.
    pub fn of(config: &RedisConfig) -> Target {
        match &config.server {
            RedisServer::Tcp { host, port } | RedisServer::ClusterNode { host, port } => {
                Target::new(&(host.clone(), *port), config)
            }
            RedisServer::Sentinel { hosts, .. } | RedisServer::Cluster { hosts } => Target::new(&hosts[0], config),
            RedisServer::Unix { path } => Target::Socket(path.clone()),
        }
    }

    /// What became of a connection that stood.
    pub fn lost(&self, problem: &Problem) -> String {
        format!("the connection to {self} was lost: {}", plain(problem))
    }
}

/// The steps to a connection, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The name of the host becomes an address.
    Name,
    /// The server accepts, and speaks Redis's protocol.
    Connection,
    /// It speaks TLS where we do, and its certificate is good.
    Tls,
    /// It lets us in.
    Login,
    /// It serves us, in the database that is named.
    Service,
}

/// What an error means that came of connecting to `target`, as `setup` says.
pub(super) async fn explain(problem: &Problem, target: &Target, setup: &Setup) -> String {
    diagnose(problem, target, setup).await.1
}

/// What it means, and at which step it came.
pub(super) async fn diagnose(problem: &Problem, target: &Target, setup: &Setup) -> (Step, String) {
    let text = problem.text.as_str();
    if let Some(problem) = text.split("InvalidCertificate(").nth(1) {
        return (Step::Tls, of_the_certificate(problem, target));
    }
    if let Some(alert) = text.split("AlertReceived(").nth(1) {
        return (Step::Tls, of_the_alert(alert.split(')').next().unwrap_or_default(), target));
    }
    if text.contains("lookup address") || text.starts_with("Failed to resolve") {
        let host = if let Target::Host { host, .. } = target { host.as_str() } else { "" };
        let said = plain(problem);
        return (Step::Name, format!("cannot connect to {target}: the host name `{host}` does not resolve ({said})"));
    }
    if text.contains("Invalid frame") || problem.kind == Kind::Protocol {
        let is_nameless = text.contains("Failed to set client name");
        let said = if is_nameless { of_the_name(setup).await } else { unasked(target).await };
        return match said {
            Some(said) => (step_of(&said), refused(target, &said)),
            None if is_nameless => {
                let lacks = format!("{target} does not let lockside name its connection");
                let advice = "allow its ACL user the command +client|setname, or, while a script of another client runs \
                              there, end it with SCRIPT KILL";
                (Step::Login, format!("{lacks}: {advice}"))
            }
            None => {
                let advice = format!("does --redis-url have the right port? ({})", plain(problem));
                let mute = format!("cannot connect to {target}: it does not use Redis's protocol");
                (Step::Connection, format!("{mute}; {advice}"))
            }
        };
    }
    // Both end in a silence or a reset, which say nothing.
    let is_mute = ["timed out", "reset by peer", "Connection closed", "corrupt message", "UnexpectedEof"];
    if is_mute.iter().any(|mute| text.contains(mute)) {
        match target {
            Target::Host { is_tls, .. } if speaks_otherwise(target).await => {
                let advice = match is_tls {
                    true => "does not use TLS; use redis:// instead of rediss:// in --redis-url, or the TLS port",
                    false => "uses TLS; use rediss:// instead of redis:// in --redis-url, or the plain port",
                };
                return (Step::Tls, format!("{target} {advice}"));
            }
            _ => {}
        }
    }
    match text.split(' ').next() {
        Some("WRONGPASS") => {
            let advice = "fix --redis-username or --redis-password-file";
            (Step::Login, format!("{target}: wrong redis user or password; {advice} ({text})"))
        }
        Some("NOAUTH") => {
            let advice = "name its file with --redis-password-file";
            (Step::Login, format!("{target} asks for a password; {advice} ({text})"))
        }
        Some(word) if word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            (step_of(text), refused(target, text))
        }
        _ => (Step::Connection, format!("cannot connect to {target}: {}", plain(problem))),
    }
}

/// The step at which a server refuses a connection so.
fn step_of(said: &str) -> Step {
    match said.split(' ').next() {
        Some("ERR") if said.contains("max number of clients") => Step::Connection,
        Some("ERR") if !said.contains("DB index") => Step::Login,
        Some("NOPERM" | "NOAUTH" | "WRONGPASS" | "DENIED") => Step::Login,
        // It is busy, loads its data, or has no such database.
        _ => Step::Service,
    }
}

fn refused(target: &Target, said: &str) -> String {
    let advice = advice::of(said, &Patterns::default()).map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("{target} refuses the connection ({said}){advice}")
}

/// What the client library says, for people: it shows errors of the operating system as Rust's debugger does.
fn plain(problem: &Problem) -> String {
    let text = problem.text.as_str();
    let inside = |begin: &str, end: &str| text.split(begin).nth(1).and_then(|rest| rest.split(end).next());
    let said = match problem.kind {
        Kind::Timeout => Some("no answer in time"),
        Kind::Canceled => Some("the connection was closed"),
        Kind::Protocol | Kind::Other => inside("message: \"", "\"").or_else(|| inside("error: \"", "\"")),
    };
    let said = said.unwrap_or_else(|| match text {
        "UnexpectedEof" | "Kind(UnexpectedEof)" | "Connection closed." | "Connection Closed" => {
            "the connection was closed"
        }
        // A kind of error in words of its own: `Kind(ConnectionReset)`, `Custom { kind: InvalidData, error: … }`.
        _ => inside("error: ", " }").or_else(|| inside("Kind(", ")")).unwrap_or(text),
    });
    let mut letters = said.trim_end_matches('.').chars();
    let (first, rest) = (letters.next(), letters.as_str());
    // The message of a system call, which begins with a capital; not a name that is one.
    match first {
        Some(first) if rest.starts_with(|letter: char| letter.is_lowercase()) => {
            first.to_lowercase().chain(rest.chars()).collect()
        }
        _ => said.trim_end_matches('.').to_owned(),
    }
}

fn of_the_alert(alert: &str, target: &Target) -> String {
    let advice = match alert {
        "CertificateRequired" => {
            "requires a client certificate, and lockside sends none; set --redis-cert-file and --redis-key-file"
        }
        "HandshakeFailure" | "ProtocolVersion" | "InsufficientSecurity" => {
            "and lockside have no version or cipher of TLS in common; allow TLS 1.2 or 1.3 in its configuration"
        }
        "UnknownCA" | "BadCertificate" | "CertificateExpired" | "CertificateUnknown" | "DecryptError" => {
            "does not accept the certificate of --redis-cert-file; is it of the CA in its tls-ca-cert-file, and has it not \
             expired?"
        }
        "UnrecognisedName" => "has no certificate for this name; use another of its names in --redis-url",
        _ => "ended the TLS handshake; its log says why",
    };
    format!("{target} {advice} ({alert})")
}

fn of_the_certificate(problem: &str, target: &Target) -> String {
    let kind = problem.split(['(', ')', ' ']).next().unwrap_or_default();
    let advice = match kind {
        "UnknownIssuer" | "BadSignature" => "is signed by an unknown CA; pass the CA file with --redis-ca-file",
        "NotValidForName" | "NotValidForNameContext" => {
            "is not for this name; use another of its names in --redis-url, or give it a certificate for this one"
        }
        "Expired" | "ExpiredContext" => "has expired; renew it",
        "NotValidYet" | "NotValidYetContext" => "is not valid yet; is this machine's clock right?",
        _ if problem.contains("CaUsedAsEndEntity") => {
            "is that of a CA, such as one that signed itself; name the file of this very certificate with \
             --redis-ca-file, or give the server one that a CA issued"
        }
        _ if problem.contains("UnsupportedCertVersion") => {
            "is of X.509 version 1, which names no host; give the server one of version 3"
        }
        _ => {
            "is not accepted; give the server one that a CA issued for its name, and name that CA with --redis-ca-file"
        }
    };
    // `Other` says nothing: what is in it does.
    let kind =
        if kind == "Other" { problem.split(['(', ')']).rfind(|word| is_name(word)).unwrap_or(kind) } else { kind };
    format!("the certificate of {target} {advice} ({kind})")
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The error that a server says before it was asked anything, such as that it has too many clients.
async fn unasked(target: &Target) -> Option<String> {
    let Target::Host { host, port, is_tls: false } = target else { return None };
    let said = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut said = [0; 256];
        let count = stream.read(&mut said).await.ok()?;
        let line = String::from_utf8_lossy(&said[..count]).lines().next()?.to_owned();
        line.strip_prefix('-')
            .filter(|line| line.starts_with("DENIED") || line.contains("max number"))
            .map(str::to_owned)
    });
    said.await.ok().flatten()
}

/// What Redis says when a connection is to have a name: the client library keeps that to itself.
async fn of_the_name(setup: &Setup) -> Option<String> {
    let asked = timeout(NAMING_PATIENCE, async {
        let link = Link::unnamed(setup, PATIENCE).await?;
        link.connection.command("CLIENT", &["SETNAME", "lockside"]).await
    });
    match Box::pin(asked).await.ok()?.err()? {
        RedisFailure::Refused(said) => Some(said),
        _ => None,
    }
}

/// Whether the other side speaks TLS where we do not, or the other way round.
async fn speaks_otherwise(target: &Target) -> bool {
    let Target::Host { host, port, is_tls } = target else { return false };
    let first = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await.ok()?;
        stream.write_all(if *is_tls { b"PING\r\n" } else { &BAD_HELLO }).await.ok()?;
        let mut first = [0];
        stream.read_exact(&mut first).await.ok()?;
        Some(first[0])
    });
    match first.await {
        Ok(Some(first)) if *is_tls => matches!(first, b'+' | b'-'),
        Ok(Some(first)) => TLS_RECORDS.contains(&first),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::Host { host: "redis.test".to_owned(), port: 6379, is_tls: true }
    }

    /// Where nothing answers.
    fn nowhere() -> Setup {
        Setup::plain("127.0.0.1", 1)
    }

    #[tokio::test]
    async fn errors_are_shown_for_people_with_the_address() {
        let refused = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
        let unresolved = "Custom { kind: Uncategorized, error: \"failed to lookup address information: Name or service \
                          not known\" }";
        let required = "Custom { kind: InvalidData, error: AlertReceived(CertificateRequired) }";
        let own = "Custom { kind: InvalidData, error: InvalidCertificate(Other(OtherError(CaUsedAsEndEntity))) }";
        for (kind, text, expected) in [
            (Kind::Other, refused, "cannot connect to `redis.test:6379`: connection refused"),
            (Kind::Other, unresolved, "`redis.test:6379`: the host name `redis.test` does not resolve"),
            (Kind::Other, required, "`redis.test:6379` requires a client certificate"),
            (Kind::Other, own, "the certificate of `redis.test:6379` is that of a CA"),
            (Kind::Other, own, "(CaUsedAsEndEntity)"),
            (Kind::Protocol, "frame_type: Invalid frame type.", "does not use Redis's protocol"),
            (Kind::Protocol, "Failed to set client name.", "+client|setname"),
            (Kind::Protocol, "Failed to set client name.", "SCRIPT KILL"),
            (
                Kind::Other,
                "WRONGPASS invalid username-password pair",
                "`redis.test:6379`: wrong redis user or password",
            ),
        ] {
            let said = explain(&Problem { kind, text: text.to_owned() }, &target(), &nowhere()).await;
            assert!(said.contains(expected), "{said}");
            assert!(!["Os {", "Custom {", "kind:", "IO Error"].iter().any(|debug| said.contains(debug)), "{said}");
            assert_eq!(said.matches("redis.test:6379").count(), 1, "{said}");
        }
        let missing = r#"Os { code: 2, kind: NotFound, message: "No such file or directory" }"#;
        let socket = Target::Socket("/run/redis.sock".into());
        assert_eq!(
            explain(&Problem { kind: Kind::Other, text: missing.to_owned() }, &socket, &nowhere()).await,
            "cannot connect to `/run/redis.sock`: no such file or directory"
        );
    }
}
