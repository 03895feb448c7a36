//! Bodies, queries and headers: what they may be, and that nothing in them is ignored.

use serde_json::{Value, json};

use super::{Native, Who, assert_done, assert_problem, path, reader, token_of, without_id};
use crate::harness::{Sidecar, TestRedis, http, jwt, unique};

const DOCUMENT: &str = include_str!("../../../../src/api/openapi/openapi.json");

/// What the document says that an operation takes.
struct Takes {
    method: String,
    path: String,
    parameters: Vec<String>,
    /// `None` where it takes no body.
    fields: Option<Vec<String>>,
}

/// Every operation of the native API, and the creation of a lease.
fn operations() -> Vec<Takes> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let resolved = |value: &Value| match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap().clone(),
        None => value.clone(),
    };
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "delete"] {
            let is_ours = path.starts_with("/v1/locks") || (path == "/cmn/leasable-locks" && method == "post");
            let Some(operation) = item.get(method).filter(|_| is_ours) else { continue };
            let parameters = [&item["parameters"], &operation["parameters"]].into_iter().filter_map(Value::as_array);
            let parameters = parameters.flatten().map(resolved).filter(|parameter| parameter["in"] == "query");
            let schema = operation["requestBody"]["content"]["application/json"].get("schema").map(resolved);
            let names = |schema: Value| schema["properties"].as_object().unwrap().keys().cloned().collect();
            all.push(Takes {
                method: method.to_uppercase(),
                path: path.replace("{key}", &unique("known")),
                parameters: parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect(),
                fields: schema.map(names),
            });
        }
    }
    assert!(all.len() >= 8 && all.iter().filter(|it| it.fields.is_some()).count() >= 4, "{}", all.len());
    all
}

/// Ways to get a name wrong.
fn misspelled(name: &str) -> Vec<String> {
    let snake = name.chars().map(|c| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() });
    let mut swapped: Vec<char> = name.chars().collect();
    swapped.swap(0, 1);
    let all = [
        name.to_uppercase(),
        name.to_lowercase(),
        snake.collect(),
        format!("{name}s"),
        format!("{name} "),
        name[..name.len() - 1].to_owned(),
        swapped.into_iter().collect(),
    ];
    all.into_iter().filter(|wrong| wrong != name).collect()
}

