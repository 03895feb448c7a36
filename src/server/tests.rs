//! Timeouts, on a clock that the tests move: what a client may keep waiting, and for how long.

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::listener::PeerCheck;
use super::peer::Transport;
use super::*;
use crate::request::Remote;

/// `/whole` is answered at once, `/slow` after a minute, `/never` never, `/list` with parts and `/hold` with lines
/// without end, both as fast as they are taken.
#[derive(Clone)]
struct Paths;

impl Handler for Paths {
    async fn handle(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        let body = match request.uri().path() {
            "/slow" => {
                sleep(Duration::from_secs(60)).await;
                Body::whole("slow")
            }
            "/never" => std::future::pending().await,
            "/list" => Body::Parts(lines()),
            "/hold" => Body::Stream(lines()),
            _ => Body::whole("whole"),
        };
        Response::new(body)
    }
}

impl Transport for DuplexStream {
    fn bound_silence(&self, _limit: Duration) {}

    fn reads_before_a_write(&self) -> bool {
        false
    }
}

/// 1 KB, again and again.
fn lines() -> mpsc::Receiver<Result<Bytes, Broken>> {
    let (give, take) = mpsc::channel(1);
    tokio::spawn(async move { while give.send(Ok(Bytes::from(vec![b'x'; 1024]))).await.is_ok() {} });
    take
}

/// A connection whose pipe holds 4 KB, and how it will end.
fn connection() -> (DuplexStream, tokio::task::JoinHandle<Option<Timeout>>) {
    connection_of(Protocol::Http1)
}

fn connection_of(protocol: Protocol) -> (DuplexStream, tokio::task::JoinHandle<Option<Timeout>>) {
    let (client, server) = tokio::io::duplex(4096);
    let (stop, drain) = Drain::channel();
    let ended = tokio::spawn(async move {
        let _stop = stop;
        let heads = Heads { longest: 16 * 1024, timeout: Duration::from_secs(30), give_way: false };
        let rules = Rules { protocol, heads, unfinished: Unfinished::default(), certificate: None };
        let activity = Activity::new(Remote::Unix, heads.timeout, Duration::from_secs(900));
        converse(server, PeerCheck::default(), Paths, drain, rules, activity).await
    });
    (client, ended)
}

