//! `lockside health`: a probe for containers without a shell.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Args;

use super::{complain, exit, place, say};
use crate::config::{self, Address};

/// Longest time for one question and its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest --wait.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Args, Debug)]
pub struct HealthFlags {
    /// The metrics and health listener to ask; the first where several are named
    #[arg(long, env = "LOCKSIDE_OPS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:9420", value_parser = address)]
    ops_listen: Address,

    /// Check readiness (locks can be granted), not only liveness; prints the safety warnings
    #[arg(long)]
    ready: bool,

    /// Ask again until it is, for at most this long, 0s to 1h: what starts beside it can wait for it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = wait)]
    wait: Duration,
}

pub fn run(flags: &HealthFlags) -> ExitCode {
    let path = if flags.ready { "/readyz" } else { "/healthz" };
    let begun = Instant::now();
    let mut answer = ask_within(&flags.ops_listen, path, TIMEOUT);
    while !matches!(answer, Ok((200, _))) {
        let left = flags.wait.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(PAUSE.min(left));
        answer = ask_within(&flags.ops_listen, path, left.clamp(PAUSE, TIMEOUT));
    }
    match answer {
        Ok((200, text)) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Ok((_, text)) => {
            complain(text.trim_end());
            ExitCode::from(exit::UNAVAILABLE)
        }
        Err(error) => {
            complain(format!("cannot connect to lockside at {}: {error}", flags.ops_listen));
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn address(text: &str) -> Result<Address, String> {
    let first = place::first(text);
    let first = first.strip_prefix("*:").map_or_else(|| first.to_owned(), |port| format!("127.0.0.1:{port}"));
    match first.parse()? {
        Address::Tls(_) => Err(format!("`{text}`: the metrics and health listener speaks no TLS; expected ip:port")),
        address => Ok(address),
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::ZERO, LONGEST)
}

/// [`ask`] with a bound for all of it: a read may go on and on, and a socket whose queue is full accepts no connection.
fn ask_within(address: &Address, path: &'static str, span: Duration) -> std::io::Result<(u16, String)> {
    let (give, answer) = mpsc::channel();
    let address = address.clone();
    std::thread::spawn(move || give.send(ask(&address, path)));
    answer.recv_timeout(span).unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

fn ask(address: &Address, path: &str) -> std::io::Result<(u16, String)> {
    match address {
        Address::Tcp(address) | Address::Tls(address) => {
            let stream = TcpStream::connect_timeout(&place::connectable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            converse(stream, path)
        }
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            converse(stream, path)
        }
    }
}

fn converse(mut stream: impl Read + Write, path: &str) -> std::io::Result<(u16, String)> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    status.map(|status| (status, text)).ok_or_else(|| std::io::Error::other("the response is not HTTP"))
}
