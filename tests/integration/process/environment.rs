//! The environment: an empty variable is an unset one, and none of our names is passed over without a word.

use std::net::TcpListener;

use crate::harness::{Scratch, Sidecar, TestRedis, lockside, lockside_with};

/// Every setting of `serve`: its flag and its variable.
async fn settings() -> Vec<(String, String)> {
    let help = lockside(&["serve", "--help"]).await.stdout;
    let flags = help.split("\n      --").skip(1).filter_map(|rest| rest.split([' ', '[', '\n']).next());
    let flags = flags.filter(|flag| *flag != "help" && !flag.is_empty());
    let settings =
        flags.map(|flag| (format!("--{flag}"), format!("LOCKSIDE_{}", flag.to_uppercase().replace('-', "_"))));
    let settings: Vec<_> = settings.collect();
    assert!(settings.len() > 30, "{settings:?}");
    settings
}

#[tokio::test]
async fn an_empty_setting_is_an_unset_one_on_loopback_and_beyond() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let scratch = Scratch::new();
    let token = scratch.file("token", "a token of the test");
    // Where all settings are good the start ends at the address that is taken, and at nothing before.
    for (flag, variable) in settings().await {
        const HERE: &str = "127.0.0.1:0";
        const BEYOND: &str = "0.0.0.0:0";
        for (listen, grpc, credential, code, says) in [
            (HERE, HERE, false, 1, "cannot listen on"),
            (BEYOND, HERE, false, 64, "no authentication is configured"),
            (BEYOND, HERE, true, 1, "cannot listen on"),
            (HERE, BEYOND, false, 64, "no authentication is configured"),
            (HERE, BEYOND, true, 1, "cannot listen on"),
        ] {
            let mut flags = vec!["serve".to_owned()];
            let mut give = |name: &str, value: &str| {
                if name != flag {
                    flags.extend([name.to_owned(), value.to_owned()]);
                }
            };
            give("--listen", listen);
            give("--dapr-grpc-listen", grpc);
            // Without its flag it is the default's, where another may or may not listen.
            give("--ops-listen", &address);
            if credential {
                give("--api-token-file", &token);
            }
            if flag == "--ops-listen" {
                flags.extend(["--listen".to_owned(), address.clone()]);
            }
            let (code, says) = match flag.as_str() {
                // On loopback, then.
                "--listen" if grpc == HERE => (1, "cannot listen on"),
                "--dapr-grpc-listen" if listen == HERE => (1, "cannot listen on"),
                "--api-token-file" if [listen, grpc].contains(&BEYOND) => (64, "no authentication is configured"),
                _ => (code, says),
            };
            let given = |more: &[&str]| {
                let flags = flags.iter().map(String::as_str).chain(more.iter().copied());
                flags.map(str::to_owned).collect::<Vec<_>>()
            };
            let glued = format!("{flag}=");
            let is_switch = matches!(flag.as_str(), "--insecure" | "--raw-keys" | "--user-directory");
            let mut runs = vec![(given(&[]), Some("")), (given(&[&glued]), None), (given(&[&glued]), Some(""))];
            if !is_switch {
                runs.push((given(&[&flag, ""]), None));
            }
            for (args, value) in runs {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let variables: Vec<_> = value.map(|value| (variable.as_str(), value)).into_iter().collect();
                let run = lockside_with(&args, &variables).await;
                assert_eq!(run.code, Some(code), "{args:?} {variables:?}: {}", run.stderr);
                assert!(run.stderr.contains(says), "{args:?} {variables:?}: {}", run.stderr);
            }
        }
    }
}

#[tokio::test]
async fn all_settings_empty_at_once_are_the_defaults_and_an_empty_flag_does_not_unset_its_variable() {
    let settings = settings().await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]);
    command.args(["--redis-url", &TestRedis::shared().url()]).envs(settings.iter().map(|(_, name)| (name, "")));
    let sidecar = Sidecar::of(command);
    assert_eq!(sidecar.call("GET", "/openapi.json").send().await.status, 200);
    assert!(!sidecar.log().contains("WARN"), "{}", sidecar.log());

    let help = lockside_with(&["serve", "--help"], &[("LOCKSIDE_THREADS", ""), ("LOCKSIDE_LISTEN", "")]).await;
    assert!(help.stdout.contains("[env: LOCKSIDE_THREADS") && help.stdout.contains("[env: LOCKSIDE_LISTEN"));

    let run = lockside_with(&["serve", "--threads=", "--max-ttl", ""], &[("LOCKSIDE_THREADS", "none")]).await;
    assert_eq!(run.stderr, "lockside: --threads: `none`; expected a number from 1 to 64\n");
    for (command, variable) in [("ls", "LOCKSIDE_URL"), ("health", "LOCKSIDE_OPS_LISTEN")] {
        let run = lockside_with(&[command], &[(variable, ""), ("LOCKSIDE_TOKEN_FILE", "")]).await;
        assert_ne!(run.code, Some(64), "{command}: {}", run.stderr);
    }
}

