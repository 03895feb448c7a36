//! The table "What each failure looks like" of the page of the teams, played row by row with the page's own settings: what the
//! caller sees, what the log, the trail and the metrics say, and that the next step helps.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::teams::{PAGE, Stage, USERS};
use super::{blocks, read, rows, section};
use crate::harness::issuer::{DISCOVERY, Issuer, KEYS, Key, Page, set};
use crate::harness::{Sidecar, eventually, jwt};

const SOON: Duration = Duration::from_secs(15);
const SETTINGS: &str = "## 3. The settings of each team";

/// A row of the table, of which all that is promised is looked for.
struct Row(Vec<String>);

impl Row {
    fn of(stage: &Stage, what: &str) -> Row {
        let rows = rows(section(&stage.page, "## What each failure looks like"));
        Row(rows.into_iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row `{what}`")))
    }

    /// The row says this.
    fn says(&self, text: &str) -> &Row {
        assert!(self.0[1..].iter().any(|cell| cell.contains(text)), "`{text}` is not in {:?}", self.0);
        self
    }
}

/// What `curl -i` printed.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Stage {
    /// The users and the settings of the page.
    fn set_up() -> Stage {
        let stage = Stage::new();
        stage.play(USERS);
        stage.play("## 2. What each app and person may do");
        assert!(stage.run(blocks(section(&stage.page, SETTINGS), "sh")[0]).status.success());
        stage
    }

    /// A sidecar of red with further settings, which may not get ready.
    fn red_with(&self, settings: &str) -> Sidecar {
        Sidecar::of(self.shell(&format!("set -a; . teams/red/lockside.env; {settings}\nexec lockside serve")))
    }

    /// Red's sidecar, ready.
    async fn ready_red_with(&self, settings: &str) -> Sidecar {
        let sidecar = self.red_with(settings);
        eventually("it is ready", SOON, async || self.is_ready()).await;
        sidecar
    }

    /// A request to red's sidecar, with the token in this file.
    fn ask(&self, token: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let token = token.map(|file| format!("-H \"Authorization: Bearer $(cat {file})\"")).unwrap_or_default();
        let body = if body.is_empty() { String::new() } else { format!("--json '{body}'") };
        let code = format!(
            "curl -sS -i -X {method} --unix-socket teams/red/api.sock {token} {body} 'http://localhost{path}' || true"
        );
        let said = self.said(&code);
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or((said.as_str(), ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).unwrap_or_default() }
    }

    fn status(&self, token: Option<&str>, method: &str, path: &str, body: &str) -> u16 {
        self.ask(token, method, path, body).status
    }

