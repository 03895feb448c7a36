//! Every command and every sample of code in the documents runs.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::{Document, blocks, documents, read, root};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt, lockside, topology, unique};

/// What a block calls that needs more than a sidecar: a cluster, containers, root, a whole build, a generator.
const ELSEWHERE: [&str; 17] = [
    ".ci/run",
    "cd",
    "docker",
    "go",
    "helm",
    "install",
    "kubectl",
    "kustomize",
    "make",
    "mvn",
    "npm",
    "npx",
    "openapi-generator-cli",
    "openapi-python-client",
    "pip",
    "promtool",
    "systemctl",
];

/// The command of each line; a line that goes on has no command of its own.
fn commands(block: &str) -> impl Iterator<Item = &str> {
    let joined = |before: &&str| !before.trim_end().ends_with('\\') && !before.trim_end().ends_with("&&");
    let mut before = "";
    block.lines().filter(move |line| {
        let is_new = joined(&before);
        before = line;
        is_new && !line.trim().is_empty() && !line.trim_start().starts_with('#')
    })
}

fn first_word(command: &str) -> &str {
    command.split_whitespace().next().unwrap_or_default()
}

fn is_for_elsewhere(block: &str) -> bool {
    commands(block).any(|command| ELSEWHERE.contains(&first_word(command)))
}

/// A sidecar with a user's cookie, which leads an election, a directory with a token, and `lockside` in the PATH.
struct Desk {
    sidecar: Sidecar,
    scratch: Scratch,
}

impl Desk {
    async fn new() -> Desk {
        let scratch = Scratch::new();
        let secret = scratch.file("secret", jwt::SECRET);
        scratch.file("token", jwt::editor("dev"));
        let prefix = unique("documents");
        let audit = scratch.path("audit.jsonl");
        let flags = ["--jwt-secret-file", &secret, "--key-prefix", &prefix, "--elect", "jobs", "--elect-ttl", "1s"];
        let sidecar = Sidecar::start(TestRedis::shared(), &[&flags[..], &["--audit", &audit]].concat()).await;
        eventually("it leads", Duration::from_secs(15), async || sidecar.ops("/leader/jobs").await.status == 200).await;
        Desk { sidecar, scratch }
    }

    async fn run(&self, program: &str, args: &[&str]) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_lockside")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = tokio::process::Command::new(program);
        topology::introduce(command.as_std_mut(), &TestRedis::shared().url(), &self.scratch);
        command
            .args(args)
            .env("LOCKSIDE_REDIS_URL", TestRedis::shared().url())
            .env("LOCKSIDE_LISTEN", self.sidecar.api_address())
            .env("LOCKSIDE_OPS_LISTEN", self.sidecar.ops_address())
            .env("LOCKSIDE_URL", format!("http://{}", self.sidecar.api_address()))
            .env("COOKIE", format!("refreshToken={}", jwt::editor("dev")))
            .env("PATH", format!("{}:{path}", binary.display()))
            .current_dir(self.scratch.path(""))
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap()
    }
}

fn assert_ran(output: &Output, of: &Document, code: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{code}\n{out}\n{err}", of.path);
}

#[tokio::test]
async fn every_sh_block_works() {
    // Those of the teams run in a test of their own, on a Redis and sidecars of their own.
    let pages = documents().into_iter().filter(|document| document.path != super::teams::PAGE);
    // To start forty sidecars at once would keep this thread from its connections for longer than a head may take.
    let turns = Semaphore::new(6);
    let ran = join_all(pages.map(async |document| {
        let runnable: Vec<_> =
            blocks(&document.text, "sh").into_iter().filter(|code| !is_for_elsewhere(code)).collect();
        if runnable.is_empty() {
            return 0;
        }
        let _turn = turns.acquire().await.expect("never closed");
        let desk = Desk::new().await;
        for code in &runnable {
            let script = format!("set -euo pipefail\ncurl() {{ command curl --fail-with-body \"$@\"; }}\n{code}");
            assert_ran(&desk.run("bash", &["-c", &script]).await, &document, code);
        }
        runnable.len()
    }));
    let ran = ran.await;
    assert!(ran.iter().sum::<usize>() >= 12, "each API and the command line are shown: {ran:?}");
}

#[tokio::test]
async fn every_python_sample_works() {
    let mut count = 0;
    // Those of the clients run in the clients' own tests, which install them; those of fencing in tests/fencing.
    let is_here = |path: &str| {
        path == "docs/clients/http.md" || (!path.starts_with("docs/clients/") && path != "docs/fencing.md")
    };
    for document in documents().into_iter().filter(|document| is_here(&document.path)) {
        for code in blocks(&document.text, "python") {
            let desk = Desk::new().await;
            assert!(code.contains("127.0.0.1:7420"), "where lockside is by default");
            let code = code.replace("127.0.0.1:7420", desk.sidecar.api_address());
            let output = desk.run("python3", &["-c", &code]).await;
            assert_ran(&output, &document, &code);
            assert!(String::from_utf8_lossy(&output.stdout).contains("fencing token"), "{output:?}");
            count += 1;
        }
    }
    assert!(count > 0, "the README shows how to lock");
}

