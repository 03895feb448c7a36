//! `PUT`: what a lease period may be, and what a renewal does with it.

use serde_json::json;

use super::{Leases, PATH, Who, assert_message, editor, expires_ms, reader, redis_now_ms, token_of};
use crate::harness::unique;

#[tokio::test]
async fn a_renewal_keeps_the_token_and_sets_the_time() {
    let leases = Leases::start(&[]).await;
    let (key, alice) = (unique("renew"), reader("alice"));
    let lease = leases.granted(&alice, &key, 600).await;
    for seconds in [20, 3000, 20] {
        let before = redis_now_ms();
        let renewed = leases.renew(&alice, token_of(&lease), seconds).await;
        let after = redis_now_ms();
        assert_eq!(renewed.status, 200, "{}", renewed.text());
        assert!((before + seconds * 1000..=after + seconds * 1000).contains(&expires_ms(&key)), "{seconds} from now");
        let mut expected = lease.clone();
        expected["validUntil"] = renewed.json()["validUntil"].clone();
        assert_eq!(renewed.json(), expected, "all but the time is as it was");
    }
}

#[tokio::test]
async fn a_lease_period_is_1_to_the_cap_in_whole_seconds() {
    let leases = Leases::start(&[]).await;
    let (key, alice) = (unique("period"), reader("alice"));
    let token = token_of(&leases.granted(&alice, &key, 600).await);
    let until = expires_ms(&key);
    for bad in [
        "0",
        "-1",
        "1.5",
        "1.0",
        "1e3",
        "",
        "%20",
        "abc",
        "86401",
        "NaN",
        "null",
        "0x10",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "99999999999999999999999",
    ] {
        let answer = leases.renew(&alice, token, bad).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        assert_message(&answer, 400);
    }
    for query in ["", "?", "?leaseperiod=30", "?period=30", "?leasePeriod"] {
        let answer = leases.ask(&alice, "PUT", &format!("{PATH}/{token}{query}")).send().await;
        assert_message(&answer, 400);
    }
    assert_eq!(expires_ms(&key), until, "a refusal changes nothing");
    for good in ["86400", "1", "600", "%36%30"] {
        assert_eq!(leases.renew(&alice, token, good).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn the_cap_is_max_ttl_to_the_millisecond() {
    let leases = Leases::start(&["--max-ttl=1500ms", "--admin-ttl=1s", "--default-ttl=1s"]).await;
    let (key, alice) = (unique("cap"), reader("alice"));
    assert_message(&leases.create(&alice, &key, 2).await, 400);
    let token = token_of(&leases.granted(&alice, &key, 1).await);
    assert_message(&leases.renew(&alice, token, 2).await, 400);
    assert_eq!(leases.renew(&alice, token, 1).await.status, 200);
}

#[tokio::test]
async fn a_lease_period_in_a_put_body_is_not_looked_at() {
    let leases = Leases::start(&[]).await;
    let (key, alice) = (unique("body"), reader("alice"));
    let token = token_of(&leases.granted(&alice, &key, 600).await);
    let put = |query: &str| leases.ask(&alice, "PUT", &format!("{PATH}/{token}{query}"));
    assert_message(&put("").json(&json!({"leasePeriod": 30})).send().await, 400);
    assert_eq!(put("?leasePeriod=30").json(&json!({"leasePeriod": 0})).send().await.status, 200);
}

#[tokio::test]
async fn every_route_answers_with_and_without_the_leading_api() {
    let leases = Leases::start(&[]).await;
    for prefix in ["", "/api"] {
        let (key, alice, path) = (unique("routes"), editor("alice"), format!("{prefix}{PATH}"));
        let create = || leases.ask(&alice, "POST", &path).json(&json!({"key": key, "leasePeriod": 30})).send();
        let created = create().await;
        assert_eq!(created.status, 201, "{}", created.text());
        let token = token_of(&created.json());
        let list = leases.ask(&Who::System, "GET", &path).send().await;
        assert_eq!(list.header("content-type"), Some("application/json"));
        let list = list.json();
        let listed = list.as_array().unwrap().iter().filter(|lease| lease["key"] == key.as_str());
        assert_eq!(listed.collect::<Vec<_>>(), [&created.json()]);
        let renewed = leases.ask(&alice, "PUT", &format!("{path}/{token}?leasePeriod=60")).send().await;
        assert_eq!(renewed.status, 200, "{}", renewed.text());
        assert_message(&leases.ask(&alice, "DELETE", &format!("{path}/{token}")).send().await, 200);
        let token = token_of(&create().await.json());
        assert_message(&leases.ask(&alice, "DELETE", &format!("{path}/custom/{token}")).send().await, 200);
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_which_ones_are_right() {
    let leases = Leases::start(&[]).await;
    for (method, path, allow) in [
        ("PATCH", PATH.to_owned(), "GET, HEAD, POST"),
        ("DELETE", PATH.to_owned(), "GET, HEAD, POST"),
        ("GET", format!("{PATH}/7"), "PUT, DELETE"),
        ("POST", format!("/api{PATH}/7"), "PUT, DELETE"),
        ("PUT", format!("{PATH}/custom/7"), "DELETE"),
    ] {
        let answer = leases.ask(&Who::System, method, &path).send().await;
        assert_message(&answer, 405);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    for path in [format!("{PATH}/7/8/9"), format!("/api/api{PATH}"), "/cmn".to_owned(), format!("{PATH}x")] {
        assert_eq!(leases.ask(&Who::System, "GET", &path).send().await.status, 404, "{path}");
    }
}
