//! Streams of events and elections tell what their reader may see, by the policy of the moment.

use std::time::Duration;

use serde_json::{Value, json};

use super::{As, Guarded, SOON, path};
use crate::harness::http::Lines;
use crate::harness::{eventually, unique};

const POLICY: &str = "token:owner lock,read *\ntoken:locker lock *\ntoken:red lock,read red/*\n";
const TOKENS: [&str; 3] = ["owner", "locker", "red"];

/// The next event that is no sign of life, within a while.
async fn next(events: &mut Lines) -> (String, Value) {
    tokio::time::timeout(SOON, events.event()).await.expect("an event in time").expect("the stream goes on")
}

async fn synced(events: &mut Lines) -> Vec<Value> {
    let mut states = Vec::new();
    loop {
        match next(events).await {
            (name, data) if name == "state" => states.push(data),
            (name, _) => break assert_eq!(name, "synced"),
        }
    }
    states
}

#[tokio::test]
async fn a_watcher_of_a_key_without_read_learns_that_it_changes_hands() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let (key, owner, locker) = (unique("watched"), As::Token("owner"), As::Token("locker"));
    let lease = guarded.granted(&owner, &key, json!({"owner": "hidden-owner", "ttlMs": 60_000})).await;
    let mut events = guarded.ask(&locker, "GET", &format!("{}/events", path(&key))).open().await;
    let states = synced(&mut events).await;
    assert_eq!((&states[0]["token"], &states[0]["holder"]["owner"]), (&json!(0), &Value::Null), "{states:?}");
    assert_eq!(guarded.release(&owner, &key, &lease["token"]).await.status, 204);
    assert_eq!(next(&mut events).await, ("released".to_owned(), json!({"key": key, "token": 0})));
    guarded.granted(&owner, &key, json!({"owner": "hidden-owner", "ttlMs": 200})).await;
    let (name, data) = next(&mut events).await;
    assert_eq!((name.as_str(), &data["token"], &data["holder"]["owner"]), ("granted", &json!(0), &Value::Null));
    assert!(data["holder"]["validForMs"].is_u64() && !data.to_string().contains("hidden"), "{data}");
    assert_eq!(next(&mut events).await, ("expired".to_owned(), json!({"key": key, "token": 0})));
    let own = guarded.granted(&locker, &key, json!({"owner": "mine", "ttlMs": 60_000})).await;
    let (name, data) = next(&mut events).await;
    assert_eq!((name.as_str(), &data["token"], &data["holder"]["owner"]), ("granted", &own["token"], &json!("mine")));
    guarded.release(&locker, &key, &own["token"]).await;
    assert_eq!(next(&mut events).await.1["token"], own["token"], "its own end");
}

#[tokio::test]
async fn a_watcher_of_a_prefix_is_told_of_what_it_may_read_and_of_its_own() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let (owner, locker, red) = (As::Token("owner"), As::Token("locker"), As::Token("red"));
    let name = unique("k");
    let (reds, blues) = (format!("red/{name}"), format!("blue/{name}"));
    guarded.granted(&owner, &format!("blue/{}", unique("k")), json!({"ttlMs": 60_000})).await;
    let mut of_red = guarded.ask(&red, "GET", "/v1/events").open().await;
    let mut of_locker = guarded.ask(&locker, "GET", "/v1/events").open().await;
    assert_eq!((synced(&mut of_red).await.len(), synced(&mut of_locker).await.len()), (0, 0));
    let hidden = guarded.granted(&owner, &blues, json!({"owner": "hidden-owner"})).await;
    guarded.release(&owner, &blues, &hidden["token"]).await;
    let shown = guarded.granted(&owner, &reds, json!({"owner": "seen"})).await;
    let (event, data) = next(&mut of_red).await;
    assert_eq!((event.as_str(), &data["key"], &data["holder"]["owner"]), ("granted", &json!(reds), &json!("seen")));
    guarded.release(&owner, &reds, &shown["token"]).await;
    assert_eq!(next(&mut of_red).await.0, "released");
    let own = guarded.granted(&locker, &blues, json!({"owner": "mine"})).await;
    let (event, data) = next(&mut of_locker).await;
    assert_eq!((event.as_str(), &data["key"], &data["token"]), ("granted", &json!(blues), &own["token"]));
    guarded.release(&locker, &blues, &own["token"]).await;
    let (event, data) = next(&mut of_locker).await;
    assert_eq!((event.as_str(), &data), ("released", &json!({"key": blues, "token": own["token"]})));
}

#[tokio::test]
async fn a_stream_ends_when_the_policy_takes_the_sight_of_its_key() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let (key, owner, locker) = (unique("watched"), As::Token("owner"), As::Token("locker"));
    let mut events = guarded.ask(&locker, "GET", &format!("{}/events", path(&key))).open().await;
    synced(&mut events).await;
    guarded.rewrite("token:owner lock,read *", &locker, &unique("other"), 403).await;
    guarded.granted(&owner, &key, json!({"owner": "hidden-owner"})).await;
    let end = tokio::time::timeout(SOON, events.event()).await.expect("it ends");
    assert_eq!(end, None);
    assert_eq!(guarded.ask(&locker, "GET", &format!("{}/events", path(&key))).send().await.status, 403);
}

#[tokio::test]
async fn an_election_is_shown_to_those_who_may_see_its_lock_and_its_leader_to_those_who_may_read_it() {
    let election = unique("jobs");
    let prefix = unique("policy");
    let flags = ["--elect", &election, "--elect-ttl", "1s", "--elect-as", "the-leader"];
    let key = format!("election:{election}");
    let policy = format!("token:reader read {key}\ntoken:locker lock {key}\nanonymous read {key}\n");
    let tokens = ["reader", "locker", "other"];
    let leader = Guarded::start_in(&prefix, &policy, &tokens, &flags).await;
    let leads = async || leader.sidecar.ops(&format!("/leader/{election}")).await.status == 200;
    eventually("it leads", SOON, leads).await;
    let flags = ["--elect", &election, "--elect-ttl", "1s", "--elect-as", "the-standby"];
    let standby = Guarded::start_in(&prefix, &policy, &tokens, &flags).await;
    let elections = format!("/v1/elections/{election}");
    let show = async |of: &Guarded, who: As| of.ask(&who, "GET", &elections).send().await;
    let knows = async || show(&standby, As::Token("reader")).await.json()["name"] == "the-leader";
    eventually("the standby knows the leader", SOON, knows).await;
    let told = show(&standby, As::Token("locker")).await.json();
    assert_eq!((&told["name"], &told["token"], &told["leader"]), (&Value::Null, &Value::Null, &json!(false)), "{told}");
    let told = show(&leader, As::Token("locker")).await.json();
    assert_eq!((&told["name"], &told["leader"]), (&json!("the-leader"), &json!(true)), "the app's own");
    assert_eq!(show(&standby, As::Nobody).await.json()["name"], "the-leader");
    super::assert_denied(&show(&standby, As::Token("other")).await, "read");
    let resign = leader.ask(&As::Token("reader"), "DELETE", &elections).send().await;
    super::assert_denied(&resign, "lock");
    let mut events = standby.ask(&As::Token("locker"), "GET", &format!("{elections}/events")).open().await;
    let (_, told) = tokio::time::timeout(Duration::from_secs(5), events.event()).await.unwrap().unwrap();
    assert_eq!(told.get("name"), None, "{told}");
}
