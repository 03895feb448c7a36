//! Settings that come from files and follow them while we run: a rotated secret counts without a restart.
//!
//! A file is looked at by its content, since a secret may be rotated in many ways: written in place, renamed over, or
//! reached by a symlink that is swapped. A new content counts once two looks in a row have found it, so that a file
//! which is half written is never taken; one that is unfit leaves the last good one in use. What is unwise about a file,
//! such as its mode, is told whenever it is read: at start, and when it changes.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Longest content of a file, bytes: the CA certificates that a system trusts are 220 KB.
const LONGEST: usize = 1024 * 1024;
/// Bits of a file's mode.
pub const OPEN_TO_OTHERS: u32 = 0o006;
pub const WRITABLE_BY_OTHERS: u32 = 0o002;

/// A setting as it is now. Clones share it.
pub struct Reloaded<T>(Arc<Inner<T>>);

struct Inner<T> {
    flag: &'static str,
    now: RwLock<Arc<T>>,
    source: Option<Source<T>>,
}

struct Source<T> {
    path: PathBuf,
    parse: Parse<T>,
    wary: Unwise<T>,
    looks: Mutex<Looks>,
}

/// What is unwise about a file, but allowed.
pub struct Unwise<T> {
    /// Bits that its mode should not have.
    pub mode: u32,
    /// What is unwise about what it holds.
    pub value: fn(&T) -> Option<&'static str>,
}

/// From a content to a setting; the error says what is wrong with the file, and shows nothing of it.
type Parse<T> = Box<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// A content, or why there is none.
pub type Content = Result<Vec<u8>, String>;

/// A file as one look finds it.
#[derive(Clone, PartialEq, Eq)]
struct Found {
    content: Content,
    /// `None` where it cannot be had.
    mode: Option<u32>,
}

struct Looks {
    /// What was last acted upon.
    settled: Found,
    last: Found,
}

/// What a look at a file has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    Same,
    /// The file changed, and what it holds now counts; what is unwise about it.
    Taken(Vec<String>),
    /// The file holds what it held, and its mode has become unwise.
    Unwise(String),
    /// The file changed, and what it held before still counts: why.
    Unfit(String),
}

/// A file that is looked at while we run.
pub trait Watched: Send + Sync {
    /// The flag that names the file.
    fn flag(&self) -> &'static str;
    /// Reads the file, which may take long on a network's file system.
    fn look(&self) -> Change;
}

impl<T> Reloaded<T> {
    /// A setting that does not change.
    pub fn fixed(value: T) -> Reloaded<T> {
        Reloaded(Arc::new(Inner { flag: "", now: RwLock::new(Arc::new(value)), source: None }))
    }

    /// Reads a file; one trailing newline is cut off. With it comes what is unwise about it. Errors and warnings name the
    /// file, never what is in it.
    pub fn read(
        flag: &'static str,
        path: &Path,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
        wary: Unwise<T>,
    ) -> Result<(Reloaded<T>, Vec<String>), String> {
        let mode = mode_of(path);
        let content = read(path)?;
        let value = fit(path, &content, &parse)?;
        let warnings = wary.warnings(flag, path, mode, &value);
        let found = Found { content: Ok(content), mode };
        // What is no file, such as a shell's `<(…)`, can be read only once.
        let source = path.is_file().then(|| Source {
            path: path.to_owned(),
            parse: Box::new(parse),
            wary,
            looks: Mutex::new(Looks { settled: found.clone(), last: found }),
        });
        Ok((Reloaded(Arc::new(Inner { flag, now: RwLock::new(Arc::new(value)), source })), warnings))
    }

    /// What counts now.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.now.read().expect("no holder of this lock panics"))
    }
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// The file behind it, where there is one to follow.
    pub fn file(&self) -> Option<Box<dyn Watched>> {
        self.0.source.is_some().then(|| Box::new(self.clone()) as Box<dyn Watched>)
    }
}

