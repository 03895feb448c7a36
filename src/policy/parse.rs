//! From the text of the file to rules. Reads all of it, so that every mistake is told at once.

use super::limits::Limits;
use super::pattern::Pattern;
use super::subject::Who;
use super::words::{self, Char};
use super::{Rule, Verb};

/// The word of a line that says how much a caller may have.
const LIMIT: &str = "limit";

/// What the file holds.
#[derive(Default)]
pub struct Lines {
    pub rules: Vec<Rule>,
    pub limits: Vec<(Who, Limits)>,
}

/// What a line holds.
enum Line {
    Rule(Rule),
    Limits(Who, Limits),
    Nothing,
}

/// The lines, or every mistake.
pub fn lines(content: &[u8]) -> Result<Lines, Vec<String>> {
    let text = std::str::from_utf8(content).map_err(|_| vec!["is not UTF-8 text".to_owned()])?;
    let (mut lines, mut mistakes) = (Lines::default(), Vec::new());
    for (line, number) in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).zip(1..) {
        match words::of(line).map_err(|mistake| vec![mistake]).and_then(|words| read(&words, number)) {
            Ok(Line::Rule(rule)) => lines.rules.push(rule),
            Ok(Line::Limits(who, limits)) => lines.limits.push((who, limits)),
            Ok(Line::Nothing) => {}
            Err(of_line) => mistakes.extend(of_line.into_iter().map(|mistake| format!("line {number}: {mistake}"))),
        }
    }
    if lines.rules.is_empty() && mistakes.is_empty() {
        mistakes.push(
            "holds no rule, so that it would deny everything; expected SUBJECT VERBS KEYS, a line each".to_owned(),
        );
    }
    if mistakes.is_empty() { Ok(lines) } else { Err(mistakes) }
}

fn read(words: &[Vec<Char>], line: usize) -> Result<Line, Vec<String>> {
    let (subject, verbs, keys) = match words {
        [] => return Ok(Line::Nothing),
        [subject, word, limits @ ..] if words::text(word) == LIMIT => {
            let limits: Vec<String> = limits.iter().map(|word| words::text(word)).collect();
            return match (Who::parse(subject), Limits::parse(&limits)) {
                (Ok(who), Ok(limits)) => Ok(Line::Limits(who, limits)),
                (who, limits) => Err(who.err().into_iter().chain(limits.err().unwrap_or_default()).collect()),
            };
        }
        [subject, verbs, keys @ ..] if !keys.is_empty() => (subject, verbs, keys),
        _ => return Err(vec!["expected a subject, verbs and keys, such as token:ci lock,read deploy/*".to_owned()]),
    };
    let mut mistakes = Vec::new();
    let mut keep = |mistake: String| mistakes.push(mistake);
    let who = Who::parse(subject).map_err(&mut keep).ok();
    let verbs = words::text(verbs);
    let verbs: Vec<Verb> = verbs.split(',').filter_map(|verb| Verb::parse(verb).map_err(&mut keep).ok()).collect();
    let patterns: Vec<Pattern> = keys.iter().filter_map(|key| Pattern::parse(key).map_err(&mut keep).ok()).collect();
    match who {
        Some(who) if mistakes.is_empty() => Ok(Line::Rule(Rule { line: Some(line), who, verbs, patterns })),
        _ => Err(mistakes),
    }
}
