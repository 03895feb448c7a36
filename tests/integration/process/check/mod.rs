//! `lockside check`: each check in each of its states, on real servers, and nothing left in Redis.

mod local;
mod reach;
mod redis;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::command::Finished;
use crate::harness::{Scratch, TestRedis, lockside_with, topology};

/// The names of the checks, in their order.
const NAMES: [&str; 13] = [
    "dns",
    "tcp",
    "tls",
    "auth",
    "rights",
    "version",
    "persistence",
    "eviction",
    "policy",
    "replicas",
    "clock",
    "listeners",
    "proxies",
];
/// As `deploy/redis/redis.conf` has it.
const GOOD: [&str; 2] = ["--appendonly", "yes"];

/// What a run said.
struct Checked {
    code: Option<i32>,
    checks: BTreeMap<String, Value>,
}

impl Checked {
    fn status(&self, name: &str) -> &str {
        self.checks[name]["status"].as_str().expect("a status")
    }

    /// Asserts how a check ended, and what it says of it: in its detail, or in what is to be changed.
    fn assert(&self, name: &str, status: &str, said: &str) {
        let check = &self.checks[name];
        assert_eq!(self.status(name), status, "{check}");
        let text = format!("{}; {}", check["detail"].as_str().unwrap(), check["change"].as_str().unwrap_or_default());
        assert!(text.contains(said), "{check}");
        let is_wrong = matches!(status, "warn" | "fail");
        assert_eq!(check["change"].as_str().is_some_and(|change| !change.is_empty()), is_wrong, "{check}");
    }

    /// Asserts that these were skipped, and why.
    fn assert_skipped(&self, names: &[&str], why: &str) {
        names.iter().for_each(|name| self.assert(name, "skipped", why));
    }
}

/// Runs the command with ports of the kernel's choice, unless a flag says where to listen, and without the proxies of
/// this machine.
async fn run(flags: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut args = vec!["check"];
    args.extend(flags);
    for (flag, address) in [("--listen", "127.0.0.1:0"), ("--ops-listen", "127.0.0.1:0")] {
        if !flags.contains(&flag) {
            args.extend([flag, address]);
        }
    }
    let (scratch, mut introduced) = (Scratch::new(), std::process::Command::new("lockside"));
    let url = flags.windows(2).find(|pair| pair[0] == "--redis-url").map(|pair| pair[1]);
    topology::introduce(&mut introduced, url.unwrap_or_default(), &scratch);
    let mut all: Vec<(&str, &str)> =
        introduced.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))).collect();
    all.extend(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"].map(|name| (name, "")));
    all.extend(variables);
    lockside_with(&args, &all).await
}

/// Runs it with `--json`. Each page that it names is there.
async fn check_with(flags: &[&str], variables: &[(&str, &str)]) -> Checked {
    let run = run(&[&["--json"], flags].concat(), variables).await;
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.output()));
    let checks = report["checks"].as_array().expect("checks");
    let names: Vec<&str> = checks.iter().map(|check| check["name"].as_str().expect("a name")).collect();
    assert_eq!(names, NAMES);
    for check in checks {
        let members: Vec<&str> = check.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["change", "detail", "name", "page", "status"], "{check}");
        assert!(!check["detail"].as_str().expect("a detail").is_empty(), "{check}");
        assert_page_is_there(check["page"].as_str().expect("a page"));
    }
    let has_failed = checks.iter().any(|check| check["status"] == "fail");
    assert_eq!(run.code, Some(i32::from(has_failed)), "{}", run.output());
    let of = |check: &Value| (check["name"].as_str().expect("a name").to_owned(), check.clone());
    Checked { code: run.code, checks: checks.iter().map(of).collect() }
}

async fn check(flags: &[&str]) -> Checked {
    check_with(flags, &[]).await
}

/// Checks a Redis, in which nothing is left.
async fn check_on(redis: &TestRedis, flags: &[&str]) -> Checked {
    let keys = || {
        let mut keys: Vec<String> = redis.ask("KEYS", &["*"]);
        keys.sort_unstable();
        keys
    };
    let before = keys();
    let checked = check(&[&["--redis-url", &redis.url()], flags].concat()).await;
    assert_eq!(keys(), before);
    checked
}

