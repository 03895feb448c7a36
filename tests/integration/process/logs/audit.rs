//! A lock that is taken away is one line: who did it, whose it was, its key, its token, and the request.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{FORMATS, line_with};
use crate::harness::{Scratch, Sidecar, TestRedis, Who, editor, jwt, reader, unique};

/// Everything that a key may hold and a line must not.
const HOSTILE: &str = "x by=\"root\" by=root \\\u{2028}\u{2029}\u{202e}\u{200b}\u{feff}'`";

#[tokio::test]
async fn what_is_taken_away_is_told_with_who_whose_key_token_and_request_and_cannot_be_forged() {
    let reason = utf8_percent_encode(HOSTILE, NON_ALPHANUMERIC);
    for format in FORMATS {
        let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[format]).await;
        for (taker, by, by_kind) in [(editor("eve"), "eve", "user"), (Who::System, "system", "system")] {
            for (holder, owner, kind) in [(reader("alice"), "alice", "user"), (Who::System, HOSTILE, "system")] {
                for dialect in ["native", "leases"] {
                    let (key, id) = (format!("{}{HOSTILE}", unique("forced")), unique("r"));
                    let path = format!("/v1/locks/{}", utf8_percent_encode(&key, NON_ALPHANUMERIC));
                    let lease = sidecar.ask(&holder, "POST", &path).json(&json!({"owner": owner})).send().await;
                    let token = lease.json()["token"].to_string();
                    let path = match dialect {
                        "native" => format!("{path}?force=true&reason={reason}"),
                        _ => format!("/cmn/leasable-locks/custom/{token}?reason={reason}"),
                    };
                    let call = sidecar.ask(&taker, "DELETE", &path).header("x-request-id", &id);
                    let answer = call.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
                    let answer = answer.send().await;
                    assert!(answer.status < 300, "{}", answer.text());
                    assert_eq!(answer.header("x-request-id"), Some(&*id));
                    let line = line_with(&sidecar, &id).await;
                    line.assert_harmless();
                    for (name, value) in [
                        ("level", "WARN"),
                        ("target", "lockside.audit"),
                        ("message", "lock force-released"),
                        ("by", by),
                        ("by_kind", by_kind),
                        ("holder", owner),
                        ("holder_kind", kind),
                        ("key", &key),
                        ("token", &token),
                        ("reason", HOSTILE),
                        ("request_id", &id),
                        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
                    ] {
                        line.assert(name, value);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn who_did_it_without_a_credential_is_anonymous_and_the_answer_tells_the_id_of_the_line() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let path = format!("/v1/locks/{}", unique("forced"));
    let lease = sidecar.call("POST", &path).send().await.json();
    let free = sidecar.call("DELETE", &format!("/v1/locks/{}?force=true", unique("free"))).send().await;
    assert_eq!(free.header("x-request-id"), None, "no line, no id");
    let forced = sidecar.call("DELETE", &format!("{path}?force=true")).send().await;
    let line = line_with(&sidecar, "\"lockside.audit\"").await;
    line.assert("request_id", forced.header("x-request-id").expect("the id of the line"));
    line.assert("by", "anonymous");
    line.assert("by_kind", "anonymous");
    line.assert("token", &lease["token"].to_string());
}

#[tokio::test]
async fn a_user_by_the_name_of_a_system_caller_is_told_apart() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let path = format!("/v1/locks/{}", unique("forced"));
    sidecar.call("POST", &path).send().await;
    sidecar.ask(&editor("system"), "DELETE", &format!("{path}?force=true")).send().await;
    let line = line_with(&sidecar, "\"lockside.audit\"").await;
    line.assert("by", "system");
    line.assert("by_kind", "user");
}
