//! Which of the two languages of the leases API a caller reads.

use crate::headers::values;
use hyper::HeaderMap;
use hyper::header::ACCEPT_LANGUAGE;

/// A language of the leases API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    German,
}

impl Language {
    /// The language that `Accept-Language` prefers (RFC 9110, 12.5.4); English where it names neither.
    pub fn of(headers: &HeaderMap) -> Language {
        let mut best = (Language::English, 0.0);
        let values = values(headers, ACCEPT_LANGUAGE).filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            let language = match tag.split('-').next() {
                Some("de") => Language::German,
                Some("en" | "*") => Language::English,
                _ => continue,
            };
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }

    pub fn choose<T>(self, english: T, german: T) -> T {
        match self {
            Language::English => english,
            Language::German => german,
        }
    }

    /// The language tag, for `Content-Language`.
    pub fn tag(self) -> &'static str {
        self.choose("en", "de")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_liked_language_is_chosen() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, value.parse().expect("a header value"));
            Language::of(&headers)
        };
        for german in ["de", "de-AT", "DE", "fr, de;q=0.5", "en;q=0.3, de-CH;q=0.9", "de, en", "en;q=0, de;q=0.1"] {
            assert_eq!(of(german), Language::German, "{german}");
        }
        for english in ["", "en", "fr", "en-GB, de;q=0.9", "*, de;q=0.5", "de;q=0", "den", "de;q=x;q=0, en;q=0.1"] {
            assert_eq!(of(english), Language::English, "{english}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }
}
