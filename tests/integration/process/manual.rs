//! `lockside completions` and `lockside man`, and what `make install` puts where.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Scratch, lockside, subcommands};

const HIDDEN: [&str; 3] = ["exec-guard", "exec-launch", "exec-interrupted"];

fn assert_hides_what_lockside_starts_by_itself(of: &str, text: &str) {
    let text = text.replace("\\-", "-").replace("__", "-");
    for hidden in HIDDEN {
        assert!(!text.contains(hidden), "{of} names {hidden}");
    }
}

fn bash(script: &str) -> Output {
    let output = Command::new("bash").args(["--norc", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    output
}

#[tokio::test]
async fn completions_of_each_shell_have_every_command_and_flag_that_help_has() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = lockside(&["completions", shell]).await;
        assert_eq!(script.code, Some(0), "{}", script.stderr);
        for command in subcommands().await {
            assert!(script.stdout.contains(&command), "{shell}: {command}");
        }
        for flag in ["conflict-exit-code", "redis-url", "prefix", "force"] {
            assert!(script.stdout.contains(flag), "{shell}: {flag}");
        }
        assert_hides_what_lockside_starts_by_itself(shell, &script.stdout);
    }
    assert_eq!(lockside(&["completions", "cmd"]).await.code, Some(64));
    assert_eq!(lockside(&["completions"]).await.code, Some(64));
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    let scratch = Scratch::new();
    let script = scratch.file("lockside.bash", lockside(&["completions", "bash"]).await.stdout);
    let complete = |words: &[&str]| {
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let (all, at) = (words.join(" "), words.len() - 1);
        let call = format!("COMP_WORDS=({all}) COMP_CWORD={at}; _lockside lockside '{last}' '{before}'");
        let output = bash(&format!("source '{script}'; {call}; echo \"${{COMPREPLY[*]}}\""));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["lockside", "rel"]), "release");
    assert_eq!(complete(&["lockside", "release", "--fo"]), "--force");
    assert_eq!(complete(&["lockside", "completions", "f"]), "fish");
}

#[tokio::test]
async fn man_writes_a_page_for_each_command() {
    let scratch = Scratch::new();
    let directory = scratch.path("share/man1");
    let made = lockside(&["man", &directory]).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let mut expected: Vec<String> = subcommands().await.iter().map(|name| format!("lockside-{name}.1")).collect();
    expected.push("lockside.1".to_owned());
    expected.sort();
    let mut written: Vec<String> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    written.sort();
    assert_eq!(written, expected);
    for name in &written {
        let page = std::fs::read_to_string(Path::new(&directory).join(name)).unwrap();
        assert!(page.contains(&format!(".TH {}", name.trim_end_matches(".1"))), "{page}");
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
            assert!(page.contains(section), "{name}: {section}");
        }
        assert_hides_what_lockside_starts_by_itself(name, &page);
    }
    let exec = std::fs::read_to_string(Path::new(&directory).join("lockside-exec.1")).unwrap();
    let exec = exec.replace("\\-", "-");
    for text in
        ["lockside exec [OPTIONS] <KEY> -- <CMD>...", "LOCKSIDE_URL", "  126  CMD cannot", "Example: lockside exec"]
    {
        assert!(exec.contains(text), "{text}: {exec}");
    }
    let first = std::fs::read_to_string(Path::new(&directory).join("lockside.1")).unwrap();
    assert_eq!(lockside(&["man"]).await.stdout, first);
    let none = lockside(&["man", "/dev/null/man1"]).await;
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("cannot write `/dev/null/man1`"), "{}", none.stderr);
}

#[test]
fn make_install_puts_everything_where_shells_and_man_look() {
    let scratch = Scratch::new();
    let root = scratch.path("root");
    let binary = env!("CARGO_BIN_EXE_lockside");
    let made = Command::new("make")
        .args(["--silent", "install-files", &format!("BINARY={binary}"), &format!("DESTDIR={root}"), "PREFIX=/usr"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    for (path, text) in [
        ("bash-completion/completions/lockside", "complete -F _lockside"),
        ("zsh/site-functions/_lockside", "#compdef lockside"),
        ("fish/vendor_completions.d/lockside.fish", "complete -c lockside"),
        ("man/man1/lockside.1", ".TH lockside 1"),
        ("man/man1/lockside-exec.1", ".TH lockside-exec 1"),
    ] {
        let installed = std::fs::read_to_string(format!("{root}/usr/share/{path}"));
        assert!(installed.as_ref().is_ok_and(|installed| installed.contains(text)), "{path}: {installed:?}");
    }
    let run = Command::new(format!("{root}/usr/bin/lockside")).arg("--version").output().unwrap();
    assert!(run.status.success(), "{run:?}");
}
