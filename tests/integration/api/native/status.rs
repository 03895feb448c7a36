//! `GET /v1/status`: how many locks there are, and how Redis is.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Native, Who, assert_problem, editor, fields, path, reader};
use crate::harness::{TestRedis, eventually};

impl Native {
    async fn status(&self, who: &Who) -> Value {
        let answer = self.ask(who, "GET", "/v1/status").send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

#[tokio::test]
async fn it_counts_locks_and_waiters_and_names_redis() {
    let redis = TestRedis::start(&["--appendonly", "yes"]);
    let native = Native::start_at(&redis.url(), &["--key-prefix=team-a"]).await;
    let ready = async || native.status(&Who::System).await["redis"]["ready"] == true;
    eventually("it is ready", Duration::from_secs(10), ready).await;
    let status = native.status(&Who::System).await;
    assert_eq!(fields(&status), ["keyPrefix", "locks", "mayForceRelease", "oldest", "redis", "waiting", "warnings"]);
    assert_eq!(fields(&status["redis"]), ["address", "ready", "role", "topology", "version"]);
    assert_eq!((&status["locks"], &status["waiting"], &status["oldest"]), (&json!(0), &json!(0), &Value::Null));
    assert_eq!((&status["keyPrefix"], &status["warnings"]), (&json!("team-a"), &json!([])));
    let version: String = redis.ask::<String>("INFO", &["server"]);
    let version = version.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version").trim();
    assert_eq!(status["redis"]["version"], version);
    assert_eq!((&status["redis"]["role"], &status["redis"]["topology"]), (&json!("master"), &json!("single")));
    assert!(status["redis"]["address"].as_str().is_some_and(|address| !address.is_empty()), "{status}");

    let lease = native.granted(&reader("alice"), "a").await;
    native.granted(&reader("alice"), "b").await;
    let since = native.look("a").await["holder"]["since"].clone();
    let waiting = native.ask(&Who::System, "POST", &path("a")).json(&json!({"waitMs": 30_000})).send();
    let looking = async {
        eventually("all are counted", Duration::from_secs(15), async || {
            let status = native.status(&Who::System).await;
            (&status["locks"], &status["waiting"]) == (&json!(2), &json!(1))
        })
        .await;
        assert_eq!(native.status(&Who::System).await["oldest"], since);
        native.release(&reader("alice"), "a", &lease["token"]).await;
    };
    assert_eq!(tokio::join!(waiting, looking).0.status, 201);
}

#[tokio::test]
async fn it_answers_while_redis_does_not_and_says_why() {
    let mut redis = TestRedis::start(&["--appendonly", "no"]);
    let native = Native::start_at(&redis.url(), &[]).await;
    eventually("a warning", Duration::from_secs(10), async || {
        let status = native.status(&Who::System).await;
        let warnings = status["warnings"].as_array().expect("warnings").clone();
        status["redis"]["ready"] == true && warnings.iter().any(|warning| warning["code"] == "persistence")
    })
    .await;
    redis.kill();
    eventually("it is not ready", Duration::from_secs(10), async || {
        native.status(&Who::System).await["redis"]["ready"] == false
    })
    .await;
    let status = native.status(&Who::System).await;
    assert_eq!((&status["locks"], &status["waiting"], &status["oldest"]), (&Value::Null, &Value::Null, &Value::Null));
    assert!(status["redis"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{status}");
    redis.up();
    eventually("it counts again", Duration::from_secs(20), async || native.status(&Who::System).await["locks"] == 0)
        .await;
}

#[tokio::test]
async fn it_says_whether_the_caller_may_force_release_and_is_for_those_who_may_list() {
    let native = Native::start(&[]).await;
    for (who, may) in [(Who::System, true), (editor("alice"), true), (reader("bob"), false)] {
        assert_eq!(native.status(&who).await["mayForceRelease"], may);
    }
    assert_problem(&native.ask(&Who::Nobody, "GET", "/v1/status").send().await, 401, "unauthorized");
    assert_problem(&native.ask(&Who::System, "GET", "/v1/status?full=true").send().await, 400, "bad-request");
}
