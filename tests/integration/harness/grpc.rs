//! A client of gRPC, frame by frame: h2 alone, so that a test may do what no client would.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use h2::{RecvStream, SendStream};
use hyper::{HeaderMap, Request};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a listener of gRPC.
pub struct Grpc {
    sender: SendRequest<Bytes>,
    authority: String,
    /// Until it ends.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// What came back for a call.
#[derive(Debug)]
pub struct Reply {
    pub http: u16,
    pub head: HeaderMap,
    pub trailers: HeaderMap,
    pub body: Vec<u8>,
}

impl Grpc {
    /// `ip:port` or `unix:/path`.
    pub async fn connect(address: &str) -> Grpc {
        match address.strip_prefix("unix:") {
            Some(path) => Grpc::over(UnixStream::connect(path).await.expect("connected"), "localhost").await,
            None => Grpc::over(TcpStream::connect(address).await.expect("connected"), address).await,
        }
    }

    async fn over<S>(stream: S, authority: &str) -> Grpc
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(stream).await.expect("HTTP/2");
        Grpc { sender, authority: authority.to_owned(), connection: tokio::spawn(connection) }
    }

    /// The same connection, asking for another host.
    pub fn asking(mut self, authority: &str) -> Grpc {
        self.authority = authority.to_owned();
        self
    }

    pub fn request(&self, path: &str) -> hyper::http::request::Builder {
        let uri = format!("http://{}{path}", self.authority);
        Request::builder().method("POST").uri(uri).header("content-type", "application/grpc").header("te", "trailers")
    }

    /// Begins a request, whose body goes on.
    pub async fn begin(&self, request: hyper::http::request::Builder) -> (Pending, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.expect("room for a request");
        let (response, body) = sender.send_request(request.body(()).expect("a request"), false).expect("sent");
        (Pending(response), body)
    }

    /// Sends a request with this body.
    pub async fn send(&self, request: hyper::http::request::Builder, body: impl Into<Bytes>) -> Reply {
        let (pending, mut sending) = self.begin(request).await;
        sending.send_data(body.into(), true).expect("sent");
        pending.reply().await
    }

    /// Calls a method of Dapr's service with one message.
    pub async fn call(&self, method: &str, fields: &Fields) -> Reply {
        self.call_with(method, fields, &[]).await
    }

    pub async fn call_with(&self, method: &str, fields: &Fields, metadata: &[(&str, &str)]) -> Reply {
        let mut request = self.request(&format!("/dapr.proto.runtime.v1.Dapr/{method}"));
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        self.send(request, fields.frame()).await
    }

    pub async fn try_lock(&self, resource: &str, owner: &str, seconds: i32) -> Reply {
        self.call("TryLockAlpha1", &Fields::lock("lockstore", resource, owner).number(4, seconds)).await
    }

    pub async fn unlock(&self, resource: &str, owner: &str) -> Reply {
        self.call("UnlockAlpha1", &Fields::lock("lockstore", resource, owner)).await
    }
}

/// A reply that is awaited; dropped, it resets its stream.
pub struct Pending(h2::client::ResponseFuture);

impl Pending {
    pub async fn reply(self) -> Reply {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a reply in time").expect("a whole reply")
    }

    /// The reply, or how the stream ended.
    pub async fn read(self) -> Result<Reply, h2::Error> {
        let (head, mut stream) = self.0.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = trailers(&mut stream).await?;
        Ok(Reply { http: head.status.as_u16(), head: head.headers, trailers, body })
    }
}

async fn trailers(stream: &mut RecvStream) -> Result<HeaderMap, h2::Error> {
    Ok(stream.trailers().await?.unwrap_or_default())
}

impl Reply {
    /// Of the trailers, or of the head where there is nothing but a status.
    pub fn field(&self, name: &str) -> Option<&str> {
        let value = self.trailers.get(name).or_else(|| self.head.get(name))?;
        Some(value.to_str().expect("ASCII"))
    }

    /// The status of gRPC and its message, percent-decoded.
    pub fn status(&self) -> (u16, String) {
        let status = self.field("grpc-status").unwrap_or_else(|| panic!("no status: {self:?}"));
        let message = self.field("grpc-message").unwrap_or_default();
        let message = percent_encoding::percent_decode_str(message).decode_utf8().expect("UTF-8").into_owned();
        (status.parse().expect("a number"), message)
    }

    /// The one message of a call that went well.
    #[track_caller]
    pub fn message(&self) -> &[u8] {
        assert_eq!((self.http, self.status()), (200, (0, String::new())), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/grpc"));
        let length = u32::from_be_bytes(self.body[1..5].try_into().expect("a frame's length"));
        assert_eq!((self.body[0], length as usize), (0, self.body.len() - 5), "{self:?}");
        &self.body[5..]
    }
}

/// A message of protobuf, field by field.
#[derive(Clone, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn lock(store: &str, resource: &str, owner: &str) -> Fields {
        Fields::default().text(1, store).text(2, resource).text(3, owner)
    }

    pub fn text(self, tag: u8, text: &str) -> Fields {
        self.bytes(tag, text.as_bytes())
    }

    pub fn bytes(mut self, tag: u8, bytes: &[u8]) -> Fields {
        self.0.push(tag << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn number(mut self, tag: u8, number: i32) -> Fields {
        self.0.push(tag << 3);
        self.varint(i64::from(number) as u64);
        self
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// With gRPC's five bytes before it.
    pub fn frame(&self) -> Bytes {
        let length = u32::try_from(self.0.len()).expect("a short message").to_be_bytes();
        [&[0][..], &length, &self.0].concat().into()
    }
}
