//! The page of the teams is played: its commands in order, on a real Redis, with a sidecar for each of two teams.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::{blocks, read, section};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, free_port, jwt, lockside};

pub const PAGE: &str = "docs/operations/teams.md";
pub const USERS: &str = "## 1. A user in Redis for each team";

/// A directory in which the page's commands run, and its Redis.
pub struct Stage {
    pub redis: TestRedis,
    pub url: String,
    pub scratch: Scratch,
    pub page: String,
}

impl Stage {
    pub fn new() -> Stage {
        let scratch = Scratch::new();
        let acl = scratch.file("redis.acl", "user default on nopass ~* &* +@all\n");
        let port = free_port();
        let args = ["--appendonly", "yes", "--aclfile", &acl, "--port", &port];
        let redis = TestRedis::start_with(&args, None);
        Stage { redis, url: format!("redis://127.0.0.1:{port}"), scratch, page: read(PAGE) }
    }

    /// A shell in the directory, as an engineer has it.
    pub fn shell(&self, code: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_lockside")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let script = format!("set -euo pipefail\n{code}");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).env("PATH", path).env("LOCKSIDE_REDIS_URL", &self.url);
        for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            shell.env_remove(proxy);
        }
        shell.current_dir(self.scratch.path("")).stdin(Stdio::null());
        shell
    }

    pub fn run(&self, code: &str) -> Output {
        self.shell(code).output().unwrap()
    }

    /// Plays each command of a section; what each says.
    pub fn play(&self, heading: &str) -> Vec<String> {
        let played: Vec<String> = blocks(section(&self.page, heading), "sh")
            .into_iter()
            .map(|code| {
                let output = self.run(code);
                let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
                assert!(output.status.success(), "{code}\n{said:#?}");
                said.concat()
            })
            .collect();
        assert!(!played.is_empty(), "{heading}");
        played
    }

    /// What Redis answers the page's administrator.
    pub fn redis_says(&self, command: &str) -> String {
        let login = "REDISCLI_AUTH=$(cat redis-admin-password)";
        let output = self.run(&format!("{login} redis-cli -e -u \"$LOCKSIDE_REDIS_URL\" --user admin {command}"));
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn users(&self) -> Vec<String> {
        self.redis_says("ACL USERS").lines().map(str::to_owned).collect()
    }

    /// How many passwords the user of a team has.
    fn passwords(&self, team: &str) -> usize {
        let list = self.redis_says("ACL LIST");
        let line = list.lines().find(|line| line.starts_with(&format!("user {team} "))).unwrap();
        line.split(' ').filter(|word| word.starts_with('#')).count()
    }

    /// Starts a team's sidecar, as the page has it.
    async fn start(&self, team: &str) -> Sidecar {
        let code = format!("(set -a; . teams/{team}/lockside.env; exec lockside serve)");
        assert!(section(&self.page, "## 3. The settings of each team").contains(&code), "the page has {code}");
        let exec = code.trim_matches(['(', ')']);
        let sidecar = Sidecar::of(self.shell(exec));
        let ops = format!("unix:{}", self.scratch.path(&format!("teams/{team}/ops.sock")));
        let is_ready = async || lockside(&["health", "--ready", "--ops-listen", &ops]).await.code == Some(0);
        eventually("it is ready", Duration::from_secs(10), is_ready).await;
        sidecar
    }

    /// What the page's last command prints of the audit trail.
    fn trail(&self) -> String {
        let commands = blocks(section(&self.page, "## 4. Play it"), "sh");
        String::from_utf8(self.run(commands[commands.len() - 1]).stdout).unwrap()
    }

    pub fn metrics(&self, team: &str) -> String {
        let code = format!("curl -sS --unix-socket teams/{team}/ops.sock http://localhost/metrics");
        String::from_utf8(self.run(&code).stdout).unwrap()
    }
}

