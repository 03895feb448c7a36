//! Looks into the headers of a request.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The values of the headers of this name, as they were sent. A request has few headers: to compare each name costs half of
/// what it does to hash this one.
pub fn values(headers: &HeaderMap, name: impl PartialEq<HeaderName>) -> impl Iterator<Item = &HeaderValue> {
    headers.iter().filter(move |(found, _)| name == **found).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use hyper::header::{COOKIE, HOST, IF_NONE_MATCH};

    use super::*;

    #[test]
    fn all_values_of_a_name_are_there_in_their_order_and_no_other() {
        let mut headers = HeaderMap::new();
        for (name, value) in [(COOKIE, "a"), (HOST, "h"), (HeaderName::from_static("x-own"), "x"), (COOKIE, "b")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let found =
            |name: HeaderName| values(&headers, name).map(|value| value.to_str()).collect::<Result<Vec<_>, _>>();
        assert_eq!(found(COOKIE).expect("text"), ["a", "b"]);
        assert_eq!(found(HeaderName::from_static("x-own")).expect("text"), ["x"]);
        assert_eq!(found(IF_NONE_MATCH).expect("text"), [""; 0]);
    }
}
