//! `POST`: who gets a key, what the answer says, and what is refused.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Leases, PATH, Who, assert_message, editor, expires_ms, reader, token_of};
use crate::harness::{jwt, unique};

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_users_lease_has_the_fields_of_the_schema_and_no_others() {
    let leases = Leases::start(&[]).await;
    let (key, id) = (unique("dto"), unique("alice"));
    let claims = json!({"sub": id, "name": "Alice", "description": "Editor", "exp": jwt::seconds(60)});
    let lease = leases.granted(&Who::User(jwt::signed(&claims)), &key, 30).await;
    assert_eq!(fields(&lease), ["key", "lockedBySystem", "token", "user", "validUntil"]);
    assert_eq!(lease["key"], key.as_str());
    assert!((1..1 << 53).contains(&token_of(&lease)));
    assert_eq!(lease["lockedBySystem"], false);
    assert_eq!(lease["user"], json!({"id": id, "label": "Alice", "description": "Editor", "active": true}));
    assert!(lease["validUntil"].is_string());
}

#[tokio::test]
async fn a_user_of_whom_only_the_id_is_known_has_no_empty_texts() {
    let leases = Leases::start(&[]).await;
    let lease = leases.granted(&reader("bare"), &unique("bare"), 30).await;
    assert_eq!(lease["user"], json!({"id": "bare", "active": true}));
}

#[tokio::test]
async fn a_system_lease_names_no_user() {
    let leases = Leases::start(&[]).await;
    let lease = leases.granted(&Who::System, &unique("system"), 30).await;
    assert_eq!(fields(&lease), ["key", "lockedBySystem", "token", "validUntil"]);
    assert_eq!(lease["lockedBySystem"], true);
}

#[tokio::test]
async fn valid_until_is_what_redis_says_in_utc_with_milliseconds() {
    let leases = Leases::start(&[]).await;
    let key = unique("until");
    let lease = leases.granted(&reader("alice"), &key, 30).await;
    let text = lease["validUntil"].as_str().expect("a text");
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
    assert_eq!(text.parse::<Timestamp>().expect("RFC 3339").as_millisecond(), expires_ms(&key));
}

#[tokio::test]
async fn the_same_user_gets_the_same_token_renewed_and_anybody_else_409() {
    let leases = Leases::start(&[]).await;
    let (key, alice) = (unique("again"), reader("alice"));
    let lease = leases.granted(&alice, &key, 10).await;

    let again = leases.create(&alice, &key, 60).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(again.json()["token"], lease["token"]);
    let until = expires_ms(&key);
    assert_eq!(again.json()["validUntil"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond(), until);
    assert_ne!(again.json()["validUntil"], lease["validUntil"]);

    assert_message(&leases.create(&reader("bob"), &key, 60).await, 409);
    assert_message(&leases.create(&Who::System, &key, 60).await, 409);
    assert_eq!(expires_ms(&key), until, "a refusal changes nothing");
}

#[tokio::test]
async fn a_system_callers_key_is_held_for_everybody_its_own_kind_too() {
    let leases = Leases::start(&[]).await;
    let key = unique("held");
    leases.granted(&Who::System, &key, 30).await;
    assert_message(&leases.create(&Who::System, &key, 30).await, 409);
    assert_message(&leases.create(&editor("alice"), &key, 30).await, 409);
}

#[tokio::test]
async fn a_released_key_is_granted_anew_with_a_higher_token() {
    let leases = Leases::start(&[]).await;
    let (key, alice) = (unique("anew"), reader("alice"));
    let first = leases.granted(&alice, &key, 30).await;
    assert_message(&leases.release(&alice, token_of(&first)).await, 200);
    let second = leases.granted(&reader("bob"), &key, 30).await;
    assert!(token_of(&second) > token_of(&first), "{second} after {first}");
}

#[tokio::test]
async fn bodies_that_are_no_key_and_period_are_refused() {
    let leases = Leases::start(&[]).await;
    let key = unique("bad");
    let mut bodies: Vec<String> =
        ["", "{", "null", "5", "\"text\"", "[]", "{}"].iter().map(|body| (*body).to_owned()).collect();
    bodies.push(json!([key, 30]).to_string());
    bodies.push(json!({"key": key}).to_string());
    bodies.push(json!({"leasePeriod": 30}).to_string());
    for bad in [json!(0), json!(-1), json!(1.5), json!("30"), json!(null), json!(true), json!([30]), json!(86_401)] {
        bodies.push(json!({"key": key, "leasePeriod": bad}).to_string());
    }
    bodies.push(format!(r#"{{"key":"{key}","leasePeriod":9223372036854775807}}"#));
    bodies.push(format!(r#"{{"key":"{key}","leasePeriod":9223372036854775808}}"#));
    bodies.push(format!(r#"{{"key":"{key}","leasePeriod":1e999}}"#));
    for bad in [json!(""), json!(7), json!(null), json!([key]), json!("a\nb"), json!("\u{7f}"), json!("x".repeat(513))]
    {
        bodies.push(json!({"key": bad, "leasePeriod": 30}).to_string());
    }
    for body in bodies {
        let answer = leases.ask(&reader("alice"), "POST", PATH).body(body.clone()).send().await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_message(&answer, 400);
    }
    let answer = leases.ask(&reader("alice"), "POST", PATH).body(vec![b'{', b'"', 0xff, b'"', b'}']).send().await;
    assert_message(&answer, 400);
    assert_eq!(leases.listed(&Who::System, &key).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_longest_key_is_taken() {
    let leases = Leases::start(&[]).await;
    let key = format!("{:ß<300}", unique("longest"));
    let key: String = key
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= 512).then_some(c)
        })
        .collect();
    let body = json!({"key": key, "leasePeriod": 30});
    let answer = leases.ask(&reader("alice"), "POST", PATH).json(&body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["key"], key.as_str());
    assert_eq!(answer.json()["user"]["id"], "alice");
}

#[tokio::test]
async fn a_body_of_16_kib_is_read_and_one_byte_more_is_too_large() {
    let leases = Leases::start(&[]).await;
    let padded = |length: usize| format!("{:<length$}", json!({"key": unique("large"), "leasePeriod": 30}).to_string());
    let fits = leases.ask(&reader("alice"), "POST", PATH).body(padded(16 * 1024)).send().await;
    assert_eq!(fits.status, 201, "{}", fits.text());
    let too_large = leases.ask(&reader("alice"), "POST", PATH).body(padded(16 * 1024 + 1)).send().await;
    assert_message(&too_large, 413);
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_and_its_key_is_free() {
    let leases = Leases::start(&[]).await;
    let (key, alice) = (unique("short"), reader("alice"));
    let lease = leases.granted(&alice, &key, 1).await;
    assert_eq!(leases.listed(&alice, &key).await.len(), 1, "still there before it ends");
    let within = std::time::Duration::from_secs(4);
    crate::harness::eventually("the lease ends", within, async || leases.listed(&alice, &key).await.is_empty()).await;
    assert_message(&leases.renew(&alice, token_of(&lease), 30).await, 404);
    assert_message(&leases.release(&alice, token_of(&lease)).await, 404);
    assert_message(&leases.remove(&editor("eve"), token_of(&lease)).await, 404);
    let next = leases.granted(&reader("bob"), &key, 30).await;
    assert!(token_of(&next) > token_of(&lease));
    assert_message(&leases.renew(&alice, token_of(&lease), 30).await, 404);
}
