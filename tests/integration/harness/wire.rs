//! A connection that is kept alive and says what no client would say, over TCP or a unix socket.

use std::io::{Read, Write};
use std::time::Duration;

use super::Timed;

/// An answer's head and body.
#[derive(Clone, Debug)]
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Said {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Where a sidecar listens, and a connection to it while it lasts.
pub struct Wire {
    address: String,
    stream: Option<Timed>,
}

impl Wire {
    /// `ip:port` or `unix:/path`.
    pub fn new(address: &str) -> Wire {
        Wire { address: address.to_owned(), stream: None }
    }

    /// Sends a request as it stands and reads its answer, which must have a length.
    pub fn ask(&mut self, request: &str) -> Said {
        let mut stream = self
            .stream
            .take()
            .unwrap_or_else(|| Timed::connect(&self.address, Duration::from_secs(10)).expect("a connection"));
        stream.write_all(request.as_bytes()).expect("written");
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        let said = loop {
            let count = stream.read(&mut chunk).unwrap_or_else(|error| panic!("{error}: {request:?}"));
            assert!(count > 0, "no whole answer to {request:?}: {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&chunk[..count]);
            if let Some(said) = whole(&bytes, request.starts_with("HEAD ")) {
                break said;
            }
        };
        if said.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        said
    }
}

fn whole(bytes: &[u8], is_head: bool) -> Option<Said> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().expect("a status");
    let said = Said { status, head: head.to_owned(), body: body.to_owned() };
    let length = said.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    (is_head || body.len() >= length).then_some(said)
}
