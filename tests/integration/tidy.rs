//! What holds of the source as a whole: which part may know which, and what must stay pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{self, PathBuf};

/// The parts of the program, from the ground up: each may name those before it, and none that comes after.
const FLOORS: [&[&str]; 18] = [
    &["drain", "headers", "json", "metrics", "timer", "yaml"],
    &["request", "secret"],
    &["log"],
    &["audit", "tls"],
    &["server"],
    &["redis"],
    &["http_client", "policy"],
    &["auth"],
    &["directory"],
    &["lock"],
    &["quota"],
    &["bundle", "hold"],
    &["election"],
    &["readiness"],
    &["api", "ops"],
    &["config"],
    &["inject"],
    &["app", "cli", "main", "lib"],
];

/// Each file of `src/` but those that a fuzzer feeds: its path within it, and its text without the tests at its end.
fn sources() -> Vec<(String, String)> {
    let root = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.strip_prefix(&root).expect("within").to_str().expect("UTF-8").to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.starts_with("fuzz/") && !is_of_tests(&name) {
                let text = std::fs::read_to_string(&path).expect("a text");
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                sources.push((name, code));
            }
        }
    }
    assert!(sources.len() > 100, "{} files", sources.len());
    sources
}

fn is_of_tests(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
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
    const PURE: [&str; 11] = [
        "lock/queue/state.rs",
        "lock/queue/local.rs",
        "lock/queue/event.rs",
        "lock/events/cell.rs",
        "lock/events/event.rs",
        "lock/events/looking.rs",
        "lock/events/readers.rs",
        "lock/events/shard.rs",
        "lock/events/state.rs",
        "lock/attempt/state.rs",
        "lock/attempt/held.rs",
    ];
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

#[test]
fn connections_alone_name_the_client_library() {
    for (path, code) in sources() {
        let may = path.starts_with("redis/connection/");
        assert!(may || !code.contains("fred::"), "{path} names the client library of Redis");
    }
}

/// The names of a module, from the root of the crate.
type Path = Vec<String>;

/// The module that a file is.
fn module_of(file: &str) -> Path {
    let file = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(file, "lib" | "main" | "mod") { Vec::new() } else { file.split('/').map(str::to_owned).collect() }
}

/// The paths that a `use` names, without its braces, from the root of the crate; none of another crate.
fn used(tree: &str, own: &[String], children: &[Path]) -> Vec<Path> {
    let tree = tree.trim();
    if let Some((before, inside)) = tree.split_once('{') {
        let (mut depth, mut begins, mut parts) = (0_usize, 0, Vec::new());
        let inside = inside.rsplit_once('}').expect("a closing brace").0;
        for (at, character) in inside.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(&inside[begins..at]);
                    begins = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&inside[begins..]);
        let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
        return parts.flat_map(|part| used(&format!("{before}{part}"), own, children)).collect();
    }
    let path = tree.split(" as ").next().unwrap_or_default();
    let (mut from, mut is_ours, mut named) = (own.to_vec(), false, Vec::new());
    for part in path.split("::").map(str::trim) {
        match part {
            "crate" => (from, is_ours) = (Vec::new(), true),
            "self" if named.is_empty() => is_ours = true,
            "super" => is_ours = from.pop().is_some(),
            "self" | "*" => {}
            part => named.push(part.to_owned()),
        }
    }
    from.extend(named);
    let is_child = || children.iter().any(|child| child.len() == own.len() + 1 && from.starts_with(child));
    if is_ours || is_child() { vec![from] } else { Vec::new() }
}

/// Each file, the files whose names it uses, behind what a `mod.rs` only hands on.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources();
    let modules: BTreeMap<Path, String> = sources.iter().map(|(file, _)| (module_of(file), file.clone())).collect();
    let children: Vec<Path> = modules.keys().cloned().collect();
    let (mut handed_on, mut uses) = (BTreeMap::<Path, Path>::new(), Vec::new());
    for (file, code) in &sources {
        let own = module_of(file);
        for (at, _) in code.match_indices("use ") {
            let (before, behind) = code.split_at(at);
            let visibility = before.rsplit('\n').next().unwrap_or_default().trim();
            if !visibility.is_empty() && !visibility.starts_with("pub") {
                continue;
            }
            let tree = behind["use ".len()..].split(';').next().unwrap_or_default();
            for path in used(tree, &own, &children) {
                let name = path.last().cloned().unwrap_or_default();
                if visibility.starts_with("pub") {
                    handed_on.insert(own.iter().cloned().chain([name]).collect(), path);
                } else {
                    uses.push((file.clone(), path));
                }
            }
        }
    }
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for (file, mut path) in uses {
        while let Some(behind) = handed_on.get(&path) {
            path.clone_from(behind);
        }
        let module = (0..=path.len()).rev().find_map(|length| modules.get(&path[..length]));
        imports.entry(file).or_default().extend(module.cloned());
    }
    imports
}

#[test]
fn no_two_files_of_different_folders_import_each_other() {
    let imports = imports();
    let folder = |file: &str| file.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut circles = Vec::new();
    for (file, named) in &imports {
        for other in named.iter().filter(|other| folder(other) != folder(file)) {
            if imports.get(other).is_some_and(|back| back.contains(file)) {
                circles.push(format!("{file} and {other}"));
            }
        }
    }
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 300, "{imports:#?}");
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_circle_of_imports_is_among_the_files_of_the_api() {
    let imports = imports();
    for begin in imports.keys().filter(|file| file.starts_with("api/")) {
        let (mut reached, mut next) = (BTreeSet::new(), vec![begin]);
        while let Some(file) = next.pop() {
            next.extend(imports.get(file).into_iter().flatten().filter(|other| reached.insert((*other).clone())));
        }
        assert!(!reached.contains(begin), "{begin} is reached from itself: {reached:?}");
    }
}

#[test]
fn failures_are_data_and_build_no_response() {
    let sources = sources();
    let (_, code) = sources.iter().find(|(path, _)| path == "api/failure.rs").expect("the table of failures");
    for rendering in ["Response", "HeaderValue", "serde", "super::"] {
        assert!(!code.contains(rendering), "api/failure.rs has `{rendering}`");
    }
}
