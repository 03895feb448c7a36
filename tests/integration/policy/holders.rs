//! What a caller without `read` sees of another's lease: that the key is taken, and until when.

use std::time::Duration;

use serde_json::{Value, json};

use super::{As, Guarded, path};
use crate::harness::{Screen, eventually, lockside, unique};

const POLICY: &str = "\
token:owner  lock,read *
token:locker lock *
token:forcer force-release *
user:*       lock *
user:boss    lock,read,force-release *
";
const TOKENS: [&str; 3] = ["owner", "locker", "forcer"];

/// A lease of `owner` with all that there is to hide.
async fn held(guarded: &Guarded, key: &str) -> Value {
    let body = json!({"owner": "hidden-owner", "meta": {"hidden": "meta"}, "ttlMs": 60_000});
    guarded.granted(&As::Token("owner"), key, body).await
}

/// A holder of whom only the expiry is shown.
fn assert_hidden(holder: &Value) {
    let fields: Vec<&str> = holder.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["owner", "validForMs", "validUntil"], "{holder}");
    assert_eq!(holder["owner"], Value::Null);
    assert!((1..=60_000).contains(&holder["validForMs"].as_u64().unwrap()), "{holder}");
}

#[tokio::test]
async fn a_held_answer_names_the_end_and_nothing_else() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let key = unique("hidden");
    let lease = held(&guarded, &key).await;
    let locker = As::Token("locker");
    let refused = guarded.acquire(&locker, &key).await;
    assert_eq!((refused.status, &refused.json()["state"]), (409, &json!("held")));
    assert_hidden(&refused.json()["holder"]);
    assert!(refused.header("retry-after").is_some());
    let waited = guarded.ask(&locker, "POST", &path(&key)).json(&json!({"waitMs": 100})).send().await;
    assert_eq!((waited.status, &waited.json()["code"]), (409, &json!("wait-timeout")));
    assert_hidden(&waited.json()["holder"]);
    let hold = format!("{}/hold", path(&key));
    let refused_hold = guarded.ask(&locker, "POST", &hold).send().await;
    assert_hidden(&refused_hold.json()["holder"]);
    let body = json!({"waitMs": 5000, "progress": true});
    let mut lines = guarded.ask(&locker, "POST", &hold).json(&body).open().await;
    let line = loop {
        let line = lines.next().await.unwrap();
        if line["holder"] != Value::Null {
            break line;
        }
    };
    assert_eq!(line["event"], "waiting");
    assert_hidden(&line["holder"]);
    let created = guarded.ask(&locker, "POST", "/cmn/leasable-locks").json(&json!({"key": key, "leasePeriod": 9}));
    let answers = [refused, waited, refused_hold, created.send().await];
    for hidden in ["hidden-owner", "\"hidden\"", &lease["token"].to_string()] {
        assert!(answers.iter().all(|answer| !answer.text().contains(hidden)), "{hidden}: {answers:?}");
        assert!(answers.iter().all(|answer| !format!("{:?}", answer.headers).contains(hidden)), "{hidden}");
    }
    // The owner itself, and one who may read, see all of it.
    for who in [As::Token("owner"), As::User("boss", json!({}))] {
        let refused = guarded.acquire(&who, &key).await;
        assert_eq!(refused.json()["holder"]["owner"], "hidden-owner", "{who:?}");
    }
}

#[tokio::test]
async fn the_refusal_at_the_end_of_a_stream_of_progress_names_the_end_and_nothing_else() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let key = unique("hidden");
    let lease = held(&guarded, &key).await;
    for (who, is_shown) in [(As::Token("locker"), false), (As::Token("owner"), true)] {
        for (body, code) in
            [(json!({"progress": true}), "held"), (json!({"progress": true, "waitMs": 300}), "wait-timeout")]
        {
            let hold = guarded.ask(&who, "POST", &format!("{}/hold", path(&key))).json(&body);
            let refused = last(hold.open().await).await;
            assert_eq!((&refused["event"], &refused["code"]), (&json!("refused"), &json!(code)), "{refused}");
            if is_shown {
                assert_eq!(refused["holder"]["owner"], "hidden-owner", "{refused}");
                continue;
            }
            assert_hidden(&refused["holder"]);
            for hidden in ["hidden-owner", "\"hidden\"", &lease["token"].to_string()] {
                assert!(!refused.to_string().contains(hidden), "{hidden}: {refused}");
            }
        }
    }
}

