//! The API tokens of a folder, each by the name of its file. The folder is followed while we run: a file that is gone
//! revokes its token, one that does not fit keeps its last one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use super::bearer::{self, bearer_token};
use super::tokens::{DEFAULT_TOKEN, TokenName};
use crate::policy::is_token_name;
use crate::secret::{Change, Content, Reloaded, Secret, Watched, look};

const FLAG: &str = "--api-tokens-dir";

/// The tokens of a folder. Clones share them.
#[derive(Clone)]
pub struct TokenFolder(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// That of `--api-token-file`, which no file of the folder may hold.
    single: Option<Reloaded<Secret>>,
    now: RwLock<Tokens>,
    entries: Mutex<BTreeMap<String, Entry>>,
}

pub type Tokens = Arc<Vec<(TokenName, Secret)>>;

/// A file of the folder.
#[derive(Default)]
struct Entry {
    /// What was found by the last look; `None` where there was no file.
    last: Option<Content>,
    /// What was last acted upon.
    settled: Option<Content>,
    token: Option<Secret>,
    /// Why the token is not the one that the file holds now.
    problem: Option<String>,
}

impl TokenFolder {
    /// Reads a folder. With it comes what is unwise about its files; else all that is wrong with them.
    pub fn read(path: &Path, single: Option<Reloaded<Secret>>) -> Result<(TokenFolder, Vec<String>), Vec<String>> {
        let names = names(path).map_err(|error| vec![format!("cannot read `{}`: {error}", path.display())])?;
        let inner = Inner {
            path: path.to_owned(),
            single,
            now: RwLock::new(Arc::new(Vec::new())),
            entries: Mutex::new(BTreeMap::new()),
        };
        let (mut entries, mut problems, mut warnings) = (BTreeMap::new(), Vec::new(), Vec::new());
        for name in names {
            let content = Some(look(&path.join(&name)));
            match inner.fit(&entries, &name, content.as_ref()) {
                Ok(token) => {
                    warnings.extend(bearer::warnings(FLAG, &path.join(&name), &token));
                    let entry = Entry { last: content.clone(), settled: content, token: Some(token), problem: None };
                    entries.insert(name, entry);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if entries.is_empty() && problems.is_empty() {
            problems
                .push(format!("`{}` holds no token; expected a file for each, named like its caller", path.display()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        inner.publish(&entries);
        *inner.entries.lock().expect("no holder of this lock panics") = entries;
        Ok((TokenFolder(Arc::new(inner)), warnings))
    }

    /// All of them, as they are now.
    pub fn now(&self) -> Tokens {
        Arc::clone(&self.0.now.read().expect("no holder of this lock panics"))
    }
}

impl Inner {
    /// The token of a file, unless another one is the same.
    fn fit(&self, others: &BTreeMap<String, Entry>, name: &str, content: Option<&Content>) -> Result<Secret, String> {
        let path = self.path.join(name);
        if !is_token_name(name) {
            return Err(format!("`{}`: expected a name of 1 to 63 of A-Z a-z 0-9 . _ -", path.display()));
        }
        if name == DEFAULT_TOKEN && self.single.is_some() {
            return Err(format!("`{}`: that is the name of the token of --api-token-file", path.display()));
        }
        let content = content.map_or(Ok(&[][..]), |content| content.as_deref().map_err(Clone::clone))?;
        if content.trim_ascii().is_empty() {
            return Err(format!("`{}` is empty", path.display()));
        }
        let token = bearer_token(content).map_err(|problem| format!("`{}` {problem}", path.display()))?;
        let is_same = |other: &Secret| other.is(&token);
        let twin = others.iter().find(|(other, entry)| *other != name && entry.token.as_ref().is_some_and(is_same));
        if let Some((twin, _)) = twin {
            return Err(format!("`{}` holds the token of `{twin}`; each caller needs its own", path.display()));
        }
        if self.single.as_ref().is_some_and(|single| is_same(&single.now())) {
            return Err(format!("`{}` holds the token of --api-token-file", path.display()));
        }
        Ok(token)
    }

    fn publish(&self, entries: &BTreeMap<String, Entry>) {
        let tokens = entries.iter().filter_map(|(name, entry)| Some((name.as_str().into(), entry.token.clone()?)));
        *self.now.write().expect("no holder of this lock panics") = Arc::new(tokens.collect());
    }
}

impl Watched for TokenFolder {
    fn flag(&self) -> &'static str {
        FLAG
    }

    fn look(&self) -> Change {
        let Inner { path, entries, .. } = &*self.0;
        let found = match names(path) {
            Ok(names) => names,
            // As a file that cannot be read: what was there still counts.
            Err(error) => {
                let mut entries = entries.lock().expect("no holder of this lock panics");
                return self.0.unlisted(&mut entries, &error);
            }
        };
        let mut entries = entries.lock().expect("no holder of this lock panics");
        let was_listed = entries.remove(UNLISTED).is_none();
        // Those that are gone or changed give their tokens up first, so that a file may be renamed and two may swap.
        let mut changed = Vec::new();
        let all: BTreeSet<String> = entries.keys().cloned().chain(found.iter().cloned()).collect();
        for name in all {
            let content = found.contains(&name).then(|| look(&path.join(&name)));
            let entry = entries.entry(name.clone()).or_default();
            let before = std::mem::replace(&mut entry.last, content.clone());
            if before == content && entry.settled != content {
                entry.settled = content.clone();
                changed.push((name, content, entry.token.take()));
            }
        }
        let (has_changed, mut warnings) = (!was_listed || !changed.is_empty(), Vec::new());
        for (name, content, kept) in changed {
            if content.is_none() {
                entries.remove(&name);
                continue;
            }
            let fit = self.0.fit(&entries, &name, content.as_ref());
            let kept =
                kept.filter(|kept| !entries.values().any(|entry| entry.token.as_ref().is_some_and(|it| it.is(kept))));
            let entry = entries.entry(name.clone()).or_default();
            match fit {
                Ok(token) => {
                    warnings.extend(bearer::warnings(FLAG, &path.join(&name), &token));
                    (entry.token, entry.problem) = (Some(token), None);
                }
                Err(problem) => (entry.token, entry.problem) = (kept, Some(problem)),
            }
        }
        if !has_changed {
            return Change::Same;
        }
        self.0.publish(&entries);
        let problems: Vec<&str> = entries.values().filter_map(|entry| entry.problem.as_deref()).collect();
        if problems.is_empty() { Change::Taken(warnings) } else { Change::Unfit(problems.join("; ")) }
    }
}

/// Under which no file lies, the entry of a folder that could not be listed.
const UNLISTED: &str = "";

impl Inner {
    fn unlisted(&self, entries: &mut BTreeMap<String, Entry>, error: &io::Error) -> Change {
        let problem = format!("cannot read `{}`: {error}", self.path.display());
        let entry = Entry { problem: Some(problem.clone()), ..Entry::default() };
        match entries.insert(UNLISTED.to_owned(), entry) {
            Some(_) => Change::Same,
            None => Change::Unfit(problem),
        }
    }
}

/// The names of the files, but for hidden ones, as a mounted Secret has them.
fn names(path: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in path.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}

impl std::fmt::Debug for TokenFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenFolder({})", self.0.path.display())
    }
}
