//! The scripts of `lua/`, as Redis gets them: what stands before each, and which of them run in a batch.

use std::sync::LazyLock;

use crate::redis::Script;

macro_rules! lua {
    ($name:literal) => {
        include_str!(concat!("../../lua/", $name, ".lua"))
    };
}

/// The first words of the rows that grant or extend a lease.
const PROMISES: &[&str] = &["granted", "replayed", "renewed"];

macro_rules! script {
    ($($before:literal)* => $name:literal $(in $batch:ident)? $(, promising $words:ident)? $(; $how:ident)?) => {
        LazyLock::new(|| {
            Script::new($name, &[lua!("head"), $(lua!($before),)* lua!($name)])$(.batched_by(&$batch))?$(.promising($words))?$(.$how())?
        })
    };
}

/// A script of several keys: those of one key stand before it, as functions of their KEYS and ARGV.
macro_rules! several_script {
    ($($before:literal)* ; $($one:literal)* ; $($behind:literal)* => $name:literal $(; $how:ident)?) => {
        LazyLock::new(|| {
            let texts = [
                lua!("head"),
                $(lua!($before),)*
                $("local function ", $one, "(KEYS, ARGV)\n", lua!($one), "end\n",)*
                $(lua!($behind),)*
                lua!($name),
            ];
            Script::new($name, &texts).promising(PROMISES)$(.$how())?
        })
    };
}

/// Asks what Redis refuses.
macro_rules! rights {
    () => {
        include_str!("../redis/acl/rights.lua")
    };
}

/// Each operation as a function of its own KEYS and ARGV, made where the first is needed, and then what runs them.
macro_rules! batch {
    ($($before:literal)* => $($name:literal)*) => {
        LazyLock::new(|| {
            let texts = [
                lua!("head"),
                "local function whole_operations()\n",
                $(lua!($before),)*
                "local operations = {}\n",
                $("operations.", $name, " = function(KEYS, ARGV)\n", lua!($name), "end\n",)*
                "operations.rights = function(KEYS, ARGV)\n", rights!(), "end\n",
                "return operations\nend\n",
                lua!("batch"),
            ];
            Script::new("batch", &texts).promising(PROMISES).of_several()
        })
    };
}

pub static ACQUIRE: LazyLock<Script> =
    script!("lease" "shared" "grant" "queue" "attempt" => "acquire" in BATCH, promising PROMISES; all_or_nothing);
pub static SHARE: LazyLock<Script> =
    script!("lease" "shared" "grant" "queue" "attempt" => "share" in BATCH, promising PROMISES; all_or_nothing);
pub static RENEW: LazyLock<Script> = script!("lease" "shared" => "renew" in BATCH, promising PROMISES);
pub static RELEASE: LazyLock<Script> = script!("lease" "shared" "grant" "queue" => "release" in BATCH);
pub static FORCE: LazyLock<Script> = script!("lease" "shared" "grant" "queue" => "force");
pub static UNDO: LazyLock<Script> = script!("lease" "shared" "grant" "queue" => "undo");
pub static JOIN: LazyLock<Script> = script!("lease" "shared" "grant" "queue" => "queue_join" in BATCH; all_or_nothing);
pub static ADVANCE: LazyLock<Script> = script!("lease" "shared" "grant" "queue" => "queue_advance" in BATCH);
pub static DECLINE: LazyLock<Script> = script!("lease" "shared" "grant" "queue" => "queue_decline");
pub static ACQUIRE_ALL: LazyLock<Script> = several_script!("lease" "shared" "grant" "queue" "attempt"; "acquire" "share" "undo"; "legs" => "acquire_all"; all_or_nothing);
pub static RENEW_ALL: LazyLock<Script> = several_script!("lease" "shared"; "renew"; => "renew_all");
pub static READ: LazyLock<Script> = script!("lease" "shared" => "read");
pub static WATCH: LazyLock<Script> = script!("lease" => "watch");
pub static SWEEP: LazyLock<Script> = script!("lease" => "sweep");
pub static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new("rights", &[rights!()]).batched_by(&BATCH));
pub static CENSUS: LazyLock<Script> = LazyLock::new(|| Script::new("census", &[lua!("census")]).across_slots());
pub static BATCH: LazyLock<Script> = batch!("lease" "shared" "grant" "queue" "attempt" => "acquire" "share" "renew" "release" "queue_join" "queue_advance");

/// All that lie in `lua/`, but for what they are made of.
pub static ALL: [&LazyLock<Script>; 16] = [
    &ACQUIRE,
    &SHARE,
    &RENEW,
    &RELEASE,
    &FORCE,
    &UNDO,
    &JOIN,
    &ADVANCE,
    &DECLINE,
    &ACQUIRE_ALL,
    &RENEW_ALL,
    &READ,
    &WATCH,
    &SWEEP,
    &CENSUS,
    &BATCH,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_every_script_are_asked_about() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua"))
            .expect("the scripts")
            .map(|file| file.expect("a file").path())
            .filter(|path| !std::fs::read_to_string(path).expect("a text").starts_with("-- Not a script"))
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        files.sort_unstable();
        let mut named: Vec<&str> = ALL.iter().map(|script| script.name).collect();
        named.sort_unstable();
        assert_eq!(files, named);
    }
}
