//! A request's body, which is a JSON object in every API.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::known;

/// Reads a JSON object. serde alone would take an array for a struct as well, field by field.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    read(body, |_| None)
}

/// Reads a JSON object of a type that denies unknown fields, and names one with the nearest that exists; `parameters` are
/// those of the operation's query.
pub fn strict<T: DeserializeOwned>(body: &[u8], parameters: &[&str]) -> Result<T, Failure> {
    read(body, |error| error.starts_with("unknown field ").then(|| known::field::<T>(body, parameters))?)
}

/// What some editors and libraries put before a text: it means nothing in UTF-8 (RFC 8259, 8.1, lets us pass over it).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn read<T: DeserializeOwned>(body: &[u8], explain: impl Fn(&str) -> Option<Failure>) -> Result<T, Failure> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::BadRequest("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let named = || error.is_data().then(|| of_a_field::<T>(body)).flatten();
        explain(&text).unwrap_or_else(|| Failure::BadRequest(named().unwrap_or(text)))
    })
}

/// What is wrong with the value of one field, which serde alone does not name.
fn of_a_field<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    fields.into_iter().find_map(|(name, value)| {
        let alone = serde_json::to_vec(&BTreeMap::from([(&name, value)])).ok()?;
        let error = serde_json::from_slice::<T>(&alone).err()?.to_string();
        let problem = error.rsplit_once(" at line ").map_or(error.as_str(), |(problem, _)| problem);
        // A missing field is not a mistake of this one.
        (!problem.starts_with("missing field ")).then(|| format!("{name}: {problem}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Point {
        x: i64,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    struct Named {
        owner: String,
        #[serde(default)]
        reentrant: bool,
    }

    #[test]
    fn what_is_wrong_with_a_field_is_told_with_its_name() {
        for (body, told) in [
            ("{\"owner\":5}", "owner: invalid type: integer `5`, expected a string"),
            ("{\"reentrant\":\"true\"}", "reentrant: invalid type: string \"true\", expected a boolean"),
            ("{\"reentrant\":true,\"owner\":[]}", "owner: invalid type: sequence, expected a string"),
            ("{\"owner\":\"x\",\n\"reentrant\":null}", "reentrant: invalid type: null, expected a boolean"),
            ("{\"reentrant\":true}", "missing field `owner` at line 1 column 18"),
            ("{\"owner\":\"x\",\"owner\":\"y\"}", "duplicate field `owner` at line 1 column 20"),
            ("{\"owner\":", "EOF while parsing a value at line 1 column 9"),
            (
                "{\"owner\":\"x\",\"other\":1}",
                "unknown field `other`; did you mean `owner`? expected owner or reentrant",
            ),
        ] {
            let failure = strict::<Named>(body.as_bytes(), &[]).err().expect(body);
            assert_eq!(failure.reason(), told, "{body}");
        }
    }

    #[test]
    fn only_an_object_is_taken_for_one() {
        let x = |body: &str| object::<Point>(body.as_bytes()).ok().map(|point| point.x);
        assert_eq!(x(" {\"x\":1,\"y\":2}\n"), Some(1));
        assert_eq!(x("\u{feff}{\"x\":1}"), Some(1), "a byte order mark");
        for body in ["", "[1]", "{}", "null", "1", "{\"x\":1", "{\"x\":\"1\"}", "{\"x\":1}]"] {
            assert_eq!(x(body), None, "{body}");
        }
    }
}
