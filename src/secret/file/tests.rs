use std::os::unix::fs::PermissionsExt;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("lockside-live-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }

    fn write(&self, content: &[u8]) -> PathBuf {
        let path = self.0.join("secret");
        std::fs::write(&path, content).expect("a scratch file");
        set_mode(&path, 0o600);
        path
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn live(path: &Path) -> Result<Reloaded<Vec<u8>>, String> {
    let parse = |content: &[u8]| if content == b"unfit" { Err("is unfit".to_owned()) } else { Ok(content.to_vec()) };
    let wary = Unwise { mode: OPEN_TO_OTHERS, value: |content: &Vec<u8>| (content.len() < 3).then_some("is short") };
    Reloaded::read("--flag", path, parse, wary).map(|(live, _)| live)
}

fn taken() -> Change {
    Change::Taken(Vec::new())
}

#[test]
fn one_trailing_newline_is_cut_off_and_nothing_else() {
    let scratch = Scratch::new("newline");
    for (content, expected) in [
        (&b"x"[..], &b"x"[..]),
        (b"x\n", b"x"),
        (b"x\r\n", b"x"),
        (b"x\n\n", b"x\n"),
        (b"x\r", b"x\r"),
        (b"x\n\r", b"x\n\r"),
        (b" x ", b" x "),
        (b"\xff\n", b"\xff"),
    ] {
        let live = live(&scratch.write(content)).expect("a fit file");
        assert_eq!(*live.now(), expected, "{content:?}");
    }
    for empty in [&b""[..], b"\n", b"\r\n"] {
        assert!(live(&scratch.write(empty)).is_err(), "{empty:?}");
    }
    assert!(live(&scratch.write(&vec![b'x'; LONGEST + 1])).is_err());
}

#[test]
fn a_change_counts_once_two_looks_have_found_it() {
    let scratch = Scratch::new("change");
    let path = scratch.write(b"old");
    let live = live(&path).expect("a fit file");
    assert_eq!(live.look(), Change::Same);
    scratch.write(b"half");
    assert_eq!(live.look(), Change::Same);
    scratch.write(b"whole");
    assert_eq!((live.look(), &**live.now()), (Change::Same, &b"old"[..]));
    assert_eq!((live.look(), &**live.now()), (taken(), &b"whole"[..]));
    assert_eq!(live.look(), Change::Same);

    for (unfit, says) in [(&b"unfit"[..], "is unfit"), (b"", "is empty")] {
        scratch.write(unfit);
        assert_eq!(live.look(), Change::Same);
        assert!(matches!(live.look(), Change::Unfit(problem) if problem.ends_with(says)));
        assert_eq!((live.look(), &**live.now()), (Change::Same, &b"whole"[..]), "told once");
    }
    std::fs::remove_file(&path).expect("a scratch file");
    assert_eq!(live.look(), Change::Same);
    assert!(matches!(live.look(), Change::Unfit(problem) if problem.starts_with("cannot read")));
    scratch.write(b"whole");
    assert_eq!((live.look(), live.look()), (Change::Same, taken()));
}

#[test]
fn what_start_warns_of_a_change_warns_of() {
    let scratch = Scratch::new("unwise");
    let path = scratch.write(b"long");
    let live = live(&path).expect("a fit file");
    let settled = || (live.look(), live.look());
    scratch.write(b"x");
    assert_eq!(settled(), (Change::Same, Change::Taken(vec!["is short".to_owned()])));
    let says = |look: Change, may: &str| {
        let told = match look {
            Change::Taken(told) => told,
            Change::Unwise(told) => vec![told],
            other => panic!("{other:?}"),
        };
        assert!(told.iter().any(|line| line.contains(&format!("may {may} `{}`", path.display()))), "{told:?}");
    };
    set_mode(&path, 0o666);
    says(settled().1, "change");
    assert_eq!(settled(), (Change::Same, Change::Same), "told once");
    std::fs::write(&path, b"again").expect("a scratch file");
    says(settled().1, "change");
    set_mode(&path, 0o644);
    says(settled().1, "read");
    set_mode(&path, 0o600);
    assert_eq!((settled(), &**live.now()), ((Change::Same, Change::Same), &b"again"[..]));
}
