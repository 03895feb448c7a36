//! Each answer of each operation, as the running binary gives it: every status that is documented, and no other.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Document, errors, keys};
use crate::harness::{Answer, Sidecar, TestRedis, Who, editor, eventually, reader, unique};

/// A sidecar whose answers are held against the document.
struct Checked<'a> {
    document: &'a Document,
    sidecar: &'a Sidecar,
    redis: &'a TestRedis,
}

impl Checked<'_> {
    async fn ask(&self, id: &str, who: &Who, target: &str, body: Option<Value>, status: u16) -> Answer {
        let method = self.document.operation(id).method.to_uppercase();
        let call = self.sidecar.ask(who, &method, target);
        let call = if let Some(body) = &body { call.json(body) } else { call };
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{id} {target}: {}", answer.text());
        self.document.check(id, &answer);
        answer
    }

    async fn admin(&self) {
        let (alice, bob) = (editor("alice"), editor("bob"));
        let target = || Some(json!({"route": "volume", "id": unique("1234")}));
        for path in ["/admin/lock", "/api/admin/lock"] {
            let body = target();
            for (who, status) in [(&alice, 200), (&alice, 200), (&bob, 409), (&reader("eve"), 403)] {
                self.ask("adminLock", who, path, body.clone(), status).await;
            }
            let path = path.replace("lock", "remove-lock");
            for (who, status) in [(&bob, 403), (&alice, 200), (&alice, 404)] {
                self.ask("adminRemoveLock", who, &path, body.clone(), status).await;
            }
        }
        self.ask("adminLock", &alice, "/admin/lock", Some(json!({})), 400).await;
        self.ask("adminRemoveLock", &alice, "/admin/remove-lock", None, 400).await;
    }

    async fn leases(&self) {
        let (alice, bob) = (editor("alice"), reader("bob"));
        let key = unique("report");
        let body = || Some(json!({"key": key, "leasePeriod": 60}));
        let path = "/cmn/leasable-locks";
        let created = self.ask("createLeasableLock", &alice, path, body(), 201).await.json();
        self.ask("createLeasableLock", &alice, path, body(), 200).await;
        self.ask("createLeasableLock", &bob, path, body(), 409).await;
        self.ask("createLeasableLock", &alice, path, Some(json!({})), 400).await;
        let system = Some(json!({"key": unique("system"), "leasePeriod": 60}));
        self.ask("createLeasableLock", &Who::System, path, system, 201).await;
        self.ask("getAllActiveLocks", &bob, path, None, 200).await;
        let page = self.ask("getAllActiveLocks", &bob, &format!("/api{path}?limit=1"), None, 200).await;
        assert!(page.header("link").is_some());
        self.ask("getAllActiveLocks", &bob, &format!("{path}?limit=0"), None, 400).await;

        let own = format!("{path}/{}", created["token"]);
        for (token, period, who, status) in [
            (&own, 90, &alice, 200),
            (&own, 90, &bob, 403),
            (&own, 0, &alice, 400),
            (&format!("{path}/7"), 1, &alice, 404),
        ] {
            self.ask("refreshLeasableLock_3", who, &format!("{token}?leasePeriod={period}"), None, status).await;
        }
        for (who, status) in [(&bob, 403), (&alice, 200), (&alice, 404)] {
            self.ask("removeLock", who, &own, None, status).await;
        }
        self.ask("removeLock", &alice, &format!("{path}/x"), None, 400).await;
        let created = self.ask("createLeasableLock", &alice, path, body(), 201).await.json();
        for (who, status) in [(&bob, 403), (&alice, 200), (&alice, 404)] {
            self.ask("customRemoveLock", who, &format!("{path}/custom/{}", created["token"]), None, status).await;
        }
        self.ask("customRemoveLock", &alice, &format!("{path}/custom/x"), None, 400).await;
    }

    async fn native(&self) {
        let (alice, bob) = (editor("alice"), reader("bob"));
        let path = format!("/v1/locks/{}", unique("night-report"));
        let body = || Some(json!({"ttlMs": 60_000, "reentrant": true, "meta": {"host": ["web-3", null]}}));
        let lease = self.ask("acquireLock", &alice, &path, body(), 201).await.json();
        self.ask("acquireLock", &alice, &path, body(), 200).await;
        let held = self.ask("acquireLock", &bob, &path, body(), 409).await;
        assert!(held.header("retry-after").is_some());
        self.ask("acquireLock", &bob, &path, Some(json!({"ttlMs": 1})), 400).await;
        self.ask("holdLock", &bob, &format!("{path}/hold"), None, 409).await;
        self.ask("holdLock", &bob, &format!("{path}/hold"), Some(json!({"reentrant": true})), 400).await;
        self.ask("showLock", &bob, &path, None, 200).await;
        self.ask("showLock", &bob, "/v1/locks/%00", None, 400).await;
        self.ask("showQueue", &bob, &format!("{path}/queue"), None, 200).await;
        self.ask("showQueue", &bob, "/v1/locks/%00/queue", None, 400).await;
        self.ask("readStatus", &bob, "/v1/status", None, 200).await;
        self.ask("readStatus", &bob, "/v1/status?x=1", None, 400).await;
        let known = self.sidecar.ask(&bob, "GET", &path).header("if-none-match", "*").send().await;
        assert_eq!(known.status, 304);
        self.document.check("showLock", &known);
        self.streams(&path).await;
        self.ask("listLocks", &bob, "/v1/locks", None, 200).await;
        let page = self.ask("listLocks", &bob, "/v1/locks?limit=1", None, 200).await.json();
        assert!(page["next"].is_string());
        self.ask("listLocks", &bob, "/v1/locks?cursor=x", None, 400).await;

        let own = format!("token={}", lease["token"]);
        self.ask("fenceLock", &bob, &format!("{path}/fence?{own}"), None, 200).await;
        let fenced = self.ask("fenceLock", &bob, &format!("{path}/fence?token=7"), None, 409).await.json();
        assert_eq!(fenced["token"], lease["token"]);
        self.ask("fenceLock", &bob, &format!("{path}/fence"), None, 400).await;
        for (query, who, status) in
            [(&*own, &alice, 200), (&own, &bob, 403), ("token=7", &alice, 410), ("", &alice, 400)]
        {
            self.ask("renewLock", who, &format!("{path}?{query}"), None, status).await;
        }
        for (query, who, status) in [
            (&*own, &bob, 403),
            ("force=true", &bob, 403),
            ("", &alice, 400),
            (&own, &alice, 204),
            (&own, &alice, 410),
            ("force=true", &alice, 204),
        ] {
            self.ask("releaseLock", who, &format!("{path}?{query}"), None, status).await;
        }
        self.ask("showLock", &bob, &path, None, 200).await;
        self.strangers(&alice).await;
    }

    /// Leases that share a key.
    async fn shared(&self) {
        let (alice, bob) = (editor("alice"), reader("bob"));
        let key = unique("shared");
        let path = format!("/v1/locks/{key}");
        let body = || Some(json!({"ttlMs": 60_000, "limit": 2, "mode": "shared"}));
        let own = self.ask("acquireLock", &alice, &path, body(), 201).await.json();
        let other = self.ask("acquireLock", &Who::System, &path, body(), 201).await.json();
        assert_eq!((&own["mode"], &own["limit"], &other["mode"]), (&json!("shared"), &json!(2), &json!("shared")));
        for body in [body(), Some(json!({"mode": "shared", "limit": 2, "waitMs": 50})), Some(json!({})), None] {
            let refused = self.ask("acquireLock", &bob, &path, body, 409).await;
            assert!(refused.header("retry-after").is_some());
        }
        self.ask("holdLock", &bob, &format!("{path}/hold"), body(), 409).await;
        let shown = self.ask("showLock", &bob, &path, None, 200).await.json();
        assert_eq!((&shown["mode"], &shown["sharedBy"]), (&json!("shared"), &json!(2)), "{shown}");
        let listed = self.ask("listLocks", &bob, &format!("/v1/locks?prefix={key}"), None, 200).await.json();
        assert_eq!(listed["locks"].as_array().map(Vec::len), Some(2), "{listed}");

        for (token, status) in [(&own["token"], 200), (&other["token"], 200), (&json!(7), 409)] {
            self.ask("fenceLock", &bob, &format!("{path}/fence?token={token}"), None, status).await;
        }
        let own = format!("{path}?token={}", own["token"]);
        for (id, who, status) in [
            ("renewLock", &alice, 200),
            ("renewLock", &bob, 403),
            ("releaseLock", &bob, 403),
            ("releaseLock", &alice, 204),
            ("releaseLock", &alice, 410),
            ("renewLock", &alice, 410),
        ] {
            self.ask(id, who, &own, None, status).await;
        }
        let other = format!("{path}?force=true&token={}", other["token"]);
        for (who, status) in [(&bob, 403), (&alice, 204), (&alice, 410)] {
            self.ask("releaseLock", who, &other, None, status).await;
        }
    }

    /// Several keys at once.
    async fn bundles(&self) {
        let (alice, bob) = (editor("alice"), reader("bob"));
        let names = [unique("one"), unique("two")];
        let keys: Vec<Value> = names.iter().map(|name| json!({"key": name})).collect();
        let body = json!({"keys": keys, "ttlMs": 60_000, "meta": {"host": "web-3"}});
        let mut bundle = Value::Null;
        for status in [201, 200] {
            let call = self.sidecar.ask(&alice, "POST", "/v1/bundles").header("idempotency-key", "bundle").json(&body);
            let answer = call.send().await;
            assert_eq!(answer.status, status, "{}", answer.text());
            self.document.check("acquireBundle", &answer);
            bundle = answer.json();
        }
        let held = self.ask("acquireBundle", &bob, "/v1/bundles", Some(body.clone()), 409).await;
        assert_eq!(held.json()["key"], json!(names[0]));
        self.ask("acquireBundle", &bob, "/v1/bundles", Some(json!({"keys": []})), 400).await;
        self.ask("holdBundle", &bob, "/v1/bundles/hold", Some(body.clone()), 409).await;
        self.ask("holdBundle", &bob, "/v1/bundles/hold", Some(json!({})), 400).await;

        let named = |leases: &Value| -> Value {
            let leases = leases.as_array().expect("leases").iter();
            leases.map(|lease| json!({"key": lease["key"], "token": lease["token"]})).collect()
        };
        let own = json!({"leases": named(&bundle["leases"])});
        let lost = json!({"leases": [own["leases"][0], {"key": names[1], "token": 7}]});
        for (body, who, status) in
            [(&own, &alice, 200), (&own, &bob, 403), (&lost, &alice, 410), (&json!({}), &alice, 400)]
        {
            self.ask("renewBundle", who, "/v1/bundles", Some(body.clone()), status).await;
        }
        let mut own = own;
        for (id, path) in [("releaseBundle", "/v1/bundles"), ("releaseBundleByPost", "/v1/bundles/release")] {
            if id == "releaseBundleByPost" {
                let again = self.ask("acquireBundle", &alice, "/v1/bundles", Some(body.clone()), 201).await.json();
                own = json!({"leases": named(&again["leases"])});
            }
            for (body, who, status) in
                [(&own, &bob, 403), (&own, &alice, 204), (&own, &alice, 410), (&json!({}), &alice, 400)]
            {
                self.ask(id, who, path, Some(body.clone()), status).await;
            }
        }
        self.lines_of_bundles().await;
    }

    /// Each line of a hold of several keys that one of one key has not.
    async fn lines_of_bundles(&self) {
        let operation = self.document.operation("holdBundle");
        let schema = &operation.item["responses"]["200"]["content"]["application/x-ndjson"]["schema"];
        let names = [unique("held"), unique("held")];
        let open = |further: Value| {
            let mut body = further;
            body["keys"] = names.iter().map(|name| json!({"key": name})).collect();
            self.sidecar.ask(&Who::System, "POST", "/v1/bundles/hold").json(&body).open()
        };
        let mut events = Vec::new();
        for query in ["force=true", ""] {
            let mut held = open(json!({"ttlMs": 900})).await;
            let first = held.next().await.expect("a line");
            events.extend([first.clone(), held.next().await.expect("a line")]);
            if query.is_empty() {
                let mut refused = open(json!({"waitMs": 300, "progress": true})).await;
                while let Some(event) = refused.next().await {
                    events.push(event);
                }
            }
            let query =
                if query.is_empty() { format!("token={}", first["leases"][0]["token"]) } else { query.to_owned() };
            let path = format!("/v1/locks/{}?{query}", names[0]);
            self.ask("releaseLock", &Who::System, &path, None, 204).await;
            while let Some(event) = held.next().await {
                events.push(event);
            }
            eventually("the other is free", Duration::from_secs(5), async || {
                let path = format!("/v1/locks/{}", names[1]);
                self.sidecar.ask(&Who::System, "GET", &path).send().await.json()["state"] == "free"
            })
            .await;
        }
        for event in &events {
            self.document.assert_valid("holdBundle", schema, event);
        }
        for kind in ["waiting", "refused", "acquired", "renewed", "released", "lost"] {
            assert!(events.iter().any(|event| event["event"] == kind), "{kind}: {events:?}");
        }
        self.document.saw("holdBundle", "200");
    }

    /// The beginning of a stream of events, as the document has it.
    async fn streams(&self, path: &str) {
        for (id, path) in [("watchLock", format!("{path}/events")), ("watchLocks", "/v1/events".to_owned())] {
            let mut lines = self.sidecar.ask(&Who::System, "GET", &path).open().await;
            assert_eq!(lines.status, 200);
            let (name, state) = lines.event().await.expect("an event");
            assert_eq!(name, "state");
            let mut state = state.as_object().expect("an object").clone();
            assert!(state.remove("token").is_some_and(|token| token.is_u64()));
            let schema = json!({"$ref": "#/components/schemas/LockState"});
            self.document.assert_valid(id, &schema, &Value::Object(state));
            let head = self.sidecar.ask(&Who::System, "HEAD", &path).send().await;
            let operation = self.document.operation(id);
            let documented = operation.item["responses"]["200"]["headers"].as_object().expect("headers");
            assert!(documented.keys().any(|name| name.to_lowercase() == "x-accel-buffering"));
            assert_eq!(head.header("x-accel-buffering"), Some("no"));
            self.document.saw(id, "200");
        }
    }

    /// What lockside did not write under a key.
    async fn strangers(&self, who: &Who) {
        let key = unique("strangers");
        let shard = crc32fast::hash(key.as_bytes()) % 64;
        let _: redis::Value = self.redis.ask("SET", &[&format!("{{lockside:{shard}}}:lock:{key}"), "a stranger's"]);
        let path = format!("/v1/locks/{key}");
        self.ask("showLock", who, &path, None, 200).await;
        self.ask("acquireLock", who, &path, None, 409).await;
        self.ask("releaseLock", who, &format!("{path}?force=true"), None, 409).await;
    }

    async fn dapr(&self) {
        let (lock, unlock) = ("/v1.0-alpha1/lock/lockstore", "/v1.0-alpha1/unlock/lockstore");
        let key = unique("orders");
        let body = |owner: &str| Some(json!({"resourceId": key, "lockOwner": owner, "expiryInSeconds": "60"}));
        for success in [true, false] {
            let answer = self.ask("tryLock", &Who::System, lock, body("web-3"), 200).await;
            assert_eq!(answer.json()["success"], success);
        }
        for (owner, status) in [("web-4", 2), ("web-3", 0), ("web-3", 1)] {
            let answer = self.ask("unlock", &Who::System, unlock, body(owner), 200).await;
            assert_eq!(answer.json()["status"], status);
        }
        for (id, path) in [("tryLock", lock), ("unlock", unlock)] {
            self.ask(id, &Who::System, path, Some(json!({})), 400).await;
            self.ask(id, &Who::System, &path.replace("lockstore", "nope"), body("web-3"), 400).await;
            self.ask(id, &editor("alice"), path, body("web-3"), 403).await;
        }
        self.ask("getDaprMetadata", &Who::System, "/v1.0/metadata", None, 200).await;
        self.ask("getDaprHealth", &Who::Nobody, "/v1.0/healthz", None, 204).await;
        self.ask("getDaprOutboundHealth", &Who::Nobody, "/v1.0/healthz/outbound", None, 204).await;
    }

    async fn elections(&self) {
        let path = "/v1/elections/jobs";
        eventually("it leads", Duration::from_secs(15), async || self.sidecar.ops("/leader/jobs").await.status == 200)
            .await;
        for (id, path) in [("showElection", path), ("showOnlyElection", "/")] {
            self.ask(id, &Who::Nobody, path, None, 200).await;
            self.ask(id, &Who::Nobody, &format!("{path}?x=1"), None, 400).await;
        }
        let operation = self.document.operation("streamElection");
        let schema = &operation.item["responses"]["200"]["content"]["text/event-stream"]["schema"];
        let mut events = self.sidecar.call("GET", &format!("{path}/events")).open().await;
        self.document.assert_valid("streamElection", schema, &events.event().await.expect("an event").1);
        self.document.saw("streamElection", "200");
        self.document.check("probeLeader", &self.sidecar.ops("/leader/jobs").await);
        self.ask("resign", &Who::System, &format!("{path}?for=1h"), None, 204).await;
        self.document.check("probeLeader", &self.sidecar.ops("/leader/jobs").await);
        self.document.check("probeLeader", &self.sidecar.ops("/leader/nope").await);
        self.ask("resign", &Who::System, &format!("{path}?for=25h"), None, 400).await;
        for (id, path) in [("showElection", ""), ("streamElection", "/events"), ("resign", "")] {
            self.ask(id, &Who::System, &format!("/v1/elections/nope{path}"), None, 404).await;
        }
        let without = Sidecar::start(self.redis, &[]).await;
        self.document.check("showOnlyElection", &without.call("GET", "/").send().await);
    }

    async fn ops(&self) {
        for (id, path) in [("readMetrics", "/metrics"), ("probeHealth", "/healthz"), ("probeReadiness", "/readyz")] {
            let answer = self.sidecar.ops(path).await;
            assert_eq!(answer.status, 200, "{path}");
            self.document.check(id, &answer);
        }
        self.ask("getErrors", &Who::Nobody, "/errors", None, 200).await;
        self.ask("getOpenApi", &Who::Nobody, "/openapi.json", None, 200).await;
        let known = self.sidecar.call("GET", "/openapi.json").header("if-none-match", "*").send().await;
        assert_eq!(known.status, 304);
        self.document.check("getOpenApi", &known);
    }

    /// Each line of a hold: granted, renewed, told of a removal and of the end of the process.
    async fn holds(&self) {
        let path = format!("/v1/locks/{}", unique("held"));
        let hold = |key: &str| {
            self.sidecar.ask(&Who::System, "POST", &format!("{path}{key}/hold")).json(&json!({"ttlMs": 900})).open()
        };
        let operation = self.document.operation("holdLock");
        let schema = &operation.item["responses"]["200"]["content"]["application/x-ndjson"]["schema"];
        let (mut forced, mut drained) = (hold("-1").await, hold("-2").await);
        let mut events = Vec::new();
        let mut released = hold("-3").await;
        events.extend(released.next().await);
        self.ask("releaseLock", &Who::System, &format!("{path}-3?token={}", events[0]["token"]), None, 204).await;
        while let Some(event) = released.next().await {
            events.push(event);
        }
        let ask =
            |key: &str, body| self.sidecar.ask(&Who::System, "POST", &format!("{path}{key}/hold")).json(&body).open();
        let mut long = ask("-4", json!({"ttlMs": 60_000})).await;
        for _ in 0..2 {
            events.push(long.next().await.expect("a line"));
        }
        let mut refused = ask("-4", json!({"waitMs": 300, "progress": true})).await;
        while let Some(event) = refused.next().await {
            events.push(event);
        }
        drop(long);
        for _ in 0..2 {
            events.push(forced.next().await.expect("a line"));
        }
        self.ask("releaseLock", &Who::System, &format!("{path}-1?force=true"), None, 204).await;
        while let Some(event) = forced.next().await {
            events.push(event);
        }
        self.sidecar.signal("TERM");
        while let Some(event) = drained.next().await {
            events.push(event.clone());
            if event["event"] == "draining" {
                break;
            }
        }
        for event in &events {
            self.document.assert_valid("holdLock", schema, event);
        }
        for kind in ["waiting", "refused", "acquired", "renewed", "ping", "released", "lost", "draining"] {
            assert!(events.iter().any(|event| event["event"] == kind), "{kind}: {events:?}");
        }
        self.document.saw("holdLock", "200");
    }
}

