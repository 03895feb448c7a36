//! Every route of the API, and what each of its outcomes leaves in the trail: a new route fails until it stands in the table.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{SOON, Trail};
use crate::harness::{Fields, Grpc, eventually, unique};
use crate::policy::routes::{body_of, operations};
use crate::policy::{As, Guarded};

/// What a route leaves in the trail.
struct Row {
    id: &'static str,
    /// What it asks for, as a refusal says.
    verb: Option<&'static str>,
    /// Where it does what it is asked for.
    done: Option<&'static str>,
    /// Where the lease of the token that it names is gone.
    gone: Option<&'static str>,
    /// Where another one holds the lock.
    held: Option<&'static str>,
}

const fn read(id: &'static str) -> Row {
    Row { id, verb: Some("read"), done: None, gone: None, held: None }
}

const fn acquire(id: &'static str) -> Row {
    Row { id, verb: Some("lock"), done: Some("granted"), gone: None, held: Some("refused") }
}

const fn change(id: &'static str, done: &'static str) -> Row {
    Row { id, verb: Some("lock"), done: Some(done), gone: Some("lost"), held: None }
}

/// Says nothing of any lock.
const fn open(id: &'static str) -> Row {
    Row { id, verb: None, done: None, gone: None, held: None }
}

const TABLE: [Row; 34] = [
    acquire("adminLock"),
    Row { gone: None, ..change("adminRemoveLock", "released") },
    read("getAllActiveLocks"),
    acquire("createLeasableLock"),
    change("refreshLeasableLock_3", "renewed"),
    change("removeLock", "released"),
    Row { verb: Some("force-release"), gone: None, ..change("customRemoveLock", "forced") },
    read("listLocks"),
    acquire("acquireLock"),
    change("renewLock", "renewed"),
    change("releaseLock", "released"),
    read("showLock"),
    read("watchLock"),
    read("showQueue"),
    Row { gone: Some("refused"), ..read("fenceLock") },
    acquire("holdLock"),
    acquire("acquireBundle"),
    acquire("holdBundle"),
    change("renewBundle", "renewed"),
    change("releaseBundle", "released"),
    change("releaseBundleByPost", "released"),
    read("showElection"),
    // What it releases is this sidecar's own.
    Row { done: None, ..acquire("resign") },
    read("streamElection"),
    read("showOnlyElection"),
    read("readStatus"),
    read("watchLocks"),
    acquire("tryLock"),
    Row { gone: None, held: Some("refused"), ..change("unlock", "released") },
    open("getDaprMetadata"),
    open("getDaprHealth"),
    open("getDaprOutboundHealth"),
    open("getOpenApi"),
    open("getErrors"),
];

const POLICY: &str = "\
token:keeper lock,read,force-release *
token:all    lock,read,force-release *
user:all     lock,read,force-release *
";

/// How a request meets the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// It may, and the lock is as it should be.
    Done,
    /// Its token's lease is gone.
    Gone,
    /// Another one holds the lock.
    Held,
    /// The policy denies it.
    Denied,
    /// Without a credential.
    Unknown,
}

struct World {
    guarded: Guarded,
    trail: Trail,
}

impl World {
    /// Sends a request under a name of its own, which is returned.
    async fn ask(&self, row: &Row, case: Case, method: &str, template: &str) -> String {
        let (guarded, key) = (&self.guarded, unique("route"));
        let locked = match row.id {
            "unlock" | "tryLock" => format!("lockstore||{key}"),
            "adminLock" | "adminRemoveLock" => format!("k:{key}"),
            _ => key.clone(),
        };
        let name = if case == Case::Denied { "none" } else { "all" };
        let who = match (case, template.starts_with("/admin/")) {
            (Case::Unknown, _) => As::Nobody,
            (_, true) => As::User(name, json!({"permissions": ["manage-locks"]})),
            (_, false) => As::Token(name),
        };
        // Of the caller itself, where it is to release it without a token.
        let is_own = case == Case::Done && matches!(row.id, "adminRemoveLock" | "unlock");
        let (keeper, owner) = if is_own { (&who, "o") } else { (&As::Token("keeper"), "the-keeper") };
        let is_free = row.done == Some("granted") && case != Case::Held;
        let token = if is_free {
            Value::Null
        } else {
            let lease = guarded.granted(keeper, &locked, json!({"owner": owner})).await;
            if case == Case::Gone {
                assert_eq!(guarded.release(keeper, &locked, &lease["token"]).await.status, 204);
            }
            lease["token"].clone()
        };
        let named = token.clone();
        let token = token.to_string();
        let path = template.replace("{key}", &key).replace("{token}", &token).replace("{store}", "lockstore");
        let query = match row.id {
            "renewLock" | "releaseLock" | "fenceLock" => format!("?token={token}"),
            "refreshLeasableLock_3" => "?leasePeriod=30".to_owned(),
            _ => String::new(),
        };
        let request_id = unique("request");
        let path = format!("{}{query}", path.replace("{name}", "jobs"));
        let call = guarded.ask(&who, method, &path).header("x-request-id", &request_id);
        let call = match body_of(row.id, &key, &named) {
            Some(body) => call.json(&body),
            None => call,
        };
        let _answer = call.open().await;
        request_id
    }

