//! One failure of each kind, and what its line holds: who, key, request, outcome, no secret, nothing raw.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{FORMATS, Line, answer_of, lines_with};
use crate::harness::{
    API_TOKEN, Answer, Fault, Proxy, Sidecar, TestRedis, Who, editor, eventually, jwt, reader, unique,
};

const FAILURES: &str = include_str!("../../../../src/api/failure.rs");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// What keys, owners, users and bodies may hold.
const HOSTILE: &str = "x code=\"ok\" \u{1b}[2K\n\r\0\u{7f}\u{85}\u{2028}\u{2029}\u{202e}\\";
/// The part of it that may be in a name.
const NAME: &str = "x code=\"ok\" \u{2028}\u{2029}\u{202e}\\";

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A request that fails, and what its line says of it.
struct Row {
    who: Who,
    caller: (&'static str, String),
    method: &'static str,
    path: String,
    body: Value,
    /// The name and the value of the field that says what was asked for; most say a key.
    of: Option<(&'static str, String)>,
}

/// The codes that were seen.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    /// Sends it and looks at its line.
    async fn fails(&mut self, sidecar: &Sidecar, row: &Row) -> Answer {
        self.fails_with(sidecar, row, None).await
    }

    /// Sends it with a header more.
    async fn fails_with(&mut self, sidecar: &Sidecar, row: &Row, header: Option<(&str, &str)>) -> Answer {
        let id = unique("r");
        let call = sidecar.ask(&row.who, row.method, &row.path).header("x-request-id", &id);
        let call = header.into_iter().fold(call, |call, (name, value)| call.header(name, value));
        let call = call.header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-00"));
        let answer = call.json(&row.body).send().await;
        assert!(answer.status >= 400, "{} {}: {}", row.method, row.path, answer.text());
        assert_eq!(answer.header("x-request-id"), Some(&*id));
        let line = answer_of(sidecar, &id).await;
        self.holds(&line, row, &id, answer.status);
        answer
    }

    #[track_caller]
    fn holds(&mut self, line: &Line, row: &Row, id: &str, status: u16) {
        line.assert_harmless();
        for (name, value) in [
            ("target", "lockside.api"),
            ("caller_kind", row.caller.0),
            ("caller", &row.caller.1),
            ("method", row.method),
            ("status", &status.to_string()),
            ("request_id", id),
            ("trace_id", TRACE),
        ] {
            line.assert(name, value);
        }
        let outcome = line.get("outcome").expect("an outcome");
        assert!(["applied", "not-applied", "unknown"].contains(&outcome), "{}", line.raw);
        if let Some((name, value)) = &row.of {
            line.assert(name, value);
        }
        let decimals = line.raw.split("duration_ms").nth(1).and_then(|rest| rest.split('.').nth(1));
        let decimals = decimals.unwrap_or_default().bytes().take_while(u8::is_ascii_digit).count();
        assert_eq!(decimals, 3, "{}", line.raw);
        if let Who::User(token) = &row.who {
            assert!(token.split('.').skip(1).all(|part| !line.raw.contains(part)), "{}", line.raw);
        }
        assert!(!line.raw.contains(API_TOKEN), "{}", line.raw);
        self.0.insert(line.get("code").expect("a code").to_owned());
    }
}

fn user(id: &str) -> (Who, (&'static str, String)) {
    (reader(id), ("user", id.to_owned()))
}

fn system() -> (Who, (&'static str, String)) {
    (Who::System, ("system", "system".to_owned()))
}

fn nobody() -> (Who, (&'static str, String)) {
    (Who::Nobody, ("anonymous", "anonymous".to_owned()))
}

fn row(
    (who, caller): (Who, (&'static str, String)),
    method: &'static str,
    path: impl Into<String>,
    body: Value,
    of: Option<(&'static str, &str)>,
) -> Row {
    Row { who, caller, method, path: path.into(), body, of: of.map(|(name, value)| (name, value.to_owned())) }
}

/// What is wrong with a request itself, in each dialect.
async fn of_requests(format: &str, sidecar: &Sidecar, seen: &mut Seen) {
    let key = format!("{}{NAME}", unique("k"));
    let native = format!("/v1/locks/{}", encoded(&key));
    let alice = || user(NAME);
    let manager = || (editor(NAME), ("user", NAME.to_owned()));
    let dapr = |store: &str| format!("/v1.0-alpha1/lock/{}", encoded(store));
    let asks = Some(("key", key.as_str()));
    let held = sidecar.ask(&Who::System, "POST", &native).json(&json!({"owner": NAME})).send().await.json();
    let token = held["token"].to_string();
    let shows = Some(("token", token.as_str()));
    for row in [
        row(alice(), "POST", &native, json!({"ttlMs": HOSTILE}), asks),
        row(alice(), "POST", &native, json!({HOSTILE: HOSTILE, "owner": [HOSTILE]}), asks),
        row(alice(), "POST", format!("/v1/locks/{}", encoded(HOSTILE)), json!({}), None),
        row(alice(), "POST", "/v1/locks/%FF", json!({}), None),
        row(system(), "POST", "/cmn/leasable-locks", json!({"key": HOSTILE, "leasePeriod": 1}), None),
        row(system(), "POST", "/cmn/leasable-locks", json!({"key": key, "leasePeriod": 0}), asks),
        row(system(), "PUT", format!("/cmn/leasable-locks/{}", encoded(HOSTILE)), json!({}), None),
        row(manager(), "POST", "/admin/lock", json!({"route": HOSTILE, "id": HOSTILE}), None),
        row(manager(), "POST", "/admin/lock", json!([HOSTILE]), None),
        row(system(), "POST", dapr(HOSTILE), json!({"resourceId": "r", "lockOwner": NAME, "expiryInSeconds": 1}), None),
        row(
            system(),
            "POST",
            dapr("lockstore"),
            json!({"resourceId": HOSTILE, "lockOwner": "o", "expiryInSeconds": 1}),
            Some(("owner", "o")),
        ),
        row(nobody(), "POST", &native, json!({}), None),
        row(nobody(), "POST", "/cmn/leasable-locks", json!({}), None),
        row(nobody(), "POST", "/admin/lock", json!({}), None),
        row(nobody(), "POST", dapr("lockstore"), json!({}), None),
        row(alice(), "DELETE", format!("{native}?force=true"), json!(null), asks),
        row(alice(), "DELETE", format!("{native}?token={token}"), json!(null), asks),
        row(alice(), "PUT", format!("{native}?token={token}"), json!({}), shows),
        row(alice(), "DELETE", format!("/cmn/leasable-locks/custom/{token}"), json!(null), None),
        row(alice(), "DELETE", format!("/cmn/leasable-locks/{token}"), json!(null), shows),
        row(alice(), "POST", "/admin/lock", json!({"route": "r", "id": "1"}), None),
        row(alice(), "POST", dapr("lockstore"), json!({}), None),
        row(nobody(), "GET", format!("/{}", encoded(HOSTILE)), json!(null), None),
        row(nobody(), "PATCH", &native, json!({}), None),
        row(nobody(), "GET", format!("/v1/elections/{}", encoded(HOSTILE)), json!(null), None),
        row(system(), "DELETE", "/cmn/leasable-locks/7", json!(null), Some(("token", "7"))),
        row(system(), "PUT", format!("{native}?token=7"), json!({}), Some(("token", "7"))),
        row(system(), "GET", format!("{native}/fence?token=7"), json!(null), asks),
        row(system(), "POST", &native, json!({"owner": "o".repeat(16 * 1024)}), asks),
        row(alice(), "POST", &native, json!({}), asks),
        row(system(), "POST", &native, json!({"owner": format!("{NAME}2")}), Some(("owner", &format!("{NAME}2")))),
        row(system(), "POST", "/cmn/leasable-locks", json!({"key": key, "leasePeriod": 1}), asks),
        row(alice(), "POST", &native, json!({"waitMs": 1}), asks),
        row(alice(), "POST", format!("{native}/hold"), json!({}), asks),
    ] {
        seen.fails(sidecar, &row).await;
    }
    let encoded = row(alice(), "POST", &native, json!({}), asks);
    seen.fails_with(sidecar, &encoded, Some(("content-encoding", "gzip"))).await;
    // An issuer that is not there.
    let keyless =
        Sidecar::start(TestRedis::shared(), &[format, "--log-level=debug", "--jwks-url=http://127.0.0.1:1/"]).await;
    let answer = seen.fails(&keyless, &row((alice().0, nobody().1), "POST", &native, json!({}), None)).await;
    assert_eq!(answer.json()["code"], "keys-unavailable", "{}", answer.text());
    let forged = format!("{}x", jwt::reader("mallory"));
    seen.fails(sidecar, &row((Who::User(forged), nobody().1), "POST", &native, json!({}), None)).await;
}

/// Redis is frozen, and two requests may wait for it; one caller may wait for a lock.
async fn of_limits(format: &str, seen: &mut Seen) {
    let redis = TestRedis::start(&[]);
    let flags = [format, "--log-level=debug", "--redis-timeout=3s", "--max-in-flight=2", "--max-waiters=1"];
    let sidecar = Sidecar::who_knows(&redis.url(), &flags).await;
    let (key, wait) = (unique("limits"), json!({"waitMs": 60_000}));
    let path = format!("/v1/locks/{key}");
    let fence = format!("{path}/fence?token=7");
    let asks = Some(("key", key.as_str()));
    assert_eq!(sidecar.ask(&Who::System, "POST", &path).send().await.status, 201);
    let limited = Sidecar::who_knows(&redis.url(), &[format, "--log-level=debug", "--caller-locks=0"]).await;
    let answer = seen.fails(&limited, &row(user("alice"), "POST", &path, json!({}), asks)).await;
    assert_eq!(answer.json()["code"], "quota-exceeded", "{}", answer.text());
    let waits = sidecar.ask(&user("waits").0, "POST", &path).header("x-request-id", "r-waits").json(&wait).send();
    let others = async {
        // In Redis itself: a look at the lock would take both places of the requests that may wait for it.
        let waiting = async || !redis.ask::<Vec<String>>("KEYS", &["*:queue:*"]).is_empty();
        eventually("it waits", Duration::from_secs(10), waiting).await;
        let answer = seen.fails(&sidecar, &row(user("alice"), "POST", &path, wait.clone(), asks)).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        redis.signal("STOP");
        let busy = (0..3).map(async |_| {
            loop {
                sidecar.ask(&Who::System, "GET", &fence).send().await;
                // Slow enough that no line is withheld.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let refused = async {
            let (begun, refused) = (Instant::now(), row(user("alice"), "GET", &fence, json!(null), asks));
            while seen.fails(&sidecar, &refused).await.json()["code"] != "overloaded" {
                assert!(begun.elapsed() < Duration::from_secs(30), "never overloaded");
            }
        };
        tokio::select! {
            never = join_all(busy) => never.into_iter().for_each(|never: ()| never),
            () = refused => {}
        }
        redis.signal("CONT");
        sidecar.signal("TERM");
    };
    let (drained, ()) = tokio::join!(waits, others);
    assert_eq!((drained.status, drained.json()["code"].as_str()), (503, Some("draining")), "{}", drained.text());
    let line = answer_of(&sidecar, "r-waits").await;
    for (name, value) in [("level", "INFO"), ("caller", "waits"), ("key", &key), ("outcome", "not-applied")] {
        line.assert(name, value);
    }
    seen.0.insert("draining".to_owned());
}

/// Redis cannot be reached, answers too late, or is not heard.
async fn of_redis(format: &str, seen: &mut Seen) {
    let flags = [format, "--log-level=debug", "--redis-timeout=500ms"];
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &flags).await;
    redis.kill();
    eventually("it is known", Duration::from_secs(5), async || sidecar.ops("/readyz").await.status == 503).await;
    let key = unique("gone");
    let asks = Some(("key", key.as_str()));
    let (path, admin) = (format!("/v1/locks/{key}"), (editor("eve"), ("user", "eve".to_owned())));
    for row in [
        row(system(), "POST", &path, json!({"owner": NAME}), Some(("owner", NAME))),
        row(user(NAME), "PUT", format!("{path}?token=64"), json!({}), asks),
        row(user(NAME), "DELETE", format!("{path}?token=64"), json!({}), Some(("token", "64"))),
        row(user(NAME), "POST", format!("{path}/hold"), json!({}), asks),
        row(admin, "POST", "/admin/lock", json!({"route": key, "id": "1"}), Some(("key", &format!("{key}:1")))),
        row(user(NAME), "POST", "/cmn/leasable-locks", json!({"key": key, "leasePeriod": 1}), asks),
        row(user(NAME), "PUT", "/cmn/leasable-locks/64?leasePeriod=9", json!({}), Some(("token", "64"))),
        row(
            system(),
            "POST",
            "/v1.0-alpha1/lock/lockstore",
            json!({"resourceId": key, "lockOwner": NAME, "expiryInSeconds": 1}),
            Some(("key", &format!("lockstore||{key}"))),
        ),
        row(
            system(),
            "POST",
            "/v1.0-alpha1/unlock/lockstore",
            json!({"resourceId": key, "lockOwner": NAME}),
            Some(("owner", NAME)),
        ),
    ] {
        assert!(seen.fails(&sidecar, &row).await.status >= 500);
    }
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &flags).await;
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
    let key = unique("refused");
    let refused = row(user(NAME), "POST", format!("/v1/locks/{key}"), json!({}), Some(("key", &key)));
    assert_eq!(seen.fails(&sidecar, &refused).await.json()["code"], "redis-refused");
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "0"]);
    redis.signal("STOP");
    let listed = row(user(NAME), "GET", "/v1/locks", json!(null), None);
    let list = async || sidecar.ask(&Who::System, "GET", "/v1/locks").send().await;
    let third = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen.fails(&sidecar, &listed).await
    };
    let (_, _, third) = tokio::join!(list(), list(), third);
    assert_eq!(third.json()["code"], "too-many-requests", "{}", third.text());
    redis.signal("CONT");
    let proxy = Proxy::start(TestRedis::shared());
    let sidecar = Sidecar::who_knows(&proxy.url(), &[format, "--log-level=info", "--redis-timeout=5s"]).await;
    let path = format!("/v1/locks/{}", unique("late"));
    assert_eq!(sidecar.ask(&Who::System, "POST", &path).send().await.status, 201);
    proxy.set(Fault::DelayReplies(Duration::from_millis(350)));
    let late = row(user("alice"), "POST", format!("/v1/locks/{}", unique("late")), json!({"ttlMs": 300}), None);
    let answer = seen.fails(&sidecar, &late).await;
    assert_eq!(answer.json()["code"], "too-late", "{}", answer.text());
    proxy.mend();
    let key = unique("lost");
    let lost = row(user("alice"), "POST", format!("/v1/locks/{key}"), json!({}), Some(("key", &key)));
    let begun = Instant::now();
    loop {
        proxy.set(Fault::LoseReplyTo(key.clone()));
        let answer = seen.fails(&sidecar, &lost).await;
        proxy.mend();
        // On a machine that is slow, the connection may be in the making when it is sent: then again.
        if answer.json()["outcome"] == "unknown" {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never unknown");
    }
}

#[tokio::test]
async fn a_failure_of_each_kind_names_who_key_request_and_outcome_and_no_secret_and_nothing_raw() {
    for format in FORMATS {
        let mut seen = Seen::default();
        let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[format, "--log-level=debug"]).await;
        of_requests(format, &sidecar, &mut seen).await;
        of_limits(format, &mut seen).await;
        of_redis(format, &mut seen).await;
        let codes = FAILURES.split("=> row(\"").skip(1).filter_map(|row| row.split('"').next());
        let missing = codes.filter(|code| !seen.0.contains(*code)).collect::<BTreeSet<_>>();
        assert_eq!(missing, BTreeSet::new(), "no row here fails so");
    }
}

#[tokio::test]
async fn a_held_lock_that_is_not_renewed_is_told_with_who_key_request_and_outcome() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &["--redis-timeout=200ms"]).await;
    let (key, id) = (unique("held"), unique("r"));
    let call = sidecar.ask(&reader("alice"), "POST", &format!("/v1/locks/{key}/hold")).header("x-request-id", &id);
    let mut hold = call.json(&json!({"ttlMs": 3000})).open().await;
    let token = hold.next().await.unwrap()["token"].to_string();
    redis.kill();
    let line = lines_with(&sidecar, &id).await.into_iter().next().unwrap();
    line.assert_harmless();
    for (name, value) in [
        ("target", "lockside.api"),
        ("message", "renewal failed; retrying"),
        ("key", &key),
        ("token", &token),
        ("caller", "alice"),
        ("caller_kind", "user"),
        ("request_id", &id),
    ] {
        line.assert(name, value);
    }
    assert!(line.get("outcome").is_some() && line.get("reason").is_some(), "{}", line.raw);
}

#[tokio::test]
async fn the_line_after_those_that_were_withheld_says_how_many() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &["--redis-timeout=200ms"]).await;
    redis.kill();
    eventually("it is known", Duration::from_secs(5), async || sidecar.ops("/readyz").await.status == 503).await;
    let path = format!("/v1/locks/{}", unique("flood"));
    let failed = || {
        let log = sidecar.log();
        log.lines().filter(|line| line.contains("request failed")).map(Line::of).collect::<Vec<_>>()
    };
    let withheld = |line: &Line| line.get("withheld").and_then(|count| count.parse::<usize>().ok());
    let (begun, mut sent) = (Instant::now(), 0);
    while !failed().iter().any(|line| withheld(line).is_some()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is withheld");
        join_all((0..120).map(|_| sidecar.ask(&Who::System, "POST", &path).send())).await;
        // Lines are counted by the second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        sidecar.ask(&Who::System, "POST", &path).send().await;
        sent += 121;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eventually("every request is told or counted", Duration::from_secs(5), async || {
        let lines = failed();
        lines.len() + lines.iter().filter_map(withheld).sum::<usize>() == sent
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_that_is_stopped_warns_of_nothing() {
    let mut sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let (key, free) = (unique("stopped"), unique("stopped"));
    let path = format!("/v1/locks/{key}");
    assert_eq!(sidecar.ask(&Who::System, "POST", &path).send().await.status, 201);
    let before = sidecar.log().lines().filter(|line| line.contains("\"WARN\"")).count();
    {
        let mut hold = sidecar.ask(&Who::System, "POST", &format!("/v1/locks/{free}/hold")).open().await;
        hold.next().await.unwrap();
        let waiter = sidecar.ask(&Who::System, "POST", &path).json(&json!({"waitMs": 60_000})).send();
        let stop = async {
            // By the metric: a look at the lock would take both places of the requests that may wait for Redis.
            let waiting = async || sidecar.ops("/metrics").await.text().contains("lockside_waiters 1\n");
            eventually("it waits", Duration::from_secs(5), waiting).await;
            sidecar.signal("TERM");
            assert_eq!(hold.news().await.unwrap()["event"], "draining");
            drop(hold);
        };
        assert_eq!(tokio::join!(waiter, stop).0.json()["code"], "draining");
    }
    assert_eq!(sidecar.exit_code(Duration::from_secs(15)).await, Some(0));
    eventually("it is told", Duration::from_secs(5), async || sidecar.log().contains("shutdown complete")).await;
    let log = sidecar.log();
    let lines = log.lines().map(Line::of).filter(|line| line.get("code") == Some("draining")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "{log}");
    lines[0].assert("level", "INFO");
    assert_eq!(
        log.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).count(),
        before,
        "{log}"
    );
}