#[tokio::test]
async fn every_operation_answers_as_documented_and_with_every_status_that_is_documented() {
    let document = Document::new();
    // One of its own, since what others' tests leave in the list no schema foresees.
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &["--elect", "jobs", "--elect-ttl", "1s"]).await;
    let checked = Checked { document: &document, sidecar: &sidecar, redis: &redis };
    let good = async {
        checked.admin().await;
        checked.leases().await;
        checked.native().await;
        checked.shared().await;
        checked.bundles().await;
        checked.dapr().await;
        checked.elections().await;
        checked.ops().await;
        errors::of_requests(&document, &sidecar).await;
        errors::of_settings(&document).await;
        errors::of_redis(&document).await;
        errors::of_refusals(&document).await;
        errors::of_quotas(&document).await;
        keys::of_missing_keys(&document).await;
        errors::of_many_lists(&document).await;
        errors::of_lost_replies(&document).await;
        errors::of_late_replies(&document).await;
    };
    tokio::join!(good, errors::of_slow_bodies(&document, &sidecar));
    checked.holds().await;
    assert_eq!(document.unseen(), [], "documented, and never answered");
    assert_eq!(document.unseen_codes(), [""; 0], "documented, and never answered");
}

#[tokio::test]
async fn the_document_tells_which_answers_are_not_its_own() {
    let document = Document::new();
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let path = format!("/v1/locks/{}", unique("mutilated"));
    let lease = sidecar.call("POST", &path).send().await;
    let fits = |answer: &Answer| {
        let schema = json!({"$ref": "#/components/schemas/Lease"});
        document.validator(&schema).is_valid(&answer.json())
    };
    assert!(fits(&lease));
    for (field, value) in [
        ("token", json!("7")),
        ("validUntil", json!("2026-11-22 12:00:00")),
        ("ttlMs", json!(1.5)),
        ("more", json!(1)),
        ("key", json!("")),
    ] {
        let mut other = lease.clone();
        let mut body = lease.json();
        body[field] = value;
        other.body = body.to_string().into();
        assert!(!fits(&other), "{field}");
    }
    eventually("it goes", Duration::from_secs(5), async || {
        sidecar.call("DELETE", &format!("{path}?force=true")).send().await.status == 204
    })
    .await;
}
