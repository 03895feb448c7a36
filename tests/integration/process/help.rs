//! `--help` at the widths that terminals have.

use crate::harness::{lockside_with, subcommands};

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

fn length(line: &str) -> usize {
    line.chars().count()
}

/// A line that stays as it is.
fn is_set(line: &str) -> bool {
    line.starts_with("Example: ") || line.starts_with("  lockside ") || line.ends_with('\\')
}

/// The lines that end before their paragraph needs it: the next word would have had room.
fn ragged(help: &str, width: usize) -> Vec<&str> {
    let lines: Vec<&str> = help.lines().collect();
    let is_ragged = |pair: &[&str]| {
        // Of the same paragraph: both at the margin, or both in the column of the descriptions.
        let is_text = !pair[0].is_empty() && !pair[1].is_empty() && !is_set(pair[0]) && !is_set(pair[1]);
        let is_same = indent(pair[0]) == indent(pair[1]) && (indent(pair[0]) == 0 || indent(pair[0]) >= 10);
        let next = pair[1].split_whitespace().next().map_or(0, length);
        is_text && is_same && length(pair[0]) + 1 + next <= width
    };
    lines.windows(2).filter(|pair| is_ragged(pair)).map(|pair| pair[0]).collect()
}

#[test]
fn a_line_that_is_broken_too_early_is_ragged_and_others_are_not() {
    assert_eq!(ragged("one two\nthree four\n", 80), ["one two"]);
    assert_eq!(ragged("  -a  x\n            one\n            two\n", 80), ["            one"]);
    for fine in
        ["one two\nthree four\n", "one two\n\nthree\n", "Exit code:\n  1  a\n  2  b\n", "Example: a\nExample: b\n"]
    {
        assert_eq!(ragged(fine, 12), [""; 0], "{fine}");
    }
}

#[tokio::test]
async fn every_help_fits_its_terminal_and_fills_its_lines() {
    let commands = subcommands().await;
    let commands = [None].into_iter().chain(commands.iter().map(|command| Some(command.as_str())));
    for command in commands {
        let mut set_at_80 = None;
        for width in [80, 100, 120] {
            let args: Vec<&str> = command.into_iter().chain(["--help"]).collect();
            let help = lockside_with(&args, &[("COLUMNS", &width.to_string())]).await.stdout;
            let long: Vec<&str> = help.lines().filter(|line| length(line) > width).collect();
            assert_eq!(long, [""; 0], "{command:?} at {width}");
            assert_eq!(ragged(&help, width), [""; 0], "{command:?} at {width}");
            assert!(help.lines().all(|line| line.trim_end() == line), "{command:?} at {width}");
            let set: Vec<String> = help.lines().filter(|line| is_set(line)).map(str::to_owned).collect();
            assert_eq!(*set_at_80.get_or_insert_with(|| set.clone()), set, "{command:?} at {width}");
        }
    }
}
