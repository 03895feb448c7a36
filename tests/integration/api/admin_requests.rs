//! The admin dialect's requests: what names a lock, where the identity is looked for, and what HTTP itself refuses.

use serde_json::{Value, json};

use crate::api::admin::{CONFLICT, FORBIDDEN, MISSING, NOT_FOUND, ROUTES, SUCCESS, UNAUTHORIZED, said, target};
use crate::harness::http::raw;
use crate::harness::{Answer, Call, Sidecar, jwt, unique};

const NOT_ALLOWED: &str = r#"{"data":"Method not allowed","code":405}"#;
const TOO_LARGE: &str = r#"{"data":"Payload too large","code":413}"#;

async fn lock(sidecar: &Sidecar, user: &str, target: &Value) -> Answer {
    sidecar.call("POST", "/admin/lock").cookie(&jwt::editor(user)).json(target).send().await
}

async fn remove(sidecar: &Sidecar, user: &str, target: &Value) -> Answer {
    sidecar.call("DELETE", "/admin/remove-lock").cookie(&jwt::editor(user)).json(target).send().await
}

#[tokio::test]
async fn a_body_that_names_no_lock_is_missing_parameters() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let long = "x".repeat(512);
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "null",
        "true",
        "1",
        "\"volume\"",
        "[]",
        "{}",
        "{}{}",
        "route=volume&id=1",
        "[\"volume\",\"1\"]",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bodies.push(b"{\"route\":\"volume\",\"id\":\"\xff\"}".to_vec());
    bodies.push(br#"{"route":"volume","id":"\ud800"}"#.to_vec());
    bodies.push(br#"{"route":"volume","id":"1"} x"#.to_vec());
    for bad in [
        json!(""),
        json!(null),
        json!(true),
        json!(false),
        json!(1.5),
        json!(1.0),
        json!(1e3),
        json!([]),
        json!(["1"]),
        json!({"id": "1"}),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("\u{7f}"),
        json!("\u{85}"),
        json!(long),
    ] {
        bodies.push(json!({"route": "volume", "id": bad}).to_string().into());
        bodies.push(json!({"route": bad, "id": "1"}).to_string().into());
    }
    bodies.push(json!({"route": "volume"}).to_string().into());
    bodies.push(json!({"id": "1"}).to_string().into());
    bodies.push(json!({"Route": "volume", "ID": "1"}).to_string().into());
    for body in bodies {
        for (method, path) in ROUTES {
            let call = sidecar.call(method, path).cookie(&jwt::editor("alice")).body(body.clone());
            assert_eq!(said(&call.send().await), MISSING, "{method} {}", String::from_utf8_lossy(&body));
        }
    }
}

#[tokio::test]
async fn route_and_id_together_may_be_as_long_as_a_key() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let route = unique("r");
    let room = 512 - route.len() - 1;
    for (id, next) in [("x".repeat(room), "x"), ("x".repeat(room % 2) + &"ß".repeat(room / 2), "x")] {
        let longest = json!({"route": route, "id": id});
        let too_long = json!({"route": route, "id": id + next});
        assert_eq!(said(&lock(&sidecar, "alice", &longest).await), SUCCESS);
        assert_eq!(said(&lock(&sidecar, "alice", &too_long).await), MISSING);
        assert_eq!(said(&remove(&sidecar, "alice", &longest).await), SUCCESS);
    }
}

#[tokio::test]
async fn an_integer_is_taken_as_its_decimal_text() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let route = unique("numbers");
    for (number, text) in [
        ("0", "0"),
        ("-0", "0"),
        ("1234567890", "1234567890"),
        ("-7", "-7"),
        ("9223372036854775808", "9223372036854775808"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
    ] {
        let as_number = format!(r#"{{"route":"{route}","id":{number}}}"#);
        let answer = sidecar.call("POST", "/admin/lock").cookie(&jwt::editor("alice")).body(as_number).send().await;
        assert_eq!(said(&answer), SUCCESS, "{number}");
        let as_text = json!({"route": route, "id": text});
        assert_eq!(said(&lock(&sidecar, "bob", &as_text).await), CONFLICT, "{number}");
        assert_eq!(said(&remove(&sidecar, "alice", &as_text).await), SUCCESS, "{number}");
    }
}

#[tokio::test]
async fn no_two_targets_are_one_lock() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let (a, b) = (unique("a"), unique("b"));
    let targets = [
        json!({"route": format!("{a}:{b}"), "id": "c"}),
        json!({"route": a, "id": format!("{b}:c")}),
        json!({"route": format!("{a}%3A{b}"), "id": "c"}),
        json!({"route": a, "id": format!("{b}%3Ac")}),
        json!({"route": format!("{a}%3a{b}"), "id": "c"}),
        json!({"route": a.to_uppercase(), "id": format!("{b}:c")}),
        json!({"route": format!(" {a}"), "id": format!("{b}:c")}),
    ];
    for (user, target) in targets.iter().enumerate() {
        assert_eq!(said(&lock(&sidecar, &format!("user-{user}"), target).await), SUCCESS, "{target}");
    }
    for (user, target) in targets.iter().enumerate() {
        assert_eq!(said(&remove(&sidecar, &format!("user-{user}"), target).await), SUCCESS, "{target}");
    }
}

