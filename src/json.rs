//! What JSON says in more than one spelling.

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
