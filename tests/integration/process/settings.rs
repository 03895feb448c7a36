//! The command line, the environment and the files: what is accepted, and how mistakes are told.

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use serde_json::json;

use crate::harness::{Scratch, Sidecar, TestRedis, jwt, lockside, lockside_with, unique};

/// Where nothing is listened on, for runs that must fail before they would.
const UNUSED: [&str; 4] = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

async fn serve(flags: &[&str]) -> crate::harness::command::Finished {
    lockside(&[&["serve"], &UNUSED[..], flags].concat()).await
}

#[tokio::test]
async fn help_succeeds_and_names_the_subcommands() {
    let help = lockside(&["--help"]).await;
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for subcommand in ["serve", "dev", "health"] {
        assert!(help.stdout.contains(subcommand), "{subcommand}");
        assert_eq!(lockside(&[subcommand, "--help"]).await.code, Some(0));
    }
    let version = lockside(&["--version"]).await;
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (Some(0), concat!("lockside ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[tokio::test]
async fn every_flag_of_serve_is_named_with_its_variable() {
    let help = lockside(&["serve", "--help"]).await;
    assert_eq!(help.code, Some(0));
    let entries: Vec<&str> = help.stdout.split("\n      --").skip(1).collect();
    assert!(entries.len() > 20, "{}", help.stdout);
    for entry in &entries {
        let flag = entry.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().expect("a flag");
        let variable = format!("[env: LOCKSIDE_{}", flag.to_uppercase().replace('-', "_"));
        // Wrapped to the width of the terminal.
        let entry = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        let named = entry.split_once(&variable).is_some_and(|(_, rest)| rest.starts_with(['=', ']']));
        assert!(named, "--{flag} without {variable}");
    }
    for flag in [
        "redis-url",
        "redis-username",
        "redis-password-file",
        "redis-timeout",
        "max-in-flight",
        "listen",
        "ops-listen",
        "allowed-hosts",
        "allowed-origins",
        "max-connections",
        "insecure",
        "key-prefix",
        "admin-ttl",
        "default-ttl",
        "max-ttl",
        "jwt-secret-file",
        "jwt-public-key-file",
        "jwt-issuer",
        "jwt-audience",
        "api-token-file",
        "user-directory",
        "threads",
        "shutdown-grace",
    ] {
        let is_it = |entry: &&&str| entry.strip_prefix(flag).is_some_and(|rest| rest.starts_with([' ', '\n', '[']));
        assert!(entries.iter().any(|entry| is_it(&entry)), "--{flag}");
    }
}

#[tokio::test]
async fn help_shows_no_url_from_the_environment() {
    let variables = [("LOCKSIDE_REDIS_URL", "redis://:hunter2@redis:6379")];
    let help = lockside_with(&["serve", "--help"], &variables).await;
    assert!(!help.output().contains("hunter2"));
}

#[tokio::test]
async fn flags_work_as_environment_variables() {
    let scratch = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.arg("serve").envs([
        ("LOCKSIDE_REDIS_URL", TestRedis::shared().url()),
        ("LOCKSIDE_LISTEN", "127.0.0.1:0".to_owned()),
        ("LOCKSIDE_OPS_LISTEN", "127.0.0.1:0".to_owned()),
        ("LOCKSIDE_API_TOKEN_FILE", scratch.file("token", "from the environment\n")),
        ("LOCKSIDE_MAX_TTL", "7s".to_owned()),
        ("LOCKSIDE_ADMIN_TTL", "7s".to_owned()),
        ("LOCKSIDE_DEFAULT_TTL", "7s".to_owned()),
        ("LOCKSIDE_KEY_PREFIX", unique("environment")),
        ("LOCKSIDE_LOG_FORMAT", "json".to_owned()),
    ]);
    let sidecar = Sidecar::of(command);
    let create = async |key: &str, seconds: u64| {
        let call = sidecar.call("POST", "/cmn/leasable-locks").bearer("from the environment");
        call.json(&json!({"key": key, "leasePeriod": seconds})).send().await.status
    };
    assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").send().await.status, 401);
    assert_eq!(create("a", 8).await, 400);
    assert_eq!(create("a", 7).await, 201);
    let list = sidecar.call("GET", "/cmn/leasable-locks").bearer("from the environment").send().await.json();
    assert_eq!(list.as_array().unwrap().len(), 1, "a lock space of its own");
}

#[tokio::test]
async fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
    let variables = [("LOCKSIDE_REDIS_TIMEOUT", "soon"), ("LOCKSIDE_API_TOKEN_FILE", ""), ("LOCKSIDE_JWT_ISSUER", "")];
    let flags = [&["serve"], &UNUSED[..], &["--redis-timeout", "2s", "--threads", "none"]].concat();
    let run = lockside_with(&flags, &variables).await;
    assert_eq!(run.code, Some(64));
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("--threads"), "{}", run.stderr);
}

#[tokio::test]
async fn a_wrong_value_in_the_environment_is_a_mistake_too() {
    let variables = [("LOCKSIDE_ADMIN_TTL", "five minutes"), ("LOCKSIDE_LISTEN", "here"), ("LOCKSIDE_THREADS", "0")];
    let run = lockside_with(&["serve"], &variables).await;
    assert_eq!(run.code, Some(64));
    for flag in ["--admin-ttl", "--listen", "--threads"] {
        assert!(run.stderr.contains(flag), "{flag}: {}", run.stderr);
    }
}

#[tokio::test]
async fn every_mistake_is_told_in_one_run() {
    let scratch = Scratch::new();
    let rsa = jwt::Pair::rsa();
    let (private, public) = (scratch.file("private.pem", rsa.private_pem), scratch.file("public.pem", rsa.public_pem));
    let (empty, missing) = (scratch.file("empty", "\n"), scratch.path("missing"));
    let run = serve(&[
        "--redis-uri",
        "redis://localhost",
        "--redis-timeout",
        "2 fortnights",
        "--redis-password-file",
        &missing,
        "--api-token-file",
        &empty,
        "--jwt-public-key-file",
        &private,
        "--jwt-secret-file",
        &public,
        "--no-such-flag",
        "--max-ttl",
        "0s",
        "--threads=many",
        "--redis-url",
        "http://localhost",
        "--user-directory=perhaps",
        "--insecure=",
        "--redis-username",
        "--ops-listen",
        "--max-in-flight",
    ])
    .await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(64), ""));
    for (flag, words) in [
        ("--redis-uri", "--redis-url"),
        ("--no-such-flag", ""),
        ("--redis-timeout", "2 fortnights"),
        ("--redis-password-file", missing.as_str()),
        ("--api-token-file", "empty"),
        ("--jwt-public-key-file", "private"),
        ("--jwt-secret-file", "together"),
        ("--jwt-secret-file", "PEM"),
        ("--max-ttl", "0s"),
        ("--threads", "many"),
        ("--redis-url", "http"),
        ("--user-directory", "perhaps"),
        ("--redis-username", "no value; expected --redis-username <NAME>"),
        ("--ops-listen", "no value"),
        ("--max-in-flight", "no value"),
    ] {
        let begins = format!("lockside: {flag}: ");
        let told = run.stderr.lines().any(|line| line.starts_with(&begins) && line.contains(words));
        assert!(told, "{flag} {words}: {}", run.stderr);
    }
    assert!(!run.stderr.contains("BEGIN"), "no key is shown: {}", run.stderr);
}

