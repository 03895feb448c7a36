//! What JSON says in more than one spelling, and how strings and times are spelled in it.

use std::fmt::Write;

use jiff::Timestamp;
use serde::de::Error;
use serde_json::value::RawValue;

/// The text of a string, or of an integer its decimal text, however long.
pub fn string_or_integer(json: &RawValue) -> Result<String, serde_json::Error> {
    match json.get() {
        "-0" => Ok("0".to_owned()),
        text if text.starts_with('"') => serde_json::from_str(text),
        number if number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => Ok(number.to_owned()),
        _ => Err(Error::custom("expected a string or an integer")),
    }
}

/// Appends a JSON string, with control characters above U+007E and line separators escaped, which JSON itself allows.
pub fn push_string(line: &mut String, text: &str) {
    let json = serde_json::to_string(text).expect("a string is always JSON");
    for character in json.chars() {
        let is_seen = matches!(character, ' '..='~') || (!character.is_ascii() && character.escape_debug().len() == 1);
        if is_seen {
            line.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// RFC 3339, UTC, with milliseconds.
pub fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // At its length from the start: it is written a number at a time.
    let mut text = String::with_capacity("2026-01-01T00:00:00.000Z".len());
    write!(text, "{:.3}", time.unwrap_or(Timestamp::MAX)).expect("a String takes any text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_its_decimal_text_and_no_other_value_is_a_name() {
        let text = |json: &str| string_or_integer(serde_json::from_str(json).ok()?).ok();
        for (json, expected) in [
            ("42", "42"),
            ("-0", "0"),
            ("-7", "-7"),
            ("18446744073709551616", "18446744073709551616"),
            ("\"42\"", "42"),
            ("\"\\u00e4\"", "ä"),
        ] {
            assert_eq!(text(json).as_deref(), Some(expected), "{json}");
        }
        for json in ["1.0", "1e3", "-1.5", "null", "true", "[42]", "{}", "\"\\ud800\"", "01", "-"] {
            assert_eq!(text(json), None, "{json}");
        }
    }
}
