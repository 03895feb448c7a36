//! A connection that asks over HTTP/1.1 and reads the answer, and does as little as it can besides: on two cores,
//! whatever the load costs is taken from what is measured.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    request: Vec<u8>,
    host: String,
}

pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// How an answer's body is bounded.
enum Length {
    Of(usize),
    Chunks,
}

impl Connection {
    pub async fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Connection { stream, buffer: vec![0; 4096], filled: 0, request: Vec::new(), host: address.to_owned() }
    }

    /// Sends one request and reads its whole answer.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer<'_> {
        self.send(method, path, body).await;
        let (status, head, length) = self.head().await;
        match length {
            Length::Of(length) => {
                while self.filled < head + length {
                    self.read().await;
                }
                self.filled = 0;
                Answer { status, body: &self.buffer[head..head + length] }
            }
            Length::Chunks => {
                let length = self.chunks(head).await;
                self.filled = 0;
                Answer { status, body: &self.buffer[head..head + length] }
            }
        }
    }

    /// Sends one request and reads the first line of an answer that goes on.
    pub async fn open_stream(&mut self, method: &str, path: &str, body: &str) -> u16 {
        self.send(method, path, body).await;
        let (status, head, _) = self.head().await;
        while status == 200 && !self.buffer[head..self.filled].ends_with(b"\n\r\n") {
            self.read().await;
        }
        self.filled = 0;
        status
    }

    /// Reads and forgets, until the other side closes.
    pub async fn drain(&mut self) {
        while self.stream.read(&mut self.buffer).await.is_ok_and(|read| read > 0) {}
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) {
        use std::io::Write;
        self.request.clear();
        let (host, length) = (&self.host, body.len());
        write!(self.request, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n").expect("memory");
        if !body.is_empty() {
            write!(self.request, "content-type: application/json\r\ncontent-length: {length}\r\n").expect("memory");
        }
        write!(self.request, "\r\n{body}").expect("memory");
        self.stream.write_all(&self.request).await.expect("an open connection");
    }

    /// Status, length of the head, and how the body is bounded.
    async fn head(&mut self) -> (u16, usize, Length) {
        let head = loop {
            if let Some(end) = self.buffer[..self.filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await;
        };
        let text = std::str::from_utf8(&self.buffer[..head]).expect("a head in ASCII");
        let status = text[9..12].parse().expect("a status");
        let field = |name: &str| {
            text.split("\r\n").find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then_some(value)
            })
        };
        let length = match field("content-length") {
            Some(length) => Length::Of(length.parse().expect("a length")),
            None if field("transfer-encoding").is_some() => Length::Chunks,
            None => Length::Of(0),
        };
        (status, head, length)
    }

    /// Reads all chunks, moved together behind the head; their length.
    async fn chunks(&mut self, head: usize) -> usize {
        let (mut end, mut at) = (head, head);
        loop {
            let line = loop {
                if let Some(line) = self.buffer[at..self.filled].windows(2).position(|two| two == b"\r\n") {
                    break line;
                }
                self.read().await;
            };
            let size = std::str::from_utf8(&self.buffer[at..at + line]).expect("a chunk's size");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            at += line + 2;
            while self.filled < at + size + 2 {
                self.read().await;
            }
            self.buffer.copy_within(at..at + size, end);
            (end, at) = (end + size, at + size + 2);
            if size == 0 {
                return end - head;
            }
        }
    }

    async fn read(&mut self) {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await.expect("an open connection");
        assert!(read > 0, "the server closed the connection: {}", String::from_utf8_lossy(&self.buffer[..self.filled]));
        self.filled += read;
    }
}

/// The token in a lease's JSON.
pub fn token(body: &[u8]) -> u64 {
    const NAME: &[u8] = b"\"token\":";
    let at = body.windows(NAME.len()).position(|part| part == NAME).expect("a token") + NAME.len();
    body[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |token, digit| token * 10 + u64::from(digit - b'0'))
}
