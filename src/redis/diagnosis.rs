//! Why there is no connection, in a sentence that says what to change. What is not known better stays as it was told.

use std::time::Duration;

use fred::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{RedisConfig, RedisServer};

/// How long the other side may take to show what it speaks.
const PATIENCE: Duration = Duration::from_millis(500);
/// The beginning of a TLS handshake that goes nowhere: who speaks TLS answers with an alert.
const BAD_HELLO: [u8; 10] = [0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x00];
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 0x14..=0x17;

/// Where we want to connect.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub host: String,
    pub port: u16,
    pub is_tls: bool,
}

impl Target {
    /// Where `config` leads; `None` unless that is one server's host.
    pub fn of(config: &RedisConfig) -> Option<Target> {
        match &config.server {
            RedisServer::Tcp { host, port } | RedisServer::ClusterNode { host, port } => {
                Some(Target { host: host.clone(), port: *port, is_tls: config.tls.is_some() })
            }
            RedisServer::Unix { .. } | RedisServer::Sentinel { .. } | RedisServer::Cluster { .. } => None,
        }
    }
}

/// What an error means. `target` is `None` for a unix socket.
pub(super) async fn explain(error: &Error, target: Option<&Target>) -> String {
    let text = error.to_string();
    if let Some(target) = target {
        if let Some(problem) = text.split("InvalidCertificate(").nth(1) {
            return of_the_certificate(problem, target);
        }
        // Both end in a silence or a reset, which say nothing.
        let is_mute = ["timed out", "reset by peer", "Connection closed", "corrupt message", "UnexpectedEof"];
        if is_mute.iter().any(|mute| text.contains(mute)) && speaks_otherwise(target).await {
            let Target { host, port, is_tls } = target;
            return if *is_tls {
                format!(
                    "`{host}:{port}` speaks no TLS; say redis instead of rediss in --redis-url, or name the TLS port"
                )
            } else {
                format!(
                    "`{host}:{port}` speaks TLS; say rediss instead of redis in --redis-url, or name the plain port"
                )
            };
        }
    }
    match error.details().split(' ').next() {
        Some("WRONGPASS") => format!(
            "redis does not accept this user with this password; mend --redis-username or --redis-password-file ({})",
            error.details()
        ),
        Some("NOAUTH") => {
            format!("redis asks for a password; name its file with --redis-password-file ({})", error.details())
        }
        _ => text,
    }
}

fn of_the_certificate(problem: &str, Target { host, port, .. }: &Target) -> String {
    let problem = problem.split(['(', ')', ' ']).next().unwrap_or_default();
    let advice = match problem {
        "UnknownIssuer" | "BadSignature" => {
            "is vouched for by nobody whom lockside trusts; name the file of its CA with --redis-ca-file"
        }
        "NotValidForName" | "NotValidForNameContext" => {
            "is not for this name; say another name of it in --redis-url, or give it a certificate for this one"
        }
        "Expired" | "ExpiredContext" => "has expired; renew it",
        "NotValidYet" | "NotValidYetContext" => "is not valid yet; is this machine's clock right?",
        _ => "is not accepted; see --redis-ca-file",
    };
    format!("the certificate of `{host}:{port}` {advice} ({problem})")
}

/// Whether the other side speaks TLS where we do not, or the other way round.
async fn speaks_otherwise(Target { host, port, is_tls }: &Target) -> bool {
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