async fn ask(client: &mut DuplexStream, path: &str) -> String {
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("written");
    let mut answer = vec![0; 1024];
    let count = client.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

/// Seconds until the connection ended, and how.
async fn end(ended: tokio::task::JoinHandle<Option<Timeout>>) -> (u64, Option<Timeout>) {
    let begun = Instant::now();
    let cut = timeout(Duration::from_secs(100_000), ended).await.expect("an end").expect("no panic");
    (begun.elapsed().as_secs(), cut)
}

#[tokio::test(start_paused = true)]
async fn a_head_must_come_within_half_a_minute() {
    let (_client, ended) = connection();
    assert_eq!(end(ended).await, (30, Some(Timeout::Head)), "nothing comes");

    let (mut client, ended) = connection();
    let dribble = async {
        for byte in b"GET /whole HTTP/1.1\r\nHost: x\r\nX-More: ".iter().chain(std::iter::repeat(&b'x')) {
            sleep(Duration::from_secs(1)).await;
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let (ended, ()) = tokio::join!(end(ended), dribble);
    assert_eq!(ended, (30, Some(Timeout::Head)), "a byte a second");

    let (mut client, ended) = connection();
    assert!(ask(&mut client, "/whole").await.ends_with("whole"));
    sleep(Duration::from_secs(100)).await;
    client.write_all(b"G").await.expect("written");
    assert_eq!(end(ended).await, (30, Some(Timeout::Head)), "the second, from its first byte");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_two_minutes_and_an_active_one_is_not() {
    let (mut client, ended) = connection();
    for _ in 0..10 {
        assert!(ask(&mut client, "/whole").await.ends_with("whole"));
        sleep(Duration::from_secs(119)).await;
    }
    assert!(ask(&mut client, "/slow").await.ends_with("slow"), "work is no idleness");
    assert_eq!(end(ended).await, (120, Some(Timeout::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_off_whatever_it_asked_for() {
    for path in ["/list", "/hold"] {
        let (mut client, ended) = connection();
        assert!(ask(&mut client, path).await.starts_with("HTTP/1.1 200"));
        assert_eq!(end(ended).await, (30, Some(Timeout::Stall)), "{path}");
    }
    let (mut client, ended) = connection();
    let questions = b"GET /whole HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000);
    let asked = tokio::spawn(async move {
        let _ = client.write_all(&questions).await;
        client
    });
    assert_eq!(end(ended).await, (30, Some(Timeout::Stall)), "many questions, and no answer is read");
    asked.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_has_five_minutes_for_an_answer_and_a_hold_has_no_end() {
    let trickle = async |client: &mut DuplexStream| {
        let mut some = [0; 512];
        for _ in 0..1000 {
            sleep(Duration::from_secs(10)).await;
            if client.read(&mut some).await.ok().is_none_or(|count| count == 0) {
                break;
            }
        }
    };
    let (mut client, ended) = connection();
    assert!(ask(&mut client, "/list").await.starts_with("HTTP/1.1 200"));
    let (ended, ()) = tokio::join!(end(ended), trickle(&mut client));
    assert_eq!(ended, (300, Some(Timeout::Answer)));

    let (mut client, ended) = connection();
    assert!(ask(&mut client, "/hold").await.starts_with("HTTP/1.1 200"));
    trickle(&mut client).await;
    assert!(!ended.is_finished(), "10,000 s");
    drop(client);
    assert_eq!(end(ended).await.1, None);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_ended() {
    let (mut client, ended) = connection();
    client.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    assert_eq!(end(ended).await, (900, Some(Timeout::Request)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http2_begins_within_half_a_minute() {
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let (mut client, ended) = connection_of(Protocol::Http2);
        client.write_all(begun).await.expect("written");
        assert_eq!(end(ended).await, (30, Some(Timeout::Head)), "{begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_http2_is_told_to_go_after_two_minutes_and_an_active_one_is_not() {
    let (client, ended) = connection_of(Protocol::Http2);
    let (sender, client) = h2::client::handshake(client).await.expect("HTTP/2");
    let client = tokio::spawn(client);
    for path in ["/whole", "/slow", "/whole", "/slow"] {
        let mut sender = sender.clone().ready().await.expect("a connection that lasts");
        let request = Request::get(format!("http://x{path}")).body(()).expect("a request");
        let (response, _) = sender.send_request(request, true).expect("sent");
        assert_eq!(response.await.expect("an answer").status(), 200, "{path}");
        sleep(Duration::from_secs(119)).await;
    }
    assert_eq!(end(ended).await, (1, None));
    assert!(client.await.expect("no panic").is_ok(), "GOAWAY without an error");
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http2_that_answers_no_ping_is_let_go() {
    let (mut client, ended) = connection_of(Protocol::Http2);
    client.write_all(&[http2::PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat()).await.expect("written");
    let (seconds, _) = end(ended).await;
    assert!((40..=46).contains(&seconds), "{seconds} s");
}

#[test]
fn a_thread_gives_way_once_it_has_more_than_its_share_and_one_alone_never_does() {
    for (own, all, threads, gives_way) in [
        (1, 1, 1, false),
        (100, 100, 1, false),
        (1, 1, 4, false),
        (2, 2, 4, true),
        (2, 8, 4, false),
        (17, 64, 4, false),
        (18, 64, 4, true),
        (33, 64, 2, false),
        (34, 64, 2, true),
    ] {
        assert_eq!(has_more_than_its_share(own, all, threads), gives_way, "{own} of {all}, {threads} threads");
    }
}
