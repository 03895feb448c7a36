//! Who may ask who leads, and who may have it resign.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::{SOON, candidate};
use crate::harness::{API_TOKEN, Scratch, Sidecar, TestRedis, eventually, jwt, unique};

#[tokio::test]
async fn asking_needs_no_credential_on_this_machine_and_resigning_does() {
    let (name, scratch) = (unique("jobs"), Scratch::new());
    let (token, socket) = (scratch.file("token", API_TOKEN), scratch.path("api.sock"));
    let flags = ["--api-token-file", &token, "--anonymous", "none"];
    let sidecar = candidate(&TestRedis::shared().url(), &name, 0, &flags).await;
    let paths = [format!("/v1/elections/{name}"), format!("/v1/elections/{name}/events"), "/".to_owned()];
    for path in &paths {
        let asked = sidecar.call("GET", path).open().await;
        assert_eq!(asked.status, 200, "{path}");
        for header in ["forwarded", "x-forwarded-for", "via"] {
            let proxied = sidecar.call("GET", path).header(header, "10.0.0.1").open().await;
            assert_eq!(proxied.status, 401, "{path} with {header}");
        }
        let proxied = sidecar.call("GET", path).header("via", "1.1 proxy").bearer(API_TOKEN).open().await;
        assert_eq!(proxied.status, 200, "{path}: proxied, with a credential");
        let wrong = sidecar.call("GET", path).bearer("not the token of the tests").open().await;
        assert_eq!(wrong.status, 401, "{path}");
    }
    assert_eq!(sidecar.call("DELETE", &paths[0]).send().await.status, 401);
    assert_eq!(sidecar.call("DELETE", &paths[0]).bearer(API_TOKEN).send().await.status, 204);
    assert_eq!(sidecar.call("GET", "/v1/locks").send().await.status, 401, "nothing else is open");

    let unix = format!("unix:{socket}");
    let own = [&flags[..], &["--listen", &unix]].concat();
    let url = TestRedis::shared().url();
    let all = ["--redis-url", &url, "--elect", &name, "--elect-ttl", "1s"];
    let flags: Vec<String> = all.iter().chain(&own).map(|flag| (*flag).to_owned()).collect();
    let on_a_socket = Sidecar::spawn(&flags);
    eventually("it serves", SOON, async || on_a_socket.ops("/readyz").await.status == 200).await;
    let mut stream = UnixStream::connect(&socket).expect("a connection");
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", paths[0]);
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn beyond_this_machine_asking_needs_a_credential() {
    let (name, scratch) = (unique("jobs"), Scratch::new());
    let token = scratch.file("token", API_TOKEN);
    let flags = ["--api-token-file", &token, "--listen", "0.0.0.0:0"];
    let sidecar = candidate(&TestRedis::shared().url(), &name, 0, &flags).await;
    let path = format!("/v1/elections/{name}");
    assert_eq!(sidecar.call("GET", &path).send().await.status, 401);
    assert_eq!(sidecar.call("GET", "/v1/elections/none").send().await.status, 401, "names are not told either");
    assert_eq!(sidecar.call("GET", &path).bearer(API_TOKEN).send().await.status, 200);
}

#[tokio::test]
async fn a_stream_ends_with_the_credential_that_opened_it() {
    let (name, scratch) = (unique("jobs"), Scratch::new());
    let secret_file = scratch.file("secret", jwt::SECRET);
    let flags = ["--jwt-secret-file", &secret_file, "--anonymous", "none"];
    let sidecar = candidate(&TestRedis::shared().url(), &name, 0, &flags).await;
    // Tokens are accepted for 30 s more.
    let claims = json!({"sub": "alice", "exp": jwt::seconds(3) - 30});
    let secret = jsonwebtoken::EncodingKey::from_secret(jwt::SECRET.as_bytes());
    let token = jwt::sign(&claims, jsonwebtoken::Algorithm::HS256, &secret);
    let path = format!("/v1/elections/{name}/events");
    let open = async || sidecar.call("GET", &path).header("via", "1.1 proxy").bearer(&token).open().await;
    let mut lines = open().await;
    assert_eq!(lines.status, 200);
    let ended = async { while lines.event().await.is_some() {} };
    tokio::time::timeout(SOON, ended).await.expect("it ends");
    eventually("nor does it open another one", SOON, async || open().await.status == 401).await;
}
