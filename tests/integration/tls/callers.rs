//! Who a caller with a certificate is: for the policy, for quotas, in the record, and in the audit trail.

use serde_json::json;

use super::Stand;
use crate::audit::Trail;
use crate::harness::{API_TOKEN, Scratch, jwt, unique};

const JOB: &str = "spiffe://cluster.test/ns/jobs/sa/importer";
const WEB: &str = "spiffe://cluster.test/ns/web/sa/shop";

#[tokio::test]
async fn the_certificate_is_the_credential_of_a_service_caller() {
    let trail = Trail::new();
    let stand = Stand::with_clients(&["--audit", &trail.path]).await;
    let key = unique("own");
    let granted = stand.named(JOB).ask("POST", &format!("/v1/locks/{key}"), Some(&json!({}))).await.expect("answered");
    assert_eq!(granted.status, 201, "{}", granted.text());
    let lines = trail.until("the grant", |lines| !lines.is_empty()).await;
    let grant = &lines[0];
    assert_eq!((&grant["event"], &grant["key"]), (&json!("granted"), &json!(key)), "{grant}");
    assert_eq!(grant["kind"], "system", "{grant}");
    assert_eq!(grant["credential"], json!(format!("cert:{JOB}")), "{grant}");
    let who = grant["who"].as_str().unwrap();
    assert!(who.starts_with(&format!("{JOB}-")), "the generated owner begins with the name: {who}");
}

#[tokio::test]
async fn a_dns_name_stands_where_there_is_no_uri() {
    let trail = Trail::new();
    let stand = Stand::with_clients(&["--audit", &trail.path]).await;
    let own = crate::harness::certificates::Authority::shared().issue(&["Jobs.Example.com", "other.example.com"]);
    let path = format!("/v1/locks/{}", unique("own"));
    let granted = stand.client(Some(&own)).ask("POST", &path, Some(&json!({}))).await.expect("answered");
    assert_eq!(granted.status, 201, "{}", granted.text());
    let lines = trail.until("the grant", |lines| !lines.is_empty()).await;
    assert_eq!(lines[0]["credential"], "cert:jobs.example.com");
}

#[tokio::test]
async fn the_policy_knows_callers_by_their_certificates() {
    let scratch = Scratch::new();
    let prefix = unique("jobs");
    let rules = format!("cert:{JOB} lock {prefix}/*\ncert:* read *\ncert:Shop.example lock {prefix}/shop\n");
    let policy = scratch.file("policy", rules);
    let stand = Stand::with_clients(&["--policy-file", &policy]).await;
    let (job, web) = (stand.named(JOB), stand.named(WEB));
    let shop = stand.client(Some(&crate::harness::certificates::Authority::shared().issue(&["sHop.example"])));
    let granted = shop.ask("POST", &format!("/v1/locks/{prefix}%2Fshop"), Some(&json!({}))).await.expect("answered");
    assert_eq!(granted.status, 201, "letters' case means nothing in a DNS name: {}", granted.text());
    let path = format!("/v1/locks/{prefix}%2Fa");
    let lease = job.ask("POST", &path, Some(&json!({"owner": "one"}))).await.expect("answered");
    assert_eq!(lease.status, 201, "{}", lease.text());
    let of_lease = format!("{path}?token={}", lease.json()["token"]);
    // The name of the owner is no credential.
    for (client, method, asked, status) in [
        (&web, "POST", &path, 403),
        (&web, "GET", &path, 200),
        (&web, "DELETE", &of_lease, 403),
        (&job, "DELETE", &format!("{path}?force=true"), 403),
        (&job, "DELETE", &of_lease, 204),
    ] {
        let body = (method == "POST").then(|| json!({"owner": "one"}));
        let answer = client.ask(method, asked, body.as_ref()).await.expect("answered");
        assert_eq!(answer.status, status, "{method} {asked}: {}", answer.text());
    }
    let elsewhere = job.ask("POST", &format!("/v1/locks/{}", unique("other")), Some(&json!({}))).await;
    assert_eq!(elsewhere.expect("answered").status, 403);
}

#[tokio::test]
async fn a_lease_stays_the_own_of_the_certificate_that_got_it_when_the_policy_takes_the_right_away() {
    let scratch = Scratch::new();
    let prefix = unique("own");
    let policy = scratch.file("policy", format!("cert:* lock {prefix}/*\n"));
    let stand = Stand::with_clients(&["--policy-file", &policy]).await;
    let (job, web) = (stand.named(JOB), stand.named(WEB));
    let path = format!("/v1/locks/{prefix}%2Fa");
    let lease = job.ask("POST", &path, Some(&json!({"owner": "one"}))).await.expect("answered");
    let of_lease = format!("{path}?token={}", lease.json()["token"]);
    scratch.file("policy", "cert:nobody lock none\n");
    crate::harness::eventually("the policy is followed", super::SOON, async || {
        let answer = job.ask("POST", &path, Some(&json!({}))).await.expect("answered");
        answer.status == 403
    })
    .await;
    assert_eq!(web.ask("DELETE", &of_lease, None).await.expect("answered").status, 403);
    assert_eq!(job.ask("DELETE", &of_lease, None).await.expect("answered").status, 204);
}

