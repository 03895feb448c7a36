//! What is told of the names and values of others: short, and at a bounded cost, whatever they are.

/// Most mistakes or warnings of one kind that are told of an object.
pub const MOST: usize = 20;
/// Longest part of a name or a value that is shown, bytes.
const LONGEST_SHOWN: usize = 100;
/// Longest name that others are compared with, bytes: the comparison takes the product of both lengths.
const LONGEST_COMPARED: usize = 64;
/// Most letters that a name may be off.
const FARTHEST: usize = 3;

/// A name or a value as a message shows it.
pub fn shown(text: &str) -> String {
    if text.len() <= LONGEST_SHOWN {
        return text.to_owned();
    }
    let end = (0..=LONGEST_SHOWN).rfind(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &text[..end])
}

/// The name that was meant by one that there is not.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    nearest_by(name, known, strsim::damerau_levenshtein)
}

fn nearest_by<'a>(name: &str, known: &[&'a str], mut distance: impl FnMut(&str, &str) -> usize) -> Option<&'a str> {
    if name.len() > LONGEST_COMPARED {
        return None;
    }
    let near = known.iter().map(|known| (distance(name, known), *known)).min();
    near.filter(|(distance, _)| *distance <= FARTHEST).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(shown("lockside/cli"), "lockside/cli");
        assert_eq!(shown(&"x".repeat(100)), "x".repeat(100));
        assert_eq!(shown(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
        assert_eq!(shown(&format!("{}é", "x".repeat(99))), format!("{}…", "x".repeat(99)));
    }

    #[test]
    fn only_short_names_are_compared() {
        for (length, expected) in [(64, 2), (65, 0), (1_000_000, 0)] {
            let mut count = 0;
            let far = nearest_by(&"x".repeat(length), &["cli", "listen"], |_, _| {
                count += 1;
                9
            });
            assert_eq!((far, count), (None, expected), "{length}");
        }
        assert_eq!(nearest("clii", &["listen", "cli"]), Some("cli"));
    }
}
