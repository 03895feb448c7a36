//! A request's body as the JSON object that every dialect takes.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::known;

/// Reads a JSON object. serde alone would take an array for a struct as well, field by field.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    read(body, |_| None)
}

/// Reads a JSON object of a type that denies unknown fields, and names one with the nearest that exists; `parameters` are
/// those of the operation's query.
pub fn strict<T: DeserializeOwned>(body: &[u8], parameters: &[&str]) -> Result<T, Failure> {
    read(body, |error| error.starts_with("unknown field ").then(|| known::field::<T>(body, parameters))?)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], explain: impl Fn(&str) -> Option<Failure>) -> Result<T, Failure> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::BadRequest("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let error = error.to_string();
        explain(&error).unwrap_or(Failure::BadRequest(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Point {
        x: i64,
    }

    #[test]
    fn only_an_object_is_taken_for_one() {
        let x = |body: &str| object::<Point>(body.as_bytes()).ok().map(|point| point.x);
        assert_eq!(x(" {\"x\":1,\"y\":2}\n"), Some(1));
        for body in ["", "[1]", "{}", "null", "1", "{\"x\":1", "{\"x\":\"1\"}", "{\"x\":1}]"] {
            assert_eq!(x(body), None, "{body}");
        }
    }
}