#[tokio::test]
async fn a_single_valued_flag_that_is_given_twice_is_a_mistake_that_names_it() {
    for (args, flag) in [
        (&["serve", "--threads=1", "--threads=2"][..], "--threads"),
        (&["serve", "--threads", "1", "--log-level=info", "--threads", "1"], "--threads"),
        (&["serve", "--redis-url", "redis://a", "--redis-url=redis://b", "--redis-url", "redis://c"], "--redis-url"),
        (&["serve", "--jwt-secret-file=/a", "--jwt-secret-file=/b"], "--jwt-secret-file"),
        (&["serve", "--insecure", "--insecure"], "--insecure"),
        (&["serve", "--insecure=true", "--insecure=false"], "--insecure"),
        (&["ls", "--prefix", "a", "--prefix", "b"], "--prefix"),
        (&["ls", "--json", "--json"], "--json"),
        (&["show", "--url=http://localhost:1", "k", "--url=http://localhost:2"], "--url"),
        (&["health", "--ops-listen=127.0.0.1:1", "--ops-listen=127.0.0.1:2"], "--ops-listen"),
        (&["exec", "--ttl=1s", "--ttl", "2s", "k", "--", "true", "--ttl", "--ttl"], "--ttl"),
    ] {
        let run = lockside(args).await;
        assert_eq!(run.code, Some(64), "{args:?}: {}", run.stderr);
        let told = format!("lockside: {flag}: given twice; expected once\n");
        assert_eq!(run.stderr.matches(&told).count(), 1, "{args:?}: {}", run.stderr);
    }
    let run = lockside(&["serve", "--threads=1", "--threads=2", "--no-such", "--max-ttl=x"]).await;
    for flag in ["--threads", "--no-such", "--max-ttl"] {
        assert!(run.stderr.contains(&format!("lockside: {flag}: ")), "{flag}: {}", run.stderr);
    }
    let run = lockside_with(&["serve", "--threads=0"], &[("LOCKSIDE_THREADS", "1")]).await;
    assert!(run.stderr.contains("--threads: `0`"), "the flag wins over its variable: {}", run.stderr);
}

