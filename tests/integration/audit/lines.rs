//! What stands in a line, and which events are written.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{SOON, Trail};
use crate::harness::{Fault, Proxy, Scratch, Sidecar, TestRedis, eventually, jwt, unique};

/// What an owner and a key may hold, and a line must not.
const HOSTILE: &str = "x\",\"who\":\"root\"\u{2028}\u{2029}\u{202e}\u{200b}\u{feff}\\";

/// A sidecar with a trail and a JWT secret, in a namespace of its own.
pub async fn start(trail: &Trail, flags: &[&str]) -> Sidecar {
    let prefix = unique("audit");
    let own = ["--audit", &trail.path, "--key-prefix", &prefix, "--anonymous", "full"];
    Sidecar::with_secret(&[&own, flags].concat()).await
}

/// The lines of a key.
pub async fn of(trail: &Trail, sidecar: &Sidecar, key: &str) -> Vec<Value> {
    let mut lines = trail.settled(sidecar).await;
    lines.retain(|line| line["key"] == *key);
    lines
}

pub fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

fn members(line: &Value) -> BTreeSet<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The path of a key, percent-encoded.
fn path(key: &str) -> String {
    format!("/v1/locks/{}", percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC))
}

#[tokio::test]
async fn a_line_says_who_which_lock_and_for_which_request_and_nothing_that_is_not_known() {
    let trail = Trail::new();
    let sidecar = start(&trail, &["--audit-events", "all"]).await;
    let key = unique("lines");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = async |method: &str, path: &str| {
        let call = sidecar.call(method, path).header("x-request-id", "r-1").header("traceparent", trace);
        call.bearer(&jwt::editor("alice")).send().await
    };
    let lease = call("POST", &path(&key)).await.json();
    let token = &lease["token"];
    assert_eq!(call("PUT", &format!("{}?token={token}", path(&key))).await.status, 200);
    assert_eq!(call("DELETE", &format!("{}?token={token}", path(&key))).await.status, 204);
    assert_eq!(call("DELETE", &format!("{}?token={token}", path(&key))).await.status, 410);
    let theirs = sidecar.call("POST", &path(&key)).json(&json!({"owner": "web-3"})).send().await.json();
    assert_eq!(call("POST", &path(&key)).await.status, 409);
    assert_eq!(call("DELETE", &format!("{}?force=true&reason=stuck", path(&key))).await.status, 204);

    let lines = of(&trail, &sidecar, &key).await;
    assert_eq!(events(&lines), ["granted", "renewed", "released", "lost", "granted", "refused", "forced"]);
    let request = ["time", "event", "credential", "peer", "key", "request_id"];
    let further: [&[&str]; 7] = [
        &["who", "kind", "token", "valid_until", "trace_id"],
        &["who", "kind", "token", "valid_until", "trace_id"],
        &["who", "kind", "token", "held_ms", "trace_id"],
        &["who", "kind", "token", "reason", "trace_id"],
        &["who", "kind", "token", "valid_until"],
        &["who", "kind", "verb", "reason", "holder", "trace_id"],
        &["who", "kind", "token", "held_ms", "reason", "holder", "trace_id"],
    ];
    for (line, further) in lines.iter().zip(further) {
        assert_eq!(members(line), request.iter().chain(further).copied().collect(), "{line}");
        let is_theirs = line["token"] == theirs["token"] && line["event"] == "granted";
        let (who, kind, credential) =
            if is_theirs { ("web-3", "system", "anonymous") } else { ("alice", "user", "jwt") };
        assert_eq!((&line["who"], &line["kind"], &line["credential"]), (&json!(who), &json!(kind), &json!(credential)));
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        if !is_theirs {
            assert_eq!((&line["request_id"], &line["trace_id"]), (&json!("r-1"), &json!(&trace[3..35])));
        }
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        assert!(time.duration_until(jiff::Timestamp::now()).as_secs() < 60, "{line}");
    }
    assert_eq!(lines[0]["token"], *token);
    assert_eq!(lines[0]["valid_until"], lease["validUntil"]);
    assert_eq!((&lines[5]["reason"], &lines[5]["holder"]), (&json!("held"), &json!("web-3")));
    assert_eq!((&lines[6]["reason"], &lines[6]["holder"]), (&json!("stuck"), &json!("web-3")));
    assert_eq!((&lines[6]["token"], &lines[3]["reason"]), (&theirs["token"], &json!("expired")));
    assert!(lines[2]["held_ms"].as_u64().unwrap() < 60_000, "{}", lines[2]);
}

