//! Every right of the shipped ACL user, taken from it alone: what readiness says agrees with what locks do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::ready;
use serde_json::{Value, json};

use super::user::{ACL_FILE, login};
use super::{AT_ONCE, GOOD, raised, warnings};
use crate::harness::{Answer, Scratch, Sidecar, TestRedis, eventually};

/// Longer than anything here may take: the first refusal asks Redis for each right, on a busy machine for seconds.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
/// Sidecars at once.
const AT_A_TIME: usize = 6;

/// What a sidecar does without that has one Redis, its first database and no directory: `info` and the mark are for
/// warnings.
const NOT_NEEDED: [&str; 11] = [
    "+info",
    "+role",
    "+wait",
    "+select",
    "+hget",
    "%R~lockside:users",
    "~{lockside:raw}:mark",
    "+cluster|nodes",
    "+cluster|info",
    "&{lockside:[0-9]}:push:*",
    "&{lockside:[0-9][0-9]}:push:*",
];

/// How one operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Well,
    /// At once, with nothing changed.
    Refused,
    /// A wait for what was not handed over.
    InVain,
    Unknown,
}

fn ended(what: &str, answer: &Answer, begun: Instant, well: u16) -> Ended {
    let text = format!("{what}: {} {}", answer.status, answer.text());
    assert!(begun.elapsed() < REDIS_TIMEOUT / 2, "{:?}: {text}", begun.elapsed());
    match answer.status {
        status if status == well => Ended::Well,
        // What was not given up cannot be had.
        409 if answer.json()["code"] == "wait-timeout" => Ended::InVain,
        503 => {
            let (code, outcome) = (answer.json()["code"].clone(), answer.json()["outcome"].clone());
            assert_eq!((code, outcome), (json!("redis-refused"), json!("not-applied")), "{text}");
            Ended::Refused
        }
        504 => Ended::Unknown,
        _ => panic!("{text}"),
    }
}

/// All that locks are for, on keys of many shards; `round` is part of their names.
async fn all(sidecar: &Sidecar, round: &str) -> Vec<(&'static str, Ended)> {
    let mut outcomes = Vec::new();
    let send = async |what: &'static str, line: &str, body: Value, well: u16| {
        let (method, path) = line.split_once(' ').unwrap();
        let begun = Instant::now();
        let answer = sidecar.call(method, path).json(&body).send().await;
        (ended(&format!("{round}: {what}"), &answer, begun, well), answer)
    };
    for key in 0..24 {
        let path = format!("/v1/locks/{round}-{key}");
        let (acquired, lease) = send("acquire", &format!("POST {path}"), json!({"ttlMs": 60_000}), 201).await;
        outcomes.push(("acquire", acquired));
        if acquired == Ended::Well {
            let path = format!("{path}?token={}", lease.json()["token"]);
            // Longer, and then shorter.
            for ttl_ms in [120_000, 30_000] {
                outcomes.push(("renew", send("renew", &format!("PUT {path}"), json!({"ttlMs": ttl_ms}), 200).await.0));
            }
            outcomes.push(("release", send("release", &format!("DELETE {path}"), Value::Null, 204).await.0));
        }
    }
    let path = format!("/v1/locks/{round}-waited");
    let (acquired, lease) = send("acquire", &format!("POST {path}"), json!({"ttlMs": 60_000}), 201).await;
    outcomes.push(("acquire", acquired));
    let line = format!("POST {path}");
    let waits = send("wait", &line, json!({"waitMs": 2000}), 201);
    let gives = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let line = format!("DELETE {path}?token={}", lease.json()["token"]);
        if acquired == Ended::Well { Some(send("hand over", &line, Value::Null, 204).await.0) } else { None }
    };
    let ((waited, _), given) = tokio::join!(waits, gives);
    outcomes.push(("wait", waited));
    outcomes.extend(given.map(|given| ("hand over", given)));

    let call = sidecar.call("POST", &format!("/v1/locks/{round}-held/hold"));
    let mut lines = call.json(&json!({"ttlMs": 600})).open().await;
    let mut held = Ended::Refused;
    if lines.status == 200 {
        let first = lines.next().await.unwrap();
        let second = if first["event"] == "acquired" { lines.next().await } else { None };
        if second.is_some_and(|line| line["event"] == "renewed") {
            held = Ended::Well;
        }
    }
    outcomes.push(("hold", held));
    outcomes
}

async fn is_up(sidecar: &Sidecar) -> bool {
    sidecar.ops("/metrics").await.text().contains("\nlockside_redis_up 1\n")
}

/// Waits until everything says that no lock can be relied on, for want of this right.
async fn says_so(sidecar: &Sidecar, right: &str, when: &str, within: Duration) {
    let is_said = async || {
        let ready = sidecar.ops("/readyz").await;
        ready.status == 503 && ready.text().contains(right)
    };
    eventually(&format!("{right} is lacking, {when}"), within, is_said).await;
    assert!(!is_up(sidecar).await, "{right}");
    let ready = sidecar.ops("/readyz").await;
    let is_told = sidecar.log().lines().any(|line| line.contains(right));
    assert!(is_told, "{right}: {} {}", ready.text(), sidecar.log());
}

