//! Whether the listeners can be had, or a lockside has them already, as where the check runs beside one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::report::{Check, Name, Status, joined};
use crate::app::{BindError, Tried, try_listeners};
use crate::cli::place;
use crate::config::{Address, ListenConfig};

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of an answer is looked at.
const LOOKED_AT: u64 = 16 * 1024;

pub fn listeners(listen: &ListenConfig) -> Check {
    let tried = try_listeners(listen);
    let taken: Vec<(&Tried, &BindError)> =
        tried.iter().filter_map(|one| one.outcome.as_ref().err().map(|error| (one, error))).collect();
    let (ours, others): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(one, _)| is_lockside(&one.address, one.flag));
    // What speaks gRPC alone says nothing of itself: it is taken for a part of the lockside that has the others.
    let is_strange = |(one, _): &&(&Tried, &BindError)| ours.is_empty() || one.flag != "--dapr-grpc-listen";
    if let Some((_, error)) = others.iter().find(is_strange) {
        return Check::said(Name::Listeners, Status::Fail, &error.to_string(), "free it");
    }
    let free = joined(tried.iter().filter(|one| one.outcome.is_ok()).map(|one| &one.address));
    let ours = joined(ours.iter().chain(&others).map(|(one, _)| &one.address));
    Check::ok(
        Name::Listeners,
        match (free.as_str(), ours.as_str()) {
            (free, "") => format!("{free} can be listened on"),
            ("", ours) => format!("a lockside answers on {ours}"),
            (free, ours) => format!("a lockside answers on {ours}; {free} can be listened on"),
        },
    )
}

/// Whether what listens there answers as a lockside does.
fn is_lockside(address: &Address, flag: &str) -> bool {
    match flag {
        "--listen" => ask(address, "/openapi.json").is_ok_and(|answer| is_of_the_api(&answer)),
        "--ops-listen" => ask(address, "/").is_ok_and(|answer| answer.contains("here are /metrics, /healthz, /readyz")),
        _ => false,
    }
}

/// The document of the API, or why this host name is not served.
fn is_of_the_api(answer: &str) -> bool {
    answer.contains("\"title\": \"lockside\"") || answer.to_ascii_lowercase().contains("\nlockside-reason:")
}

fn ask(address: &Address, path: &str) -> std::io::Result<String> {
    match address {
        Address::Tcp(address) => {
            let address = place::connectable(*address);
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream, &address.to_string(), path)
        }
        // Only a client whom it trusts could tell what listens there.
        Address::Tls(_) => Err(std::io::ErrorKind::Unsupported.into()),
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream, "localhost", path)
        }
    }
}

fn converse(mut stream: impl Read + Write, host: &str, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LOOKED_AT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
