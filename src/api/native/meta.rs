//! `meta`: any JSON that every reader can read, kept as the bytes that it came in.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::failure::Failure;

/// Longest `meta`, bytes of its JSON text.
const MAX_BYTES: usize = 1024;
/// Most arrays and objects inside one another.
const MAX_DEPTH: usize = 32;

/// Refuses a `meta` that is too long or too deep, or that a JSON reader may fail at: half of a surrogate pair, a number
/// beyond a double.
pub fn checked(meta: &RawValue) -> Result<String, Failure> {
    if meta.get().len() > MAX_BYTES {
        return Err(Failure::BadRequest(format!("meta: expected at most {MAX_BYTES} bytes of JSON")));
    }
    let mut json = serde_json::Deserializer::from_str(meta.get());
    let checked = Readable { depth: 0 }.deserialize(&mut json);
    checked.map_err(|error| Failure::BadRequest(format!("meta: {error}")))?;
    Ok(meta.get().to_owned())
}

/// Reads a value to its end and keeps nothing of it.
#[derive(Clone, Copy)]
struct Readable {
    /// How many arrays and objects it is in.
    depth: usize,
}

impl Readable {
    fn inside<E: Error>(self) -> Result<Readable, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("expected at most {MAX_DEPTH} arrays and objects inside one another")));
        }
        Ok(Readable { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while map.next_key_seed(inside)?.is_some() {
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(json: &str) -> bool {
        // As it comes inside of a body, which is read first.
        serde_json::from_str::<Box<RawValue>>(json).is_ok_and(|meta| checked(&meta).is_ok())
    }

    #[test]
    fn what_serde_json_cannot_read_into_a_value_is_refused_and_all_else_is_taken() {
        let of_strings =
            ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\ud83d\\ude00", "\\udc00\\ud800", "x", "", "\\u0000", "é"];
        let strings = of_strings.map(|text| format!("\"{text}\""));
        let keys = of_strings.map(|text| format!("{{\"{text}\":1}}"));
        let numbers = ["1e999", "-1e999", "1E+400", "1e308", "-0.0", "0", "123456789012345678901234567890.10"];
        let long = format!("1{}", "0".repeat(400));
        let others = ["null", "true", "{}", "[]", "{\"a\":1,\"a\":2}", " [1, 2 ] ", &long];
        let plain = numbers.into_iter().chain(others).map(str::to_owned);
        let all: Vec<String> = strings.into_iter().chain(keys).chain(plain).collect();
        for json in all.iter().flat_map(|json| [json.clone(), format!("[{json}]"), format!("{{\"a\":[0,{json}]}}")]) {
            assert_eq!(is_taken(&json), serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn a_depth_of_32_is_taken_and_33_is_refused() {
        for (opening, closing) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}1{}", opening.repeat(depth), closing.repeat(depth));
            assert!(is_taken(&nested(32)) && !is_taken(&nested(33)) && !is_taken(&nested(100)), "{opening}");
        }
    }
}