async fn is_ready(sidecar: &Sidecar, right: &str, when: &str) {
    let what = format!("ready, {when} {right}");
    eventually(&what, AT_ONCE, async || sidecar.ops("/readyz").await.status == 200).await;
    assert!(is_up(sidecar).await, "{what}");
}

fn all_well(outcomes: &[(&str, Ended)]) -> bool {
    outcomes.iter().all(|(_, ended)| *ended == Ended::Well)
}

/// Whether each was done, or refused; and was in vain only where what it waited for was not given up.
fn none_is_left_unsaid(outcomes: &[(&str, Ended)]) -> bool {
    let is_given = outcomes.contains(&("hand over", Ended::Well));
    !outcomes.iter().any(|(_, ended)| *ended == Ended::Unknown || (*ended == Ended::InVain && is_given))
}

async fn without(right: &str) {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    let user = std::fs::read_to_string(ACL_FILE).unwrap();
    let rules: Vec<&str> = user.split_whitespace().skip(2).collect();
    let set = |rules: &[&str]| {
        let rules = [&["SETUSER", "lockside", "reset"], rules].concat();
        assert_eq!(redis.ask::<String>("ACL", &rules), "OK");
    };
    let others: Vec<&str> = rules.iter().copied().filter(|rule| *rule != right).collect();
    assert_eq!(others.len() + 1, rules.len(), "{right} is one of them");
    let is_needed = !NOT_NEEDED.contains(&right);

    // From the start on.
    set(&others);
    let flags = ["--redis-url".to_owned(), redis.url(), format!("--redis-timeout={}s", REDIS_TIMEOUT.as_secs())];
    let sidecar = Sidecar::spawn(&[&flags[..], &login(&scratch)].concat());
    if is_needed {
        says_so(&sidecar, right, "from the start on", AT_ONCE).await;
        let outcomes = all(&sidecar, "begun").await;
        assert!(none_is_left_unsaid(&outcomes), "{right}: refused at once, with nothing changed: {outcomes:?}");
        assert!(sidecar.ops("/readyz").await.status == 503, "{right}: {outcomes:?}");
    } else {
        is_ready(&sidecar, right, "without").await;
        let outcomes = all(&sidecar, "begun").await;
        assert!(all_well(&outcomes), "{right}: {outcomes:?}");
        assert_eq!(sidecar.ops("/readyz").await.status, 200, "{right}");
    }

    // It is given back.
    set(&rules);
    is_ready(&sidecar, right, "with").await;
    let outcomes = all(&sidecar, "restored").await;
    assert!(all_well(&outcomes), "{right}: {outcomes:?}");
    if is_needed {
        assert!(!warnings(&sidecar).await.contains(&"rights".to_owned()), "{right}");
        assert!(!raised(&sidecar).await.contains(&"rights".to_owned()), "{right}");
    }

    // It is taken while it works: what fails is found out by that.
    set(&others);
    let outcomes = all(&sidecar, "taken").await;
    if is_needed && !all_well(&outcomes) {
        // What Redis does not say unasked it is asked once a minute.
        let is_said = outcomes.iter().any(|(_, ended)| matches!(ended, Ended::Refused | Ended::Unknown));
        let within = if is_said { AT_ONCE } else { Duration::from_secs(60) + AT_ONCE };
        says_so(&sidecar, right, "and something failed", within).await;
        let outcomes = all(&sidecar, "found").await;
        assert!(none_is_left_unsaid(&outcomes), "{right}: known by now: {outcomes:?}");
        set(&rules);
        is_ready(&sidecar, right, "again with").await;
    } else if !is_needed {
        assert!(all_well(&outcomes), "{right}: {outcomes:?}");
        assert_eq!(sidecar.ops("/readyz").await.status, 200, "{right}");
    }
    let failed: BTreeSet<_> = outcomes.iter().filter(|(_, ended)| *ended != Ended::Well).collect();
    println!("{right}: {failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_agrees_with_what_locks_do_whichever_right_is_lacking() {
    let user = std::fs::read_to_string(ACL_FILE).unwrap();
    let rights = user.split_whitespace().filter(|word| word.starts_with(['+', '~', '%', '&'])).map(str::to_owned);
    let rights: Vec<String> = rights.collect();
    assert!(NOT_NEEDED.iter().all(|right| rights.iter().any(|known| known == right)));
    let begun = Instant::now();
    // Each by itself, so that one run tells of all that do not agree.
    let cases = futures_util::stream::iter(rights).map(async |right| {
        let case = right.clone();
        (right, tokio::spawn(async move { without(&case).await }).await.is_ok())
    });
    let failed: Vec<_> = cases.buffer_unordered(AT_A_TIME).filter(|(_, agrees)| ready(!agrees)).collect().await;
    println!("in {:.1?}", begun.elapsed());
    assert_eq!(failed, []);
}
