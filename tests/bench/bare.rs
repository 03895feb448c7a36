//! The yardstick: a hyper server that reads a request's body and answers fixed bytes, on one thread, as lockside does
//! it. What lockside costs beyond it is lockside's.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};

/// What to answer to a method: a status and a body.
pub type Answers = BTreeMap<String, Answer>;

#[derive(Clone, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Serves until it is killed.
pub async fn serve(address: &str, answers: &str) {
    let answers: Answers = serde_json::from_str(answers).expect("answers as the bench writes them");
    let answers: BTreeMap<String, (StatusCode, Bytes)> = answers
        .into_iter()
        .map(|(method, answer)| {
            (method, (StatusCode::from_u16(answer.status).expect("a status"), Bytes::from(answer.body)))
        })
        .collect();
    let answers: &'static _ = Box::leak(Box::new(answers));
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, answers));
            let mut builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: &BTreeMap<String, (StatusCode, Bytes)>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = answers.get(request.method().as_str()).cloned().unwrap_or_default();
    let _ = request.into_body().collect().await;
    let response = Response::builder().status(status);
    let response = if body.is_empty() { response } else { response.header("content-type", "application/json") };
    Ok(response.body(Full::new(body)).expect("a good response"))
}