/// A page of the repository, with a heading of this anchor.
fn assert_page_is_there(page: &str) {
    let (path, anchor) = page.split_once('#').expect("an anchor");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    assert!(text.contains(&format!("\n### `{anchor}`\n")), "{page}");
}

#[tokio::test]
async fn a_redis_as_recommended_has_no_warning_and_keeps_nothing() {
    let redis = TestRedis::start(&GOOD);
    redis.ask::<String>("SET", &["other", "data"]);
    let checked = check_on(&redis, &[]).await;
    let of = |status: &str| NAMES.into_iter().filter(|name| checked.status(name) == status).collect::<Vec<_>>();
    assert_eq!((of("warn"), of("fail"), checked.code), (Vec::new(), Vec::new(), Some(0)), "{:?}", checked.checks);
    checked.assert("rights", "ok", "a lock was acquired, renewed and released");
    checked.assert("version", "ok", "7.");
    checked.assert("policy", "skipped", "--policy-file is not set");
    assert_eq!(redis.ask::<u64>("DBSIZE", &[]), 1);
    let raw = check_on(&redis, &["--raw-keys", "--key-prefix", "other"]).await;
    assert_eq!((raw.code, raw.status("rights")), (Some(0), "ok"), "{:?}", raw.checks);
}

#[tokio::test]
async fn people_read_a_line_for_each_check_and_below_it_what_to_change() {
    let redis = TestRedis::start(&["--maxmemory-policy", "allkeys-lru"]);
    let shown = run(&["--redis-url", &redis.url()], &[]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(1), ""));
    let lines: Vec<&str> = shown.stdout.lines().filter(|line| !line.starts_with(' ')).collect();
    let words = |at: usize| lines.iter().map(|line| line.split_whitespace().nth(at).unwrap()).collect::<Vec<_>>();
    assert_eq!(words(1), NAMES, "{}", shown.stdout);
    let expected = ["ok", "skipped", "warn", "FAIL"];
    assert!(words(0).iter().all(|word| expected.contains(word)), "{}", shown.stdout);
    let begins_at = |line: &str, at: usize| line[..at].ends_with(' ') && !line[at..].starts_with(' ');
    assert!(lines.iter().all(|line| begins_at(line, 9) && begins_at(line, 22)), "{}", shown.stdout);
    let failed = shown.stdout.split("\nFAIL ").nth(1).unwrap();
    let below: Vec<&str> = failed.lines().skip(1).take(2).map(str::trim).collect();
    assert_eq!(below, ["change: set maxmemory-policy to noeviction", "see: docs/operations/check.md#eviction"]);
}

#[tokio::test]
async fn settings_that_serve_refuses_are_refused_with_all_their_mistakes() {
    let scratch = Scratch::new();
    let policy = scratch.file("policy", "token:ci lok deploy/*\nusers:x lock *\n");
    let flags = ["--policy-file", &policy, "--threads", "0", "--redis-url", "http://redis"];
    let refused = run(&flags, &[]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(64), ""), "{}", refused.stderr);
    let served = crate::harness::lockside(&[&["serve"], &flags[..]].concat()).await;
    assert_eq!((served.code, served.stderr), (Some(64), refused.stderr.clone()));
    for mistake in ["--threads", "--redis-url", "line 1: `lok`", "line 2: `users:x`"] {
        assert!(refused.stderr.contains(mistake), "{mistake}: {}", refused.stderr);
    }
}

#[tokio::test]
async fn a_page_is_absolute_where_the_documents_are() {
    let redis = TestRedis::start(&GOOD);
    let flags = ["--json", "--docs-url", "https://docs.example.com/x", "--redis-url", &redis.url()];
    let report: Value = serde_json::from_str(&run(&flags, &[]).await.stdout).unwrap();
    assert_eq!(report["checks"][0]["page"], "https://docs.example.com/x/docs/operations/check.md#dns");
}

/// The page says of each check what to do.
#[test]
fn the_page_has_a_section_for_each_check() {
    let page = include_str!("../../../../docs/operations/check.md");
    let sections = page.split("\n## The checks\n").nth(1).unwrap();
    let told: Vec<&str> = sections.split("\n### `").skip(1).filter_map(|part| part.split('`').next()).collect();
    assert_eq!(told, NAMES);
}
