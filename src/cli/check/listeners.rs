//! Whether the listeners can be had, or a lockside has them already, as where the check runs beside one.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::report::{Check, Name, Status, joined};
use crate::app::{BindError, Tried, try_listeners};
use crate::cli::place;
use crate::config::{Address, ListenConfig};

/// Longest time for an answer, and for those of all listeners together.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_IN_ALL: Duration = Duration::from_secs(5);
/// How much of an answer is looked at.
const LOOKED_AT: usize = 16 * 1024;

pub fn listeners(listen: &ListenConfig) -> Check {
    let tried = try_listeners(listen);
    let taken: Vec<(&Tried, &BindError)> =
        tried.iter().filter_map(|one| one.outcome.as_ref().err().map(|error| (one, error))).collect();
    let deadline = Instant::now() + PATIENCE_IN_ALL;
    let (ours, others): (Vec<_>, Vec<_>) =
        taken.into_iter().partition(|(one, _)| is_lockside(&one.address, one.flag, deadline));
    // What speaks gRPC alone, or TLS, says nothing of itself: it is taken for a part of the lockside that has the others.
    let is_silent = |one: &Tried| one.flag == "--dapr-grpc-listen" || matches!(one.address, Address::Tls(_));
    let is_strange = |(one, _): &&(&Tried, &BindError)| ours.is_empty() || !is_silent(one);
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

/// Whether what listens there answers as a lockside does, before the deadline.
fn is_lockside(address: &Address, flag: &str, deadline: Instant) -> bool {
    let deadline = deadline.min(Instant::now() + PATIENCE);
    let answers = |path, is_ours: fn(&str) -> bool| ask(address, path, deadline).is_ok_and(|answer| is_ours(&answer));
    match flag {
        "--listen" => answers("/openapi.json", is_of_the_api),
        "--ops-listen" => answers("/", |answer| answer.contains("here are /metrics, /healthz, /readyz")),
        _ => false,
    }
}

/// The document of the API, or why this host name is not served.
fn is_of_the_api(answer: &str) -> bool {
    answer.contains("\"title\": \"lockside\"") || answer.to_ascii_lowercase().contains("\nlockside-reason:")
}

fn ask(address: &Address, path: &str, deadline: Instant) -> io::Result<String> {
    match address {
        Address::Tcp(address) => {
            let address = place::connectable(*address);
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.connect_timeout(&address.into(), left(deadline)?)?;
            converse(socket, &address.to_string(), path, deadline)
        }
        // Only a client that it trusts could tell what listens there.
        Address::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        Address::Unix(path_of_socket) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Never waits: a process that accepts nothing is no lockside.
            socket.set_nonblocking(true)?;
            socket.connect(&SockAddr::unix(path_of_socket)?)?;
            socket.set_nonblocking(false)?;
            converse(socket, "localhost", path, deadline)
        }
    }
}

/// What is answered until the deadline, at whatever pace.
fn converse(mut socket: Socket, host: &str, path: &str, deadline: Instant) -> io::Result<String> {
    socket.set_write_timeout(Some(left(deadline)?))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while answer.len() < LOOKED_AT {
        socket.set_read_timeout(Some(left(deadline)?))?;
        match socket.read(&mut part)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.ok_or_else(|| io::ErrorKind::TimedOut.into())
}
