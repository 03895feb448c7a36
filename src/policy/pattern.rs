//! The keys that a line is about: a text that a key is, or with `*` at its end begins with; `{sub}` and `{claim:NAME}`
//! stand for what the caller's token says.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use super::Subject;
use super::words::{self, Char};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// Whether anything may follow.
    is_prefix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Sub,
    Claim(String),
}

impl Pattern {
    /// `*`
    pub fn everything() -> Pattern {
        Pattern { parts: Vec::new(), is_prefix: true }
    }

    pub fn is_everything(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn parse(word: &[Char]) -> Result<Pattern, String> {
        let said = words::text(word);
        let (mut rest, is_prefix) = match word {
            [before @ .., last] if last.is('*') => (before, true),
            _ => (word, false),
        };
        if rest.iter().any(|char| char.is('*')) {
            return Err(format!("`{said}`: `*` stands at the end only; write \\* for the character"));
        }
        let mut parts = Vec::new();
        while let Some(first) = rest.first() {
            if first.is('{') {
                let (name, behind) = words::split(&rest[1..], '}')
                    .ok_or_else(|| format!("`{said}`: a variable is not closed; write \\{{ for the character"))?;
                if parts.last().is_some_and(Part::is_variable) {
                    return Err(format!("`{said}`: two variables need a character between them"));
                }
                parts.push(Part::variable(&words::text(name)).map_err(|mistake| format!("`{said}`: {mistake}"))?);
                rest = behind;
                continue;
            }
            let end = rest.iter().position(|char| char.is('{')).unwrap_or(rest.len());
            let (text, behind) = rest.split_at(end);
            if text.iter().any(|char| char.is('}')) {
                return Err(format!("`{said}`: `}}` closes no variable; write \\}} for the character"));
            }
            parts.push(Part::Text(words::text(text)));
            rest = behind;
        }
        if is_prefix && parts.last().is_some_and(Part::is_variable) {
            return Err(format!("`{said}`: a variable directly before `*` lets others in whose names begin alike"));
        }
        Ok(Pattern { parts, is_prefix })
    }

    pub fn matches(&self, subject: &Subject, key: &str) -> bool {
        self.matches_from(&self.parts, subject, key)
    }

    /// Whether each of its variables has a value.
    pub fn can_match(&self, subject: &Subject) -> bool {
        self.parts.iter().zip(self.ends()).all(|(part, end)| !part.values(subject, end).is_empty())
    }

    /// The character behind each part, where there is one.
    fn ends(&self) -> impl Iterator<Item = Option<char>> {
        let behind = self.parts.iter().skip(1).map(Part::first).chain([None]);
        behind.take(self.parts.len())
    }

    fn matches_from(&self, parts: &[Part], subject: &Subject, key: &str) -> bool {
        let Some((part, behind)) = parts.split_first() else { return self.is_prefix || key.is_empty() };
        let end = behind.first().and_then(Part::first);
        part.values(subject, end)
            .iter()
            .any(|value| key.strip_prefix(&**value).is_some_and(|rest| self.matches_from(behind, subject, rest)))
    }
}

impl Part {
    fn variable(name: &str) -> Result<Part, String> {
        match name.split_once(':') {
            None if name == "sub" => Ok(Part::Sub),
            Some(("claim", claim)) if !claim.is_empty() => Ok(Part::Claim(claim.to_owned())),
            _ => Err(format!("`{{{name}}}` is no variable; expected {{sub}} or {{claim:NAME}}")),
        }
    }

    fn is_variable(&self) -> bool {
        !matches!(self, Part::Text(_))
    }

    fn first(&self) -> Option<char> {
        match self {
            Part::Text(text) => text.chars().next(),
            Part::Sub | Part::Claim(_) => None,
        }
    }

    /// What it stands for. A value that has the character behind its variable would reach into another's keys, and so
    /// is none: in `{claim:team}/*` the team `a/b` has no keys, since they would be those of the team `a`.
    fn values<'a>(&'a self, subject: &'a Subject, end: Option<char>) -> Vec<Cow<'a, str>> {
        let mut values = match self {
            Part::Text(text) => return vec![Cow::Borrowed(text)],
            Part::Sub => subject.sub().map(Cow::Borrowed).into_iter().collect(),
            Part::Claim(name) => subject.claim(name),
        };
        values.retain(|value| !value.is_empty() && end.is_none_or(|end| !value.contains(end)));
        // Each once, so that a claim which names one thing a thousand times is not tried a thousand times.
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// As the file has it.
impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    for it in text.chars() {
                        let is_special = matches!(it, '*' | '{' | '}' | '\\' | ' ' | '\t' | '#');
                        write!(f, "{}{it}", if is_special { "\\" } else { "" })?;
                    }
                }
                Part::Sub => f.write_str("{sub}")?,
                Part::Claim(name) => write!(f, "{{claim:{name}}}")?,
            }
        }
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}
