//! A line of the file as words. Spaces and tabs part them, `#` at the beginning of one begins a comment, and a
//! backslash makes the character behind it an ordinary one.

/// A character, and whether it stands for itself whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Char {
    pub it: char,
    pub is_literal: bool,
}

impl Char {
    /// Whether it is this one, with the meaning that the file gives it.
    pub fn is(self, special: char) -> bool {
        self.it == special && !self.is_literal
    }
}

/// The words of a line.
pub fn of(line: &str) -> Result<Vec<Vec<Char>>, String> {
    let (mut words, mut word) = (Vec::new(), Vec::new());
    let mut chars = line.chars();
    while let Some(it) = chars.next() {
        match it {
            ' ' | '\t' if !word.is_empty() => words.push(std::mem::take(&mut word)),
            ' ' | '\t' => {}
            '#' if word.is_empty() => break,
            '\\' => match chars.next() {
                Some(it) => word.push(Char { it, is_literal: true }),
                None => return Err("ends with a backslash, which makes the character behind it literal".to_owned()),
            },
            it => word.push(Char { it, is_literal: false }),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// The characters as a text, whatever they mean.
pub fn text(chars: &[Char]) -> String {
    chars.iter().map(|char| char.it).collect()
}

/// What is before and behind the first character of this meaning.
pub fn split(chars: &[Char], special: char) -> Option<(&[Char], &[Char])> {
    let at = chars.iter().position(|char| char.is(special))?;
    Some((&chars[..at], &chars[at + 1..]))
}