#[tokio::test]
async fn two_teams_share_a_redis_as_the_page_says() {
    let stage = Stage::new();
    the_users_are_loaded_again_and_again(&stage);
    for team in ["red", "blue"] {
        // Keys of which there are tokens.
        stage.scratch.file(&format!("teams/{team}/jwt-secret"), jwt::SECRET);
    }
    let decided = stage.play("## 2. What each app and person may do").concat();
    assert_eq!(decided.matches("allowed: ").count(), 2, "{decided}");
    assert_eq!(decided.matches("denied: ").count(), 1, "{decided}");

    let settled = stage.play("## 3. The settings of each team");
    assert_eq!(settled[1].lines().filter(|line| line.starts_with("ok       rights")).count(), 2, "{}", settled[1]);
    assert!(!settled[1].contains("FAIL") && !settled[1].contains("warn"), "{}", settled[1]);
    assert!(settled[2].contains("FAIL     rights") && settled[2].contains("~{blue:[0-9]}:*"), "{}", settled[2]);
    assert!(settled[3].contains("FAIL     auth"), "{}", settled[3]);
    let refused = stage.redis_says("ACL LOG");
    assert!(refused.contains("red"), "{refused}");
    a_check_that_fails_is_the_exit_code(&stage);

    let (red, _blue) = (stage.start("red").await, stage.start("blue").await);
    let played = stage.play("## 4. Play it");
    assert!(played[0].contains("red and blue, both at once"), "{}", played[0]);
    assert!(played[1].contains("401 unauthorized") && played[1].contains("403 forbidden"), "{}", played[1]);
    assert!(
        played[2].contains("\"code\":\"quota-exceeded\"") && played[2].contains("\"limit\":\"locks\""),
        "{}",
        played[2]
    );
    let operator = &played[3];
    assert!(operator.contains("app/1") && operator.contains("app/2"), "{operator}");
    assert!(operator.contains("403 forbidden") && operator.contains("force-released `app/1`"), "{operator}");

    for line in [
        "refused\t-\t-\tunauthorized",
        "refused\ttoken:app\talice/draft\tmissing-permission",
        "refused\ttoken:app\tapp/3\tquota-exceeded",
        "refused\ttoken:app\tapp/1\tmissing-permission",
        "forced\ttoken:ops\tapp/1\tthe import hangs",
    ] {
        // The trail is written behind the answer.
        let is_told = async || stage.trail().lines().any(|told| told == line);
        eventually(line, Duration::from_secs(5), is_told).await;
    }
    for line in ["denied by the policy", "lock force-released"] {
        eventually(line, Duration::from_secs(5), async || red.log().contains(line)).await;
    }
    let metrics = stage.metrics("red");
    for metric in ["lockside_denied_total{verb=\"lock\"}", "lockside_quota_exceeded_total{limit=\"locks\"}"] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    assert!(!stage.metrics("blue").contains("lockside_denied_total{verb=\"lock\"} 1"), "blue did nothing wrong");
    a_user_has_keys_of_that_name(&stage).await;

    stage.play("## 5. Remove a team");
    assert_eq!(stage.users(), ["admin", "default", "red"]);
    let code = "curl -sS -o /dev/null -w '%{http_code}' --unix-socket teams/blue/api.sock -X POST \
                -H \"Authorization: Bearer $(cat teams/blue/tokens/app)\" http://localhost/v1/locks/app%2Fx";
    let is_cut_off = async || stage.run(code).stdout == b"503";
    eventually("blue has no Redis any more", Duration::from_secs(10), is_cut_off).await;
    // As it stands after a restart.
    let saved = std::fs::read_to_string(stage.scratch.path("redis.acl")).unwrap();
    assert!(!saved.contains("user blue "), "{saved}");
}

#[test]
fn each_redis_server_of_the_list_gets_the_users() {
    let (stage, other) = (Stage::new(), Stage::new());
    let commands = blocks(section(&stage.page, USERS), "sh");
    let listed =
        commands[1].replace("in \"$LOCKSIDE_REDIS_URL\"", &format!("in \"$LOCKSIDE_REDIS_URL\" {}", other.url));
    assert_ne!(listed, commands[1]);
    // Again, for a server that was added later.
    for code in [commands[0], commands[1], &listed, &listed] {
        let output = stage.run(code);
        assert!(output.status.success(), "{code}: {output:?}");
    }
    std::fs::copy(stage.scratch.path("redis-admin-password"), other.scratch.path("redis-admin-password")).unwrap();
    for of in [&stage, &other] {
        assert_eq!(of.users(), ["admin", "blue", "default", "red"]);
        assert!(of.redis_says("ACL LIST").contains("user default off "));
    }
    assert!(stage.page.contains("write the URL of every\n  Redis server into the list behind `for server in`"));
}

#[test]
fn a_redis_that_cannot_save_its_users_makes_the_commands_of_the_page_fail() {
    let (stage, port) = (Stage::new(), free_port());
    let _without_a_file = TestRedis::start_with(&["--port", &port], None);
    let commands = blocks(section(&stage.page, USERS), "sh");
    assert!(stage.run(commands[0]).status.success());
    let output = stage.run(&format!("LOCKSIDE_REDIS_URL=redis://127.0.0.1:{port}\n{}", commands[1]));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && told.contains("not configured to use an ACL file"), "{output:?}");
    assert!(stage.page.contains("`ACL SAVE` needs an `aclfile` in the configuration of Redis"));
}

