//! Commands about when keys expire.

use super::{Answer, Reply, Server, parse, wrong_arity};

impl Server {
    pub(super) fn expiry(&mut self, command: &[u8], key: &[u8], args: &[&[u8]]) -> Answer {
        match (command, args) {
            (b"PTTL" | b"PEXPIRETIME", []) => {
                let now_ms = self.now_ms();
                let Some(stored) = self.keys.find(key, now_ms) else { return Ok(Reply::Integer(-2)) };
                let of_now = if command == b"PTTL" { now_ms } else { 0 };
                Ok(Reply::Integer(stored.expires_ms.map_or(-1, |expires_ms| (expires_ms - of_now).max(0))))
            }
            (b"PEXPIRE", [ms, options @ ..]) => {
                let only = only(options)?;
                let expires_ms = parse::integer(ms)?.checked_add(self.now_ms());
                self.expire(key, expires_ms.ok_or_else(|| invalid("pexpire"))?, only)
            }
            (b"PEXPIREAT", [ms, options @ ..]) => {
                let only = only(options)?;
                self.expire(key, parse::integer(ms)?, only)
            }
            _ => Err(wrong_arity()),
        }
    }

    fn expire(&mut self, key: &[u8], expires_ms: i64, only: Only) -> Answer {
        let now_ms = self.now_ms();
        let Some(stored) = self.keys.find(key, now_ms) else { return Ok(Reply::Integer(0)) };
        let may = match (only, stored.expires_ms) {
            (Only::Always, _) => true,
            (Only::New, old) => old.is_none(),
            // A key that never expires has the latest end there is.
            (Only::Later, old) => old.is_some_and(|old| expires_ms > old),
        };
        if !may {
            return Ok(Reply::Integer(0));
        }
        if expires_ms <= now_ms {
            self.keys.remove(key);
        } else {
            stored.expires_ms = Some(expires_ms);
        }
        Ok(Reply::Integer(1))
    }
}

/// Where an end is set.
#[derive(Clone, Copy)]
enum Only {
    Always,
    New,
    Later,
}

fn only(options: &[&[u8]]) -> Result<Only, Reply> {
    match options {
        [] => Ok(Only::Always),
        [option] if option.eq_ignore_ascii_case(b"NX") => Ok(Only::New),
        [option] if option.eq_ignore_ascii_case(b"GT") => Ok(Only::Later),
        [option, ..] => Err(Reply::Error(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)))),
    }
}

fn invalid(command: &str) -> Reply {
    Reply::Error(format!("ERR invalid expire time in '{command}' command"))
}