#[tokio::test]
async fn a_value_that_is_no_text_hides_no_other_mistake() {
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    let glued = std::ffi::OsStr::from_bytes(b"--key-prefix=\xff");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--threads=0", "--redis-username"]).arg(bytes).arg(glued).args(["--no-such-flag"]);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    for flag in ["--threads", "--redis-username", "--key-prefix", "--no-such-flag"] {
        assert!(told.lines().any(|line| line.starts_with(&format!("lockside: {flag}: "))), "{flag}: {told}");
    }
}

#[tokio::test]
async fn a_variable_that_is_no_text_is_named_unless_a_flag_stands_for_it() {
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    let run = |args: &[&str], variable: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_lockside")).args(args).env(variable, bytes).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, variable) in [
        (&["serve", "--threads=0"][..], "LOCKSIDE_KEY_PREFIX"),
        (&["serve", "--threads=0"], "LOCKSIDE_LISTEN"),
        (&["serve", "--threads=0"], "LOCKSIDE_API_TOKEN_FILE"),
        (&["ls"], "LOCKSIDE_URL"),
        (&["health"], "LOCKSIDE_OPS_LISTEN"),
    ] {
        let (code, told) = run(args, variable);
        assert_eq!(code, Some(64), "{variable}: {told}");
        assert!(told.lines().any(|line| line == format!("lockside: {variable}: not UTF-8 text")), "{variable}: {told}");
        assert_eq!(told.contains("--threads"), args[0] == "serve", "no other mistake is hidden: {told}");
    }
    let (_, told) = run(&["serve", "--key-prefix=x", "--threads=0"], "LOCKSIDE_KEY_PREFIX");
    assert_eq!(told, "lockside: --threads: `0`; expected a number from 1 to 64\n");
}

#[tokio::test]
async fn nothing_that_a_mistake_quotes_is_obeyed_by_a_terminal() {
    for flag in ["--log-level", "--listen", "--allowed-hosts", "--dapr-stores", "--max-ttl"] {
        let run = serve(&[&format!("{flag}=\u{1b}]0;x\u{7}\u{9b}31m||\r")]).await;
        assert_eq!(run.code, Some(64), "{flag}: {}", run.stderr);
        assert!(run.stderr.contains("\\u{1b}"), "{flag}: {}", run.stderr);
        assert!(!run.stderr.chars().any(|c| c.is_control() && c != '\n'), "{flag}: {:?}", run.stderr);
    }
}

#[tokio::test]
async fn a_switch_may_say_true_or_false_on_the_command_line_and_in_the_environment() {
    // Beyond loopback without authentication: only `--insecure` makes the address good, and then the level is bad.
    for (word, insecure) in [
        ("true", true),
        ("yes", true),
        ("1", true),
        ("TRUE", true),
        ("false", false),
        ("no", false),
        ("off", false),
        ("0", false),
        ("", false),
    ] {
        let flags = ["serve", "--listen=0.0.0.0:0", "--log-level=loud"];
        let by_variable = lockside_with(&flags, &[("LOCKSIDE_INSECURE", word)]).await;
        let by_flag = lockside(&[&flags[..], &[&format!("--insecure={word}")]].concat()).await;
        for run in [by_variable, by_flag] {
            assert_eq!(run.stderr.contains("--insecure"), !insecure, "{word}: {}", run.stderr);
        }
    }
    let run = lockside_with(&["serve", "--user-directory=nope"], &[("LOCKSIDE_INSECURE", "nope")]).await;
    assert_eq!(run.code, Some(64));
    for flag in ["--user-directory", "--insecure"] {
        assert!(run.stderr.contains(&format!("lockside: {flag}: `nope`; expected true or false")), "{}", run.stderr);
    }
    for (directory, status) in [("--user-directory=false", 200), ("--user-directory", 404)] {
        let prefix = format!("--key-prefix={}", unique("switch"));
        let sidecar = Sidecar::with_secret(&[directory, &prefix]).await;
        let lock = sidecar.call("POST", "/admin/lock").cookie(&jwt::editor("alice"));
        let answer = lock.json(&json!({"route": "volume", "id": "1"})).send().await;
        assert_eq!(answer.status, status, "{directory}: {}", answer.text());
    }
}

