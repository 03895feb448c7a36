//! Each error of each operation, as the running binary answers it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Document, Operation};
use crate::harness::{
    API_TOKEN, Answer, Fault, Proxy, Scratch, Sidecar, TestRedis, Who, editor, eventually, jwt, unique,
};

/// Somebody whom an operation knows and lets do everything.
fn known(operation: &Operation) -> Who {
    if operation.item["tags"][0] == "Admin" { editor("alice") } else { Who::System }
}

/// Somebody for whom an operation needs Redis, where users are in a directory there.
fn looked_up(operation: &Operation) -> Who {
    let needs_none = ["getDaprMetadata", "readStatus"].contains(&operation.id.as_str());
    if needs_none || is_of_an_election(operation) { editor("alice") } else { known(operation) }
}

fn is_of_an_election(operation: &Operation) -> bool {
    operation.path == "/" || operation.path.starts_with("/v1/elections/")
}

/// What is wrong with a request itself.
pub async fn of_requests(document: &Document, sidecar: &Sidecar) {
    for (status, host) in [("400", "a@localhost"), ("403", "evil.test")] {
        for operation in document.that_answer(status) {
            let answer = operation.call(sidecar, &known(&operation)).header("host", host).send().await;
            assert_eq!(answer.status.to_string(), status, "{}", operation.id);
            document.check(&operation.id, &answer);
        }
    }
    for operation in document.that_answer("401") {
        let call = operation.call(sidecar, &Who::Nobody);
        // Who leads is told without a credential, but not through a proxy.
        let call = if is_of_an_election(&operation) { call.header("via", "1.1 proxy") } else { call };
        let answer = call.send().await;
        assert_eq!(answer.status, 401, "{}", operation.id);
        document.check(&operation.id, &answer);
    }
    for operation in document.that_answer("413") {
        let call = operation.call(sidecar, &known(&operation)).body("x".repeat(16 * 1024 + 1));
        document.check(&operation.id, &call.send().await);
    }
    for operation in document.that_answer("415") {
        let call = operation.call(sidecar, &known(&operation)).header("content-encoding", "gzip").body("x");
        let answer = call.send().await;
        assert_eq!(answer.status, 415, "{}", operation.id);
        document.check(&operation.id, &answer);
    }
    for (method, path, response) in [
        ("GET", "/nowhere", "NotFound"),
        ("GET", "/v1/locks/a/b", "NotFound"),
        ("GET", "/v1.0/nowhere", "DaprNotFound"),
        ("PATCH", "/v1/locks/a", "MethodNotAllowed"),
        ("PATCH", "/cmn/leasable-locks", "LeaseMethodNotAllowed"),
        ("PATCH", "/admin/lock", "AdminMethodNotAllowed"),
        ("PATCH", "/v1.0/metadata", "DaprMethodNotAllowed"),
    ] {
        let answer = sidecar.ask(&Who::System, method, path).send().await;
        assert_eq!(answer.status, if response.ends_with("NotFound") { 404 } else { 405 }, "{method} {path}");
        document.check_response(response, &document.strict["components"]["responses"][response], &answer);
    }
}

/// A body that does not come: all of them at once, since each takes half a minute.
pub async fn of_slow_bodies(document: &Document, sidecar: &Sidecar) {
    let cookie = jwt::editor("alice");
    let all = document.that_answer("408").into_iter().map(async |operation| {
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        let credential = match known(&operation) {
            Who::User(_) => format!("Cookie: refreshToken={cookie}"),
            _ => format!("Authorization: Bearer {API_TOKEN}"),
        };
        let (method, target) = (operation.method.to_uppercase(), operation.target());
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{credential}\r\nContent-Length: 9\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(90), stream.read_to_end(&mut said)).await.expect("in time");
        let answer = parsed(&said);
        assert_eq!(answer.status, 408, "{}", operation.id);
        document.check(&operation.id, &answer);
    });
    join_all(all).await;
}

fn parsed(said: &[u8]) -> Answer {
    let text = std::str::from_utf8(said).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        (name, value.parse::<hyper::header::HeaderValue>().unwrap())
    });
    Answer { status: status.expect("a status"), headers: headers.collect(), body: body.to_owned().into() }
}

