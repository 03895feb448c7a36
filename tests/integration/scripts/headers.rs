//! Each script's header is its contract; here it is held to it.

use std::collections::BTreeSet;
use std::path::Path;

const TYPED_CALLS: &str = concat!(
    include_str!("../../../src/lock/scripts.rs"),
    include_str!("../../../src/lock/scripts/looks.rs"),
    include_str!("../../../src/lock/several/scripts.rs"),
);
const LOADED: &str = include_str!("../../../src/lock/lua.rs");

/// What queue.lua takes of the KEYS and ARGV that a script hands on to it as they are.
const QUEUE_KEYS: std::ops::RangeInclusive<u8> = 1..=4;
const QUEUE_ARGS: std::ops::RangeInclusive<u8> = 1..=4;

/// One file of `lua/`.
struct Script {
    name: String,
    /// The comment that it begins with, without the dashes.
    header: Vec<String>,
    body: String,
}

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // Others stand before some.
    let mut scripts: Vec<Script> =
        files.map(|path| script(&path)).filter(|script| !script.header[0].starts_with(" Not a script:")).collect();
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!scripts.is_empty());
    scripts
}

fn script(path: &Path) -> Script {
    assert_eq!(path.extension().unwrap(), "lua", "{path:?}");
    let text = std::fs::read_to_string(path).unwrap();
    let header = text.lines().map_while(|line| line.strip_prefix("--")).map(str::to_owned).collect::<Vec<_>>();
    let body = text.lines().skip(header.len()).collect::<Vec<_>>().join("\n");
    Script { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), header, body }
}

/// The words that follow `opening` in `text`, up to `quote`.
fn words(text: &str, opening: &str, quote: char) -> BTreeSet<String> {
    text.split(opening).skip(1).map(|rest| rest.split(quote).next().unwrap().to_owned()).collect()
}

impl Script {
    /// The `Returns` line and those that go on from it, which are indented.
    fn returns(&self) -> String {
        let begin = self.header.iter().position(|line| line.starts_with(" Returns")).expect("a `-- Returns` line");
        let more = self.header[begin + 1..].iter().take_while(|line| line.starts_with("   "));
        std::iter::once(&self.header[begin]).chain(more).cloned().collect::<Vec<_>>().join("\n")
    }

    /// The words of the rows that the header names.
    fn promised(&self) -> BTreeSet<String> {
        words(&self.returns(), "{\"", '"')
    }
}

/// The slots of `array` that `text` names: `3`, or `..` for a range of them.
fn slots(text: &str, array: &str) -> BTreeSet<String> {
    let named = words(text, &format!("{array}["), ']');
    named.into_iter().map(|slot| if slot.parse::<u32>().is_ok() { slot } else { "..".to_owned() }).collect()
}

#[test]
fn each_header_promises_the_rows_that_the_body_returns() {
    for script in scripts() {
        let mut returned = words(&script.body, "{'", '\'');
        returned.append(&mut words(&script.body, "found('", '\''));
        for (call, words) in [
            ("late(not_after)", &["late"][..]),
            ("told_again(", &["replayed", "renewed"]),
            ("shared_row(", &["shared"]),
        ] {
            let is_called = script.body.contains(call);
            returned.extend(words.iter().filter(|_| is_called).map(|word| (*word).to_owned()));
        }
        assert_eq!(script.promised(), returned, "{}", script.name);
        let returned = script.body.lines().filter(|line| line.trim_start().starts_with("return "));
        for line in returned {
            let known = [
                "{'",
                "{word",
                "row",
                "shared_row(",
                "found('",
                "lease",
                "left",
                "scores",
                "fields",
                "refusal",
                "used_up",
            ]
            .iter()
            .any(|value| line.trim_start().strip_prefix("return ").is_some_and(|returned| returned.starts_with(value)))
                || line.contains("{'stranger'}");
            assert!(known, "{}: {line}", script.name);
        }
    }
}

#[test]
fn each_row_is_known_to_the_typed_calls_and_no_other_is() {
    let mut promised = scripts().iter().flat_map(Script::promised).collect::<BTreeSet<_>>();
    for word in ["late", "error"] {
        assert!(promised.remove(word), "`{word}` is known to the connection, for all scripts alike");
    }
    assert_eq!(words(TYPED_CALLS, "b\"", '"'), promised);
}

#[test]
fn each_header_names_the_slots_that_the_body_takes_in_its_first_lines() {
    for script in scripts() {
        let header = script.header.join("\n");
        let first_lines = script.body.split("\n\n").next().unwrap();
        for array in ["KEYS", "ARGV"] {
            let promised = slots(&header, array);
            let mut taken = slots(first_lines, array);
            let ranges = [format!("ipairs({array})"), format!("{array}[i"), format!("unpack({array},")];
            if ranges.iter().any(|range| script.body.contains(range)) {
                taken.insert("..".to_owned());
            }
            if script.body.contains("(KEYS, ARGV") {
                let slots = if array == "KEYS" { QUEUE_KEYS } else { QUEUE_ARGS };
                taken.extend(slots.map(|slot| slot.to_string())); // queue.lua takes them.
            }
            assert_eq!(promised, taken, "{}: {array}", script.name);
            let last = promised.iter().filter(|slot| *slot != "..").count();
            let gapless = (1..=last).all(|slot| promised.contains(&slot.to_string()));
            assert!(gapless, "{}: {array} {promised:?}", script.name);
        }
    }
}

#[test]
fn no_body_names_a_numbered_slot_after_its_first_lines() {
    for script in scripts() {
        let rest = script.body.split_once("\n\n").map(|(_, rest)| rest).unwrap_or_default();
        for array in ["KEYS", "ARGV"] {
            let named = slots(rest, array);
            assert!(named.iter().all(|slot| slot == ".."), "{}: {array} {named:?}", script.name);
        }
    }
}

#[test]
fn each_header_begins_with_what_it_does_and_ends_with_why_it_is_a_script() {
    for script in scripts() {
        let (first, last) = (script.header.first().unwrap(), script.header.last().unwrap());
        assert!(first.starts_with(' ') && first.contains('.'), "{}: {first}", script.name);
        assert!(last.starts_with(" A script, because "), "{}: {last}", script.name);
    }
}

#[test]
fn each_redis_key_comes_in_through_keys() {
    for script in scripts() {
        for call in ["redis.call(", "redis.pcall("] {
            for rest in script.body.split(call).skip(1) {
                let target = rest.split([',', ')']).nth(1).unwrap_or_default().trim();
                let known = ["lock", "tokens", "queue", "forced", "watch", "mark", "KEYS[i + 1]", ""].contains(&target);
                // A channel is no key.
                let is_keyless = ["'TIME'", "'SPUBLISH'", "'PUBSUB'"].iter().any(|command| rest.starts_with(command));
                assert!(known || is_keyless, "{}: {target}", script.name);
            }
        }
    }
}

#[test]
fn each_file_is_loaded() {
    let calls = LOADED.lines().filter(|line| line.contains("script!(")).collect::<Vec<_>>().join("\n");
    let mut loaded = words(&calls, "=> \"", '"');
    loaded.append(&mut words(LOADED, "lua!(\"", '"'));
    assert!(loaded.remove("head"), "it stands before all scripts");
    assert_eq!(loaded, scripts().into_iter().map(|script| script.name).collect());
}
