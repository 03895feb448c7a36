//! Good tokens of every kind are accepted, permissions are found where they may stand, and each credential is read
//! from where it belongs.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::api::admin::{FORBIDDEN, SUCCESS, said, target};
use crate::harness::jwt::{Pair, SECRET, editor, editor_claims, seconds, sign, signed};
use crate::harness::{API_TOKEN, Scratch, Sidecar, TestRedis, unique};

/// Each token is good as the admin dialect's cookie and as a bearer token of the leases dialect.
async fn accepts(sidecar: &Sidecar, token: &str, what: &str) {
    let lock = sidecar.call("POST", "/admin/lock").cookie(token).json(&target()).send().await;
    assert_eq!(said(&lock), SUCCESS, "{what}");
    assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").bearer(token).send().await.status, 200, "{what}");
}

#[tokio::test]
async fn one_trailing_newline_of_a_secret_file_is_cut_off() {
    let scratch = Scratch::new();
    for (in_file, secret) in [
        (SECRET.to_owned(), SECRET.to_owned()),
        (format!("{SECRET}\n"), SECRET.to_owned()),
        (format!("{SECRET}\n\n"), format!("{SECRET}\n")),
    ] {
        let file = scratch.file("secret", &in_file);
        let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &file]).await;
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = sign(&editor_claims("alice"), algorithm, &EncodingKey::from_secret(secret.as_bytes()));
            accepts(&sidecar, &token, &format!("{algorithm:?} with {in_file:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_public_key_verifies_all_algorithms_of_its_type() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let scratch = Scratch::new();
    for (pair, algorithms) in [
        (Pair::rsa(), &[RS256, RS384, RS512, PS256, PS384, PS512][..]),
        (Pair::p256(), &[ES256]),
        (Pair::p384(), &[ES384]),
        (Pair::ed25519(), &[EdDSA]),
    ] {
        let file = scratch.file("key.pem", &pair.public_pem);
        let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-public-key-file", &file]).await;
        for algorithm in algorithms {
            let token = sign(&editor_claims("alice"), *algorithm, &pair.private);
            accepts(&sidecar, &token, &format!("{algorithm:?}")).await;
        }
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_what_is_not_asked_for_is_not_checked() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let with = |claim: &str, value: Value| {
        let mut claims = editor_claims("alice");
        claims[claim] = value;
        signed(&claims)
    };
    for (what, token) in [
        ("expired within the leeway", with("exp", seconds(-15).into())),
        ("valid soon, within the leeway", with("nbf", seconds(15).into())),
        ("valid since long ago", with("nbf", 0.into())),
        ("exp with a fraction", with("exp", json!(seconds(3600) as f64 + 0.5))),
        ("issued tomorrow", with("iat", seconds(86_400).into())),
        ("any issuer", with("iss", "https://any.test".into())),
        ("any audience", with("aud", "any".into())),
        ("several audiences", with("aud", json!(["a", "b"]))),
        ("claims of any kind", with("https://any.test/claim", json!([{"a": 1}, null]))),
        ("a name that is no text", with("name", 7.into())),
        ("a key's name in the header", named(&editor_claims("alice"))),
        ("the longest user id", with("sub", "x".repeat(256).into())),
        ("a user id of many scripts", with("sub", "ß 漢字 \"'\\ 🙂".into())),
    ] {
        accepts(&sidecar, &token, what).await;
    }
}

/// HS256 with our secret and a `kid`, as most issuers write it.
fn named(claims: &Value) -> String {
    let header = jsonwebtoken::Header { kid: Some("2026-01".to_owned()), ..Default::default() };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[tokio::test]
async fn the_permission_is_a_word_of_permissions_or_else_of_scope() {
    let sidecar = Sidecar::with_secret(&[]).await;
    for (granted, expected) in [
        (json!({"permissions": ["manage-locks"]}), SUCCESS),
        (json!({"permissions": ["read", "manage-locks", "write"]}), SUCCESS),
        (json!({"permissions": "manage-locks"}), SUCCESS),
        (json!({"permissions": "read manage-locks write"}), SUCCESS),
        (json!({"scope": "manage-locks"}), SUCCESS),
        (json!({"scope": "openid manage-locks profile"}), SUCCESS),
        (json!({"permissions": ["manage-locks"], "scope": "openid"}), SUCCESS),
        (json!({}), FORBIDDEN),
        (json!({"permissions": []}), FORBIDDEN),
        (json!({"permissions": [], "scope": "manage-locks"}), FORBIDDEN),
        (json!({"permissions": "read", "scope": "manage-locks"}), FORBIDDEN),
        (json!({"permissions": ["manage-locks-not"]}), FORBIDDEN),
        (json!({"permissions": ["not-manage-locks"]}), FORBIDDEN),
        (json!({"permissions": ["manage-lock"]}), FORBIDDEN),
        (json!({"permissions": "manage-locks-not"}), FORBIDDEN),
        (json!({"permissions": "xmanage-locks manage-locksx"}), FORBIDDEN),
        (json!({"permissions": "read,manage-locks"}), FORBIDDEN),
        (json!({"scope": "manage-locks:read"}), FORBIDDEN),
        (json!({"permissions": ["MANAGE-LOCKS"]}), FORBIDDEN),
        (json!({"permissions": [["manage-locks"]]}), FORBIDDEN),
        (json!({"permissions": {"manage-locks": true}}), FORBIDDEN),
        (json!({"permissions": true}), FORBIDDEN),
        (json!({"permission": "manage-locks", "manage-locks": true, "roles": ["manage-locks"]}), FORBIDDEN),
    ] {
        let mut claims = granted.clone();
        (claims["sub"], claims["exp"]) = ("alice".into(), seconds(3600).into());
        let lock = sidecar.call("POST", "/admin/lock").cookie(&signed(&claims)).json(&target()).send().await;
        assert_eq!(said(&lock), expected, "{granted}");
        let list = sidecar.call("GET", "/cmn/leasable-locks").cookie(&signed(&claims)).send().await;
        assert_eq!(list.status, 200, "whoever is signed in may look: {granted}");
    }
}

#[tokio::test]
async fn an_authorization_header_is_one_bearer_token_or_refused() {
    let scratch = Scratch::new();
    let api_token = scratch.file("token", "t-1\n");
    let sidecar = Sidecar::with_secret(&["--api-token-file", &api_token]).await;
    let good = editor("alice");
    let list = |headers: &[&str]| {
        let call = sidecar.call("GET", "/cmn/leasable-locks");
        headers.iter().fold(call, |call, value| call.header("authorization", value)).send()
    };
    for accepted in
        [format!("Bearer {good}"), format!("bearer {good}"), format!("BEARER {good}"), "Bearer t-1".to_owned()]
    {
        assert_eq!(list(&[&accepted]).await.status, 200, "{accepted}");
    }
    let bearer = format!("Bearer {good}");
    for refused in [
        &[][..],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &[&good],
        &["t-1"],
        &[&format!("Basic {good}")],
        &["Basic dC0xOg=="],
        &["Basic t-1"],
        &[&format!("Token {good}")],
        &[&format!("Bearer{good}")],
        &[&format!("Bearer,{good}")],
        &[&format!("Bearer Bearer {good}")],
        &[&format!("{bearer}, {bearer}")],
        &[&bearer, &bearer],
        &[&bearer, "Bearer t-1"],
        &[&bearer, "Basic dC0xOg=="],
        &["Bearer t-1", "Bearer t-1"],
    ] {
        let answer = list(refused).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_bad_credential_is_refused_and_never_anonymous() {
    let scratch = Scratch::new();
    let api_token = scratch.file("token", "t-1");
    let open = Sidecar::start(TestRedis::shared(), &[]).await;
    let guarded = Sidecar::with_secret(&["--api-token-file", &api_token]).await;
    let list = async |sidecar: &Sidecar, headers: &[(&str, String)]| {
        let call = sidecar.call("GET", "/cmn/leasable-locks");
        headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await.status
    };
    let (bearer, cookie) = (("authorization", "Bearer x".to_owned()), ("cookie", "refreshToken=x".to_owned()));
    let good_cookie = ("cookie", format!("refreshToken={}", editor("alice")));
    let good_bearer = ("authorization", format!("Bearer {}", editor("alice")));

    assert_eq!(list(&open, &[]).await, 200, "where nobody can show who they are, everybody may");
    assert_eq!(list(&open, std::slice::from_ref(&bearer)).await, 401);
    assert_eq!(list(&open, std::slice::from_ref(&cookie)).await, 200, "without a JWT key the cookie is not for us");
    assert_eq!(list(&guarded, &[]).await, 401);
    assert_eq!(list(&guarded, &[bearer, good_cookie]).await, 401, "a good cookie does not mend a bad header");
    assert_eq!(list(&guarded, &[good_bearer, cookie]).await, 401, "nor a good header a bad cookie");
}

#[tokio::test]
async fn all_credentials_that_are_shown_must_be_good_and_name_one_user() {
    let scratch = Scratch::new();
    let api_token = scratch.file("token", API_TOKEN);
    let sidecar = Sidecar::with_secret(&["--api-token-file", &api_token]).await;
    let (alice, bob) = (editor("alice"), editor("bob"));
    // (the bearer token, the cookies, who is served)
    for (bearer, cookies, served) in [
        (Some(&*alice), &[&*alice][..], Some("alice")),
        (Some(&*alice), &[&*alice, "stale"], Some("alice")),
        (Some(&*alice), &[&*bob], None),
        (Some(&*alice), &["stale"], None),
        (Some(&*alice), &[""], None),
        (Some(API_TOKEN), &[&*alice], Some("it")),
        (Some(API_TOKEN), &["stale"], None),
        (Some(API_TOKEN), &[&*alice, &*bob], None),
        (Some("zzz"), &[&*alice], None),
        (None, &[&*alice, "stale"], Some("alice")),
    ] {
        let body = json!({"ttlMs": 60_000, "owner": "it"});
        let call = sidecar.call("POST", &format!("/v1/locks/{}", unique("shown"))).json(&body);
        let call = bearer.into_iter().fold(call, |call, token| call.bearer(token));
        let answer = cookies.iter().fold(call, |call, token| call.cookie(token)).send().await;
        let expected = if served.is_some() { 201 } else { 401 };
        assert_eq!(answer.status, expected, "{bearer:?} {cookies:?}: {}", answer.text());
        if let Some(owner) = served {
            assert_eq!(answer.json()["owner"], owner, "{bearer:?} {cookies:?}");
        }
    }
    let body = json!({"resourceId": unique("shown"), "lockOwner": "o", "expiryInSeconds": 60});
    for (name, value, status) in [
        ("authorization", "Bearer zzz".to_owned(), 401),
        ("authorization", "Basic eDp5".to_owned(), 401),
        ("authorization", format!("Bearer {API_TOKEN}"), 200),
        ("cookie", "refreshToken=stale".to_owned(), 401),
        ("cookie", format!("refreshToken={alice}"), 200),
        ("x-other", "zzz".to_owned(), 200),
    ] {
        let call = sidecar.call("POST", "/v1.0-alpha1/lock/lockstore").header("dapr-api-token", API_TOKEN);
        let answer = call.header(name, &value).json(&body).send().await;
        assert_eq!(answer.status, status, "{name}: {value}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_api_token_makes_a_system_caller() {
    let scratch = Scratch::new();
    let api_token = scratch.file("token", "correct horse battery staple\n");
    let sidecar = Sidecar::start(TestRedis::shared(), &["--api-token-file", &api_token]).await;
    let lease = json!({"key": unique("api-token"), "leasePeriod": 60});
    let create = || sidecar.call("POST", "/cmn/leasable-locks").json(&lease);

    for wrong in
        ["correct", "correct horse battery stapl", "correct horse battery staple2", "Correct horse battery staple"]
    {
        assert_eq!(create().bearer(wrong).send().await.status, 401, "{wrong}");
    }
    assert_eq!(create().bearer(&editor("alice")).send().await.status, 401, "a JWT, and no key for it");
    assert_eq!(create().cookie("correct horse battery staple").send().await.status, 401, "no cookie of a user");
    assert_eq!(create().send().await.status, 401, "anonymous");
    let created = create().bearer("correct horse battery staple").send().await;
    assert_eq!((created.status, &created.json()["lockedBySystem"]), (201, &json!(true)));
    assert_eq!(created.json().get("user"), None);
    assert!(!sidecar.log().contains("battery"), "{}", sidecar.log());
}

#[tokio::test]
async fn of_several_cookies_those_that_verify_must_name_one_user() {
    let sidecar = Sidecar::with_secret(&[]).await;
    let (good, bob, stale) = (editor("alice"), editor("bob"), signed(&json!({"sub": "alice", "exp": seconds(-3600)})));
    let later = signed(&json!({"sub": "alice", "permissions": ["manage-locks"], "exp": seconds(7200)}));
    let (nameless, reader) = (signed(&json!({"exp": seconds(3600)})), crate::harness::jwt::reader("alice"));
    let long = signed(&json!({"sub": "alice", "exp": seconds(9000)}));
    for (cookies, status) in [
        (vec![&good[..]], 200),
        (vec![&stale, &good], 200),
        (vec![&good, &stale], 200),
        (vec!["", "garbage", &good], 200),
        (vec![&good, "garbage", ""], 200),
        (vec![&good, &good], 200),
        (vec![&good, &later], 200),
        (vec![&later, &good], 200),
        (vec![&good, &bob], 401),
        (vec![&bob, &good], 401),
        (vec![&stale, &bob, "x", &good], 401),
        (vec![&good, &nameless], 401),
        (vec![&stale, &stale], 401),
        (vec!["garbage", ""], 401),
        (vec![&stale], 401),
    ] {
        let pairs: Vec<String> = cookies.iter().map(|cookie| format!("refreshToken={cookie}")).collect();
        for lines in [vec![pairs.join("; ")], vec![format!("a=b; {}; c=d", pairs.join(";"))], pairs.clone()] {
            let call = |method: &str, path: &str| {
                let call = sidecar.call(method, path);
                let call = if method == "POST" { call.json(&target()) } else { call };
                lines.iter().fold(call, |call, line| call.header("cookie", line))
            };
            let list = call("GET", "/cmn/leasable-locks").send().await;
            assert_eq!(list.status, status, "{lines:?}");
            assert_eq!(call("GET", "/v1/locks").send().await.status, status, "{lines:?}");
            let lock = call("POST", "/admin/lock").send().await;
            assert_eq!(said(&lock), if status == 200 { SUCCESS } else { crate::api::admin::UNAUTHORIZED }, "{lines:?}");
        }
    }
    // Of one user's the one that is good for longest counts, whichever comes first.
    for (cookies, expected) in [([&reader, &later], SUCCESS), ([&later, &reader], SUCCESS), ([&good, &long], FORBIDDEN)]
    {
        let call = sidecar.call("POST", "/admin/lock").json(&target());
        let call = cookies.iter().fold(call, |call, cookie| call.cookie(cookie));
        assert_eq!(said(&call.send().await), expected);
    }
}

#[tokio::test]
async fn an_integer_subject_is_its_decimal_text() {
    let sidecar = Sidecar::with_secret(&[]).await;
    for (sub, id) in [(json!(42), "42"), (json!(0), "0"), (json!(-7), "-7"), (json!(u64::MAX), "18446744073709551615")]
    {
        let claims = json!({"sub": sub, "permissions": ["manage-locks"], "exp": seconds(3600)});
        let (number, text) = (signed(&claims), editor(id));
        accepts(&sidecar, &number, id).await;
        let key = unique("integer");
        let lock = |token: &str| sidecar.call("POST", &format!("/v1/locks/{key}")).bearer(token);
        let lease = lock(&number).json(&json!({"reentrant": true})).send().await;
        assert_eq!((lease.status, &lease.json()["owner"]), (201, &json!(id)), "{}", lease.text());
        let again = lock(&text).json(&json!({"reentrant": true})).send().await;
        assert_eq!(again.status, 200, "the text names the same user: {}", again.text());
    }
}

#[tokio::test]
async fn that_any_issuer_and_audience_will_do_is_said_once_at_start() {
    let says = |sidecar: &Sidecar| sidecar.log().matches("--jwt-issuer and --jwt-audience are not set").count();
    assert_eq!(says(&Sidecar::with_secret(&[]).await), 1);
    assert_eq!(says(&Sidecar::with_secret(&["--threads=2"]).await), 1);
    for flags in [["--jwt-issuer=us"], ["--jwt-audience=locks"]] {
        assert_eq!(says(&Sidecar::with_secret(&flags).await), 0);
    }
    assert_eq!(says(&Sidecar::start(TestRedis::shared(), &[]).await), 0, "without a key there is nothing to say");
}

#[tokio::test]
async fn each_pem_key_of_a_file_verifies_its_tokens() {
    let scratch = Scratch::new();
    let (first, second, ed, other) = (Pair::rsa(), Pair::rsa(), Pair::ed25519(), Pair::rsa());
    let file = scratch.file("keys.pem", format!("{}{}{}", first.public_pem, second.public_pem, ed.public_pem));
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-public-key-file", &file]).await;
    for (pair, algorithm) in [(&first, Algorithm::RS256), (&second, Algorithm::PS512), (&ed, Algorithm::EdDSA)] {
        accepts(&sidecar, &sign(&editor_claims("alice"), algorithm, &pair.private), &format!("{algorithm:?}")).await;
    }
    let expired = json!({"sub": "alice", "exp": seconds(-3600)});
    for token in [
        sign(&editor_claims("alice"), Algorithm::RS256, &other.private),
        sign(&expired, Algorithm::RS256, &second.private),
        sign(&editor_claims("alice"), Algorithm::HS256, &EncodingKey::from_secret(first.public_pem.as_bytes())),
    ] {
        assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").bearer(&token).send().await.status, 401);
    }
}