/// Redis is frozen, and fewer may wait for it than ask; then it is gone.
pub async fn of_redis(document: &Document) {
    let mut redis = TestRedis::start(&[]);
    let sidecar =
        Sidecar::who_knows(&redis.url(), &["--redis-timeout=3s", "--max-in-flight=1", "--user-directory"]).await;
    redis.signal("STOP");
    // One of them waits for Redis at any time, and is all that may.
    let busy = (0..2).map(async |_| {
        loop {
            sidecar.ask(&Who::System, "GET", "/v1/locks/busy/fence?token=7").send().await;
        }
    });
    let overloaded = async {
        // What ends a lease is never turned away for load.
        let all = document.that_answer("503").into_iter().filter(|operation| operation.id != "unlock");
        for operation in all {
            eventually(&format!("{}: 503", operation.id), Duration::from_secs(20), async || {
                let answer = operation.call(&sidecar, &looked_up(&operation)).send().await;
                document.check(&operation.id, &answer);
                answer.status == 503
            })
            .await;
        }
    };
    tokio::select! {
        never = join_all(busy) => never.into_iter().for_each(|never: ()| never),
        () = overloaded => {}
    }
    redis.kill();
    drop(sidecar);

    redis.up();
    let sidecar = Sidecar::who_knows(&redis.url(), &["--user-directory"]).await;
    redis.kill();
    for status in ["500", "503"] {
        for operation in document.that_answer(status) {
            let answer = operation.call(&sidecar, &looked_up(&operation)).send().await;
            assert!(answer.status >= 500, "{}", operation.id);
            document.check(&operation.id, &answer);
        }
    }
    document.check("probeReadiness", &sidecar.ops("/readyz").await);
}

/// Redis is there, and does not do it.
pub async fn of_refusals(document: &Document) {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &[]).await;
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
    for id in ["acquireLock", "holdLock", "acquireBundle", "holdBundle", "createLeasableLock", "tryLock", "adminLock"] {
        let operation = document.operation(id);
        let answer = operation.call(&sidecar, &known(&operation)).send().await;
        assert!(answer.status >= 500, "{id}: {}", answer.text());
        document.check(id, &answer);
    }
    let acquired = sidecar.ask(&Who::System, "POST", "/v1/locks/full").json(&json!({})).send().await;
    assert_eq!(acquired.json()["code"], "redis-refused", "{}", acquired.text());
}

/// No caller may send a request, but for renewals and releases.
pub async fn of_quotas(document: &Document) {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &["--caller-requests=0"]).await;
    for operation in document.that_answer("429") {
        let answer = operation.call(&sidecar, &known(&operation)).send().await;
        assert_eq!(answer.status, 429, "{}: {}", operation.id, answer.text());
        document.check(&operation.id, &answer);
    }
}

/// As many lists as may are being read: Redis is frozen, and they wait for it.
pub async fn of_many_lists(document: &Document) {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &["--redis-timeout=3s"]).await;
    redis.signal("STOP");
    let busy = (0..4).map(async |_| {
        loop {
            sidecar.ask(&Who::System, "GET", "/v1/locks").send().await;
        }
    });
    let refused = async {
        for operation in document.that_answer("429").into_iter().filter(Operation::is_list) {
            eventually(&format!("{}: 429", operation.id), Duration::from_secs(20), async || {
                let answer = operation.call(&sidecar, &known(&operation)).send().await;
                document.check(&operation.id, &answer);
                answer.status == 429
            })
            .await;
        }
    };
    tokio::select! {
        never = join_all(busy) => never.into_iter().for_each(|never: ()| never),
        () = refused => {}
    }
}

/// The reply of Redis is lost, once the lock's key has been named to it.
pub async fn of_lost_replies(document: &Document) {
    let proxy = Proxy::start(TestRedis::shared());
    let sidecar = Sidecar::who_knows(&proxy.url(), &["--redis-timeout=500ms"]).await;
    for operation in document.that_answer("504") {
        let key = unique("lost");
        let lock = format!("/v1/locks/{key}");
        eventually(&format!("{}: 504", operation.id), Duration::from_secs(30), async || {
            let lease = sidecar.ask(&Who::System, "POST", &lock).json(&json!({})).send().await.json();
            let token = &lease["token"];
            let named = json!({"leases": [{"key": key, "token": token}]});
            let (target, body) = match operation.id.as_str() {
                "acquireBundle" | "holdBundle" => (operation.path.clone(), json!({"keys": [{"key": key}]})),
                "renewBundle" | "releaseBundle" | "releaseBundleByPost" => (operation.path.clone(), named),
                "acquireLock" => (lock.clone(), json!({})),
                "holdLock" => (format!("{lock}/hold"), json!({})),
                "renewLock" | "releaseLock" => (format!("{lock}?token={token}"), json!({})),
                "createLeasableLock" => (operation.path.clone(), json!({"key": key, "leasePeriod": 60})),
                _ => (operation.path.replace("{token}", &token.to_string()) + "?leasePeriod=60", json!({})),
            };
            // It looks at the leases first.
            let is_a_look_first = operation.id.starts_with("releaseBundle");
            let text = if is_a_look_first { "release".to_owned() } else { key.clone() };
            proxy.set(Fault::LoseReplyTo(text));
            let call = sidecar.ask(&Who::System, &operation.method.to_uppercase(), &target);
            let answer = call.json(&body).send().await;
            proxy.mend();
            // On a machine that is slow, the connection may be in the making when it is sent: then again.
            if answer.status == 504 {
                document.check(&operation.id, &answer);
            }
            answer.status == 504
        })
        .await;
    }
}

