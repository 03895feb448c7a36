//! Quantities as Kubernetes writes them: `50m`, `128Mi`, `1e3`.

/// Billionths, the smallest part that Kubernetes tells apart. `None` for what is no quantity above zero.
pub fn billionths(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.contains('.') || (whole.is_empty() && part.is_empty()) || digits.len() > 18 || part.len() > 9 {
        return None;
    }
    let number: u128 = format!("{whole}{part}").parse().ok()?;
    let (binary, decimal) = scale(suffix)?;
    // In billionths, less the digits behind the point.
    let power = u32::try_from(9 + decimal - i32::try_from(part.len()).ok()?).ok()?;
    let value = number.checked_mul(10_u128.checked_pow(power)?)?.checked_mul(1 << binary)?;
    Some(value).filter(|value| *value > 0)
}

/// The powers of two and of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?;
            (0, exponent.parse().ok().filter(|power| (-9..=18).contains(power))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::billionths;

    #[test]
    fn quantities_are_compared_by_their_value() {
        for (text, other) in [("50m", "0.05"), ("1Ki", "1024"), ("1e3", "1k"), ("1.5Gi", "1536Mi"), (".5", "500m")] {
            assert_eq!(billionths(text), billionths(other), "{text}");
            assert!(billionths(text).is_some(), "{text}");
        }
        assert!(billionths("999m") < billionths("1"));
        assert!(billionths("128Mi") < billionths("128Gi"));
    }

    #[test]
    fn what_is_no_quantity_above_zero_is_refused() {
        for text in ["", ".", "0", "-1", "+1", "1 Mi", "1MB", "mi", "1.2.3", "1e", "1e99", "one", "9999999999999999999"]
        {
            assert_eq!(billionths(text), None, "{text}");
        }
    }
}
