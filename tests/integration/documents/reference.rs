//! What the pages enumerate is what the binary has: flags, defaults, codes, exit codes, metrics, alerts, targets of make.

use std::collections::{BTreeMap, BTreeSet};

use super::{documents, files, quoted, read, rows, section};
use crate::harness::{Sidecar, TestRedis, lockside, subcommands};

const SETTINGS: &str = "docs/reference/settings.md";
const COMMANDS: &str = "docs/cli.md";

/// The flags that a help text has, without `--help`.
fn flags(help: &str) -> BTreeSet<String> {
    let words = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
    let flags = words.filter_map(|flag| flag.split([',', ';', ':', '.', '[', '|', '>', ')']).next());
    flags.filter(|flag| !matches!(*flag, "--help" | "--a-b" | "--full")).map(str::to_owned).collect()
}

async fn help(of: &str) -> String {
    lockside(&[of, "--help"]).await.stdout
}

fn assert_defaults_are_named(help: &str, page: &str) {
    for default in help.split("[default: ").skip(1).filter_map(|rest| rest.split(']').next()) {
        let is_text = default.contains(' ');
        assert!(is_text || page.contains(&format!("`{default}`")), "the default {default} is not documented");
    }
}

#[tokio::test]
async fn the_settings_are_the_flags_of_serve_and_their_defaults() {
    let (help, page) = (help("serve").await, read(SETTINGS));
    let known = flags(&help);
    assert!(known.len() > 20, "{help}");
    let tables = rows(&page).into_iter().map(|row| row[0].clone());
    let listed: BTreeSet<String> = tables
        .flat_map(|cell| quoted(&cell).map(str::to_owned).collect::<Vec<_>>())
        .filter(|f| f.starts_with("--"))
        .collect();
    assert_eq!(known, listed);
    assert_defaults_are_named(&help, &page);
}

#[tokio::test]
async fn the_page_of_the_command_line_has_every_flag_and_default() {
    let (page, serve) = (read(COMMANDS), help("serve").await);
    let ours = subcommands().await.into_iter().filter(|command| !matches!(command.as_str(), "serve" | "dev"));
    for command in ours {
        assert!(page.contains(&format!("lockside {command}")), "{command} is not in {COMMANDS}");
        let help = help(&command).await;
        // Those of `serve` have a page of their own.
        let known = if command == "check" { flags(&serve) } else { BTreeSet::new() };
        for flag in flags(&help).difference(&known) {
            assert!(page.contains(flag), "{command} {flag} is not in {COMMANDS}");
        }
        if command != "check" {
            assert_defaults_are_named(&help, &page);
        }
    }
}

#[tokio::test]
async fn no_document_names_a_flag_that_there_is_not() {
    let mut known = BTreeSet::new();
    for command in subcommands().await {
        known.extend(flags(&help(&command).await));
    }
    // Those of other programs, and `--version`.
    let foreign =
        ["--version", "--only", "--json", "--markdown", "--rounds", "--seconds", "--config", "--manifest-path"];
    for document in documents().iter().filter(|document| document.path != "CHANGELOG.md") {
        for code in quoted(&document.text).filter(|code| code.starts_with("--") && !code.contains('\n')) {
            for flag in flags(code) {
                let is_known = known.contains(&flag) || foreign.contains(&flag.split('=').next().unwrap());
                assert!(is_known, "{}: {flag}", document.path);
            }
        }
    }
}

#[tokio::test]
async fn the_exit_codes_are_those_of_the_help() {
    let (help, page) = (help("exec").await, read(COMMANDS));
    let said = help.split("Exit code:").nth(1).and_then(|rest| rest.split("Example").next()).unwrap();
    let numbers = |text: &str| -> BTreeSet<u8> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let mut said = numbers(said);
    said.remove(&128);
    let table = section(&page, "## lockside exec").split("| exit code |").nth(1).unwrap();
    let listed = rows(table).iter().flat_map(|row| numbers(&row[0])).collect::<BTreeSet<_>>();
    assert_eq!(listed, said);
    const EXITS: &str = include_str!("../../../src/cli/mod.rs");
    let codes = EXITS.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": u8 = "));
    let codes: BTreeSet<u8> = codes.filter_map(|(_, value)| value.trim_end_matches(';').parse().ok()).collect();
    assert!(codes.len() > 5, "{codes:?}");
    let all = rows(&page).iter().flat_map(|row| numbers(&row[0])).collect::<BTreeSet<_>>();
    assert!(codes.is_subset(&all), "{codes:?} in {all:?}");
}

/// Each code of an error with its statuses, from the table in the code.
fn failures() -> BTreeMap<String, BTreeSet<u16>> {
    const FAILURES: &str = include_str!("../../../src/api/failure.rs");
    let mut codes = BTreeMap::<String, BTreeSet<u16>>::new();
    for row in FAILURES.split("=> row(\"").skip(1) {
        let (code, rest) = row.split_once('"').unwrap();
        let name = rest.split("S::").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        let status = match name {
            "BAD_REQUEST" => 400,
            "UNAUTHORIZED" => 401,
            "FORBIDDEN" => 403,
            "NOT_FOUND" => 404,
            "METHOD_NOT_ALLOWED" => 405,
            "REQUEST_TIMEOUT" => 408,
            "CONFLICT" => 409,
            "GONE" => 410,
            "PAYLOAD_TOO_LARGE" => 413,
            "UNSUPPORTED_MEDIA_TYPE" => 415,
            "TOO_MANY_REQUESTS" => 429,
            "SERVICE_UNAVAILABLE" => 503,
            "GATEWAY_TIMEOUT" => 504,
            other => panic!("the number of {other}"),
        };
        codes.entry(code.to_owned()).or_default().insert(status);
    }
    assert!(codes.len() > 10, "{codes:?}");
    codes
}

