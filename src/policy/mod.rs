//! The policy: which caller may do what with which keys. A file of lines, each of which allows something; what no line
//! allows is denied. Knows no HTTP and no Redis: it is given a subject, a verb and a key, and decides.
//!
//! Architecture invariant: no line denies and no line goes before another, so that removing one never allows more. The
//! one exception is the built-in line for `--permission`, which stands only while no line of the file names
//! `force-release`.

#[cfg(any(test, fuzzing))]
#[path = "../fuzz/policy.rs"]
pub mod fuzz;
mod limits;
mod parse;
mod pattern;
mod permissions;
mod subject;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::{self, Display, Formatter};

pub use limits::Limits;
pub use permissions::Permissions;
pub use subject::{Subject, UserFacts, is_token_name};

use pattern::Pattern;
use subject::Who;

/// What a caller may do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Acquire, wait, hold, renew, release; see the state of the key, but not another holder.
    Lock,
    /// List, look, watch and fence, holders of others included.
    Read,
    /// Release another owner's lease.
    ForceRelease,
}

impl Verb {
    pub const ALL: [Verb; 3] = [Verb::Lock, Verb::Read, Verb::ForceRelease];

    pub fn parse(text: &str) -> Result<Verb, String> {
        let known = Verb::ALL.into_iter().find(|verb| verb.label() == text);
        known.ok_or_else(|| format!("`{text}` is no verb; expected lock, read or force-release"))
    }

    /// The verb as the file and the metrics have it.
    pub fn label(self) -> &'static str {
        match self {
            Verb::Lock => "lock",
            Verb::Read => "read",
            Verb::ForceRelease => "force-release",
        }
    }
}

/// The rules of one file.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    limits: Vec<(Who, Limits)>,
    permissions: Permissions,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Counted from 1; `None` for the built-in one.
    line: Option<usize>,
    who: Who,
    verbs: Vec<Verb>,
    patterns: Vec<Pattern>,
}

/// Why something is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    rule: &'a Rule,
    pattern: &'a Pattern,
}

impl Policy {
    /// From what a file holds. The error names every mistake with its line.
    pub fn parse(content: &[u8]) -> Result<Policy, String> {
        Policy::parse_with(content, &Permissions::default())
    }

    /// From what a file holds, for users whose tokens list permissions so.
    pub fn parse_with(content: &[u8], permissions: &Permissions) -> Result<Policy, String> {
        let parse::Lines { mut rules, limits } = parse::lines(content).map_err(|mistakes| mistakes.join("; "))?;
        if !rules.iter().any(|rule| rule.verbs.contains(&Verb::ForceRelease)) {
            rules.push(Rule {
                line: None,
                who: Who::Permission(permissions.manage_locks().as_ref().to_owned()),
                verbs: vec![Verb::ForceRelease],
                patterns: vec![Pattern::everything()],
            });
        }
        Ok(Policy { rules, limits, permissions: permissions.clone() })
    }

    /// The API tokens that it names, by rules or by limits.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.subjects().filter_map(|who| match who {
            Who::Token(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether a line of the file is about users.
    pub fn names_users(&self) -> bool {
        self.subjects().any(|who| matches!(who, Who::AnyUser | Who::User(_) | Who::Permission(_) | Who::Claim(..)))
    }

    /// How many rules the file has.
    pub fn rules(&self) -> usize {
        self.rules.iter().filter(|rule| rule.line.is_some()).count()
    }

    /// Whom the lines of the file are about.
    fn subjects(&self) -> impl Iterator<Item = &Who> {
        let rules = self.rules.iter().filter(|rule| rule.line.is_some()).map(|rule| &rule.who);
        rules.chain(self.limits.iter().map(|(who, _)| who))
    }

    pub fn allows(&self, subject: &Subject, verb: Verb, key: &str) -> bool {
        self.decide(subject, verb, key).is_some()
    }

    /// The first line that allows it.
    pub fn decide(&self, subject: &Subject, verb: Verb, key: &str) -> Option<Allowed<'_>> {
        self.of(subject, verb).find_map(|rule| {
            let pattern = rule.patterns.iter().find(|pattern| pattern.matches(subject, key))?;
            Some(Allowed { rule, pattern })
        })
    }

    /// Whether it is allowed with every key.
    pub fn allows_everywhere(&self, subject: &Subject, verb: Verb) -> bool {
        self.of(subject, verb).any(|rule| rule.patterns.iter().any(Pattern::is_everything))
    }

    /// Whether it may be allowed with any key at all.
    pub fn allows_somewhere(&self, subject: &Subject, verb: Verb) -> bool {
        self.of(subject, verb).any(|rule| rule.patterns.iter().any(|pattern| pattern.can_match(subject)))
    }

    /// What a caller may have at once: by the lines that name it, else by those of `*`. Of several the lowest limit
    /// counts.
    pub fn limits(&self, subject: &Subject) -> Limits {
        let all = |is_any: bool| {
            let of_these =
                self.limits.iter().filter(|(who, _)| who.is_any() == is_any && who.is(subject, &self.permissions));
            of_these.fold(Limits::default(), |lowest, (_, limits)| lowest.lower(*limits))
        };
        all(false).or(all(true))
    }

    fn of(&self, subject: &Subject, verb: Verb) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.verbs.contains(&verb) && rule.who.is(subject, &self.permissions))
    }
}

/// For people.
impl Display for Allowed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Allowed { rule: Rule { line, who, .. }, pattern } = self;
        match line {
            Some(line) => write!(f, "line {line}, {who}, pattern {pattern}"),
            None => write!(f, "built in while no line names force-release: {who} force-release {pattern}"),
        }
    }
}
