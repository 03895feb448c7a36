//! Forged, stale and odd tokens: each is refused wherever it is shown.

use std::net::TcpListener;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::api::admin::{NOT_FOUND, SUCCESS, UNAUTHORIZED, said, target};
use crate::harness::jwt::{Pair, SECRET, base64url, editor, editor_claims, seconds, sign, signed};
use crate::harness::{Scratch, Sidecar, TestRedis, jwt};

/// What was done to a token, and the token.
type Rows = Vec<(&'static str, String)>;

/// A token with this very header, signed as `algorithm` whatever the header says.
fn forged(header: &Value, claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = unsigned(header, claims);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// `header.claims`
fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", part(header), part(claims))
}

fn part(value: &Value) -> String {
    base64url(value.to_string().as_bytes())
}

/// A good token's claims, but for one.
fn with(name: &str, value: Value) -> Value {
    let mut claims = editor_claims("alice");
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = editor_claims("alice");
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn secret(text: &str) -> EncodingKey {
    EncodingKey::from_secret(text.as_bytes())
}

/// Each row is 401 as the admin dialect's cookie, and as either credential of the leases dialect; `good` is not. The
/// log says nothing of any of them.
async fn refuses(sidecar: &Sidecar, good: &str, rows: &Rows) {
    let lock = |token: &str| sidecar.call("POST", "/admin/lock").cookie(token).json(&target()).send();
    let list = || sidecar.call("GET", "/cmn/leasable-locks");
    for (what, token) in rows {
        assert_eq!(said(&lock(token).await), UNAUTHORIZED, "{what}: {token}");
        for answer in [list().bearer(token).send().await, list().cookie(token).send().await] {
            assert_eq!((answer.status, &answer.json()["context"]), (401, &json!("unauthorized")), "{what}: {token}");
        }
    }
    assert_eq!(said(&lock(good).await), SUCCESS);
    assert_eq!(list().bearer(good).send().await.status, 200);
    let log = sidecar.log();
    for (what, token) in rows.iter().filter(|(_, token)| token.len() > 8) {
        assert!(!log.contains(token), "the log shows a token: {what}");
    }
}

#[tokio::test]
async fn a_token_of_another_time_or_without_one_is_refused() {
    let sidecar = Sidecar::with_secret(&["--log-level", "debug"]).await;
    let rows = [
        ("expired a little beyond the leeway", with("exp", seconds(-32).into())),
        ("expired long ago", with("exp", seconds(-86_400).into())),
        ("expired at the beginning", with("exp", 0.into())),
        ("expired before it", with("exp", (-1).into())),
        ("no exp", without("exp")),
        ("exp null", with("exp", Value::Null)),
        ("exp as a string", with("exp", seconds(3600).to_string().into())),
        ("exp as an object", with("exp", json!({"at": seconds(3600)}))),
        ("exp true", with("exp", true.into())),
        ("exp beyond all numbers", with("exp", json!(1e300))),
        ("not yet valid, beyond the leeway", with("nbf", seconds(60).into())),
        ("nbf as a string", with("nbf", seconds(-60).to_string().into())),
    ];
    let rows = rows.map(|(what, claims)| (what, signed(&claims))).to_vec();
    refuses(&sidecar, &editor("alice"), &rows).await;
}

#[tokio::test]
async fn a_token_without_our_signature_is_refused() {
    let sidecar = Sidecar::with_secret(&["--log-level", "debug"]).await;
    let (good, claims) = (editor("alice"), editor_claims("alice"));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let (_, readers) = jwt::reader("alice").rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).unwrap();
    let (rsa, p256, ed) = (Pair::rsa(), Pair::p256(), Pair::ed25519());
    let mut rows: Rows = ["none", "None", "NONE", "nOnE", "none ", ""]
        .into_iter()
        .map(|none| ("unsigned", format!("{}.", unsigned(&json!({"alg": none, "typ": "JWT"}), &claims))))
        .collect();
    let none = unsigned(&json!({"alg": "none"}), &claims);
    rows.extend([
        (
            "unsigned, with a good signature of it",
            forged(&json!({"alg": "none"}), &claims, Algorithm::HS256, &secret(SECRET)),
        ),
        ("unsigned, with a signature of another", format!("{none}.{signature}")),
        ("unsigned, two parts", none),
        ("no algorithm", forged(&json!({"typ": "JWT"}), &claims, Algorithm::HS256, &secret(SECRET))),
        ("algorithm null", forged(&json!({"alg": null}), &claims, Algorithm::HS256, &secret(SECRET))),
        ("an unknown algorithm", forged(&json!({"alg": "HS1"}), &claims, Algorithm::HS256, &secret(SECRET))),
        ("signature stripped", format!("{message}.")),
        ("signature and its dot stripped", message.to_owned()),
        ("signature cut", good[..good.len() - 4].to_owned()),
        ("signature padded", format!("{good}=")),
        ("signature with its unused bits set", format!("{}{}", &good[..good.len() - 1], after(good.chars().last()))),
        ("signature of another token", format!("{message}.{readers}")),
        ("signed with another secret", sign(&claims, Algorithm::HS256, &secret("another secret of thirty-two by!"))),
        ("signed with half the secret", sign(&claims, Algorithm::HS256, &secret(&SECRET[..16]))),
        ("signed with the secret and a newline", sign(&claims, Algorithm::HS256, &secret(&format!("{SECRET}\n")))),
        ("signed with nothing", sign(&claims, Algorithm::HS256, &secret(""))),
        ("payload tampered with", format!("{header}.{}.{signature}", part(&with("sub", "bob".into())))),
        ("header tampered with", format!("{}.{payload}.{signature}", part(&json!({"alg": "HS256"})))),
        ("HS384 said, HS256 done", forged(&json!({"alg": "HS384"}), &claims, Algorithm::HS256, &secret(SECRET))),
        ("RS256", sign(&claims, Algorithm::RS256, &rsa.private)),
        ("PS256", sign(&claims, Algorithm::PS256, &rsa.private)),
        ("ES256", sign(&claims, Algorithm::ES256, &p256.private)),
        ("EdDSA", sign(&claims, Algorithm::EdDSA, &ed.private)),
    ]);
    refuses(&sidecar, &good, &rows).await;
}

/// The next digit of base64url: the same bytes where the last bits are not used.
fn after(digit: Option<char>) -> char {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    DIGITS.chars().nth(DIGITS.find(digit.unwrap()).unwrap() + 1).unwrap()
}

#[tokio::test]
async fn what_is_no_token_of_three_parts_is_refused() {
    let sidecar = Sidecar::with_secret(&["--log-level", "debug"]).await;
    let good = editor("alice");
    let (hs256, key) = (json!({"alg": "HS256"}), secret(SECRET));
    let joined = |between: &str| format!("{good}{between}{good}");
    let of_text = |payload: &str| {
        let message = format!("{}.{}", part(&hs256), base64url(payload.as_bytes()));
        format!("{message}.{}", jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap())
    };
    let odd = |name: &str, value: Value| {
        let mut header = hs256.clone();
        header[name] = value;
        forged(&header, &editor_claims("alice"), Algorithm::HS256, &key)
    };
    let rows = vec![
        ("nothing", String::new()),
        ("a word", "garbage".to_owned()),
        ("dots", "..".to_owned()),
        ("more dots", "....".to_owned()),
        ("quotes", "\"\"".to_owned()),
        ("two tokens joined", joined("")),
        ("two tokens joined by a dot", joined(".")),
        ("two tokens joined by a comma", joined(",")),
        ("two tokens joined by a space", joined(" ")),
        ("a part too many behind", format!("{good}.x")),
        ("an empty part too many behind", format!("{good}.")),
        ("a part too many before", format!("x.{good}")),
        ("an empty part too many before", format!(".{good}")),
        ("five parts, as if encrypted", format!("{good}.x.y")),
        ("cut in half", good[..good.len() / 2].to_owned()),
        ("another alphabet", good.replacen('.', "+.", 1)),
        ("header is no JSON", format!("eyJ.{}", good.split_once('.').unwrap().1)),
        ("payload is no JSON", of_text("{")),
        ("payload is a string", of_text("\"alice\"")),
        ("payload says exp twice", of_text(&format!("{{\"exp\":1,\"exp\":{},\"sub\":\"alice\"}}", seconds(3600)))),
        (
            "payload says sub twice",
            of_text(&format!("{{\"sub\":\"bob\",\"sub\":\"alice\",\"exp\":{}}}", seconds(3600))),
        ),
        ("a critical extension", odd("crit", json!(["b64"]))),
        ("a critical extension that is there", odd("crit", json!(["exp"]))),
        ("no critical extension, said so", odd("crit", json!([]))),
        ("a critical extension as a text", odd("crit", json!("exp"))),
    ];
    refuses(&sidecar, &good, &rows).await;
}

#[tokio::test]
async fn what_an_rsa_key_did_not_sign_is_refused() {
    let (ours, attacker, p256, ed) = (Pair::rsa(), Pair::rsa(), Pair::p256(), Pair::ed25519());
    let scratch = Scratch::new();
    let pem = scratch.file("key.pem", &ours.public_pem);
    let flags = ["--jwt-public-key-file", &pem, "--log-level", "debug"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let claims = editor_claims("alice");
    let mut rows: Rows = Vec::new();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        rows.push(("the public key as a secret", sign(&claims, algorithm, &secret(&ours.public_pem))));
        rows.push(("the same, trimmed", sign(&claims, algorithm, &secret(ours.public_pem.trim_end()))));
    }
    // Whoever looks a key up where the token says so finds the attacker's.
    let asked = TcpListener::bind("127.0.0.1:0").unwrap();
    asked.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", asked.local_addr().unwrap());
    let jwk = Jwk::from_encoding_key(&attacker.private, Algorithm::RS256).unwrap();
    let by_attacker = |header: Value| forged(&header, &claims, Algorithm::RS256, &attacker.private);
    let swapped = |says: &str, algorithm, key| forged(&json!({"alg": says}), &claims, algorithm, key);
    rows.extend([
        ("HS256 with nothing", sign(&claims, Algorithm::HS256, &secret(""))),
        ("ES256", sign(&claims, Algorithm::ES256, &p256.private)),
        ("EdDSA", sign(&claims, Algorithm::EdDSA, &ed.private)),
        ("unsigned", format!("{}.", unsigned(&json!({"alg": "none"}), &claims))),
        ("RS256 said, HS256 done", swapped("RS256", Algorithm::HS256, &secret(&ours.public_pem))),
        ("HS256 said, RS256 done", swapped("HS256", Algorithm::RS256, &ours.private)),
        ("PS256 said, RS256 done", swapped("PS256", Algorithm::RS256, &ours.private)),
        ("RS256 said, RS512 done", swapped("RS256", Algorithm::RS512, &ours.private)),
        ("another key, RS256", sign(&claims, Algorithm::RS256, &attacker.private)),
        ("another key, PS512", sign(&claims, Algorithm::PS512, &attacker.private)),
        ("another key, brought along", by_attacker(json!({"alg": "RS256", "jwk": jwk}))),
        ("another key, by URL", by_attacker(json!({"alg": "RS256", "jku": url, "kid": "1"}))),
        ("another key, by certificate URL", by_attacker(json!({"alg": "RS256", "x5u": url}))),
        ("another key, by name", by_attacker(json!({"alg": "RS256", "kid": "../../../dev/null"}))),
        ("expired", sign(&with("exp", seconds(-60).into()), Algorithm::RS256, &ours.private)),
    ]);
    refuses(&sidecar, &sign(&claims, Algorithm::RS256, &ours.private), &rows).await;
    let called = asked.accept().map_err(|error| error.kind());
    assert_eq!(called.map(|_| ()), Err(std::io::ErrorKind::WouldBlock), "nobody called the attacker");
}

#[tokio::test]
async fn a_token_from_or_for_somebody_else_is_refused() {
    let flags = ["--jwt-issuer", "https://issuer.test", "--jwt-audience", "locks", "--log-level", "debug"];
    let sidecar = Sidecar::with_secret(&flags).await;
    let token = |issuer: Value, audience: Value| {
        let mut claims = editor_claims("alice");
        (claims["iss"], claims["aud"]) = (issuer, audience);
        signed(&claims)
    };
    let from = |issuer: Value| token(issuer, "locks".into());
    let to = |audience: Value| token("https://issuer.test".into(), audience);
    let rows = vec![
        ("neither issuer nor audience", editor("alice")),
        ("no issuer", signed(&with("aud", "locks".into()))),
        ("issuer null", from(Value::Null)),
        ("another issuer", from("https://evil.test".into())),
        ("an issuer that begins so", from("https://issuer.test/".into())),
        ("an issuer of other case", from("https://ISSUER.test".into())),
        ("an issuer that is no text", from(1.into())),
        ("no audience", signed(&with("iss", "https://issuer.test".into()))),
        ("audience null", to(Value::Null)),
        ("another audience", to("mail".into())),
        ("an audience that holds ours", to("locks-admin".into())),
        ("two words as one audience", to("mail locks".into())),
        ("other audiences", to(json!(["mail", "lock"]))),
        ("an empty list of audiences", to(json!([]))),
        ("an audience that is no text", to(json!({"locks": true}))),
    ];
    refuses(&sidecar, &to("locks".into()), &rows).await;
    let one_of_many = to(json!(["mail", "locks"]));
    assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").bearer(&one_of_many).send().await.status, 200);
}

#[tokio::test]
async fn a_token_that_names_no_user_is_404_for_editors_and_401_elsewhere() {
    let sidecar = Sidecar::with_secret(&[]).await;
    for claims in [
        without("sub"),
        with("sub", Value::Null),
        with("sub", "".into()),
        with("sub", json!(7.5)),
        with("sub", true.into()),
        with("sub", "al\nice".into()),
        with("sub", "x".repeat(257).into()),
    ] {
        let token = signed(&claims);
        let lock = sidecar.call("POST", "/admin/lock").cookie(&token).json(&target()).send().await;
        assert_eq!(said(&lock), NOT_FOUND, "{claims}");
        assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").bearer(&token).send().await.status, 401, "{claims}");
        assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").cookie(&token).send().await.status, 401, "{claims}");
    }
}