/// The last line of a stream.
async fn last(mut lines: crate::harness::http::Lines) -> Value {
    let mut last = Value::Null;
    while let Some(line) = lines.next().await {
        last = line;
    }
    last
}

#[tokio::test]
async fn the_etag_of_anothers_lease_changes_with_it_and_is_not_its_token() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let (key, locker) = (unique("hidden"), As::Token("locker"));
    let lease = held(&guarded, &key).await;
    let shown = guarded.ask(&locker, "GET", &path(&key)).send().await;
    assert_hidden(&shown.json()["holder"]);
    let tag = shown.header("etag").unwrap().to_owned();
    assert!(!tag.contains(&lease["token"].to_string()) && tag.starts_with("\"other-"), "{tag}");
    let known = || guarded.ask(&locker, "GET", &path(&key)).header("if-none-match", &tag);
    assert_eq!(known().send().await.status, 304);
    let waiting = guarded.ask(&locker, "GET", &format!("{}?waitMs=20000", path(&key))).header("if-none-match", &tag);
    let changing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        guarded.release(&As::Token("owner"), &key, &lease["token"]).await
    };
    let (changed, released) = tokio::join!(waiting.send(), changing);
    assert_eq!((released.status, changed.status, &changed.json()["state"]), (204, 200, &json!("free")));
    held(&guarded, &key).await;
    let again = known().send().await;
    assert_eq!(again.status, 200, "another lease has another tag");
    assert_ne!(again.header("etag"), Some(tag.as_str()));
    let full = guarded.ask(&As::Token("owner"), "GET", &path(&key)).send().await;
    assert_eq!(full.json()["holder"]["owner"], "hidden-owner");
    assert!(full.header("etag").unwrap().trim_matches('"').parse::<u64>().is_ok(), "its token");
}

#[tokio::test]
async fn an_editor_without_read_learns_not_who_edits() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let id = unique("edited");
    let lock = |name| {
        let who = As::User(name, json!({"permissions": ["manage-locks"]}));
        guarded.ask(&who, "POST", "/admin/lock").json(&json!({"route": "page", "id": id}))
    };
    let granted = lock("alice").send().await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    let refused = lock("bob").send().await;
    assert_eq!((refused.status, refused.header("lockside-holder")), (409, None));
    assert_eq!(lock("boss").send().await.header("lockside-holder"), Some("alice"));
    let token = granted.header("lockside-token").unwrap();
    let who = As::User("bob", json!({"permissions": ["manage-locks"]}));
    let renewed = guarded.ask(&who, "POST", &format!("/admin/lock?token={token}"));
    let refused = renewed.json(&json!({"route": "page", "id": id})).send().await;
    assert_eq!((refused.status, refused.header("lockside-holder")), (409, None));
}

#[tokio::test]
async fn a_force_release_without_read_says_not_whose_it_was() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    for (who, is_told) in [(As::Token("forcer"), false), (As::User("boss", json!({})), true)] {
        let key = unique("forced");
        held(&guarded, &key).await;
        let waiting = guarded.ask(&As::Token("owner"), "POST", &path(&key));
        let waiting = waiting.json(&json!({"waitMs": 20_000, "owner": "hidden-next"})).send();
        let forcing = async {
            let queue = format!("{}/queue", path(&key));
            eventually("it waits", super::SOON, async || {
                let queue = guarded.ask(&As::Token("owner"), "GET", &queue).send().await.json();
                queue["queue"].as_array().is_some_and(|queue| !queue.is_empty())
            })
            .await;
            guarded.ask(&who, "DELETE", &format!("{}?force=true", path(&key))).send().await
        };
        let (granted, forced) = tokio::join!(waiting, forcing);
        assert_eq!((granted.status, forced.status), (201, 204), "{}", forced.text());
        for name in ["lockside-released-owner", "lockside-released-token"] {
            assert_eq!(forced.header(name).is_some(), is_told, "{name} {:?}", forced.headers);
        }
        let count = (!is_told).then_some("1");
        assert_eq!(forced.header("lockside-released-count"), count, "that it was held is no secret");
        let next = forced.header("lockside-holder");
        assert!(next.is_none() || (is_told && next == Some("hidden-next")), "{next:?}");
    }
}

