//! How long a candidate that resigns stays away.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// An absence as people write it, such as `30s`; or what was expected.
pub fn absence(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.filter(|span| *span <= LONGEST)
        .ok_or_else(|| format!("`{text}`; expected a duration of at most 24h, such as 30s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_a_duration_of_at_most_a_day() {
        for (text, seconds) in [("0s", 0), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(absence(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "-1s", "24h1s", "soon"] {
            assert!(absence(text).is_err_and(|problem| problem.contains("at most 24h")), "{text}");
        }
    }
}
