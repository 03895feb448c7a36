//! A request's body as the JSON object that every dialect takes.

use serde::Deserialize;

use super::failure::Failure;

/// Reads a JSON object. serde alone would take an array for a struct as well, field by field.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::BadRequest("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| Failure::BadRequest(error.to_string()))
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