#[tokio::test]
async fn every_unknown_field_and_parameter_is_refused_by_its_name_and_with_the_nearest() {
    let native = Native::start(&[]).await;
    for Takes { method, path, parameters, fields } in operations() {
        let ask = async |query: &str, body: String| {
            let call = native.ask(&Who::System, &method, &format!("{path}{query}")).body(body);
            let answer = call.send().await;
            assert_eq!(answer.status, 400, "{method} {path}{query}: {}", answer.text());
            let answer = answer.json();
            answer.get("detail").unwrap_or(&answer["messageValue"]).as_str().unwrap().to_owned()
        };
        let encoded = |name: &str| name.replace(' ', "%20");
        // All that exists is named, and nothing else.
        let expected = |names: &[String]| match names {
            [] => "expected none".to_owned(),
            [one] => format!("expected {one}"),
            [all @ .., last] => format!("expected {} or {last}", all.join(", ")),
        };
        let in_any_order = |told: &str, names: &[String]| {
            let told = told.trim_end_matches(')').rsplit_once("expected ").unwrap().1.replace(" or ", ", ");
            let (mut told, mut names) = (told.split(", ").collect::<Vec<_>>(), names.to_vec());
            told.sort_unstable();
            names.sort();
            told == names || (names.is_empty() && told == ["none"])
        };
        let told = ask("?unheardof=1", String::new()).await;
        assert!(told.contains("unknown query parameter `unheardof`"), "{told}");
        assert!(in_any_order(&told, &parameters), "{told}, not {}", expected(&parameters));
        for name in &parameters {
            for wrong in misspelled(name) {
                let told = ask(&format!("?{}=1", encoded(&wrong)), String::new()).await;
                let is_named = told.contains(&format!("unknown query parameter `{wrong}`"));
                assert!(is_named && told.contains(&format!("did you mean `{name}`?")), "{told}");
            }
            if fields.is_some() {
                let query = parameters.iter().map(|name| format!("{name}=64")).collect::<Vec<_>>().join("&");
                let told = ask(&format!("?{query}"), json!({name: 1}).to_string()).await;
                assert!(told.contains(&format!("unknown field `{name}`; `{name}` is a query parameter")), "{told}");
            }
        }
        let Some(fields) = fields else { continue };
        let query = if parameters.is_empty() { "" } else { "?token=64" };
        let told = ask(query, "{\"unheardof\":1}".to_owned()).await;
        assert!(told.contains("unknown field `unheardof`"), "{told}");
        assert!(in_any_order(&told, &fields), "{told}, not {}", expected(&fields));
        for name in &fields {
            for wrong in misspelled(name) {
                let told = ask(query, json!({&wrong: 1}).to_string()).await;
                let is_named = told.contains(&format!("unknown field `{wrong}`"));
                assert!(is_named && told.contains(&format!("did you mean `{name}`?")), "{told}");
            }
            let told = ask(&format!("?{name}=1"), String::new()).await;
            assert!(told.contains(&format!("unknown query parameter `{name}`; `{name}` is a field")), "{told}");
            // What the document names is known: only its value is refused.
            let odd = format!("{{\"{name}\":{}{}}}", "[".repeat(33), "]".repeat(33));
            assert!(!ask(query, odd).await.contains("unknown"), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_not_understood_changes_nothing() {
    let native = Native::start(&[]).await;
    let (key, other) = (unique("unharmed"), unique("unheard"));
    let token = token_of(&native.granted(&Who::System, &key).await);
    let before = native.look(&key).await["holder"]["validUntil"].clone();
    let own = format!("{}?token={token}", path(&key));
    for (method, target, body, names) in [
        ("POST", path(&other), "{\"ttl\":600000}", ["`ttl`", "`ttlMs`"]),
        ("POST", path(&other), "{\"ttl_ms\":600000}", ["`ttl_ms`", "`ttlMs`"]),
        ("POST", path(&other), "{\"leasePeriod\":60}", ["`leasePeriod`", "`ttlMs`"]),
        ("POST", path(&other), "{\"wait\":5000}", ["`wait`", "`waitMs`"]),
        ("POST", format!("{}?ttlMs=600000", path(&other)), "", ["`ttlMs`", "field"]),
        ("POST", format!("{}/hold?waitMs=1", path(&other)), "", ["`waitMs`", "field"]),
        (
            "POST",
            "/cmn/leasable-locks".to_owned(),
            "{\"key\":\"KEY\",\"leasePeriod\":60,\"ttlMs\":1}",
            ["`ttlMs`", "`leasePeriod`"],
        ),
        (
            "POST",
            "/cmn/leasable-locks?leasePeriod=9".to_owned(),
            "{\"key\":\"KEY\",\"leasePeriod\":60}",
            ["`leasePeriod`", "field"],
        ),
        ("PUT", format!("{own}&ttlMs=5000"), "", ["`ttlMs`", "field"]),
        ("PUT", own.clone(), "{\"ttlMs\":5000,\"force\":true}", ["`force`", "ttlMs"]),
        ("DELETE", format!("{own}&dryRun=true"), "", ["`dryRun`", "force"]),
        ("GET", "/v1/locks?limt=5".to_owned(), "", ["`limt`", "`limit`"]),
        ("GET", format!("{}?token=7", path(&key)), "", ["`token`", "waitMs"]),
    ] {
        let body = body.replace("KEY", &other);
        let answer = native.ask(&Who::System, method, &target).body(body.clone()).send().await;
        assert_eq!(answer.status, 400, "{method} {target} {body}: {}", answer.text());
        for name in names {
            assert!(answer.text().contains(name), "{name}: {method} {target} {body}: {}", answer.text());
        }
    }
    assert!(native.is_free(&other).await);
    assert_eq!(native.look(&key).await["holder"]["validUntil"], before);
    // As some clients send it with everything.
    assert_done(&native.ask(&Who::System, "DELETE", &own).body("{}").send().await);
}

#[tokio::test]
async fn the_apis_of_others_go_on_ignoring_what_they_do_not_know() {
    let scratch = crate::harness::Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let (alice, key) = (jwt::editor("alice"), unique("others"));
    let call = |method: &str, path: &str| sidecar.call(method, path).cookie(&alice);
    let lease = call("POST", "/cmn/leasable-locks").json(&json!({"key": key, "leasePeriod": 60})).send().await.json();
    let own = format!("/cmn/leasable-locks/{}", lease["token"]);
    let target = json!({"route": "ignored", "id": key, "ttlMs": 1, "more": {}});
    let dapr = json!({"resourceId": key, "lockOwner": "o", "expiryInSeconds": 60, "storeName": "x", "ttlMs": 1});
    for (call, body) in [
        (call("POST", "/admin/lock?x=1"), target.clone()),
        (call("DELETE", "/admin/remove-lock?x=1"), target),
        (call("GET", "/cmn/leasable-locks?limt=5&x"), json!({})),
        (call("PUT", &format!("{own}?leasePeriod=90&ttlMs=1")), json!({"x": 1})),
        (call("DELETE", &format!("{own}?x=1")), json!({"x": 1})),
        (sidecar.call("POST", "/v1.0-alpha1/lock/lockstore?x=1"), dapr.clone()),
        (sidecar.call("POST", "/v1.0-alpha1/unlock/lockstore?x=1"), dapr),
    ] {
        let answer = call.json(&body).send().await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn bodies_that_are_no_object_of_the_right_types_are_refused() {
    let native = Native::start(&[]).await;
    let key = unique("bad");
    for body in [
        "{",
        "null",
        "5",
        "\"text\"",
        "[]",
        "[30000]",
        "{\"ttlMs\":30000}x",
        "{\"ttlMs\":30000,\"ttlMs\":30000}",
        "{\"owner\":7}",
        "{\"owner\":[\"web-3\"]}",
        "{\"reentrant\":\"true\"}",
        "{\"reentrant\":1}",
        "{\"meta\":}",
        "{\"meta\":NaN}",
        "{\"meta\":'x'}",
        "{\"ttlMs\":30000,\"ttlms\":30000}",
    ] {
        let answer = native.ask(&Who::System, "POST", &path(&key)).body(body).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    let not_utf8 = native.ask(&Who::System, "POST", &path(&key)).body(&b"{\"owner\":\"\xff\"}"[..]).send().await;
    assert_problem(&not_utf8, 400, "bad-request");
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn a_body_of_16_kib_is_read_and_one_byte_more_is_too_large() {
    let native = Native::start(&[]).await;
    let padded = |length: usize| format!("{:<length$}", json!({"ttlMs": 20_000}).to_string());
    let post = || native.call("POST", &path(&unique("large"))[..]).bearer(super::API_TOKEN);
    assert_eq!(post().body(padded(16 * 1024)).send().await.status, 201);
    assert_problem(&post().body(padded(16 * 1024 + 1)).send().await, 413, "too-large");
}

#[tokio::test]
async fn an_owner_has_1_to_256_bytes_without_control_characters() {
    let native = Native::start(&[]).await;
    let (ascii, two_bytes) = ("x".repeat(256), "é".repeat(128));
    for owner in [ascii.as_str(), &two_bytes, "a b", "\"quoted\\\"", "web-3"] {
        let answer = native.acquire(&Who::System, &unique("owner"), &json!({"owner": owner})).await;
        assert_eq!((answer.status, &answer.json()["owner"]), (201, &json!(owner)), "{}", answer.text());
    }
    let (ascii, two_bytes) = ("x".repeat(257), "é".repeat(129));
    for owner in ["", &ascii, &two_bytes, "a\nb", "\u{0}", "\u{7f}", "\u{85}"] {
        let answer = native.acquire(&Who::System, &unique("owner"), &json!({"owner": owner})).await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("256"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_printable_characters_and_comes_once() {
    let native = Native::start(&[]).await;
    let longest = "x".repeat(255);
    for name in [longest.as_str(), "a", "~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}", "8f0c4a1e-0000", "a b"] {
        let answer = native.attempt(&Who::System, &unique("name"), name, &json!({"owner": "web-3"})).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
    let too_long = "x".repeat(256);
    for name in ["", " ", &too_long, "a\tb"] {
        let answer = native.attempt(&Who::System, &unique("name"), name, &json!({})).await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("Idempotency-Key"), "{}", answer.text());
    }
    let twice = native.ask(&Who::System, "POST", &path(&unique("name")));
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "a").send().await;
    assert_problem(&twice, 400, "bad-request");
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nIdempotency-Key: é\r\nConnection: close\r\n\r\n",
        path(&unique("name")),
        super::API_TOKEN
    );
    let answer = http::raw(native.api_address(), &request);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_bad_header_or_body_is_told_whether_or_not_the_key_is_held() {
    let native = Native::start(&[]).await;
    let (free, held) = (unique("free"), unique("held"));
    native.granted(&reader("alice"), &held).await;
    let bad = json!({"ttlMs": 0});
    let of_free = native.acquire(&reader("bob"), &free, &bad).await;
    let of_held = native.acquire(&reader("bob"), &held, &bad).await;
    assert_problem(&of_free, 400, "bad-request");
    assert_eq!(without_id(&of_free), without_id(&of_held));
}

#[tokio::test]
async fn nothing_in_the_body_of_an_operation_that_takes_none_is_ignored() {
    let native = Native::start(&[]).await;
    let key = unique("bodiless");
    // In this order they succeed one after the other.
    let operations = async || {
        let lease = native.ask(&Who::System, "POST", &path(&key)).json(&json!({"ttlMs": 60_000})).send().await;
        assert_eq!(lease.status, 201, "{}", lease.text());
        let (path, token) = (path(&key), token_of(&lease.json()));
        [
            ("GET", path.clone(), 200),
            ("GET", format!("{path}/fence?token={token}"), 200),
            ("GET", format!("/v1/locks?prefix={key}"), 200),
            ("DELETE", format!("{path}?token={token}"), 204),
            ("DELETE", format!("{path}?force=true"), 204),
        ]
    };
    for body in ["", "{}", " null\n", "{ }"] {
        for (method, path, status) in operations().await {
            let answer = native.ask(&Who::System, method, &path).body(body).send().await;
            assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        }
    }
    for (method, path, _) in operations().await {
        for (body, says) in [
            ("{\"dryRun\":true}", "unknown field `dryRun`; expected none"),
            (" { \"x\" : null } ", "unknown field `x`; expected none"),
            ("[]", "expected a JSON object"),
            ("true", "expected a JSON object"),
            ("dryRun=true", "expected a JSON object"),
            ("{", "EOF"),
        ] {
            let answer = native.ask(&Who::System, method, &path).body(body).send().await;
            assert_eq!(answer.status, 400, "{method} {path} {body}: {}", answer.text());
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(says), "{method} {path} {body}: {detail}");
        }
    }
    let state = native.ask(&Who::System, "GET", &path(&key)).send().await.json();
    assert_eq!(state["state"], "held", "nothing that was refused was done");
    let misplaced = native.ask(&Who::System, "DELETE", &path(&key)).body("{\"token\":1}").send().await;
    let detail = misplaced.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`token` is a query parameter"), "{detail}");
}

#[tokio::test]
async fn a_field_that_is_null_or_of_another_type_is_refused_by_its_name() {
    let native = Native::start(&[]).await;
    for (field, value) in [
        ("ttlMs", json!(null)),
        ("ttlMs", json!("5")),
        ("waitMs", json!(null)),
        ("owner", json!(null)),
        ("owner", json!(5)),
        ("reentrant", json!(null)),
        ("reentrant", json!("true")),
        ("progress", json!(null)),
        ("progress", json!("true")),
    ] {
        for end in ["", "/hold"] {
            if field == "progress" && end.is_empty() {
                continue;
            }
            let call = native.ask(&Who::System, "POST", &format!("{}{end}", path(&unique("null"))));
            let answer = call.json(&json!({field: value})).send().await;
            assert_problem(&answer, 400, "bad-request");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(&format!("{field}: ")), "{field} {value}: {detail}");
        }
    }
}