#[tokio::test]
async fn a_delete_without_a_body_is_read_from_its_query() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let id = unique("a b/ü:%");
    let target = json!({"route": "volume", "id": id});
    let encoded: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let call = |method, query: &str| {
        let path = if method == "POST" { "/admin/lock" } else { "/api/admin/remove-lock" };
        sidecar.call(method, &format!("{path}?{query}")).cookie(&jwt::editor("alice")).send()
    };
    let good = format!("route=volume&id={encoded}&more=1");

    assert_eq!(said(&call("POST", &good).await), MISSING, "a POST names its lock in the body");
    assert_eq!(said(&lock(&sidecar, "alice", &target).await), SUCCESS);
    for bad in [
        "",
        "route=volume",
        "id=1",
        "route=&id=1",
        "route=volume&id=",
        "route=volume&id=%0A",
        "route=v&ID=1",
        "route=v&id=1&id=2",
        "route=v&id=%FF",
    ] {
        assert_eq!(said(&call("DELETE", bad).await), MISSING, "{bad}");
    }
    assert_eq!(said(&call("DELETE", &good).await), SUCCESS);
    assert_eq!(said(&call("DELETE", &good).await), NOT_FOUND);
}

#[tokio::test]
async fn a_body_wins_over_the_query() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let (in_body, in_query) = (target(), target());
    let path = format!("/admin/remove-lock?route=volume&id={}", in_query["id"].as_str().unwrap());
    for target in [&in_body, &in_query] {
        assert_eq!(said(&lock(&sidecar, "alice", target).await), SUCCESS);
    }
    let delete = || sidecar.call("DELETE", &path).cookie(&jwt::editor("alice"));

    assert_eq!(said(&delete().json(&json!({"route": "volume"})).send().await), MISSING);
    assert_eq!(said(&delete().json(&in_body).send().await), SUCCESS);
    assert_eq!(said(&delete().json(&in_body).send().await), NOT_FOUND);
    assert_eq!(said(&lock(&sidecar, "bob", &in_query).await), CONFLICT, "the query's lock was left alone");
}

#[tokio::test]
async fn unknown_fields_are_ignored_up_to_16_kib() {
    let sidecar = Sidecar::with_secret(&[]).await;
    for (bytes, expected) in [(16 * 1024, SUCCESS), (16 * 1024 + 1, TOO_LARGE)] {
        for (method, path) in ROUTES {
            let mut body = json!({"route": "volume", "id": unique("large"), "more": ""});
            assert_eq!(said(&lock(&sidecar, "alice", &body).await), SUCCESS);
            body["more"] = "x".repeat(bytes - body.to_string().len()).into();
            assert_eq!(body.to_string().len(), bytes);
            let call = || sidecar.call(method, path).body(body.to_string());
            assert_eq!(said(&call().cookie(&jwt::editor("alice")).send().await), expected, "{method} {bytes}");
            assert_eq!(said(&call().send().await), UNAUTHORIZED, "{method}: nobody learns more than that");
        }
    }
    let chunk = "x".repeat(16 * 1024 + 1);
    let head = format!("Host: localhost\r\nConnection: close\r\nCookie: refreshToken={}", jwt::editor("alice"));
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
    let answer = raw(sidecar.api_address(), &format!("POST /admin/lock HTTP/1.1\r\n{head}\r\n{chunked}"));
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with(TOO_LARGE), "{answer}");
}

