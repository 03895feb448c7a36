//! The arguments of commands.

use super::Reply;

pub fn integer(text: &[u8]) -> Result<i64, Reply> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    // Redis takes no other spelling of a number than its own.
    number
        .filter(|number| number.to_string().as_bytes() == text)
        .ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))
}

/// A score; the scripts have whole ones only.
pub fn score(text: &[u8]) -> Result<i64, Reply> {
    integer(text).map_err(|_| Reply::error("ERR value is not a valid float"))
}

/// One end of a range of scores: whether a score is within it.
pub fn bound(text: &[u8], is_lower: bool) -> Result<Box<dyn Fn(i64) -> bool>, Reply> {
    match text {
        b"-inf" => return Ok(Box::new(move |_| is_lower)),
        b"+inf" => return Ok(Box::new(move |_| !is_lower)),
        _ => {}
    }
    let (is_open, number) = match text.strip_prefix(b"(") {
        Some(number) => (true, number),
        None => (false, text),
    };
    let number = integer(number).map_err(|_| Reply::error("ERR min or max is not a float"))?;
    Ok(match (is_lower, is_open) {
        (true, true) => Box::new(move |score| score > number),
        (true, false) => Box::new(move |score| score >= number),
        (false, true) => Box::new(move |score| score < number),
        (false, false) => Box::new(move |score| score <= number),
    })
}

/// The first and the one behind the last of `count`, as ranks that may count from the end.
pub fn ranks(start: &[u8], stop: &[u8], count: usize) -> Result<std::ops::Range<usize>, Reply> {
    let count = i64::try_from(count).expect("few members");
    let from_begin = |rank: i64| if rank < 0 { (count + rank).max(0) } else { rank };
    let (start, stop) = (integer(start)?, integer(stop)?);
    let (start, stop) = (from_begin(start), if stop < 0 { count + stop } else { stop.min(count - 1) });
    if start > stop {
        return Ok(0..0);
    }
    let place = |rank: i64| usize::try_from(rank).expect("a rank");
    Ok(place(start)..place(stop + 1))
}