#[tokio::test]
async fn quotas_count_each_certificate_for_itself() {
    let stand = Stand::with_clients(&["--caller-locks", "1"]).await;
    let (job, web) = (stand.named(JOB), stand.named(WEB));
    for (client, status) in [(&job, 201), (&job, 429), (&web, 201)] {
        let path = format!("/v1/locks/{}", unique("counted"));
        let answer = client.ask("POST", &path, Some(&json!({}))).await.expect("answered");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_credential_of_the_request_goes_before_the_certificate_and_must_be_valid() {
    let (trail, scratch) = (Trail::new(), Scratch::new());
    let (token, secret) = (scratch.file("token", API_TOKEN), scratch.file("secret", jwt::SECRET));
    let flags = ["--audit", &trail.path, "--api-token-file", &token, "--jwt-secret-file", &secret];
    let stand = Stand::with_clients(&flags).await;
    let mut connection = stand.named(JOB).connect().await.expect("connected");
    let alice = jwt::reader("alice");
    for (header, value, status, credential) in [
        ("authorization", format!("Bearer {API_TOKEN}"), 201, "token:default"),
        ("authorization", format!("Bearer {alice}"), 201, "jwt"),
        ("cookie", format!("refreshToken={alice}"), 201, "cookie"),
        ("authorization", "Bearer none of ours".to_owned(), 401, ""),
        ("cookie", "refreshToken=none of ours".to_owned(), 401, ""),
        ("x-other", "1".to_owned(), 201, &format!("cert:{JOB}")),
    ] {
        let path = format!("/v1/locks/{}", unique("shown"));
        let headers = [(header, value.as_str()), ("x-request-id", &path[10..])];
        let answer = connection.ask_with("POST", &path, Some(&json!({})), &headers).await.expect("answered");
        assert_eq!(answer.status, status, "{header}: {}", answer.text());
        if status == 201 {
            let has_it = |line: &serde_json::Value| {
                line["event"] == "granted" && line["key"] == path[10..] && line["credential"] == credential
            };
            trail.until(credential, |lines| lines.iter().any(has_it)).await;
        }
    }
}

#[tokio::test]
async fn a_policy_can_be_tried_out_for_a_certificate() {
    let scratch = Scratch::new();
    let policy = scratch.file("policy", format!("cert:{JOB} lock jobs/*\ncert:* read *\n"));
    for (who, verb, key, code) in [
        (format!("cert:{JOB}"), "lock", "jobs/a", 0),
        (format!("cert:{JOB}"), "lock", "web/a", 77),
        ("cert:x".to_owned(), "lock", "jobs/a", 77),
        ("cert:x".to_owned(), "read", "jobs/a", 0),
        ("token:x".to_owned(), "read", "jobs/a", 77),
        ("cert:".to_owned(), "read", "jobs/a", 64),
    ] {
        let args = ["policy", "test", "--policy-file", &policy, "--as", &who, verb, key];
        let run = crate::harness::lockside(&args).await;
        assert_eq!(run.code, Some(code), "{who} {verb} {key}: {}", run.output());
    }
}

#[tokio::test]
async fn a_request_that_a_gateway_passes_on_needs_credentials_of_its_own() {
    let scratch = Scratch::new();
    let token = scratch.file("token", API_TOKEN);
    let stand = Stand::with_clients(&["--api-token-file", &token]).await;
    let mut gateway = stand.named(WEB).connect().await.expect("connected");
    let path = format!("/v1/locks/{}?force=true", unique("passed"));
    for proxied in [("forwarded", "for=192.0.2.1"), ("via", "1.1 gateway"), ("x-forwarded-for", "192.0.2.1")] {
        let answer = gateway.ask_with("DELETE", &path, None, &[proxied]).await.expect("answered");
        assert_eq!(answer.status, 401, "{proxied:?}: {}", answer.text());
        assert_eq!(answer.headers["lockside-reason"], "proxied-anonymous", "{proxied:?}");
        let bearer = format!("Bearer {API_TOKEN}");
        let answer = gateway.ask_with("DELETE", &path, None, &[proxied, ("authorization", &bearer)]).await;
        assert_ne!(answer.expect("answered").status, 401, "{proxied:?}");
    }
    let answer = gateway.ask("DELETE", &path, None).await.expect("answered");
    assert_ne!(answer.status, 401, "{}", answer.text());
}

#[tokio::test]
async fn a_cross_origin_page_changes_nothing_by_the_certificate_of_its_browser() {
    let stand = Stand::with_clients(&["--dapr-stores", "store"]).await;
    let mut browser = stand.named(WEB).connect().await.expect("connected");
    let lock = format!("/v1/locks/{}", unique("page"));
    let dapr = json!({"resourceId": unique("page"), "lockOwner": "page", "expiryInSeconds": 5});
    for (path, body) in [(lock.as_str(), None), ("/v1.0-alpha1/lock/store", Some(&dapr))] {
        for from in [("origin", "https://other.example.com"), ("sec-fetch-site", "cross-site")] {
            let answer = browser.ask_with("POST", path, body, &[from]).await.expect("answered");
            assert_eq!(answer.status, 403, "{path} {from:?}: {}", answer.text());
        }
        let own = [("origin", "https://localhost"), ("sec-fetch-site", "same-origin")];
        let answer = browser.ask_with("POST", path, body, &own).await.expect("answered");
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
    }
    let seen = browser.ask_with("GET", "/v1/locks", None, &[("origin", "https://other.example.com")]).await;
    assert_eq!(seen.expect("answered").status, 200);
}