#[tokio::test]
async fn another_method_is_405_and_told_the_right_one_before_anything_else() {
    let sidecar = Sidecar::with_secret(&[]).await;
    for (right, path) in ROUTES {
        for method in ["GET", "HEAD", "PUT", "PATCH", "OPTIONS", "POST", "DELETE"] {
            for path in [path.to_owned(), format!("/api{path}")] {
                if method == right {
                    continue;
                }
                let answer = sidecar.call(method, &path).send().await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some(right)), "{method} {path}");
                match method {
                    "HEAD" => assert_eq!(answer.text(), ""),
                    _ => assert_eq!(said(&answer), NOT_ALLOWED, "{method} {path}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let sidecar = Sidecar::with_secret(&["--allowed-origins", "https://admin.test"]).await;
    let own = format!("http://{}", sidecar.api_address());
    let target = target();
    let call = |method, path, headers: &[(&str, &str)]| {
        let call = sidecar.call(method, path).cookie(&jwt::editor("alice")).json(&target);
        headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send()
    };
    for foreign in [
        &[("origin", "https://evil.test")][..],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", "https://admin.test.evil.test")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")],
    ] {
        for (method, path) in ROUTES {
            assert_eq!(said(&call(method, path, foreign).await), FORBIDDEN, "{method} {foreign:?}");
        }
    }
    for near in [
        &[][..],
        &[("origin", &*own)],
        &[("sec-fetch-site", "same-origin"), ("origin", &own)],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://admin.test")],
    ] {
        for (method, path) in ROUTES {
            assert_eq!(said(&call(method, path, near).await), SUCCESS, "{method} {near:?}");
        }
    }
    let rebound = call("POST", "/admin/lock", &[("host", "evil.test")]).await;
    assert_eq!(said(&rebound), FORBIDDEN, "a name that is not this machine's");
}

/// A POST with these headers and a target of its own.
fn post<'a>(sidecar: &'a Sidecar, headers: &[(&str, String)]) -> Call<'a> {
    let call = sidecar.call("POST", "/admin/lock").json(&target());
    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
}

#[tokio::test]
async fn the_cookie_is_found_among_others_quoted_or_not_in_any_cookie_header() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let good = jwt::editor("alice");
    for headers in [
        vec![format!("refreshToken={good}")],
        vec![format!("refreshToken=\"{good}\"")],
        vec![format!("a=b; refreshToken={good}; c=d")],
        vec![format!("a=b;refreshToken=\"{good}\";c=d")],
        vec![format!("flag; =; a=\"b; refreshToken={good}")],
        vec![format!("refreshtoken=x; xrefreshToken=y; refreshToken={good}")],
        vec![format!("name=Jürgen; refreshToken={good}")],
        vec!["a=b".to_owned(), format!("refreshToken={good}"), "c=d".to_owned()],
        vec![format!("refreshToken=x.y.z; refreshToken={good}")],
    ] {
        let headers: Vec<_> = headers.into_iter().map(|cookie| ("cookie", cookie)).collect();
        assert_eq!(said(&post(&sidecar, &headers).send().await), SUCCESS, "{headers:?}");
    }
    for headers in [
        vec![],
        vec!["refreshToken=".to_owned()],
        vec!["refreshToken".to_owned()],
        vec![format!("refreshtoken={good}")],
        vec![format!("xrefreshToken={good}")],
        vec![format!("a=refreshToken={good}")],
        vec![format!("refreshToken=x.y.z; refreshToken={}", jwt::editor("mallory") + "x")],
    ] {
        let headers: Vec<_> = headers.into_iter().map(|cookie| ("cookie", cookie)).collect();
        assert_eq!(said(&post(&sidecar, &headers).send().await), UNAUTHORIZED, "{headers:?}");
    }
}

#[tokio::test]
async fn the_authorization_header_is_no_identity_here() {
    let scratch = crate::harness::Scratch::new();
    let api_token = scratch.file("token", "t-1");
    let sidecar = Sidecar::with_secret(&["--api-token-file", &api_token]).await;
    let (editor, reader) = (jwt::editor("alice"), jwt::reader("alice"));
    for shown in [format!("Bearer {editor}"), "Bearer t-1".to_owned()] {
        let authorization = ("authorization", shown);
        let with_cookie = |cookie: &str| vec![authorization.clone(), ("cookie", format!("refreshToken={cookie}"))];
        assert_eq!(said(&post(&sidecar, std::slice::from_ref(&authorization)).send().await), UNAUTHORIZED);
        assert_eq!(said(&post(&sidecar, &with_cookie("x")).send().await), UNAUTHORIZED);
        assert_eq!(said(&post(&sidecar, &with_cookie("t-1")).send().await), UNAUTHORIZED);
        assert_eq!(said(&post(&sidecar, &with_cookie(&reader)).send().await), FORBIDDEN);
    }
    let beside_a_bad_one = [("authorization", "Bearer x".to_owned()), ("cookie", format!("refreshToken={editor}"))];
    assert_eq!(said(&post(&sidecar, &beside_a_bad_one).send().await), SUCCESS);
}