#[tokio::test]
async fn key_files_that_do_not_fit_are_refused_one_by_one() {
    let scratch = Scratch::new();
    let (rsa, ec) = (jwt::Pair::rsa(), jwt::Pair::p256());
    let directory = scratch.path("");
    for (flag, content) in [
        ("--jwt-public-key-file", rsa.private_pem.as_bytes()),
        ("--jwt-public-key-file", ec.private_pem.as_bytes()),
        ("--jwt-public-key-file", jwt::SECRET.as_bytes()),
        ("--jwt-public-key-file", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("--jwt-public-key-file", b""),
        ("--jwt-secret-file", rsa.public_pem.as_bytes()),
        ("--jwt-secret-file", rsa.private_pem.as_bytes()),
        ("--jwt-secret-file", b""),
        ("--jwt-secret-file", b"\n"),
        ("--api-token-file", b"\xff\xfe secret"),
        ("--api-token-file", b" token"),
        ("--api-token-file", b"token\n\n"),
        ("--redis-password-file", b"\xff\xfe secret"),
        ("--api-token-file", b"\r\n"),
        ("--redis-password-file", b""),
    ] {
        let run = serve(&[flag, &scratch.file("key", content)]).await;
        assert_eq!(run.code, Some(64), "{flag}: {}", run.stderr);
        assert!(run.stderr.starts_with(&format!("lockside: {flag}: ")), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    for flag in ["--jwt-public-key-file", "--jwt-secret-file", "--api-token-file", "--redis-password-file"] {
        for path in [directory.as_str(), "/nowhere/at/all"] {
            let run = serve(&[flag, path]).await;
            assert_eq!(run.code, Some(64), "{flag} {path}");
            assert!(run.stderr.contains(flag) && run.stderr.contains(path), "{}", run.stderr);
        }
    }
}

#[tokio::test]
async fn settings_out_of_range_are_refused_with_what_is_expected() {
    for (flag, value) in [
        ("--redis-timeout", "9ms"),
        ("--redis-timeout", "-1s"),
        ("--default-ttl", "25h"),
        ("--default-ttl", "9ms"),
        ("--admin-ttl", "25h"),
        ("--admin-ttl", "9ms"),
        ("--admin-ttl", "5"),
        ("--threads", "0"),
        ("--threads", "1.5"),
        ("--max-in-flight", "0"),
        ("--max-connections", "-1"),
        ("--log-level", "loud"),
        ("--log-format", "xml"),
        ("--allowed-hosts", "evil.test:7420"),
        ("--key-prefix", "a}b"),
        ("--listen", "127.0.0.1"),
        ("--listen", "127.0.0.1:65536"),
        ("--listen", "unix:relative"),
        ("--redis-url", "redis://"),
        ("--redis-url", "localhost:6379"),
        ("--redis-url", "redis://localhost/sixteen"),
        ("--allowed-origins", "https://admin.test/path"),
        ("--jwt-issuer", "without a key"),
    ] {
        // The later of two listeners would be a mistake of its own.
        let run = lockside(&["serve", &format!("{flag}={value}")]).await;
        assert_eq!(run.code, Some(64), "{flag}={value}: {}", run.stderr);
        assert!(run.stderr.starts_with(&format!("lockside: {flag}: ")), "{flag}={value}: {}", run.stderr);
        assert!(run.stderr.lines().all(|line| line.contains("expected") || line.contains("add ")), "{}", run.stderr);
    }
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_exits_64() {
    for args in [&["serve", "stray"][..], &["reserve"], &["serve", "--threads"], &["health", "--ops-listen", "x"]] {
        let run = lockside(args).await;
        assert_eq!(run.code, Some(64), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_listener_beyond_loopback_needs_authentication_or_insecure() {
    let scratch = Scratch::new();
    let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", "token"));
    let public = scratch.file("public.pem", jwt::Pair::ed25519().public_pem);
    for address in ["0.0.0.0:0", "[::]:0"] {
        let run = lockside(&["serve", "--ops-listen=127.0.0.1:0", "--listen", address]).await;
        assert_eq!(run.code, Some(64), "{address}: {}", run.stderr);
        assert!(run.stderr.contains("--listen") && run.stderr.contains("--insecure"), "{}", run.stderr);
    }
    for flags in [
        &["--insecure"][..],
        &["--jwt-secret-file", &secret],
        &["--jwt-public-key-file", &public],
        &["--api-token-file", &token],
    ] {
        Sidecar::start(TestRedis::shared(), &[&["--listen=0.0.0.0:0"], flags].concat()).await;
    }
    Sidecar::start(TestRedis::shared(), &["--listen=127.0.0.2:0"]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--listen", "--ops-listen"), ("--ops-listen", "--listen")] {
        let run = lockside(&["serve", flag, &address, other, "127.0.0.1:0"]).await;
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.stderr.contains(flag) && run.stderr.contains(&address), "{}", run.stderr);
    }
}