impl<T: Send + Sync> Watched for Reloaded<T> {
    fn flag(&self) -> &'static str {
        self.0.flag
    }

    fn look(&self) -> Change {
        let Some(source) = &self.0.source else { return Change::Same };
        let found = Found { content: look(&source.path), mode: mode_of(&source.path) };
        let mut looks = source.looks.lock().expect("no holder of this lock panics");
        let before = std::mem::replace(&mut looks.last, found.clone());
        if before != found || looks.settled == found {
            return Change::Same;
        }
        let settled = std::mem::replace(&mut looks.settled, found.clone());
        let warnings = |value: &T| source.wary.warnings(self.0.flag, &source.path, found.mode, value);
        if settled.content == found.content {
            return match source.wary.of_the_mode(self.0.flag, &source.path, found.mode) {
                Some(warning) => Change::Unwise(warning),
                None => Change::Same,
            };
        }
        match found.content.as_ref().map_err(Clone::clone).and_then(|it| fit(&source.path, it, &source.parse)) {
            Ok(value) => {
                let warnings = warnings(&value);
                *self.0.now.write().expect("no holder of this lock panics") = Arc::new(value);
                Change::Taken(warnings)
            }
            Err(problem) => Change::Unfit(problem),
        }
    }
}

impl<T> Unwise<T> {
    pub fn of_nothing() -> Unwise<T> {
        Unwise { mode: 0, value: |_| None }
    }

    /// What is unwise about a file that holds this.
    pub fn of_a_file(&self, flag: &str, path: &Path, value: &T) -> Vec<String> {
        self.warnings(flag, path, mode_of(path), value)
    }

    fn of_the_mode(&self, flag: &str, path: &Path, mode: Option<u32>) -> Option<String> {
        let unwise = mode.filter(|mode| mode & self.mode != 0 && !is_on_read_only_mount(path));
        unwise.map(|mode| {
            let may = if mode & WRITABLE_BY_OTHERS != 0 { "change" } else { "read" };
            format!(
                "every user of this machine may {may} `{}` of {flag} (mode {mode:04o}); 0600 or 0440 is enough, in a \
                 Kubernetes volume by defaultMode",
                path.display()
            )
        })
    }

    fn warnings(&self, flag: &str, path: &Path, mode: Option<u32>, value: &T) -> Vec<String> {
        let of_the_mode = self.of_the_mode(flag, path, mode).into_iter();
        of_the_mode.chain((self.value)(value).map(str::to_owned)).collect()
    }
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Reloaded<T> {
        Reloaded(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reloaded({})", self.0.flag)
    }
}

/// The mode of a file, or of what a link leads to.
fn mode_of(path: &Path) -> Option<u32> {
    path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.mode() & 0o7777)
}

/// Whether a file is on a mount such as that of a Secret, which only its own container has: there the mode is often 0444,
/// so that the user of the container can read it.
fn is_on_read_only_mount(path: &Path) -> bool {
    statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// What a file holds, once it was one.
pub fn look(path: &Path) -> Content {
    match path.metadata() {
        // To open a pipe could take for ever.
        Ok(metadata) if !metadata.is_file() => Err(format!("`{}` is no longer a file", path.display())),
        _ => read(path),
    }
}

fn read(path: &Path) -> Content {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut content));
    read.map_err(|error| match is_a_path(path) {
        true => format!("cannot read `{}`: {error}", path.display()),
        false => format!(
            "cannot read the file that it names: {error}; expected a path, such as /run/secrets/name (what is set is not \
             shown: it may be the secret itself)"
        ),
    })?;
    if content.len() > LONGEST {
        return Err(format!("`{}` is longer than {LONGEST} bytes", path.display()));
    }
    if content.ends_with(b"\n") {
        let newline = if content.ends_with(b"\r\n") { 2 } else { 1 };
        content.truncate(content.len() - newline);
    }
    Ok(content)
}

/// Whether it is surely meant as a path: it leads somewhere, or looks so.
fn is_a_path(path: &Path) -> bool {
    path.symlink_metadata().is_ok() || path.as_os_str().as_bytes().contains(&b'/')
}

fn fit<T>(path: &Path, content: &[u8], parse: &dyn Fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    if content.is_empty() {
        return Err(format!("`{}` is empty", path.display()));
    }
    parse(content).map_err(|problem| format!("`{}` {problem}", path.display()))
}