/// Redis answers when nothing is left of what it granted.
pub async fn of_late_replies(document: &Document) {
    let proxy = Proxy::start(TestRedis::shared());
    let sidecar = Sidecar::who_knows(&proxy.url(), &["--redis-timeout=5s"]).await;
    let lock = format!("/v1/locks/{}", unique("late"));
    let lease = sidecar.ask(&Who::System, "POST", &lock).json(&json!({})).send().await.json();
    let own = format!("{lock}?token={}", lease["token"]);
    let renew = |body: Value| sidecar.ask(&Who::System, "PUT", &own).json(&body);
    assert_eq!(renew(json!({})).send().await.status, 200);
    proxy.set(Fault::DelayReplies(Duration::from_millis(350)));
    let other = format!("/v1/locks/{}", unique("late"));
    let acquired = sidecar.ask(&Who::System, "POST", &other).json(&json!({"ttlMs": 300})).send().await;
    for (id, answer) in [("acquireLock", acquired), ("renewLock", renew(json!({"ttlMs": 300})).send().await)] {
        assert_eq!(answer.json()["code"], "too-late", "{}", answer.text());
        document.check(id, &answer);
    }
}

/// Settings under which an error is met at once.
pub async fn of_settings(document: &Document) {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--max-waiters=1"]).await;
    let key = unique("waited");
    let path = format!("/v1/locks/{key}");
    let call = |path: &str, wait_ms: u64| sidecar.call("POST", path).json(&json!({"waitMs": wait_ms}));
    assert_eq!(call(&path, 0).send().await.status, 201);
    document.check("acquireLock", &call(&path, 50).send().await);
    let hold = format!("{path}/hold");
    let waiting = call(&path, 20_000).send();
    let others = async {
        eventually("one waits", Duration::from_secs(5), async || {
            sidecar.call("GET", &path).send().await.json()["waiters"] == 1
        })
        .await;
        for (id, path) in [("acquireLock", &path), ("holdLock", &hold)] {
            let answer = call(path, 1000).send().await;
            assert_eq!(answer.status, 429);
            document.check(id, &answer);
        }
        let changes = sidecar.call("GET", &format!("{path}?waitMs=1000")).header("if-none-match", "*");
        let answer = changes.send().await;
        assert_eq!(answer.status, 429);
        document.check("showLock", &answer);
        sidecar.signal("TERM");
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert_eq!(waited.json()["code"], "draining", "{}", waited.text());
    document.check("acquireLock", &waited);

    let sidecar = Sidecar::start(TestRedis::shared(), &["--max-watchers=0"]).await;
    for id in ["watchLock", "watchLocks"] {
        let answer = document.operation(id).call(&sidecar, &Who::Nobody).send().await;
        assert_eq!(answer.status, 429);
        document.check(id, &answer);
    }

    let sidecar = Sidecar::start(TestRedis::shared(), &["--dapr-stores=none"]).await;
    for id in ["tryLock", "unlock"] {
        let answer = document.operation(id).call(&sidecar, &Who::Nobody).send().await;
        assert_eq!(answer.status, 500);
        document.check(id, &answer);
    }

    let scratch = Scratch::new();
    let flags = ["--jwt-secret-file", &scratch.file("secret", jwt::SECRET), "--user-directory"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    for operation in document.that_answer("401") {
        let answer = operation.call(&sidecar, &editor(&unique("unknown"))).send().await;
        assert_eq!(answer.status, if operation.item["tags"][0] == "Admin" { 404 } else { 401 });
        document.check(&operation.id, &answer);
    }
}
