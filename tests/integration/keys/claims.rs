//! `--permission-claim`, `--permission` and `--cookie-name`: where a token says what its user may do, and which cookie has it.

use serde_json::{Value, json};

use crate::harness::jwt::{SECRET, seconds, signed};
use crate::harness::{Scratch, Sidecar, TestRedis, lockside, unique};

fn token(claims: Value) -> String {
    let mut all = json!({"sub": "alice", "exp": seconds(3600)});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    signed(&all)
}

/// The status of an admin lock of the user whose token has these claims.
async fn admin(sidecar: &Sidecar, cookie: &str, claims: Value) -> u16 {
    let target = json!({"route": unique("r"), "id": "1"});
    let call = sidecar.call("POST", "/admin/lock").header("cookie", &format!("{cookie}={}", token(claims)));
    call.json(&target).send().await.status
}

/// The status of a force-release by that user.
async fn force(sidecar: &Sidecar, claims: Value) -> u16 {
    let path = format!("/v1/locks/{}", unique("k"));
    let other = token(json!({"sub": "bob"}));
    assert_eq!(sidecar.call("POST", &path).bearer(&other).json(&json!({})).send().await.status, 201);
    sidecar.call("DELETE", &format!("{path}?force=true")).bearer(&token(claims)).send().await.status
}

#[tokio::test]
async fn the_first_claim_that_is_there_lists_the_permissions() {
    let flags = ["--permission-claim", "realm_access.roles,scp", "--permission", "locks:admin"];
    let sidecar = Sidecar::with_secret(&flags).await;
    for (claims, may) in [
        (json!({"realm_access": {"roles": ["user", "locks:admin"]}}), true),
        (json!({"realm_access": {"roles": "user locks:admin"}}), true),
        (json!({"realm_access": {"roles": ["user"]}, "scp": "locks:admin"}), false),
        (json!({"realm_access": {"roles": null}, "scp": "openid locks:admin"}), true),
        (json!({"realm_access": {}, "scp": ["locks:admin"]}), true),
        (json!({"realm_access": {"roles": {"locks:admin": true}}}), false),
        (json!({"realm_access": {"roles": 7}}), false),
        (json!({"realm_access.roles": ["locks:admin"], "realm_access": {"roles": []}}), true),
        (json!({"realm_access.roles": [], "realm_access": {"roles": ["locks:admin"]}}), false),
        (json!({"scp": "locks:admins"}), false),
        (json!({"permissions": ["locks:admin"], "scope": "locks:admin"}), false),
        (json!({"scp": "manage-locks"}), false),
    ] {
        let expected = if may { (200, 204) } else { (403, 403) };
        let found = (admin(&sidecar, "refreshToken", claims.clone()).await, force(&sidecar, claims.clone()).await);
        assert_eq!(found, expected, "{claims}");
    }
    let path = format!("/v1/locks/{}?force=true", unique("k"));
    let refused = sidecar.call("DELETE", &path).bearer(&token(json!({}))).send().await;
    assert_eq!(refused.json()["detail"], "Not allowed: lacks the permission locks:admin.");
}

#[tokio::test]
async fn without_flags_permissions_go_before_scope() {
    let sidecar = Sidecar::with_secret(&[]).await;
    for (claims, status) in [
        (json!({"permissions": ["manage-locks"]}), 200),
        (json!({"scope": "openid manage-locks"}), 200),
        (json!({"permissions": [], "scope": "manage-locks"}), 403),
        (json!({"permissions": null, "scope": "manage-locks"}), 200),
        (json!({"scp": "manage-locks"}), 403),
    ] {
        assert_eq!(admin(&sidecar, "refreshToken", claims.clone()).await, status, "{claims}");
    }
}