#[tokio::test]
async fn each_lease_that_shares_a_key_has_lines_of_its_own() {
    let trail = Trail::new();
    let sidecar = start(&trail, &["--audit-events", "all"]).await;
    let key = unique("shared");
    let mut tokens = Vec::new();
    for owner in ["a", "b", "c", "d"] {
        let body = json!({"owner": owner, "mode": "shared", "ttlMs": if owner == "c" { 300 } else { 60_000 }});
        tokens.push(sidecar.call("POST", &path(&key)).json(&body).send().await.json()["token"].clone());
    }
    assert_eq!(sidecar.call("POST", &path(&key)).json(&json!({"owner": "e"})).send().await.status, 409);
    let change = async |method: &str, query: &str| {
        let answer = sidecar.call(method, &format!("{}?{query}", path(&key))).send().await;
        assert!(matches!(answer.status, 200 | 204), "{}", answer.text());
    };
    change("PUT", &format!("token={}", tokens[0])).await;
    change("DELETE", &format!("token={}", tokens[1])).await;
    let is_lost = |line: &Value| line["event"] == "lost";
    tokio::time::sleep(Duration::from_millis(300)).await;
    let renewal = sidecar.call("PUT", &format!("{}?token={}", path(&key), tokens[2])).send().await;
    assert_eq!(renewal.status, 410);
    change("DELETE", &format!("force=true&token={}", tokens[3])).await;
    change("DELETE", "force=true").await;

    let lines = of(&trail, &sidecar, &key).await;
    let told: Vec<(&str, &Value)> =
        lines.iter().map(|line| (line["event"].as_str().unwrap(), &line["token"])).collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| &tokens[number]);
    let refused = ("refused", &Value::Null);
    let granted = [("granted", a), ("granted", b), ("granted", c), ("granted", d), refused];
    assert_eq!(
        told,
        [&granted[..], &[("renewed", a), ("released", b), ("lost", c), ("forced", d), ("forced", a)]].concat()
    );
    let of_who = |line: &Value| line["holder"].as_str().or(line["who"].as_str()).unwrap_or_default().to_owned();
    assert_eq!([8, 9].map(|number: usize| of_who(&lines[number])), ["d", "a"]);
    assert_eq!(lines.iter().find(|line| is_lost(line)).unwrap()["reason"], "expired");
}

#[tokio::test]
async fn each_scope_has_its_events() {
    for (scope, expected) in [
        ("force,denied", vec!["forced", "refused"]),
        ("changes", vec!["granted", "released", "granted", "forced", "refused"]),
        ("all", vec!["granted", "renewed", "refused", "released", "granted", "forced", "refused"]),
    ] {
        let trail = Trail::new();
        let sidecar = start(&trail, &["--audit-events", scope]).await;
        let key = unique("scope");
        let call =
            async |method: &str, query: &str| sidecar.call(method, &format!("{}{query}", path(&key))).send().await;
        let token = call("POST", "").await.json()["token"].to_string();
        assert_eq!(call("PUT", &format!("?token={token}")).await.status, 200);
        assert_eq!(call("POST", "").await.status, 409);
        assert_eq!(call("DELETE", &format!("?token={token}")).await.status, 204);
        assert_eq!(call("POST", "").await.status, 201);
        assert_eq!(call("DELETE", "?force=true").await.status, 204);
        let reader = jwt::reader("bob");
        let denied = sidecar.call("DELETE", &format!("{}?force=true", path(&key))).bearer(&reader).send().await;
        assert_eq!(denied.status, 403);

        let lines = of(&trail, &sidecar, &key).await;

        assert_eq!(events(&lines), expected, "{scope}");
        let refused = lines.last().unwrap();
        assert_eq!((&refused["verb"], &refused["reason"]), (&json!("force-release"), &json!("missing-permission")));
    }
}

