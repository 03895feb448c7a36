//! What `deploy/` ships for those who watch and run lockside, as far as it needs neither containers nor Kubernetes;
//! `make e2e` has the rest.

mod helm;
mod monitoring;
mod prometheus;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::lockside;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(deploy("grafana/lockside.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The environment variables of lockside that a text names.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.starts_with("LOCKSIDE_")).map(str::to_owned).collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_hold() {
    for args in [["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yaml"]] {
        let output = Command::new("promtool").args(args).current_dir(deploy("prometheus")).output();
        let output = output.expect("promtool starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let names = |file: &str, before: &str| {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let after = text.lines().filter_map(|line| Some(line.split_once(before)?.1.to_owned()));
        let names = after.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>());
        names.collect::<BTreeSet<_>>()
    };
    let alerts = names("prometheus/rules.yaml", "- alert: ");
    assert!(alerts.len() >= 7, "{alerts:?}");
    let mut tested = names("prometheus/rules_test.yaml", "ALERTS{alertname=\"");
    tested.extend(names("prometheus/rules_test.yaml", "alertname: "));
    assert_eq!(alerts, tested);
}

#[test]
fn the_dashboard_has_a_row_each_and_every_panel_a_unit_and_a_legend() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let (rows, panels): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "row");
    let titles: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Locks", "Waiting", "Watching", "Elections", "Redis", "Process"]);
    for panel in panels {
        let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        assert!(filled(&panel["title"]) && filled(&panel["description"]), "{panel}");
        assert!(filled(&panel["fieldConfig"]["defaults"]["unit"]), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(filled(&target["legendFormat"]), "{panel}");
            assert!(
                target["expr"].as_str().unwrap().contains("job=~\"$job\""),
                "follows the choice of the app: {panel}"
            );
        }
    }
}

#[test]
fn the_dashboard_is_what_its_script_makes() {
    let made = Command::new("python3").arg(deploy("grafana/lockside.py")).output().expect("python3 starts");
    let kept = std::fs::read_to_string(deploy("grafana/lockside.json")).unwrap();
    assert!(String::from_utf8(made.stdout).unwrap() == kept, "`make generate` makes another one");
}

#[tokio::test]
async fn every_setting_and_flag_that_is_shipped_is_one_of_serve() {
    let help = lockside(&["serve", "--help"]).await.stdout;
    let known = variables(&help);
    let mut found = 0;
    for file in files(&deploy("")) {
        for variable in variables(&std::fs::read_to_string(&file).unwrap()) {
            // What `exec` and the other commands read is in their own help.
            if !["LOCKSIDE_URL", "LOCKSIDE_TOKEN"].contains(&variable.as_str()) {
                assert!(known.contains(&variable), "{variable} in {}", file.display());
                found += 1;
            }
        }
    }
    assert!(found > 3, "{found}");
}
