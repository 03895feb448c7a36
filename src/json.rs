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