#[tokio::test]
async fn a_hold_is_granted_and_then_released_or_lost() {
    let trail = Trail::new();
    let sidecar = start(&trail, &[]).await;
    let key = unique("hold");
    let open = async || {
        let call = sidecar.call("POST", &format!("{}/hold", path(&key))).json(&json!({"owner": "job"}));
        let mut hold = call.open().await;
        assert_eq!(hold.news().await.unwrap()["event"], "acquired");
        hold
    };
    drop(open().await);
    let is_released = |lines: &[Value]| lines.iter().any(|line| line["event"] == "released" && line["key"] == *key);
    trail.until("the release", is_released).await;
    let mut hold = open().await;
    sidecar.call("DELETE", &format!("{}?force=true", path(&key))).send().await;
    assert_eq!(hold.news().await.unwrap()["event"], "lost");

    let lines = of(&trail, &sidecar, &key).await;

    let (mut told, mut ends) = (events(&lines), events(&lines[3..]));
    told.truncate(3);
    // The holder may be told before the one who forced it is answered.
    ends.sort_unstable();
    assert_eq!((told, ends), (vec!["granted", "released", "granted"], vec!["forced", "lost"]));
    let lost = lines.iter().find(|line| line["event"] == "lost").unwrap();
    assert_eq!((&lost["who"], &lost["reason"], &lost["token"]), (&json!("job"), &json!("forced"), &lines[2]["token"]));
    assert!(lost["held_ms"].is_u64() && lines[1]["held_ms"].is_u64(), "{lines:?}");
}

/// Sends an acquire that does not wait, hangs up once Redis has granted it, and lets its answer come. With `more` behind the
/// request the sidecar does not learn of the end before it answers.
async fn hang_up(proxy: &Proxy, sidecar: &Sidecar, key: &str, more: &str) {
    let elsewhere = Sidecar::start(TestRedis::alone(), &[]).await;
    proxy.set(Fault::HoldReplies);
    let mut caller = TcpStream::connect(sidecar.api_address()).unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", path(key), sidecar.api_address());
    caller.write_all(format!("{head}{more}").as_bytes()).unwrap();
    let state = async || elsewhere.call("GET", &path(key)).send().await.json()["state"] == "held";
    eventually("redis has granted it", SOON, state).await;
    drop(caller);
    proxy.mend();
    let state = async || elsewhere.call("GET", &path(key)).send().await.json()["state"] == "free";
    eventually("it is rolled back", SOON, state).await;
}

