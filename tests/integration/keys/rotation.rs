//! A rotation with an overlap logs no one out, and a key that is unknown is fetched at once, but not too often.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{SOON, claims, following, status, with_url};
use crate::harness::issuer::{Issuer, KEYS, Key, Page, set};
use crate::harness::jwt::{self, Pair};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, unique};

fn key(name: &'static str) -> Key {
    Key::new(name, Algorithm::ES256, Pair::p256())
}

#[tokio::test]
async fn tokens_of_the_old_and_the_new_key_pass_while_both_are_in_the_set() {
    let (old, new) = (key("old"), key("new"));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--threads=3", "--jwks-refresh=1s"]).await;
    let [of_old, of_new] = [&old, &new].map(|key| key.sign(&claims()));
    let path = format!("/v1/locks/{}/hold", unique("rotated"));
    let mut hold = sidecar.call("POST", &path).bearer(&of_old).json(&json!({"ttlMs": 1000})).open().await;
    assert_eq!(hold.next().await.unwrap()["event"], "acquired");

    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    for _ in 0..10 {
        assert_eq!(status(&sidecar, &of_new).await, 200, "on every thread, from the first one on");
        assert_eq!(status(&sidecar, &of_old).await, 200);
    }
    for _ in 0..3 {
        assert_eq!(hold.next().await.unwrap()["event"], "renewed");
    }

    issuer.serve(KEYS, Page::Json(set(&[&new])));
    eventually("the old key is of no use", SOON, async || status(&sidecar, &of_old).await == 401).await;
    assert_eq!(status(&sidecar, &of_new).await, 200);
    let lost = loop {
        let line = hold.next().await.unwrap();
        if line["event"] != "renewed" {
            break line;
        }
    };
    assert_eq!((&lost["event"], &lost["reason"]), (&json!("lost"), &json!("unauthorized")), "{lost}");
}

#[tokio::test]
async fn an_unknown_key_is_fetched_at_once_and_at_most_once_in_five_seconds() {
    let (old, new, stranger) = (key("old"), key("new"), key("stranger"));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--jwks-refresh=1h"]).await;
    assert_eq!(issuer.fetches(KEYS), 1);
    let begun = Instant::now();
    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    let of_new = new.sign(&claims());
    // Within five seconds of the first fetch it may be too soon for another one.
    eventually("the new key is known", SOON, async || status(&sidecar, &of_new).await == 200).await;
    assert!(issuer.fetches(KEYS) == 2, "{}", issuer.fetches(KEYS));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    let (asked, begun) = (issuer.fetches(KEYS), Instant::now());
    let of_stranger = stranger.sign(&claims());
    let mut longest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(11) {
        let once = Instant::now();
        let refused = status(&sidecar, &of_stranger).await;
        assert!(matches!(refused, 401 | 503), "{refused}");
        longest = longest.max(once.elapsed());
        assert_eq!(status(&sidecar, &of_new).await, 200, "others are served as ever");
    }
    let fetches = issuer.fetches(KEYS) - asked;
    assert!((1..=3).contains(&fetches), "{fetches} in 11 s");
    assert!(longest < Duration::from_millis(3500), "{longest:?}");

    // A token without a name, or of a known key with a bad signature, has nothing fetched.
    let asked = issuer.fetches(KEYS);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let settled = issuer.fetches(KEYS);
    assert!(settled <= asked + 1, "what was wanted before");
    assert_eq!(status(&sidecar, &stranger.sign_as(None, &claims())).await, 401);
    assert_eq!(status(&sidecar, &stranger.sign_as(Some("new"), &claims())).await, 401);
    assert_eq!(issuer.fetches(KEYS), settled);
}

#[tokio::test]
async fn a_request_waits_two_seconds_for_an_unknown_key() {
    let (old, new) = (key("old"), key("new"));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--jwks-refresh=1h"]).await;
    let both = set(&[&old, &new]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    issuer.serve(KEYS, Page::Slow(Duration::from_secs(3), both));
    let begun = Instant::now();
    let [of_old, of_new] = [&old, &new].map(|key| key.sign(&claims()));
    let (first, second) = tokio::join!(status(&sidecar, &of_new), async {
        let status = status(&sidecar, &of_old).await;
        (status, begun.elapsed())
    });
    let waited = begun.elapsed();
    assert_eq!(first, 503, "its key came too late");
    assert!((Duration::from_millis(1900)..Duration::from_millis(2900)).contains(&waited), "{waited:?}");
    assert!(second.0 == 200 && second.1 < Duration::from_secs(1), "others do not wait: {second:?}");
    eventually("it is known by now", SOON, async || status(&sidecar, &of_new).await == 200).await;
    assert_eq!(issuer.fetches(KEYS), 2);
}

#[tokio::test]
async fn soon_after_a_fetch_a_token_of_an_unknown_key_is_503_and_its_key_is_fetched_all_the_same() {
    let (old, new) = (key("old"), key("new"));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--jwks-refresh=1h"]).await;
    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    let of_new = new.sign(&claims());
    let begun = Instant::now();
    let answer = sidecar.call("GET", "/v1/locks").bearer(&of_new).send().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "it does not wait: {:?}", begun.elapsed());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.json()["code"], "keys-unavailable");
    // No further request asks for it.
    eventually("it is fetched", SOON, async || issuer.fetches(KEYS) == 2).await;
    assert_eq!(status(&sidecar, &of_new).await, 200);
}