#[tokio::test]
async fn of_those_who_share_a_key_a_caller_without_read_sees_its_own_alone() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let (key, owner, locker) = (unique("shared"), As::Token("owner"), As::Token("locker"));
    let shared = |name: &str| json!({"mode": "shared", "owner": name, "ttlMs": 60_000});
    let first = guarded.granted(&owner, &key, shared("hidden-owner")).await;
    let second = guarded.granted(&owner, &key, shared("hidden-other")).await;
    let hides = |answer: &crate::harness::Answer| {
        let said = format!("{} {:?}", answer.text(), answer.headers);
        for hidden in ["hidden-owner", "hidden-other", &first["token"].to_string(), &second["token"].to_string()] {
            assert!(!said.contains(hidden), "{hidden}: {said}");
        }
    };
    let shown = guarded.ask(&locker, "GET", &path(&key)).send().await;
    assert_hidden(&shown.json()["holder"]);
    hides(&shown);
    let refused = guarded.acquire(&locker, &key).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    hides(&refused);
    let tag = shown.header("etag").unwrap().to_owned();
    let third = guarded.granted(&owner, &key, shared("hidden-owner")).await;
    let held = guarded.ask(&locker, "GET", &path(&key)).send().await;
    let rest = format!("{}?token={}&restMs=60000", path(&key), third["token"]);
    assert_eq!(guarded.ask(&owner, "DELETE", &rest).send().await.status, 204);
    let rests = guarded.ask(&locker, "GET", &path(&key)).send().await;
    assert_eq!((&rests.json()["state"], rests.json().get("holders")), (&json!("held"), None), "{}", rests.text());
    assert_ne!(rests.header("etag"), held.header("etag"), "one of them rests");
    let force = format!("{}?force=true&token={}", path(&key), third["token"]);
    assert_eq!(guarded.ask(&As::Token("forcer"), "DELETE", &force).send().await.status, 204);
    let own = guarded.granted(&locker, &key, shared("mine")).await;
    let known = guarded.ask(&locker, "GET", &path(&key)).header("if-none-match", &tag).send().await;
    assert_eq!((known.status, &known.json()["holders"].as_array().map(Vec::len)), (200, &Some(1)), "{}", known.text());
    assert_eq!(known.json()["holders"][0]["token"], own["token"]);
    hides(&known);
    assert_ne!(known.header("etag"), Some(tag.as_str()));
    let mut events = guarded.ask(&locker, "GET", &format!("{}/events", path(&key))).open().await;
    let (name, data) = events.event().await.unwrap();
    assert_eq!((name.as_str(), &data["token"]), ("state", &json!(0)), "{data}");
    assert!(!data.to_string().contains("hidden"), "{data}");
    assert_eq!(events.event().await.unwrap().0, "synced");
    guarded.granted(&owner, &key, shared("hidden-owner")).await;
    let (name, data) = events.event().await.unwrap();
    assert_eq!(
        (name.as_str(), &data["token"], &data["holder"]["owner"]),
        ("granted", &json!(0), &Value::Null),
        "{data}"
    );
    // Its own is released without `lock`, and another's is not.
    guarded.rewrite("token:owner lock,read *", &locker, &unique("other"), 403).await;
    super::assert_denied(&guarded.release(&locker, &key, &first["token"]).await, "lock");
    assert_eq!(guarded.release(&locker, &key, &own["token"]).await.status, 204);
    let listed = format!("/v1/locks?prefix={key}");
    let list = guarded.ask(&locker, "GET", &listed).send().await.json();
    assert_eq!(list["locks"], json!([]));
    assert_eq!(guarded.ask(&owner, "GET", &listed).send().await.json()["locks"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_command_line_does_not_take_an_owner_that_may_not_be_read_for_another_program() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let key = unique("hidden");
    held(&guarded, &key).await;
    let url = format!("http://{}", guarded.sidecar.api_address());
    let token = guarded.scratch.file("locker.token", super::token("locker"));
    let run = async |args: &[&str]| lockside(&[args, &["--url", &url, "--token-file", &token]].concat()).await;
    const UNKNOWN: &str = "another program, or an owner that you may not read";
    let shown = run(&["show", &key]).await;
    assert!(shown.stdout.contains(&format!("owner      {UNKNOWN}\n")), "{}", shown.output());
    let url_and_token = ["--url", &url, "--token-file", &token];
    let tried = lockside(&[&["exec", "--try", &key][..], &url_and_token, &["--", "true"]].concat()).await;
    assert_eq!(tried.code, Some(75), "{}", tried.output());
    assert!(tried.stderr.contains(&format!("`{key}` is held by {UNKNOWN}, for another ")), "{}", tried.stderr);
    assert!(!shown.output().contains("hidden-owner") && !tried.output().contains("hidden-owner"));
}

#[tokio::test]
async fn the_command_line_says_that_it_force_released_what_it_may_not_read() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let (key, url) = (unique("forced"), format!("http://{}", guarded.sidecar.api_address()));
    let token = guarded.scratch.file("forcer.token", super::token("forcer"));
    let mut screen = Screen::bash(&guarded.sidecar);
    held(&guarded, &key).await;
    screen.press(&format!("$LOCKSIDE release {key} --force --token-file {token}\n"));
    screen.see(&format!("Force-release `{key}`? [y/N] ")).await;
    screen.press("y\n");
    screen.see(&format!("force-released `{key}`, held by an owner that you may not read\r\n")).await;
    assert_eq!(guarded.acquire(&As::Token("locker"), &key).await.status, 201);

    let command = ["release", &key, "--force", "--url", &url, "--token-file", &token];
    let forced = lockside(&command).await;
    let told = format!("force-released `{key}`, held by an owner that you may not read\n");
    assert_eq!((forced.code, forced.stdout), (Some(0), told), "{}", forced.stderr);
    let shared = json!({"mode": "shared", "owner": "hidden-owner"});
    for _ in 0..2 {
        guarded.granted(&As::Token("owner"), &key, shared.clone()).await;
    }
    let forced = lockside(&command).await;
    let told = format!("force-released `{key}`, shared by 2\n");
    assert_eq!((forced.code, forced.stdout), (Some(0), told), "{}", forced.stderr);
    let none = lockside(&command).await;
    assert_eq!((none.code, none.stdout), (Some(0), format!("`{key}` was not held\n")), "{}", none.stderr);
}

#[tokio::test]
async fn the_command_line_says_which_verb_a_denied_caller_needs_and_where_to_ask_for_it() {
    let guarded = Guarded::start(POLICY, &TOKENS, &[]).await;
    let key = unique("denied");
    let url = format!("http://{}", guarded.sidecar.api_address());
    for (who, verb, command) in [
        ("forcer", "lock", ["exec", "--try", &key]),
        ("forcer", "read", ["show", &key, "--json"]),
        ("locker", "force-release", ["release", &key, "--force"]),
    ] {
        let token = guarded.scratch.file(&format!("{who}.token"), super::token(who));
        let sidecar = ["--url", &url, "--token-file", &token];
        let behind: &[&str] = if command[0] == "exec" { &["--", "true"] } else { &[] };
        let ended = lockside(&[&command[..], &sidecar, behind].concat()).await;
        assert_eq!(ended.code, Some(77), "{}", ended.output());
        let told = format!(
            "the policy does not allow {verb}; ask for the verb `{verb}` on this key: docs/operations/teams.md; \
             `lockside policy test` says which line allows it"
        );
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
        assert!(!ended.stderr.contains("needs other permissions"), "{}", ended.stderr);
    }
}