#[tokio::test]
async fn a_grant_that_is_not_delivered_is_released_whether_it_was_answered_or_not() {
    let trail = Trail::new();
    let proxy = Proxy::start(TestRedis::alone());
    let sidecar = Sidecar::start_at(&proxy.url(), &["--audit", &trail.path, "--redis-timeout", "10s"]).await;
    let (answered, unanswered) = (unique("answered"), unique("unanswered"));
    for (key, more) in [(&unanswered, ""), (&answered, "GET /")] {
        hang_up(&proxy, &sidecar, key, more).await;

        let is_over =
            |lines: &[Value]| lines.iter().any(|line| line["event"] == "released" && line["key"] == key.as_str());
        let mut lines = trail.until("the release", is_over).await;

        lines.retain(|line| line["key"] == key.as_str());
        assert_eq!(events(&lines), ["granted", "released"]);
        assert_eq!((&lines[1]["reason"], &lines[1]["token"]), (&json!("undelivered"), &lines[0]["token"]));
        assert_eq!(lines[1]["request_id"], lines[0]["request_id"]);
        assert!(lines[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{lines:?}");
    }
}

#[tokio::test]
async fn a_hold_whose_release_has_no_answer_is_released_once() {
    let trail = Trail::new();
    let proxy = Proxy::start(TestRedis::alone());
    let flags = ["--audit", &trail.path, "--redis-timeout", "500ms"];
    let sidecar = Sidecar::start_at(&proxy.url(), &flags).await;
    let elsewhere = Sidecar::start(TestRedis::alone(), &[]).await;
    let key = unique("hold");
    let call = sidecar.call("POST", &format!("{}/hold", path(&key))).json(&json!({"owner": "job", "ttlMs": 60_000}));
    let mut hold = call.open().await;
    assert_eq!(hold.news().await.unwrap()["event"], "acquired");
    proxy.set(Fault::SwallowReplies);
    drop(hold);
    let is_free = async || elsewhere.call("GET", &path(&key)).send().await.json()["state"] == "free";
    eventually("redis has released it", SOON, is_free).await;
    proxy.mend();

    let is_over = |lines: &[Value]| lines.iter().any(|line| line["event"] == "released");
    let lines = trail.until("the release", is_over).await;

    assert_eq!(events(&lines), ["granted", "released"]);
    assert_eq!((&lines[1]["who"], &lines[1]["token"]), (&json!("job"), &lines[0]["token"]));
}

#[tokio::test]
async fn a_renewal_whose_answer_comes_too_late_leaves_its_line() {
    let trail = Trail::new();
    let proxy = Proxy::start(TestRedis::alone());
    let flags = ["--audit", &trail.path, "--audit-events", "all", "--redis-timeout", "10s"];
    let sidecar = Sidecar::start_at(&proxy.url(), &flags).await;
    let key = unique("late");
    let lease = sidecar.call("POST", &path(&key)).json(&json!({"ttlMs": 60_000})).send().await.json();
    proxy.set(Fault::DelayReplies(Duration::from_millis(1200)));

    let renewal = sidecar.call("PUT", &format!("{}?token={}", path(&key), lease["token"]));
    let late = renewal.json(&json!({"ttlMs": 1000})).send().await;

    assert_eq!((late.status, &late.json()["code"]), (503, &json!("too-late")), "{}", late.text());
    proxy.mend();
    let is_renewed = |lines: &[Value]| lines.iter().any(|line| line["event"] == "renewed");
    let lines = trail.until("the renewal", is_renewed).await;
    assert_eq!(events(&lines), ["granted", "renewed"]);
    assert_eq!(lines[1]["token"], lease["token"]);
    assert!(lines[1]["valid_until"].as_str() < lines[0]["valid_until"].as_str(), "{lines:?}");
}

#[tokio::test]
async fn an_election_leaves_the_lines_of_its_candidate() {
    let trail = Trail::new();
    let flags = ["--elect", "jobs", "--elect-ttl", "1s", "--elect-as", "pod-1"];
    let sidecar = start(&trail, &flags).await;
    let leads = async || sidecar.ops("/leader/jobs").await.status == 200;
    eventually("it leads", SOON, leads).await;
    assert_eq!(sidecar.call("DELETE", "/v1/elections/jobs").send().await.status, 204);

    let lines = of(&trail, &sidecar, "election:jobs").await;

    assert_eq!(events(&lines)[..2], ["granted", "released"]);
    for line in &lines {
        assert_eq!((&line["who"], &line["kind"]), (&json!("pod-1"), &json!("system")));
        assert!(!members(line).contains("peer") && !members(line).contains("credential"), "{line}");
    }
}

#[tokio::test]
async fn whatever_a_key_an_owner_or_a_reason_holds_is_one_line_and_comes_back_as_it_was() {
    let trail = Trail::new();
    let sidecar = start(&trail, &[]).await;
    let (key, owner) = (format!("{}{HOSTILE}", unique("k")), HOSTILE);
    let granted = sidecar.call("POST", &path(&key)).json(&json!({"owner": owner})).send().await;
    assert_eq!(granted.status, 201, "{}", granted.text());

    let lines = of(&trail, &sidecar, &key).await;

    assert_eq!((lines.len(), &lines[0]["who"]), (1, &json!(owner)));
    let text = std::fs::read_to_string(&trail.path).unwrap();
    let is_harmless = |c: char| matches!(c, ' '..='~' | '\n') || (!c.is_ascii() && c.escape_debug().len() == 1);
    assert!(text.chars().all(is_harmless), "{text}");
}

#[tokio::test]
async fn no_line_shows_a_credential() {
    let trail = Trail::new();
    let scratch = Scratch::new();
    let secret = "an API token of the tests, long enough";
    let api_token = scratch.file("token", secret);
    let sidecar = start(&trail, &["--audit-events", "all", "--api-token-file", &api_token]).await;
    let key = unique("secret");
    let (alice, expired) = (jwt::editor("alice"), jwt::signed(&json!({"sub": "eve", "exp": jwt::seconds(-3600)})));
    for (credential, cookie) in
        [(secret, ""), (&alice, ""), (&expired, ""), ("", &alice), ("", &expired), ("wrong-one", "")]
    {
        for method in ["POST", "DELETE"] {
            let call = sidecar.call(method, &path(&key));
            let call = if credential.is_empty() { call } else { call.bearer(credential) };
            let call = if cookie.is_empty() { call } else { call.cookie(cookie) };
            call.send().await;
        }
    }

    let lines = trail.settled(&sidecar).await;

    let credentials: BTreeSet<&str> = lines.iter().filter_map(|line| line["credential"].as_str()).collect();
    assert_eq!(credentials, BTreeSet::from(["cookie", "jwt", "token:default"]));
    let text = std::fs::read_to_string(&trail.path).unwrap();
    for secret in [secret, &alice, &expired, "wrong-one", "none of ours"] {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!text.contains(secret) && !text.contains(signature), "{text}");
    }
}