#[tokio::test]
async fn the_policy_reads_permissions_where_the_flags_say() {
    let scratch = Scratch::new();
    let (secret, policy) = (scratch.file("secret", SECRET), scratch.file("policy", "permission:team lock *\n"));
    let flags =
        ["--jwt-secret-file", &secret, "--policy-file", &policy, "--permission-claim", "https://a.test/roles,a.b"];
    let own = ["--permission", "locks:admin", "--key-prefix", &unique("claims")];
    let sidecar = Sidecar::start(TestRedis::shared(), &[&flags[..], &own].concat()).await;
    let acquire = async |key: &str, claims: Value| {
        let call = sidecar.call("POST", &format!("/v1/locks/{key}")).bearer(&token(claims));
        call.json(&json!({})).send().await.status
    };
    let key = unique("k");
    assert_eq!(acquire(&key, json!({"permissions": ["team"], "scope": "team"})).await, 403);
    assert_eq!(acquire(&key, json!({"https://a.test/roles": ["team"]})).await, 201);
    assert_eq!(acquire(&unique("k"), json!({"a": {"b": "team more"}})).await, 201);

    // The built-in line is about the permission of the flag.
    let force = async |word: &str| {
        let claims = token(json!({"sub": "manager", "a": {"b": [word]}}));
        sidecar.call("DELETE", &format!("/v1/locks/{key}?force=true")).bearer(&claims).send().await.status
    };
    assert_eq!((force("manage-locks").await, force("team").await, force("locks:admin").await), (403, 403, 204));
    for (word, code) in [("locks:admin", 0), ("manage-locks", 77)] {
        let tried = ["policy", "test", "--policy-file", &policy, "--permission", "locks:admin"];
        let subject = format!("permission:{word}");
        let run = lockside(&[&tried[..], &["--as", &subject, "force-release", &key]].concat()).await;
        assert_eq!(run.code, Some(code), "{word}: {}{}", run.stdout, run.stderr);
    }
    for (claim, said, code) in [
        ("https://a.test/roles,a.b", &["permission:team"][..], 0),
        ("a.b", &["claim:a.b=team"], 0),
        ("a.b", &["permission:team", "claim:a.b=other"], 0),
        ("a.b", &["claim:permissions=team"], 77),
        ("permissions", &["claim:a.b=team"], 77),
        ("a..b", &["permission:team"], 64),
    ] {
        let said = said.iter().flat_map(|said| ["--as", said]).collect::<Vec<_>>();
        let tried = ["policy", "test", "--policy-file", &policy, "--permission-claim", claim];
        let run = lockside(&[&tried[..], &said, &["lock", &key]].concat()).await;
        assert_eq!(run.code, Some(code), "{claim} {said:?}: {}{}", run.stdout, run.stderr);
    }
}

#[tokio::test]
async fn the_cookie_and_the_permission_have_their_names_in_every_api_and_in_the_document() {
    let flags = ["--cookie-name", "__Host-session", "--permission", "locks:admin"];
    let sidecar = Sidecar::with_secret(&flags).await;
    let manager = json!({"permissions": ["locks:admin"]});
    assert_eq!(admin(&sidecar, "__Host-session", manager.clone()).await, 200);
    assert_eq!(admin(&sidecar, "refreshToken", manager.clone()).await, 401);
    let listed = sidecar.call("GET", "/v1/locks?limit=1").header("cookie", "__Host-session=x").send().await;
    assert_eq!(listed.status, 401, "a bad cookie of this name");
    let listed = sidecar.call("GET", "/v1/locks?limit=1").header("cookie", "refreshToken=x").send().await;
    assert_eq!(listed.status, 200, "a cookie of another name is not for us");

    let document = sidecar.call("GET", "/openapi.json").send().await;
    let schemes = document.json()["components"]["securitySchemes"].clone();
    assert_eq!(schemes["refreshToken"]["name"], "__Host-session", "{schemes}");
    assert!(document.text().contains("No cookie `__Host-session`"));
    assert!(document.text().contains("Needs the permission `locks:admin`"));
    assert!(!document.text().contains("manage-locks"));
}