#[test]
fn a_password_of_the_user_default_is_sent_the_first_time_where_it_is_in_the_environment() {
    let stage = Stage::new();
    let commands = blocks(section(&stage.page, USERS), "sh");
    assert!(
        stage
            .run("redis-cli -e -u \"$LOCKSIDE_REDIS_URL\" ACL SETUSER default resetpass '>the first one'")
            .status
            .success()
    );
    assert!(stage.run(commands[0]).status.success());
    assert!(!stage.run(commands[1]).status.success(), "without the password");
    assert!(stage.page.contains("put it into `REDISCLI_AUTH` for the first time"));
    let output = stage.run(&format!("export REDISCLI_AUTH='the first one'\n{}", commands[1]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stage.users(), ["admin", "blue", "default", "red"]);
}

/// The commands of the first section keep the secrets that are there, and a new password replaces the old one.
fn the_users_are_loaded_again_and_again(stage: &Stage) {
    let secret = |name: &str| std::fs::read_to_string(stage.scratch.path(name)).unwrap();
    let secrets = || {
        let of_red =
            ["redis-password", "jwt-secret", "tokens/app", "tokens/ops"].map(|name| format!("teams/red/{name}"));
        of_red.iter().map(|name| secret(name)).collect::<Vec<_>>()
    };
    stage.play(USERS);
    let before = (secret("redis-admin-password"), secrets());
    stage.play(USERS);
    assert_eq!((secret("redis-admin-password"), secrets()), before);
    assert_eq!(stage.users(), ["admin", "blue", "default", "red"]);
    assert!(stage.redis_says("ACL LIST").contains("user default off "), "{}", stage.redis_says("ACL LIST"));
    stage.scratch.file("teams/red/redis-password", "another password of red\n");
    stage.play(USERS);
    assert_eq!((stage.passwords("red"), stage.passwords("blue")), (1, 1));
    let login = |password: &str| {
        let code = format!("REDISCLI_AUTH='{password}' redis-cli -e -u \"$LOCKSIDE_REDIS_URL\" --user red INFO server");
        String::from_utf8(stage.run(&code).stdout).unwrap().contains("redis_version")
    };
    assert!(login("another password of red") && !login(before.1[0].trim()), "the old one is no longer accepted");
    // As they stand after a restart.
    let saved = std::fs::read_to_string(stage.scratch.path("redis.acl")).unwrap();
    assert!(saved.contains("user default off ") && saved.matches("user red ").count() == 1, "{saved}");
}

/// One team of several whose check fails makes the page's command fail, whichever it is.
fn a_check_that_fails_is_the_exit_code(stage: &Stage) {
    let commands = blocks(section(&stage.page, "## 3. The settings of each team"), "sh");
    for team in ["red", "blue"] {
        let name = format!("teams/{team}/lockside.env");
        let settings = std::fs::read_to_string(stage.scratch.path(&name)).unwrap();
        stage.scratch.file(&name, format!("{settings}LOCKSIDE_REDIS_USERNAME=unknown\n"));
        assert!(!stage.run(commands[1]).status.success(), "{team}");
        stage.scratch.file(&name, settings);
    }
    assert!(stage.run(commands[1]).status.success());
}

/// A JWT of red's key is none at blue's sidecar, unless blue has the same key; here both do, so the policy is what counts.
async fn a_user_has_keys_of_that_name(stage: &Stage) {
    let token = stage.scratch.file("alice.jwt", jwt::editor("alice"));
    let url = format!("unix:{}", stage.scratch.path("teams/red/api.sock"));
    for (key, code) in [("alice/draft", 0), ("bob/draft", 77)] {
        let run = lockside(&["exec", key, "--try", "--url", &url, "--token-file", &token, "--", "true"]).await;
        assert_eq!(run.code, Some(code), "{key}: {}", run.stderr);
    }
}

/// What the table calls by a code or a metric is in the reference.
#[test]
fn the_table_of_failures_names_codes_that_there_are() {
    let page = read(PAGE);
    let (errors, mut count) = (read("docs/reference/errors.md"), 0);
    for row in super::rows(section(&page, "## What each failure looks like")).iter().skip(1) {
        let answer = row[1].split(';').next().unwrap();
        if let Some(code) = super::quoted(answer).next().filter(|_| answer.starts_with(|c: char| c.is_ascii_digit())) {
            assert!(errors.contains(&format!("\n## {code}\n")), "{code}");
            count += 1;
        }
    }
    assert!(count >= 6, "{count}");
}