    fn acquire(&self, key: &str) -> Answer {
        self.ask(Some(APP), "POST", &format!("/v1/locks/{}", key.replace('/', "%2F")), r#"{"ttlMs": 60000}"#)
    }

    /// Releases what was acquired.
    fn release(&self, granted: &Answer) -> u16 {
        let [key, token] = ["key", "token"].map(|name| granted.body[name].to_string());
        let key = key.trim_matches('"').replace('/', "%2F");
        self.status(Some(APP), "DELETE", &format!("/v1/locks/{key}?token={token}"), "")
    }

    /// What a command prints on both streams.
    fn said(&self, code: &str) -> String {
        let output = self.run(code);
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
    }

    /// The exit code of a command at red's sidecar, with the token in this file.
    fn code(&self, token: &str, command: &str) -> Option<i32> {
        let (command, rest) = command.split_once(" -- ").unwrap_or((command, ""));
        let rest = if rest.is_empty() { String::new() } else { format!("-- {rest}") };
        self.run(&format!("lockside {command} --url unix:$PWD/teams/red/api.sock --token-file {token} {rest}"))
            .status
            .code()
    }

    fn is_ready(&self) -> bool {
        self.run("test $(curl -sS -o /dev/null -w '%{http_code}' --unix-socket teams/red/ops.sock http://localhost/readyz) = 200")
            .status
            .success()
    }

    /// What `lockside check` prints with red's settings and these.
    fn check(&self, settings: &str) -> (Option<i32>, String) {
        let code = format!("set -a; . teams/red/lockside.env; {settings}\nlockside check");
        (self.run(&code).status.code(), self.said(&code))
    }

    /// Whether a sample of red's metrics that begins so has a value that is not 0; `None` where there is none.
    fn counts(&self, sample: &str) -> Option<bool> {
        let metrics = self.metrics("red");
        let found = metrics.lines().filter(|line| line.starts_with(sample)).collect::<Vec<_>>();
        (!found.is_empty()).then(|| found.iter().any(|line| !line.ends_with(" 0")))
    }

    /// Waits until a line of red's trail has all of these.
    async fn audited(&self, parts: &[&str]) {
        let file = self.scratch.path("teams/red/audit.jsonl");
        let is_there = async || {
            let trail = std::fs::read_to_string(&file).unwrap_or_default();
            trail.lines().any(|line| parts.iter().all(|part| line.contains(part)))
        };
        eventually(&format!("{parts:?} in the trail"), SOON, is_there).await;
    }
}

async fn logged(sidecar: &Sidecar, text: &str) {
    eventually(text, SOON, async || sidecar.log().contains(text)).await;
}

const APP: &str = "teams/red/tokens/app";
const OPS: &str = "teams/red/tokens/ops";

/// What the table has, each of which is played below.
const PLAYED: [&str; 9] = [
    "the prefix and the ACL user do not belong together",
    "no password, or a wrong one, for Redis",
    "no token, or one that this sidecar does not know",
    "the policy has no line for it",
    "the caller is at its limit",
    "another caller of the team holds the lock",
    "an operator force-released the lock",
    "a policy file with a mistake",
    "the audit trail cannot be written",
];

#[test]
fn each_row_of_the_table_of_failures_is_played() {
    let page = read(PAGE);
    let rows = rows(section(&page, "## What each failure looks like"));
    let named: Vec<&str> = rows.iter().skip(1).map(|row| row[0].as_str()).collect();
    assert_eq!(named, PLAYED);
}

#[tokio::test]
async fn a_team_whose_redis_refuses_it_sees_what_the_table_says() {
    let stage = Stage::set_up();
    let row = Row::of(&stage, PLAYED[0]);
    {
        let settings = "LOCKSIDE_KEY_PREFIX=blue";
        let sidecar = stage.red_with(settings);
        eventually("it answers", SOON, async || stage.acquire("app/1").body["code"] == "redis-refused").await;
        assert_eq!((stage.acquire("app/1").status, stage.is_ready()), (503, false));
        row.says("503 `redis-refused`").says("`lockside exec` 69").says("the pod is not ready");
        assert_eq!(stage.code(APP, "exec app/1 --try -- true"), Some(69));
        logged(&sidecar, "redis ACL: permission denied").await;
        row.says("`redis ACL: permission denied`").says("`lockside_redis_warning{warning=\"rights\"}`");
        let warns = async || stage.counts("lockside_redis_warning{warning=\"rights\"}") == Some(true);
        eventually("the metric", SOON, warns).await;
        let (code, told) = stage.check(settings);
        assert_eq!(code, Some(1));
        assert!(told.contains("FAIL     rights") && told.contains("~{blue:[0-9]}:*"), "{told}");
        row.says("`lockside check`: it names the keys").says("correct `--key-prefix`");
    }
    // The prefix is right now, and then the team's line is lost, and loaded again.
    let _sidecar = stage.ready_red_with("").await;
    let granted = stage.acquire("app/1");
    assert_eq!((granted.status, stage.release(&granted)), (201, 204));
    stage.redis_says("ACL SETUSER red resetkeys");
    assert_eq!(stage.acquire("app/1").body["code"], "redis-refused");
    row.says("load the team's line again");
    stage.play(USERS);
    eventually("it is granted", SOON, async || stage.acquire("app/1").status == 201).await;
}

#[tokio::test]
async fn a_team_without_the_password_sees_what_the_table_says_and_a_new_one_needs_no_restart() {
    let stage = Stage::set_up();
    let row = Row::of(&stage, PLAYED[1]);
    stage.scratch.file("wrong", "not the password\n");
    for settings in ["LOCKSIDE_REDIS_PASSWORD_FILE=wrong", "unset LOCKSIDE_REDIS_PASSWORD_FILE LOCKSIDE_REDIS_USERNAME"]
    {
        let sidecar = stage.red_with(settings);
        logged(&sidecar, "cannot connect to redis").await;
        let refused = stage.acquire("app/1");
        let codes = ["redis-unavailable", "redis-refused"];
        assert!(refused.status == 503 && codes.iter().any(|code| refused.body["code"] == *code), "{:?}", refused.body);
        assert!(!stage.is_ready());
        assert_eq!(stage.counts("lockside_redis_up"), Some(false), "{settings}");
        let (code, told) = stage.check(settings);
        assert!(code == Some(1) && told.contains("FAIL     auth"), "{told}");
    }
    row.says("503 `redis-unavailable` or `redis-refused`; not ready").says("`cannot connect to redis`");
    row.says("`lockside_redis_up` 0").says("`lockside check`: `FAIL auth`");

    let _sidecar = stage.ready_red_with("").await;
    stage.scratch.file("teams/red/redis-password", "another password of red\n");
    stage.play(USERS);
    assert!(section(&stage.page, USERS).contains("the sidecars read the new one without a restart"));
    stage.redis_says("CLIENT KILL USER red");
    eventually("it has the new one", SOON, async || {
        let granted = stage.acquire("app/1");
        granted.status == 201 && stage.release(&granted) == 204
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_is_refused_sees_what_the_table_says() {
    let stage = Stage::set_up();
    let sidecar = stage.ready_red_with("LOCKSIDE_AUDIT_EVENTS=all").await;

    let row = Row::of(&stage, PLAYED[2]);
    for token in [None, Some("teams/blue/tokens/app")] {
        let refused = stage.ask(token, "POST", "/v1/locks/app%2F1", "");
        assert_eq!((refused.status, &refused.body["code"]), (401, &json!("unauthorized")));
    }
    assert_eq!(stage.code("teams/blue/tokens/app", "exec app/1 --try -- true"), Some(77));
    stage.audited(&["\"event\":\"refused\"", "unauthorized"]).await;
    assert_eq!(stage.counts("lockside_requests_total"), Some(true));
    row.says("401 `unauthorized`; 77").says("audit: `refused`").says("`lockside_requests_total`");
    // The next step: its file belongs into the folder.
    stage.scratch.file("teams/red/tokens/late", "the token of a caller that was forgotten\n");
    let known = async || stage.status(Some("teams/red/tokens/late"), "GET", "/v1/locks", "") == 200;
    eventually("it is known", SOON, known).await;

    let row = Row::of(&stage, PLAYED[3]);
    let denied = stage.acquire("alice/draft");
    assert_eq!((denied.status, &denied.body["code"]), (403, &json!("forbidden")));
    assert!(denied.head.contains("lockside-reason: missing-permission"), "{}", denied.head);
    assert_eq!(stage.code(APP, "exec alice/draft --try -- true"), Some(77));
    logged(&sidecar, "denied by the policy").await;
    stage.audited(&["\"event\":\"refused\"", "missing-permission", "alice/draft"]).await;
    assert_eq!(stage.counts("lockside_denied_total"), Some(true));
    let explained = stage.run("lockside policy test --policy-file policy --as token:app lock alice/draft");
    assert_eq!(explained.status.code(), Some(77));
    assert!(String::from_utf8_lossy(&explained.stdout).contains("no line allows token:app to lock `alice/draft`"));
    row.says("403 `forbidden`, `Lockside-Reason: missing-permission`; 77").says("`denied by the policy`");
    row.says("`lockside_denied_total`").says("`lockside policy test --as …`");

    let row = Row::of(&stage, PLAYED[4]);
    let granted = [stage.acquire("app/1"), stage.acquire("app/2")];
    let over = stage.acquire("app/3");
    assert_eq!((over.status, &over.body["code"]), (429, &json!("quota-exceeded")));
    assert!(over.head.contains("lockside-limit: locks"), "{}", over.head);
    assert_eq!(stage.code(APP, "exec app/3 --try -- true"), Some(69));
    stage.audited(&["\"event\":\"refused\"", "quota-exceeded", "app/3"]).await;
    assert_eq!(stage.counts("lockside_quota_exceeded_total"), Some(true));
    row.says("429 `quota-exceeded`, `Lockside-Limit`; 69").says("`lockside_quota_exceeded_total`");
    assert_eq!(stage.release(&granted[1]), 204);
    row.says("release what is not needed");
    assert_eq!(stage.code(APP, "exec app/3 --try -- true"), Some(0));

    let row = Row::of(&stage, PLAYED[5]);
    let held = stage.acquire("app/1");
    assert_eq!((held.status, &held.body["code"]), (409, &json!("held")));
    assert_eq!(stage.code(APP, "exec app/1 --try -- true"), Some(75));
    stage.audited(&["\"event\":\"refused\"", "\"reason\":\"held\"", "app/1"]).await;
    assert_eq!(stage.counts("lockside_acquire_total"), Some(true));
    let owner = granted[0].body["owner"].as_str().unwrap().to_owned();
    let shown = stage.said(&format!("lockside show app/1 --url unix:$PWD/teams/red/api.sock --token-file {APP}"));
    assert!(shown.contains(&owner), "{shown}");
    row.says("409 `held`; 75").says("audit, with `--audit-events all`: `refused`").says("`lockside_acquire_total`");
    row.says("wait (`waitMs`)").says("`lockside show KEY`");

    let row = Row::of(&stage, PLAYED[6]);
    let mut command = stage.shell(&format!(
        "exec lockside exec app/hold --url unix:$PWD/teams/red/api.sock --token-file {APP} -- sleep 60"
    ));
    let mut exec = command.spawn().unwrap();
    let holds = async || {
        stage.status(Some(OPS), "GET", "/v1/locks/app%2Fhold", "") == 200
            && stage.counts("lockside_holds") == Some(true)
    };
    eventually("it holds", SOON, holds).await;
    for key in ["app/hold", "app/1"] {
        assert_eq!(stage.code(OPS, &format!("release {key} --force --yes --reason hangs")), Some(0));
    }
    let deadline = Instant::now() + SOON;
    let ended = loop {
        match exec.try_wait().unwrap() {
            Some(ended) => break ended,
            None if Instant::now() > deadline => panic!("its command goes on"),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(ended.code(), Some(76));
    let renew = format!("/v1/locks/app%2F1?token={}", granted[0].body["token"]);
    let lost = stage.ask(Some(APP), "PUT", &renew, "");
    assert_eq!((lost.status, &lost.body["code"]), (410, &json!("lost")));
    logged(&sidecar, "lock force-released").await;
    stage.audited(&["\"event\":\"forced\"", "app/hold", "\"reason\":\"hangs\"", "\"credential\":\"token:ops\""]).await;
    assert_eq!(stage.counts("lockside_holds_lost_total"), Some(true));
    row.says("410 `lost`, a hold's line `lost`; 76").says("`lock force-released`; audit: `forced`");
    row.says("`lockside_holds_lost_total`").says("the reason is in the audit trail");
}

#[tokio::test]
async fn a_policy_with_mistakes_and_a_trail_that_cannot_be_written_are_told_as_the_table_says() {
    let stage = Stage::set_up();
    let row = Row::of(&stage, PLAYED[7]);
    let good = std::fs::read_to_string(stage.scratch.path("policy")).unwrap();
    let bad = "token:app lok app/*\nuser:* lock {sub}*\n";
    stage.scratch.file("policy", bad);
    let start = stage.run("set -a; . teams/red/lockside.env; exec lockside serve");
    assert_eq!(start.status.code(), Some(64), "{start:?}");
    stage.scratch.file("policy", &good);
    {
        let sidecar = stage.ready_red_with("").await;
        stage.scratch.file("policy", bad);
        for mistake in ["line 1: `lok`", "line 2: `{sub}*`"] {
            logged(&sidecar, mistake).await;
        }
        let unfit = async || stage.counts("lockside_secret_file_unfit{flag=\"policy-file\"}") == Some(true);
        eventually("the metric", SOON, unfit).await;
        let granted = stage.acquire("app/1");
        assert_eq!((granted.status, stage.release(&granted)), (201, 204), "the last good one stays");
        let tested = stage.run("lockside policy test --policy-file policy --as token:app lock app/1");
        let told = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert_eq!(tested.status.code(), Some(64));
        assert!(told.contains("line 1: `lok`") && told.contains("line 2: `{sub}*`"), "{told}");
        stage.scratch.file("policy", &good);
        let fit = async || stage.counts("lockside_secret_file_unfit{flag=\"policy-file\"}") != Some(true);
        eventually("it is good again", SOON, fit).await;
    }
    row.says("at the start the exit code 64; later nothing").says("each mistake with its line");
    row.says("`lockside_secret_file_unfit{flag=\"policy-file\"}`").says("the last good policy stays in effect");

    let row = Row::of(&stage, PLAYED[8]);
    let sidecar = stage.ready_red_with("LOCKSIDE_AUDIT=/dev/full").await;
    let granted = stage.acquire("app/1");
    assert_eq!((granted.status, stage.release(&granted)), (201, 204), "callers see nothing");
    logged(&sidecar, "audit lines lost").await;
    eventually("the metric", SOON, async || stage.counts("lockside_audit_lost_total") == Some(true)).await;
    row.says("nothing").says("`audit lines lost`").says("`lockside_audit_lost_total`");
}

/// The secret of each team is its own, and its old one is no longer accepted once it was replaced.
#[tokio::test]
async fn a_user_of_one_team_is_none_of_another_and_a_new_secret_replaces_the_old_one() {
    let stage = Stage::set_up();
    assert!(
        section(&stage.page, "## 2. What each app and person may do")
            .contains("a secret of its own (`--jwt-secret-file`)")
    );
    let _red = stage.ready_red_with("").await;
    let user_of = |name: &str, secret: &str| {
        let key = EncodingKey::from_secret(secret.trim().as_bytes());
        stage.scratch.file(name, jwt::sign(&jwt::editor_claims("alice"), Algorithm::HS256, &key))
    };
    let secret = |team: &str| std::fs::read_to_string(stage.scratch.path(&format!("teams/{team}/jwt-secret"))).unwrap();
    let (of_red, of_blue) = (user_of("red.jwt", &secret("red")), user_of("blue.jwt", &secret("blue")));
    assert_eq!(stage.code(&of_red, "exec alice/draft --try -- true"), Some(0));
    assert_eq!(stage.code(&of_blue, "exec alice/draft --try -- true"), Some(77), "two secrets, side by side");
    stage.scratch.file("teams/red/jwt-secret", "another secret of red, long enough for HS256\n");
    let of_new = user_of("new.jwt", &secret("red"));
    let takes = async || stage.code(&of_new, "exec alice/draft --try -- true") == Some(0);
    eventually("the new secret is read", SOON, takes).await;
    assert_eq!(stage.code(&of_red, "exec alice/draft --try -- true"), Some(77));
}

/// The other way of the page: one identity provider, and an audience for each team. Its old and its new key are side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_provider_serves_all_teams_by_an_audience_for_each_and_may_rotate_its_key() {
    let stage = Stage::set_up();
    let block = blocks(section(&stage.page, "## 2. What each app and person may do"), "text")[0];
    let [old, new] = ["old", "new"].map(|name| Key::new(name, Algorithm::ES256, jwt::Pair::p256()));
    let issuer = Issuer::plain(Page::Json(set(&[&old]))).await;
    let origin = issuer.url("/realm");
    issuer.serve(DISCOVERY, Page::Json(json!({"issuer": origin, "jwks_uri": issuer.url(KEYS)})));
    let printed = "https://keycloak.example/realms/shop/.well-known/openid-configuration";
    assert!(block.contains(printed) && block.contains("LOCKSIDE_JWT_AUDIENCE=lockside-red"), "{block}");
    let settings = block.replace(printed, &issuer.url(DISCOVERY));
    let settings = format!("unset LOCKSIDE_JWT_SECRET_FILE\nLOCKSIDE_JWKS_REFRESH=1s\n{settings}");
    let _red = stage.ready_red_with(&settings).await;
    let user = |key: &Key, team: &str| {
        let claims =
            json!({"sub": "alice", "iss": origin, "aud": format!("lockside-{team}"), "exp": jwt::seconds(3600)});
        stage.scratch.file(&format!("{}-{team}.jwt", key.name), key.sign(&claims))
    };
    let code = |token: &str| stage.code(token, "exec alice/draft --try -- true");
    let (of_old, of_new, of_blue) = (user(&old, "red"), user(&new, "red"), user(&old, "blue"));
    eventually("the keys are fetched", SOON, async || code(&of_old) == Some(0)).await;
    assert_eq!(
        (code(&of_blue), code(&of_new)),
        (Some(77), Some(77)),
        "another audience, and a key that is not published"
    );
    issuer.serve(KEYS, Page::Json(set(&[&old, &new])));
    eventually("the new key is known", SOON, async || code(&of_new) == Some(0)).await;
    assert_eq!(code(&of_old), Some(0), "the old one, beside it");
    issuer.serve(KEYS, Page::Json(set(&[&new])));
    eventually("the old key is of no use", SOON, async || code(&of_old) == Some(77)).await;
    assert_eq!(code(&of_new), Some(0));
}