#[tokio::test]
async fn a_cookie_of_a_known_key_does_not_hide_one_of_another_user_whose_key_is_unknown() {
    let (old, new) = (key("old"), key("new"));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--jwks-refresh=1h"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    let (alice, bob) = (old.sign(&jwt::editor_claims("alice")), new.sign(&jwt::editor_claims("bob")));
    let cookies = format!("refreshToken={alice}; refreshToken={bob}");
    let answer = sidecar.call("GET", "/v1/locks").header("cookie", &cookies).send().await;
    assert_eq!((answer.status, issuer.fetches(KEYS)), (401, 2), "{}", answer.text());
    let many = vec![format!("refreshToken={alice}"); 9];
    for (count, status) in [(8, 200), (9, 401)] {
        let cookies = many[..count].join("; ");
        assert_eq!(sidecar.call("GET", "/v1/locks").header("cookie", &cookies).send().await.status, status, "{count}");
    }
    // A cookie whose key is gone for good hinders no one.
    let lost = key("lost").sign(&jwt::editor_claims("bob"));
    let cookies = format!("refreshToken={lost}; refreshToken={alice}");
    assert_eq!(sidecar.call("GET", "/v1/locks").header("cookie", &cookies).send().await.status, 200);
}

#[tokio::test]
async fn one_stale_answer_ends_no_hold() {
    let (old, new) = (key("old"), key("new"));
    let (issuer, sidecar) = with_url(&set(&[&old, &new]), &["--jwks-refresh=1h"]).await;
    let path = format!("/v1/locks/{}/hold", unique("stale"));
    let of_new = new.sign(&claims());
    let mut hold = sidecar.call("POST", &path).bearer(&of_new).json(&json!({"ttlMs": 1000})).open().await;
    assert_eq!(hold.next().await.unwrap()["event"], "acquired");
    issuer.serve(KEYS, Page::Json(set(&[&old])));
    sidecar.signal("HUP");
    eventually("the key is gone", SOON, async || status(&sidecar, &of_new).await == 503).await;
    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    while status(&sidecar, &of_new).await != 200 {
        assert_eq!(hold.next().await.unwrap()["event"], "renewed");
    }
    assert_eq!(issuer.fetches(KEYS), 3);
    // Lines of before may still lie here: by now it was renewed with the key.
    tokio::time::sleep(Duration::from_secs(1)).await;

    // Two answers without it do.
    issuer.serve(KEYS, Page::Json(set(&[&old])));
    sidecar.signal("HUP");
    let lost = loop {
        let line = hold.next().await.unwrap();
        if line["event"] != "renewed" {
            break line;
        }
    };
    assert_eq!((&lost["event"], &lost["reason"]), (&json!("lost"), &json!("unauthorized")), "{lost}");
    assert_eq!(issuer.fetches(KEYS), 5);
}

#[tokio::test]
async fn every_api_waits_for_an_unknown_key() {
    let (old, new) = (key("old"), key("new"));
    let issuer = Issuer::plain(Page::Json(set(&[&old]))).await;
    let sidecar = following(&issuer, KEYS, &["--jwks-refresh=1h"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    let target = json!({"route": unique("r"), "id": "1"});
    let answer = sidecar.call("POST", "/admin/lock").cookie(&new.sign(&claims())).json(&target).send().await;
    assert_eq!((answer.status, issuer.fetches(KEYS)), (200, 2), "{}", answer.text());
}

#[tokio::test]
async fn a_set_in_a_file_is_read_again() {
    let (old, new) = (key("old"), key("new"));
    let scratch = Scratch::new();
    let file = scratch.file("keys.json", set(&[&old]).to_string());
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwks-file", &file]).await;
    let [of_old, of_new] = [&old, &new].map(|key| key.sign(&claims()));
    assert_eq!((status(&sidecar, &of_old).await, status(&sidecar, &of_new).await), (200, 401));
    scratch.file("keys.json", set(&[&old, &new]).to_string());
    eventually("both pass", SOON, async || status(&sidecar, &of_new).await == 200).await;
    assert_eq!(status(&sidecar, &of_old).await, 200);
    let unfit = |value: u8| format!("lockside_secret_file_unfit{{flag=\"jwks-file\"}} {value}");
    for bad in ["{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "<html>", ""] {
        scratch.file("keys.json", bad);
        eventually(bad, SOON, async || sidecar.ops("/metrics").await.text().contains(&unfit(1))).await;
        assert_eq!((status(&sidecar, &of_old).await, status(&sidecar, &of_new).await), (200, 200), "{bad}");
        scratch.file("keys.json", set(&[&old, &new]).to_string());
        eventually(bad, SOON, async || sidecar.ops("/metrics").await.text().contains(&unfit(0))).await;
    }
}

#[tokio::test]
async fn a_hang_up_fetches_the_keys_at_once() {
    let (old, new) = (key("old"), key("new"));
    let (issuer, sidecar) = with_url(&set(&[&old]), &["--jwks-refresh=1h"]).await;
    issuer.serve(KEYS, Page::Json(set(&[&new])));
    sidecar.signal("HUP");
    let of_old = old.sign_as(None, &claims());
    eventually("the old key is gone", SOON, async || status(&sidecar, &of_old).await == 401).await;
    assert_eq!(issuer.fetches(KEYS), 2);
}
