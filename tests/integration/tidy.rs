//! What holds of the source as a whole: which part may know which, and what must stay pure.

use std::path::{Path, PathBuf};

/// The parts of the program, from the ground up: each may name those before it, and none that comes after.
const FLOORS: [&[&str]; 11] = [
    &["drain", "json", "metrics"],
    &["request", "secret"],
    &["log"],
    &["server"],
    &["redis"],
    &["auth"],
    &["directory"],
    &["lock"],
    &["api", "ops"],
    &["config"],
    &["app", "cli", "main", "lib"],
];

/// Each file of `src/` but those that a fuzzer feeds: its path within it, and its text without the tests at its end.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.strip_prefix(&root).expect("within").to_str().expect("UTF-8").to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.starts_with("fuzz/") && !name.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a text");
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                sources.push((name, code));
            }
        }
    }
    assert!(sources.len() > 100, "{} files", sources.len());
    sources
}

fn part_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or_default()
}

fn floor_of(part: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&part))
}

#[test]
fn each_part_names_only_parts_below_it() {
    let mut upward = Vec::new();
    for (path, code) in sources() {
        let own = floor_of(part_of(&path)).unwrap_or_else(|| panic!("{path} stands on no floor"));
        for named in code.split("crate::").skip(1) {
            let named: String = named.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let is_up = floor_of(&named).is_some_and(|floor| floor > own || (floor == own && own < FLOORS.len() - 1));
            if is_up && named != part_of(&path) {
                upward.push(format!("{path} names crate::{named}"));
            }
        }
    }
    upward.dedup();
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn state_machines_have_no_clock_no_channel_and_no_io() {
    const PURE: [&str; 3] = ["lock/queue/state.rs", "lock/attempt/state.rs", "lock/attempt/held.rs"];
    let sources = sources();
    for name in PURE {
        let (_, code) = sources.iter().find(|(path, _)| path == name).unwrap_or_else(|| panic!("{name} is gone"));
        for impure in ["Instant::now", "SystemTime", "tokio", "async ", ".await", "std::net", "std::fs", "crate::redis"]
        {
            assert!(!code.contains(impure), "{name} has `{impure}`");
        }
    }
}

#[test]
fn flags_are_read_by_the_command_line_and_the_settings_alone() {
    for (path, code) in sources() {
        let may = matches!(part_of(&path), "cli" | "config");
        assert!(may || !code.contains("clap::"), "{path} reads flags");
    }
}