#[tokio::test]
async fn no_store_is_said_by_none_and_not_by_an_empty_setting() {
    for (value, status) in [("", 200), ("lockstore", 200), ("none", 500)] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.args(["serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]);
        command.args(["--redis-url", &TestRedis::shared().url()]).env("LOCKSIDE_DAPR_STORES", value);
        let sidecar = Sidecar::of(command);
        crate::harness::eventually("ready", std::time::Duration::from_secs(10), async || {
            sidecar.ops("/readyz").await.status == 200
        })
        .await;
        let key = crate::harness::unique("none");
        let lock = serde_json::json!({"resourceId": key, "lockOwner": "a", "expiryInSeconds": 5});
        let answer = sidecar.call("POST", "/v1.0-alpha1/lock/lockstore").json(&lock).send().await;
        assert_eq!(answer.status, status, "`{value}`: {}", answer.text());
    }
    for wrong in ["none,a", ",", " "] {
        let run = lockside(&["serve", &format!("--dapr-stores={wrong}")]).await;
        assert_eq!(run.code, Some(64), "{wrong}");
        assert!(run.stderr.contains("lockside: --dapr-stores: ") && run.stderr.contains("`none` alone"));
    }
}

#[tokio::test]
async fn a_secret_where_only_a_path_belongs_ends_the_start_and_is_not_shown() {
    for (name, setting) in [
        ("LOCKSIDE_API_TOKEN", "LOCKSIDE_API_TOKEN_FILE"),
        ("LOCKSIDE_JWT_SECRET", "LOCKSIDE_JWT_SECRET_FILE"),
        ("LOCKSIDE_JWT_PUBLIC_KEY", "LOCKSIDE_JWT_PUBLIC_KEY_FILE"),
        ("LOCKSIDE_REDIS_PASSWORD", "LOCKSIDE_REDIS_PASSWORD_FILE"),
        ("LOCKSIDE_REDIS_SENTINEL_PASSWORD", "LOCKSIDE_REDIS_SENTINEL_PASSWORD_FILE"),
        ("LOCKSIDE_REDIS_CA", "LOCKSIDE_REDIS_CA_FILE"),
    ] {
        let variables = [(name, "hunter2"), ("LOCKSIDE_THREADS", "0")];
        for args in [&["serve"][..], &["serve", "--no-such-flag"]] {
            let run = lockside_with(args, &variables).await;
            assert_eq!(run.code, Some(64), "{name}: {}", run.stderr);
            let told = run.stderr.lines().any(|line| {
                line.starts_with(&format!("lockside: {name}: ")) && line.contains(&format!("set {setting} to"))
            });
            assert!(told && run.stderr.contains("--threads"), "with all other mistakes: {}", run.stderr);
            assert!(!run.output().contains("hunter2"), "{}", run.output());
        }
        // As good as absent.
        let run = lockside_with(&["serve"], &[(name, ""), ("LOCKSIDE_THREADS", "0")]).await;
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[tokio::test]
async fn an_unknown_variable_is_a_warning_with_the_nearest_name_and_without_its_value() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--log-format=json", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]);
    command.args(["--redis-url", &TestRedis::shared().url()]);
    let unknown = [
        ("LOCKSIDE_MAXTTL", "LOCKSIDE_MAX_TTL"),
        ("LOCKSIDE_REDIS_ULR", "LOCKSIDE_REDIS_URL"),
        ("LOCKSIDE_ALLOWED_HOST", "LOCKSIDE_ALLOWED_HOSTS"),
        ("LOCKSIDE_api_token_file", "LOCKSIDE_API_TOKEN_FILE"),
        ("LOCKSIDE_ODD\nNAME", ""),
    ];
    command.envs(unknown.map(|(name, _)| (name, "hunter2")));
    command.envs(
        [
            "LOCKSIDE_SERVICE_HOST",
            "LOCKSIDE_SERVICE_PORT_API",
            "LOCKSIDE_PORT",
            "LOCKSIDE_PORT_7420_TCP_ADDR",
            "LOCKSIDE_OPS_PORT_9420_TCP_PORT",
            "LOCKSIDE_URL",
            "LOCKSIDE_TOKEN_FILE",
            "LOCKSIDE_KEY",
            "LOCKSIDE_TOKEN",
            "LOCKSIDE_VALID_UNTIL",
        ]
        .map(|name| (name, "hunter2")),
    );
    let sidecar = Sidecar::of(command);
    let log = sidecar.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("is not a setting")).collect();
    assert_eq!(warnings.len(), unknown.len(), "{log}");
    for (name, nearest) in unknown {
        let name = name.escape_debug().to_string().replace('\\', "\\\\");
        let told =
            |line: &&str| line.contains(&format!("`{name}`")) && line.contains(&format!("did you mean {nearest}"));
        assert!(warnings.iter().any(|line| told(line) && line.contains("WARN")), "{name}: {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}
