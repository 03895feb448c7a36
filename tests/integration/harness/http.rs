//! An HTTP client that does what a test says, and raw bytes where no client would.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::timed::Timed;

/// Keeps connections alive between calls.
#[derive(Clone)]
pub struct Client(hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>);

impl Client {
    pub fn new() -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector))
    }
}

/// A request being made.
pub struct Call<'a> {
    client: &'a Client,
    request: hyper::http::request::Builder,
    body: Bytes,
}

impl<'a> Call<'a> {
    pub fn new(client: &'a Client, method: &str, url: &str) -> Call<'a> {
        Call { client, request: Request::builder().method(method).uri(url), body: Bytes::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Call<'a> {
        self.request = self.request.header(name, value);
        self
    }

    /// The cookie `refreshToken`.
    pub fn cookie(self, token: &str) -> Call<'a> {
        self.header("cookie", &format!("refreshToken={token}"))
    }

    /// `Authorization: Bearer`.
    pub fn bearer(self, token: &str) -> Call<'a> {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, value: &Value) -> Call<'a> {
        self.header("content-type", "application/json").body(value.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Call<'a> {
        self.body = body.into();
        self
    }

    /// Sends it, and panics where no answer comes.
    pub async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    pub async fn try_send(self) -> Result<Answer, String> {
        let request = self.request.body(Full::new(self.body)).expect("a good request");
        let response = self.client.0.request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a text"))
    }
}

/// Sends bytes as they are and reads until the other side closes, or for two seconds.
pub fn raw(address: &str, bytes: &str) -> String {
    let mut stream = Timed::connect(address, Duration::from_secs(2)).expect("a connection");
    stream.write_all(bytes.as_bytes()).expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// [`raw`], for an answer that goes on: its head.
pub fn raw_head(address: &str, bytes: &str) -> String {
    let mut stream = Timed::connect(address, Duration::from_secs(10)).expect("a connection");
    stream.write_all(bytes.as_bytes()).expect("written");
    let mut head = String::new();
    let mut lines = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).expect("a line of the head") > 0 {}
    head
}

/// An answer that is still coming, line by line. Dropped, its connection closes.
pub struct Lines {
    pub status: u16,
    pub headers: HeaderMap,
    body: hyper::body::Incoming,
    rest: Vec<u8>,
}

impl Call<'_> {
    /// Sends it, and reads the answer's head only.
    pub async fn open(self) -> Lines {
        let request = self.request.body(Full::new(self.body)).expect("a good request");
        let response = self.client.0.request(request).await.expect("an answer");
        Lines::of(response)
    }
}

impl Lines {
    /// Of a response whose body is still coming.
    pub fn of(response: hyper::Response<hyper::body::Incoming>) -> Lines {
        let (parts, body) = response.into_parts();
        Lines { status: parts.status.as_u16(), headers: parts.headers, body, rest: Vec::new() }
    }

    /// The next line that tells anything new.
    pub async fn news(&mut self) -> Option<Value> {
        loop {
            let line = self.next().await?;
            if line["event"] != "ping" {
                return Some(line);
            }
        }
    }

    /// The next line as JSON; `None` when the answer has ended.
    pub async fn next(&mut self) -> Option<Value> {
        let line = self.line().await?;
        Some(serde_json::from_slice(&line).expect("a line of JSON"))
    }

    /// The next server-sent event: its name, which is `message` where it has none, and its data; `None` when the answer has
    /// ended.
    pub async fn event(&mut self) -> Option<(String, Value)> {
        let (mut name, mut data) = ("message".to_owned(), None);
        loop {
            let line = self.line().await?;
            let line = std::str::from_utf8(&line).expect("UTF-8").trim_end_matches('\n');
            match line.split_once(": ") {
                Some(("event", text)) => text.clone_into(&mut name),
                Some(("data", text)) => data = Some(serde_json::from_str(text).expect("JSON on one line")),
                _ if !line.is_empty() => {}
                _ => match data.take() {
                    Some(data) => return Some((name, data)),
                    None => "message".clone_into(&mut name),
                },
            }
        }
    }

    /// The next line, with its end.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Some(self.rest.drain(..=end).collect());
            }
            let frame = self.body.frame().await?.ok()?;
            self.rest.extend_from_slice(frame.data_ref()?);
        }
    }
}
