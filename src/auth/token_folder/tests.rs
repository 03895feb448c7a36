use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A folder of the test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("lockside-tokens-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Scratch(path)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("private");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn all_that_is_wrong_with_a_folder_is_told_at_once() {
    let scratch = Scratch::new("wrong");
    assert!(TokenFolder::read(&scratch.0, None).is_err_and(|wrong| wrong[0].contains("holds no token")));
    for (name, content) in [
        (".hidden", "a hidden one of any content \u{e9}"),
        ("blank", " \t\n"),
        ("empty", ""),
        ("good", "a token of good length"),
        ("na me", "another token of good length"),
        ("default", "a third token of good length"),
        ("odd", "töken"),
        ("same", "a token of good length\n"),
    ] {
        scratch.write(name, content);
    }
    std::fs::create_dir_all(scratch.0.join("folder")).expect("a folder");
    let single = Reloaded::fixed(Secret::new("the token of the flag"));
    let wrong = TokenFolder::read(&scratch.0, Some(single)).expect_err("much is wrong");
    for expected in [
        "blank` is empty",
        "empty` is empty",
        "na me`: expected",
        "default`: that",
        "odd` holds no token",
        "same` holds the token of `good`",
        "folder` is no longer a file",
    ] {
        assert!(wrong.iter().any(|problem| problem.contains(expected)), "{expected}: {wrong:?}");
    }
    assert_eq!(wrong.len(), 7, "{wrong:?}");
    let none = TokenFolder::read(&scratch.0.join("nowhere"), None).expect_err("not there");
    assert!(none[0].contains("cannot read"), "{none:?}");
}

#[test]
fn a_file_that_is_gone_revokes_its_token_and_an_unfit_one_keeps_it() {
    let scratch = Scratch::new("rotated");
    scratch.write("a", "the first token of a\n");
    scratch.write("b", "the first token of b");
    let (folder, warnings) = TokenFolder::read(&scratch.0, None).expect("two tokens");
    assert_eq!(warnings.len(), 0, "{warnings:?}");
    let name =
        |shown: &str| folder.now().iter().find(|(_, token)| token.is_text(shown)).map(|(name, _)| name.to_string());
    assert_eq!((name("the first token of a").as_deref(), name("nothing")), (Some("a"), None));
    assert_eq!(folder.look(), Change::Same);

    scratch.write("a", "the second token of a");
    scratch.write("c", "short");
    assert_eq!(folder.look(), Change::Same, "seen once");
    assert!(matches!(folder.look(), Change::Taken(warnings) if warnings[0].contains("shorter")));
    assert_eq!((name("the first token of a"), name("the second token of a").as_deref()), (None, Some("a")));
    assert_eq!(name("short").as_deref(), Some("c"));

    scratch.write("a", "the first token of b");
    std::fs::remove_file(scratch.0.join("c")).expect("removed");
    assert_eq!(folder.look(), Change::Same);
    assert!(matches!(folder.look(), Change::Unfit(problem) if problem.contains("the token of `b`")));
    assert_eq!((name("the second token of a").as_deref(), name("short")), (Some("a"), None));
    assert_eq!(folder.look(), Change::Same, "told once");

    scratch.write("a", "the third token of a");
    assert_eq!((folder.look(), folder.look()), (Change::Same, Change::Taken(Vec::new())));
    std::fs::rename(scratch.0.join("b"), scratch.0.join("0")).expect("renamed");
    assert_eq!((folder.look(), folder.look()), (Change::Same, Change::Taken(Vec::new())));
    assert_eq!(name("the first token of b").as_deref(), Some("0"));
    std::fs::remove_dir_all(&scratch.0).expect("removed");
    assert!(matches!(folder.look(), Change::Unfit(problem) if problem.contains("cannot read")));
    assert_eq!(folder.look(), Change::Same);
    assert_eq!(name("the third token of a").as_deref(), Some("a"), "what cannot be listed revokes nothing");
}