/// The numbers of statuses in a text.
fn statuses(text: &str) -> BTreeSet<u16> {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    numbers.filter(|status| (400..600).contains(status)).collect()
}

#[test]
fn every_code_of_an_error_has_its_section_with_its_statuses() {
    let page = read("docs/reference/errors.md");
    let mut codes = BTreeMap::new();
    for part in page.split("\n## ").skip(1) {
        let (code, text) = part.split_once('\n').unwrap();
        let first = text.trim_start().split(['.', ';']).next().unwrap();
        assert!(text.contains("\n**Do:** "), "{code} says what to do");
        codes.insert(code.to_owned(), statuses(first));
    }
    assert_eq!(codes, failures());
}

#[test]
fn the_native_api_has_every_code_in_its_table() {
    let page = read("docs/api/native.md");
    let mut codes = BTreeMap::<String, BTreeSet<u16>>::new();
    for row in rows(section(&page, "## Errors")).iter().skip(1).filter(|row| !row[0].starts_with("---")) {
        let (names, numbers): (Vec<_>, _) = (quoted(&row[0]).collect(), statuses(&row[1]));
        if names.len() == numbers.len() && names.len() > 1 {
            codes.extend(names.into_iter().map(str::to_owned).zip(numbers.into_iter().map(|one| [one].into())));
        } else {
            codes.extend(names.into_iter().map(|name| (name.to_owned(), numbers.clone())));
        }
    }
    assert_eq!(codes, failures());
}

#[test]
fn every_line_of_the_log_that_the_documents_explain_is_one_of_ours() {
    let sources: Vec<String> = files("src", ".rs").iter().map(|path| read(path)).collect();
    let page = read("docs/operations/troubleshooting.md");
    let table = rows(section(&page, "## When something fails"));
    let mut count = 0;
    for line in table.iter().filter(|row| row[0].ends_with("in the log")) {
        let text = quoted(&line[0]).last().unwrap().trim_end_matches('…').trim_end();
        // `every user of this machine may read` has its verb put in.
        let text = text.trim_end_matches(" read");
        assert!(sources.iter().any(|source| source.contains(text)), "{text}");
        count += 1;
    }
    assert!(count >= 5, "{count} lines");
}

#[tokio::test]
async fn the_metrics_are_those_of_the_binary_with_their_labels() {
    const METRICS: &str = include_str!("../../../src/metrics.rs");
    let declared = METRICS.lines().filter_map(|line| line.trim().split_once("Vec = \"")?.1.strip_suffix("];"));
    let declared: BTreeMap<String, Vec<String>> = declared
        .map(|line| {
            let (name, labels) = line.split_once("\" [").unwrap();
            (name.to_owned(), labels.split('"').skip(1).step_by(2).map(str::to_owned).collect())
        })
        .collect();
    let page = read("docs/reference/metrics.md");
    let table = rows(&page).into_iter().filter(|row| row[0].starts_with('`'));
    let listed: BTreeMap<String, Vec<String>> =
        table.map(|row| (row[0].trim_matches('`').to_owned(), quoted(&row[1]).map(str::to_owned).collect())).collect();
    assert!(listed.len() > 15, "{listed:?}");
    assert_eq!(listed, declared);

    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let metrics = sidecar.ops("/metrics").await;
    for name in metrics.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in the page");
    }
}

#[test]
fn no_document_names_a_metric_that_there_is_not() {
    let page = read("docs/reference/metrics.md");
    for document in documents().iter().filter(|document| document.path != "CHANGELOG.md") {
        for name in quoted(&document.text).filter(|code| code.starts_with("lockside_")) {
            let name = name.split('{').next().unwrap();
            assert!(page.contains(&format!("| `{name}` |")), "{}: {name}", document.path);
        }
    }
}

#[test]
fn every_alert_has_its_section_which_its_runbook_names() {
    let rules = read("deploy/prometheus/rules.yaml");
    let mut alerts = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let runbook = rule.split("runbook: ").nth(1).and_then(|rest| rest.lines().next());
        let expected = format!("docs/operations/troubleshooting.md#{}", name.to_lowercase());
        assert_eq!(runbook, Some(&*expected), "{name}");
        alerts.insert(name.to_owned());
    }
    assert!(alerts.len() >= 7, "{alerts:?}");
    let page = read("docs/operations/troubleshooting.md");
    let headings = section(&page, "## Alerts").lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    assert_eq!(headings.map(str::to_owned).collect::<BTreeSet<_>>(), alerts);
    let page = read("docs/operations/monitoring.md");
    let table = rows(section(&page, "## Alerts"));
    let table = table.iter().filter_map(|row| quoted(&row[0]).next().map(str::to_owned));
    assert_eq!(table.collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn the_targets_of_make_are_those_of_the_makefile() {
    let makefile = read("Makefile");
    let targets = makefile.lines().filter(|line| line.contains(": ") && line.contains(" ## "));
    let targets: BTreeSet<_> =
        targets.filter_map(|line| line.split(':').next()).filter(|name| *name != "help").collect();
    let page = read("docs/internals/testing.md");
    let table = rows(&page);
    let listed = table.iter().flat_map(|row| quoted(&row[0])).filter_map(|code| code.strip_prefix("make "));
    assert_eq!(listed.collect::<BTreeSet<_>>(), targets);
}