#[tokio::test]
async fn the_last_tokens_of_an_older_version_are_carried_over_as_the_upgrade_page_says() {
    let page = read("docs/operations/upgrade.md");
    let code = blocks(super::section(&page, "## From 0.1.0"), "text")[0];
    let redis = TestRedis::start(&[]);
    let last = 123_456_789_000_000_u64;
    redis.ask::<()>("SET", &["{lockside:3}:seq", &last.to_string()]);
    let socket = redis.socket();
    let script = format!("set -eu\nredis-cli() {{ command redis-cli -s {socket} \"$@\"; }}\n{code}");

    let output = Command::new("bash").args(["-c", &script]).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    assert!(!redis.ask::<bool>("EXISTS", &["{lockside:3}:seq"]));
    let sidecar = Sidecar::start(&redis, &[]).await;
    let key = (0..)
        .map(|number| format!("k-{number}"))
        .find(|key| lockside::lock::Key::parse(key).unwrap().shard().index() == 3);
    let answer = sidecar.call("POST", &format!("/v1/locks/{}", key.unwrap())).send().await;
    assert_eq!(answer.json()["token"].as_u64(), Some((last + 1) * 64 + 3), "{}", answer.text());
}

#[tokio::test]
async fn every_block_for_elsewhere_names_what_exists() {
    let makefile = read("Makefile");
    let mut count = 0;
    for document in documents() {
        for code in blocks(&document.text, "sh").into_iter().filter(|code| is_for_elsewhere(code)) {
            for command in commands(code) {
                let word = first_word(command.trim_start_matches('('));
                let is_known = ELSEWHERE.contains(&word) || word == "umask";
                assert!(is_known, "{}: `{word}` in a block that is not run", document.path);
                if word == "make" {
                    let target = command.split_whitespace().nth(1).unwrap();
                    assert!(makefile.contains(&format!("\n{target}: ")), "{}: make {target}", document.path);
                }
            }
            let paths = code
                .split(|c: char| c.is_whitespace() || c == '=')
                .filter(|word| word.starts_with("deploy/") || word.starts_with("./"));
            for path in paths.filter(|path| !path.contains("/secrets")) {
                assert!(root(path).exists(), "{}: {path}", document.path);
            }
            for call in code.replace("\\\n", " ").lines().filter_map(|line| line.split_once("/lockside ")) {
                let Some(subcommand) = call.1.split_whitespace().next().filter(|word| *word != "...") else { continue };
                if !call.0.ends_with(' ') {
                    continue;
                }
                let help = lockside(&[subcommand, "--help"]).await;
                assert_eq!(help.code, Some(0), "{}: lockside {subcommand}", document.path);
                for flag in call.1.split_whitespace().filter(|word| word.starts_with("--")) {
                    assert!(help.stdout.contains(flag), "{}: lockside {subcommand} {flag}", document.path);
                }
            }
            count += 1;
        }
    }
    assert!(count > 8, "{count} blocks");
}

#[tokio::test]
async fn every_call_that_replaces_another_librarys_leads_somewhere() {
    let page = read("docs/coming-from.md");
    let sidecar = Sidecar::start(TestRedis::shared(), &["--key-prefix", &unique("coming")]).await;
    let mut count = 0;
    for quoted in super::quoted(&page) {
        let Some((method, path)) = quoted.split_once(' ') else { continue };
        if path.starts_with("/v1/locks") {
            let path = path.replace("KEY", "key").replace("=N", "=64");
            // No JSON: let in, and nothing is done.
            let status = sidecar.call(method, &path).body("{").send().await.status;
            assert!(!matches!(status, 404 | 405), "{quoted}: {status}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} calls");
}

#[test]
fn lockside_dev_prints_ten_lines_that_work_and_no_warning() {
    let scratch = Scratch::new();
    let log = std::fs::File::create(scratch.path("log")).unwrap();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_lockside"))
        .args(["dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let printed: Vec<String> = {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(dev.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        lines.take(10).collect()
    };
    let sources = root("clients/python/src");
    let run = |line: &str| {
        let source = &printed[4];
        let retrying = line.replace("curl ", "curl --retry 20 --retry-all-errors ");
        let output =
            Command::new("bash").args(["-c", &format!("{source}\n{retrying}")]).env("PYTHONPATH", &sources).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said: Vec<String> = printed[5..].iter().map(|line| run(line)).collect();
    Command::new("kill").args(["-HUP", &dev.id().to_string()]).status().unwrap();
    assert!(dev.wait().unwrap().success(), "a terminal that closes ends it with 0");

    assert!(printed.iter().all(|line| line.len() <= 140), "{printed:#?}");
    assert!(said[0].starts_with("fencing token "), "{said:?}");
    assert!(said[1].contains("\"owner\":\"web-1\"") && said[2].contains("Success"), "{said:?}");
    assert!(said[3].contains("orders") && said[3].contains("volume:1234"), "{said:?}");
    assert!(said[4].trim().parse::<u64>().is_ok(), "{said:?}");
    let log = std::fs::read_to_string(scratch.path("log")).unwrap();
    assert!(log.contains("INFO") && !log.contains("WARN"), "{log}");
}
