//! Settings that come from files and follow them while we run: a rotated secret counts without a restart.
//!
//! A file is looked at by its content, since a secret may be rotated in many ways: written in place, renamed over, or
//! reached by a symlink that is swapped. A new content counts once two looks in a row have found it, so that a file
//! which is half written is never taken; one that is unfit leaves the last good one in use.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// Longest content of a file with a secret, bytes.
const LONGEST: usize = 64 * 1024;

/// A setting as it is now. Clones share it.
pub struct Live<T>(Arc<Inner<T>>);

struct Inner<T> {
    flag: &'static str,
    now: RwLock<Arc<T>>,
    source: Option<Source<T>>,
}

struct Source<T> {
    path: PathBuf,
    parse: Parse<T>,
    looks: Mutex<Looks>,
}

/// From a content to a setting; the error says what is wrong with the file, and shows nothing of it.
type Parse<T> = Box<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// A content, or why there is none.
type Content = Result<Vec<u8>, String>;

struct Looks {
    /// What was last acted upon.
    settled: Content,
    last: Content,
}

/// What a look at a file has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// The file changed, and what it holds now counts.
    Taken,
    /// The file changed, and what it held before still counts: why.
    Unfit(String),
}

/// A file that is looked at while we run.
pub trait Follow: Send + Sync {
    /// The flag that names the file.
    fn flag(&self) -> &'static str;
    /// Reads the file, which may take long on a network's file system.
    fn look(&self) -> Look;
}

impl<T> Live<T> {
    /// A setting that does not change.
    pub fn fixed(value: T) -> Live<T> {
        Live(Arc::new(Inner { flag: "", now: RwLock::new(Arc::new(value)), source: None }))
    }

    /// Reads a file; one trailing newline is cut off. Errors name the file, never what is in it.
    pub fn read(
        flag: &'static str,
        path: &Path,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Live<T>, String> {
        let content = read(path)?;
        let value = fit(path, &content, &parse)?;
        // What is no file, such as a shell's `<(…)`, can be read only once.
        let source = path.is_file().then(|| Source {
            path: path.to_owned(),
            parse: Box::new(parse),
            looks: Mutex::new(Looks { settled: Ok(content.clone()), last: Ok(content) }),
        });
        Ok(Live(Arc::new(Inner { flag, now: RwLock::new(Arc::new(value)), source })))
    }

    /// What counts now.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.now.read().expect("no holder of this lock panics"))
    }
}

impl<T: Send + Sync + 'static> Live<T> {
    /// The file behind it, where there is one to follow.
    pub fn file(&self) -> Option<Box<dyn Follow>> {
        self.0.source.is_some().then(|| Box::new(self.clone()) as Box<dyn Follow>)
    }
}

impl<T: Send + Sync> Follow for Live<T> {
    fn flag(&self) -> &'static str {
        self.0.flag
    }

    fn look(&self) -> Look {
        let Some(source) = &self.0.source else { return Look::Same };
        let found = match source.path.metadata() {
            // To open a pipe could take for ever.
            Ok(metadata) if !metadata.is_file() => Err(format!("`{}` is no file any more", source.path.display())),
            _ => read(&source.path),
        };
        let mut looks = source.looks.lock().expect("no holder of this lock panics");
        let before = std::mem::replace(&mut looks.last, found.clone());
        if before != found || looks.settled == found {
            return Look::Same;
        }
        looks.settled = found.clone();
        match found.and_then(|content| fit(&source.path, &content, &source.parse)) {
            Ok(value) => {
                *self.0.now.write().expect("no holder of this lock panics") = Arc::new(value);
                Look::Taken
            }
            Err(problem) => Look::Unfit(problem),
        }
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Live({})", self.0.flag)
    }
}

fn read(path: &Path) -> Content {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut content));
    read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    if content.len() > LONGEST {
        return Err(format!("`{}` is longer than {LONGEST} bytes, too long for a secret", path.display()));
    }
    if content.ends_with(b"\n") {
        let newline = if content.ends_with(b"\r\n") { 2 } else { 1 };
        content.truncate(content.len() - newline);
    }
    Ok(content)
}

fn fit<T>(path: &Path, content: &[u8], parse: &dyn Fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    if content.is_empty() {
        return Err(format!("`{}` is empty", path.display()));
    }
    parse(content).map_err(|problem| format!("`{}` {problem}", path.display()))
}

#[cfg(test)]
mod tests {
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
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn bytes(content: &[u8]) -> Result<Vec<u8>, String> {
        if content == b"unfit" { Err("is unfit".to_owned()) } else { Ok(content.to_vec()) }
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
            let live = Live::read("--flag", &scratch.write(content), bytes).expect("a fit file");
            assert_eq!(*live.now(), expected, "{content:?}");
        }
        for empty in [&b""[..], b"\n", b"\r\n"] {
            assert!(Live::read("--flag", &scratch.write(empty), bytes).is_err(), "{empty:?}");
        }
        assert!(Live::read("--flag", &scratch.write(&vec![b'x'; LONGEST + 1]), bytes).is_err());
    }

    #[test]
    fn a_change_counts_once_two_looks_have_found_it() {
        let scratch = Scratch::new("change");
        let path = scratch.write(b"old");
        let live = Live::read("--flag", &path, bytes).expect("a fit file");
        assert_eq!(live.look(), Look::Same);
        scratch.write(b"half");
        assert_eq!(live.look(), Look::Same);
        scratch.write(b"whole");
        assert_eq!((live.look(), &**live.now()), (Look::Same, &b"old"[..]));
        assert_eq!((live.look(), &**live.now()), (Look::Taken, &b"whole"[..]));
        assert_eq!(live.look(), Look::Same);

        for (unfit, says) in [(&b"unfit"[..], "is unfit"), (b"", "is empty")] {
            scratch.write(unfit);
            assert_eq!(live.look(), Look::Same);
            assert!(matches!(live.look(), Look::Unfit(problem) if problem.ends_with(says)));
            assert_eq!((live.look(), &**live.now()), (Look::Same, &b"whole"[..]), "told once");
        }
        std::fs::remove_file(&path).expect("a scratch file");
        assert_eq!(live.look(), Look::Same);
        assert!(matches!(live.look(), Look::Unfit(problem) if problem.starts_with("cannot read")));
        scratch.write(b"whole");
        assert_eq!((live.look(), live.look()), (Look::Same, Look::Taken));
    }
}
