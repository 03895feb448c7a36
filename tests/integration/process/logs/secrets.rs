//! Why a token is refused is said in words of ours: nothing of the token is in them.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{FORMATS, answer_of};
use crate::harness::jwt::{base64url, seconds, sign, signed};
use crate::harness::{Scratch, Sidecar, TestRedis, jwt, unique};

/// A token of these parts, signed or not.
fn forged(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()), base64url(b"hunter2"))
}

fn with(name: &str, value: Value) -> String {
    let mut claims = json!({"sub": "alice", "iss": "us", "aud": "locks", "exp": seconds(3600)});
    claims[name] = value;
    signed(&claims)
}

#[tokio::test]
async fn the_reason_of_a_401_is_in_our_words_and_holds_nothing_of_the_token() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let good_claims = r#"{"sub":"hunter2","exp":9999999999}"#;
    let key = EncodingKey::from_secret(jwt::SECRET.as_bytes());
    let other = EncodingKey::from_secret(b"another secret of at least 32 bytes");
    let rows = [
        (with("exp", seconds(-3600).into()), "has expired"),
        (with("exp", json!("hunter2")), ""),
        (with("exp", json!({"hunter2": 1})), ""),
        (with("exp", Value::Null), ""),
        (with("nbf", seconds(3600).into()), "not valid yet"),
        (with("nbf", json!("hunter2")), ""),
        (with("iss", json!("hunter2")), "`iss`"),
        (with("iss", json!(["hunter2"])), ""),
        (with("aud", json!("hunter2")), "`aud`"),
        (with("aud", json!({"hunter2": 1})), ""),
        (with("sub", json!({"hunter2": 1})), ""),
        (sign(&json!({"sub": "hunter2"}), Algorithm::HS256, &other), "signature"),
        (sign(&json!({"sub": "hunter2"}), Algorithm::HS256, &key), "no `"),
        (forged(r#"{"alg":"hunter2"}"#, good_claims), ""),
        (forged(r#"{"alg":"none"}"#, good_claims), ""),
        (forged(r#"{"alg":"RS256"}"#, good_claims), "algorithm"),
        (forged(r#"{"alg":"HS256","crit":["hunter2"]}"#, good_claims), "critical"),
        (forged(r#"{"alg":"HS256","typ":{"hunter2":1}}"#, good_claims), ""),
        (forged(r#"{"alg":{"hunter2":1}}"#, good_claims), ""),
        (forged(r#"hunter2"#, good_claims), ""),
        (forged(r#"{"alg":"HS256"}"#, "hunter2"), "signature"),
        ("hunter2".to_owned(), "not a JWT"),
        ("hunter2.hunter2.hunter2".to_owned(), "not a JWT"),
        ("hunter2!.!.?".to_owned(), ""),
        ("..".to_owned(), ""),
    ];
    for format in FORMATS {
        let flags =
            [format, "--log-level=debug", "--jwt-issuer=us", "--jwt-audience=locks", "--jwt-secret-file", &secret];
        let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
        for (token, expected) in &rows {
            for dialect in ["/v1/locks", "/cmn/leasable-locks", "/admin/lock"] {
                let (method, id) = (if dialect == "/admin/lock" { "POST" } else { "GET" }, unique("refused"));
                let answer = sidecar.call(method, dialect).cookie(token).header("x-request-id", &id).send().await;
                // A user without a name is known to have signed in, and is not found: an answer of that dialect alone.
                assert!(matches!(answer.status, 401 | 403), "{token}: {}", answer.text());
                let line = answer_of(&sidecar, &id).await;
                line.assert_harmless();
                let reason = line.get("reason").unwrap_or_else(|| panic!("no reason: {}", line.raw));
                assert!(reason.contains(expected) || answer.status == 403, "{expected}: {}", line.raw);
                line.assert("caller", "anonymous");
                for part in token.split('.').filter(|part| part.len() > 3) {
                    assert!(!line.raw.contains(part), "{}", line.raw);
                }
            }
        }
        assert!(!sidecar.log().contains("hunter2"), "{}", sidecar.log());
    }
}
