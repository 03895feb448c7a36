//! A client certificate that is trusted no longer, or has expired: of the connection that it authenticated nothing remains.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Stream};
use serde_json::{Value, json};

use super::{SOON, Stand};
use crate::harness::certificates::Authority;
use crate::harness::{Pair, eventually, jwt, unique};

const JOB: &str = "spiffe://cluster.test/ns/jobs/sa/importer";

/// A listener that trusts two CAs, and a certificate of the one that will be removed.
async fn two_cas(flags: &[&str]) -> (Stand, Pair) {
    let other = Authority::new();
    let stand = Stand::start(&[Authority::shared().pem(), other.pem()], flags).await;
    (stand, other.issue_to(JOB))
}

/// Removes it, and awaits that new connections are refused.
async fn remove_ca(stand: &Stand, own: &Pair) {
    stand.scratch.file("clients.pem", Authority::shared().pem());
    let client = stand.client(Some(own));
    eventually("no new connection", SOON, async || client.ask("GET", "/v1/locks", None).await.is_err()).await;
}

#[tokio::test]
async fn a_ca_that_is_removed_during_a_handshake_is_not_trusted_behind_it() {
    let (stand, own) = two_cas(&[]).await;
    let config = Arc::new(stand.client(Some(&own)).config);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(config, name).expect("a client");
    let address = stand.sidecar.api_address().trim_start_matches("tls:");
    let mut socket = TcpStream::connect(address).expect("a connection");
    connection.write_tls(&mut socket).expect("sent");
    while connection.is_handshaking() {
        assert!(connection.read_tls(&mut socket).expect("bytes") > 0);
        connection.process_new_packets().expect("the sidecar's part of the handshake");
    }
    // The sidecar waits for the certificate.
    remove_ca(&stand, &own).await;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /v1/locks HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut answer = String::new();
    // The end comes without a close_notify, or the answer is an alert where the handshake itself is refused.
    let ended = std::io::Read::read_to_string(&mut stream, &mut answer);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{ended:?}: {answer}");
}

#[tokio::test]
async fn a_connection_whose_certificate_is_refused_is_closed_and_says_why() {
    let (stand, own) = two_cas(&[]).await;
    let mut kept = stand.client(Some(&own)).connect().await.expect("connected");
    assert_eq!(kept.ask("GET", "/v1/locks", None).await.expect("answered").status, 200);
    remove_ca(&stand, &own).await;
    let refused = kept.ask("GET", "/v1/locks", None).await.expect("answered");
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(refused.headers["connection"], "close");
    assert!(refused.text().contains("expired or is not trusted any more"), "{}", refused.text());
    assert!(kept.ask("GET", "/v1/locks", None).await.is_err(), "the connection is closed");
}

#[tokio::test]
async fn a_jwt_does_not_stand_in_for_a_certificate_that_is_refused() {
    let secret = crate::harness::Scratch::new();
    let (stand, own) = two_cas(&["--jwt-secret-file", &secret.file("secret", jwt::SECRET)]).await;
    let mut kept = stand.client(Some(&own)).connect().await.expect("connected");
    let bearer = format!("Bearer {}", jwt::reader("alice"));
    let (path, headers) = (format!("/v1/locks/{}", unique("jwt")), [("authorization", bearer.as_str())]);
    let granted = kept.ask_with("POST", &path, Some(&json!({})), &headers).await.expect("answered");
    assert_eq!(granted.status, 201, "{}", granted.text());
    remove_ca(&stand, &own).await;
    let refused = kept.ask_with("POST", &path, Some(&json!({})), &headers).await.expect("answered");
    assert_eq!(refused.status, 401, "{}", refused.text());
}

/// The last line of a hold.
async fn last(lines: &mut crate::harness::http::Lines) -> Value {
    loop {
        let line = tokio::time::timeout(SOON, lines.news()).await.expect("a line in time").expect("a last line");
        if !matches!(line["event"].as_str(), Some("acquired" | "renewed" | "ping")) {
            return line;
        }
    }
}

#[tokio::test]
async fn long_holds_and_waiters_end_soon_when_their_ca_is_removed() {
    let (stand, own) = two_cas(&[]).await;
    let client = stand.client(Some(&own));
    let (held, taken) = (unique("held"), unique("taken"));
    let mut holder = client.connect().await.expect("connected");
    // Its next renewal is minutes away.
    let mut lines = holder.open("POST", &format!("/v1/locks/{held}/hold"), &json!({"ttlMs": 600_000})).await;
    let path = format!("/v1/locks/{taken}");
    assert_eq!(stand.named(JOB).ask("POST", &path, Some(&json!({}))).await.expect("answered").status, 201);
    let queue = format!("{path}/queue");
    let queued = async |count: usize| {
        let queue = stand.named(JOB).ask("GET", &queue, None).await.expect("answered");
        queue.json()["queue"].as_array().map(Vec::len) == Some(count)
    };
    let waiting = tokio::spawn({
        let (client, path) = (client.clone(), path.clone());
        async move { client.ask("POST", &path, Some(&json!({"waitMs": 60_000}))).await }
    });
    eventually("it waits", SOON, async || queued(1).await).await;
    remove_ca(&stand, &own).await;
    let lost = last(&mut lines).await;
    assert_eq!((&lost["event"], &lost["reason"]), (&json!("lost"), &json!("unauthorized")), "{lost}");
    let refused = tokio::time::timeout(SOON, waiting).await.expect("in time").expect("no panic").expect("answered");
    assert_eq!(refused.status, 401, "{}", refused.text());
    eventually("none waits", SOON, async || queued(0).await).await;
}

#[tokio::test]
async fn a_hold_ends_when_its_certificate_expires() {
    let stand = Stand::with_clients(&[]).await;
    let own = Authority::shared().issue_for_a_while(JOB, Duration::from_secs(4));
    let mut connection = stand.client(Some(&own)).connect().await.expect("connected");
    let path = format!("/v1/locks/{}/hold", unique("held"));
    let mut lines = connection.open("POST", &path, &json!({"ttlMs": 600_000})).await;
    assert_eq!(lines.news().await.expect("a line")["event"], "acquired");
    let lost = last(&mut lines).await;
    assert_eq!((&lost["event"], &lost["reason"]), (&json!("lost"), &json!("unauthorized")), "{lost}");
}
