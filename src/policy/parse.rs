//! From the text of the file to rules. Reads all of it, so that every mistake is told at once.

use super::pattern::Pattern;
use super::subject::Who;
use super::words::{self, Char};
use super::{Rule, Verb};

/// The rules, or every mistake.
pub fn rules(content: &[u8]) -> Result<Vec<Rule>, Vec<String>> {
    let text = std::str::from_utf8(content).map_err(|_| vec!["is not UTF-8 text".to_owned()])?;
    let (mut rules, mut mistakes) = (Vec::new(), Vec::new());
    for (line, number) in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).zip(1..) {
        match words::of(line).map_err(|mistake| vec![mistake]).and_then(|words| rule(&words, number)) {
            Ok(rule) => rules.extend(rule),
            Err(of_line) => mistakes.extend(of_line.into_iter().map(|mistake| format!("line {number}: {mistake}"))),
        }
    }
    if rules.is_empty() && mistakes.is_empty() {
        mistakes.push(
            "holds no rule, so that it would deny everything; expected SUBJECT VERBS KEYS, a line each".to_owned(),
        );
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

/// The rule of a line; `None` where there is none.
fn rule(words: &[Vec<Char>], line: usize) -> Result<Option<Rule>, Vec<String>> {
    let (subject, verbs, keys) = match words {
        [] => return Ok(None),
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
        Some(who) if mistakes.is_empty() => Ok(Some(Rule { line: Some(line), who, verbs, patterns })),
        _ => Err(mistakes),
    }
}
