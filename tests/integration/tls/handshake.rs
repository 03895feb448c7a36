//! Who gets past the handshake.

use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SOON, Stand};
use crate::harness::certificates::Authority;
use crate::harness::{Secure, eventually, unique};

const JOB: &str = "spiffe://cluster.test/ns/jobs/sa/importer";

#[tokio::test]
async fn only_a_client_with_a_certificate_of_the_ca_is_answered() {
    let stand = Stand::with_clients(&[]).await;
    let (authority, other) = (Authority::shared(), Authority::new());
    let path = format!("/v1/locks/{}", unique("shaken"));
    let good = stand.named(JOB).ask("POST", &path, Some(&json!({}))).await.expect("an answer");
    assert_eq!(good.status, 201, "{}", good.text());
    for (what, own) in [
        ("no certificate", None),
        ("one of another CA", Some(other.issue_to(JOB))),
        ("an expired one", Some(authority.issue_expired(JOB))),
        ("one that names no one", Some(authority.issue(&[]))),
        ("one of an address", Some(authority.issue(&["127.0.0.1"]))),
    ] {
        let answer = stand.client(own.as_ref()).ask("GET", &path, None).await;
        assert!(answer.is_err(), "{what}: {answer:?}");
    }
    let cut = r#"lockside_connections_cut_total{listener="api",reason="handshake"} 5"#;
    eventually("each is counted", SOON, async || stand.metric(cut).await).await;
    let log = stand.sidecar.log();
    assert_eq!(log.matches("TLS handshake failed").count(), 5, "{log}");
}

#[tokio::test]
async fn without_a_ca_for_clients_no_certificate_is_asked_for() {
    let stand = Stand::without_clients(&[]).await;
    let path = format!("/v1/locks/{}", unique("shaken"));
    for own in [None, Some(Authority::new().issue_to(JOB))] {
        let answer = stand.client(own.as_ref()).ask("GET", &path, None).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_http_2_is_not_offered() {
    let stand = Stand::with_clients(&[]).await;
    let own = Authority::shared().issue_to(JOB);
    let versions: [(&'static SupportedProtocolVersion, _); 2] =
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];
    for (version, spoken) in versions {
        let mut client = Secure::with_versions(stand.sidecar.api_address(), Some(&own), &[version]);
        client.config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = client.shake().await.expect("a handshake");
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(spoken));
        assert_eq!(connection.alpn_protocol(), None);
        let answer = client.ask("GET", "/v1/locks", None).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn older_versions_and_plain_requests_are_refused() {
    let stand = Stand::with_clients(&[]).await;
    let address = stand.sidecar.api_address().trim_start_matches("tls:");
    // A ClientHello of TLS 1.1, with one cipher and without extensions.
    let hello = [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    for sent in [&hello[..], b"GET /v1/locks HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(sent).await.expect("written");
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
        // An alert, or nothing.
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
}
