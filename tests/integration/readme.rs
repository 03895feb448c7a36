//! What the README says is what the binary does.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Scratch, Sidecar, TestRedis, jwt, unique};

const README: &str = include_str!("../../README.md");

/// The `sh` blocks that call curl, in order.
fn curl_blocks() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("curl -sS")).collect()
}

#[tokio::test]
async fn every_curl_line_of_the_readme_works() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let prefix = unique("readme");
    let flags = ["--jwt-secret-file", &secret, "--key-prefix", &prefix];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    assert!(curl_blocks().len() >= 4, "the README shows each API");
    for block in curl_blocks() {
        let script = format!("set -euo pipefail\ncurl() {{ command curl --fail-with-body \"$@\"; }}\n{block}");
        let url = format!("http://{}", sidecar.api_address());
        let cookie = format!("refreshToken={}", jwt::editor("dev"));
        let ran = tokio::task::spawn_blocking(move || {
            Command::new("bash").args(["-c", &script]).env("LOCKSIDE_URL", url).env("COOKIE", cookie).output()
        });
        let output = ran.await.unwrap().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{block}\n{out}\n{err}");
    }
}

#[test]
fn the_readme_names_every_flag_and_its_default() {
    let help = Command::new(env!("CARGO_BIN_EXE_lockside")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.split_whitespace().filter(|word| word.starts_with("--") && !matches!(*word, "--help" | "--a-b"));
    let mut count = 0;
    for flag in flags.filter_map(|flag| flag.split([',', ';', ':', '.', '[']).next()) {
        assert!(README.contains(&format!("`{flag}`")), "{flag} is not in the README");
        count += 1;
    }
    assert!(count > 20, "{help}");
    for default in help.split("[default: ").skip(1).filter_map(|rest| rest.split(']').next()) {
        let is_text = default.contains(' ');
        assert!(is_text || README.contains(&format!("`{default}`")), "the default {default} is not in the README");
    }
}

#[test]
fn the_readme_names_every_code_of_an_error() {
    const FAILURES: &str = include_str!("../../src/api/failure.rs");
    let codes: Vec<&str> = FAILURES.split("=> row(\"").skip(1).filter_map(|row| row.split('"').next()).collect();
    assert!(codes.len() > 10, "{codes:?}");
    let section = README.split("## The native API").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for code in codes {
        let rows = section.lines().filter(|line| line.starts_with("| `") && line.contains(&format!("`{code}`")));
        assert!(rows.count() > 0, "{code} is not in the table");
    }
}

#[tokio::test]
async fn every_call_and_link_of_the_page_for_those_who_come_from_elsewhere_leads_somewhere() {
    const PAGE: &str = include_str!("../../docs/coming-from.md");
    let sidecar = Sidecar::start(TestRedis::shared(), &["--key-prefix", &unique("coming")]).await;
    let mut count = 0;
    for quoted in PAGE.split('`').skip(1).step_by(2) {
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
    let anchors = README.lines().filter(|line| line.starts_with("##")).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
    });
    let anchors: Vec<String> = anchors.collect();
    for link in PAGE.split("(../README.md#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "{link} in {anchors:?}");
    }
}

#[test]
fn lockside_dev_prints_curl_lines_that_work() {
    let mut dev = Command::new(env!("CARGO_BIN_EXE_lockside"))
        .args(["dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let printed = {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(dev.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut printed = Vec::new();
        for line in lines {
            let is_last = line.starts_with("curl") && line.contains("DELETE");
            printed.push(line);
            if is_last {
                break;
            }
        }
        printed
    };
    let answers: Vec<Value> = printed
        .iter()
        .filter(|line| line.starts_with("curl"))
        .map(|line| {
            let output = Command::new("bash").args(["-c", &format!("{line} --retry 20 --retry-all-errors")]).output();
            serde_json::from_slice(&output.unwrap().stdout).unwrap()
        })
        .collect();
    Command::new("kill").args(["-TERM", &dev.id().to_string()]).status().unwrap();
    assert!(dev.wait().unwrap().success(), "SIGTERM ends it with 0");
    assert_eq!(answers[0], serde_json::json!({"data": "Success", "code": 200}));
    assert_eq!(answers[1][0]["key"], "volume:1234");
    assert_eq!(answers[2], serde_json::json!({"data": "Success", "code": 200}));
}
