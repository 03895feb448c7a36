//! Commands about texts.

use super::keyspace::Value;
use super::{Answer, Reply, Server, parse, wrong_arity};

impl Server {
    pub(super) fn string(&mut self, command: &[u8], key: &[u8], args: &[&[u8]]) -> Answer {
        let now_ms = self.now_ms();
        match (command, args) {
            (b"GET", []) => Ok(self.keys.text(key, now_ms)?.map_or(Reply::Nil, |text| Reply::bulk(text.as_ref()))),
            (b"STRLEN", []) => {
                let length = self.keys.text(key, now_ms)?.map_or(0, |text| text.len());
                Ok(Reply::Integer(i64::try_from(length).expect("a short text")))
            }
            (b"GETRANGE", [start, end]) => {
                let (start, end) = (parse::integer(start)?, parse::integer(end)?);
                let text = self.keys.text(key, now_ms)?.unwrap_or_default();
                Ok(Reply::bulk(part(&text, start, end)))
            }
            (b"SET", [value, options @ ..]) => self.set(key, value, options),
            _ => Err(wrong_arity()),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], mut options: &[&[u8]]) -> Answer {
        let now_ms = self.now_ms();
        let (mut only_new, mut expires_ms) = (false, None);
        while let [option, rest @ ..] = options {
            options = match (option.to_ascii_uppercase().as_slice(), rest) {
                (b"NX", rest) => {
                    only_new = true;
                    rest
                }
                (name @ (b"PXAT" | b"EX"), [number, rest @ ..]) if expires_ms.is_none() => {
                    let number = parse::integer(number)?;
                    expires_ms = Some(if name == b"PXAT" { number } else { number * 1000 + now_ms });
                    if number <= 0 {
                        return Err(Reply::error("ERR invalid expire time in 'set' command"));
                    }
                    rest
                }
                _ => return Err(Reply::error("ERR syntax error")),
            };
        }
        if only_new && self.keys.find(key, now_ms).is_some() {
            return Ok(Reply::Nil);
        }
        if self.is_valkey && expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            self.keys.remove(key);
        } else {
            // Redis 7.0 sets it also where that time has come: a key that ends in this millisecond is there for the rest of it.
            self.keys.put(key, Value::Text(value.into()), expires_ms);
        }
        Ok(Reply::Status("OK".to_owned()))
    }
}

/// From the byte `start` to the byte `end`, which may count from the end.
fn part(text: &[u8], start: i64, end: i64) -> &[u8] {
    let length = i64::try_from(text.len()).expect("a short text");
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_begin = |at: i64| if at < 0 { (length + at).max(0) } else { at };
    let (start, end) = (from_begin(start), from_begin(end).min(length - 1));
    if start > end {
        return &[];
    }
    &text[usize::try_from(start).expect("a place")..=usize::try_from(end).expect("a place")]
}