    /// The lines of a request, once it is answered.
    async fn lines_of(&self, request_id: &str) -> Vec<Value> {
        let mut lines = self.trail.settled(&self.guarded.sidecar).await;
        lines.retain(|line| line["request_id"] == *request_id);
        lines
    }
}

#[tokio::test]
async fn every_outcome_of_every_route_leaves_its_line() {
    let trail = Trail::new();
    let flags = ["--audit", &trail.path, "--audit-events", "all", "--elect", "jobs", "--elect-ttl", "1s"];
    let guarded = Guarded::start(POLICY, &["keeper", "all", "none"], &flags).await;
    let leads = async || guarded.sidecar.ops("/leader/jobs").await.status == 200;
    eventually("it leads", SOON, leads).await;
    let operations = operations(&guarded.sidecar.call("GET", "/openapi.json").send().await.json());
    let known: BTreeSet<&str> = operations.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(known, TABLE.iter().map(|row| row.id).collect(), "each operation of openapi.json");

    let world = World { guarded, trail };
    for (id, method, template) in &operations {
        let row = TABLE.iter().find(|row| row.id == id).unwrap();
        let denial = row.verb.map(|_| "refused");
        let is_filtered = matches!(row.id, "getAllActiveLocks" | "listLocks" | "watchLocks");
        // The only public routes are those that say nothing, and they have no verb; Dapr's metadata are for callers.
        let unknown = if row.id == "getDaprMetadata" { Some("refused") } else { denial };
        for (case, expected) in [
            (Case::Done, row.done),
            (Case::Gone, row.gone),
            (Case::Held, row.held),
            (Case::Denied, if is_filtered { None } else { denial }),
            (Case::Unknown, unknown),
        ] {
            if (case == Case::Gone && row.gone.is_none())
                || (case == Case::Held && (row.held.is_none() || row.id == "resign"))
            {
                continue;
            }
            let request_id = world.ask(row, case, method, template).await;
            let lines = world.lines_of(&request_id).await;
            let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
            let what = format!("{id}: {case:?}: {lines:?}");
            // A hold ends with its connection, and its release is of the same request.
            let is_hold = matches!(row.id, "holdLock" | "holdBundle") && case == Case::Done;
            let events = if is_hold { &events[..1] } else { &events[..] };
            assert_eq!(events, expected.as_slice(), "{what}");
            if events == ["refused"] {
                assert_eq!(lines[0]["verb"].as_str(), row.verb, "{what}");
                assert!(lines[0]["reason"].is_string(), "{what}");
            }
            for line in &lines {
                let credential = match (case, template.starts_with("/admin/")) {
                    // Without the cookie that it must have nothing else is looked at.
                    (Case::Unknown, true) => None,
                    (Case::Unknown, false) => Some("anonymous"),
                    (_, true) => Some("cookie"),
                    (Case::Denied, false) => Some("token:none"),
                    (_, false) => Some("token:all"),
                };
                assert_eq!(line["credential"].as_str(), credential, "{what}");
                assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn the_calls_of_grpc_leave_the_lines_of_http() {
    let trail = Trail::new();
    let flags = ["--audit", &trail.path, "--audit-events", "all", "--dapr-grpc-listen", "127.0.0.1:0"];
    let guarded = Guarded::start(POLICY, &["all", "none"], &flags).await;
    let grpc = Grpc::connect(&guarded.sidecar.grpc_address()).await;
    let resource = unique("grpc");
    let call = async |method: &str, owner: &str, name: &str| {
        let fields = Fields::lock("lockstore", &resource, owner);
        let fields = if method == "TryLockAlpha1" { fields.number(4, 60) } else { fields };
        let token = format!("the token of {name} in the tests");
        grpc.call_with(method, &fields, &[("dapr-api-token", &token)]).await.status().0
    };
    assert_eq!(call("TryLockAlpha1", "a", "all").await, 0);
    assert_eq!(call("TryLockAlpha1", "b", "all").await, 0, "held");
    assert_eq!(call("UnlockAlpha1", "b", "all").await, 0, "another's");
    assert_eq!(call("UnlockAlpha1", "a", "all").await, 0);
    assert_eq!(call("TryLockAlpha1", "a", "none").await, 7);
    assert_eq!(call("TryLockAlpha1", "a", "nobody").await, 16);

    let lines = trail.settled(&guarded.sidecar).await;
    let told: Vec<Value> =
        lines.iter().map(|line| json!([line["event"], line["reason"], line["who"], line["credential"]])).collect();
    let expected = json!([
        ["granted", null, "a", "token:all"],
        ["refused", "held", "b", "token:all"],
        ["refused", "not-yours", "b", "token:all"],
        ["released", null, "a", "token:all"],
        ["refused", "missing-permission", "a", "token:none"],
        ["refused", "unauthorized", null, null],
    ]);
    assert_eq!(Value::Array(told), expected);
}
