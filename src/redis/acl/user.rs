//! The line of an ACL file for a user that may do what one namespace needs, and nothing else.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

use super::Patterns;
use crate::secret::Secret;

/// Every command that lockside sends or its scripts run; a test holds the user that is shipped to it.
const COMMANDS: &str = "\
    +info +time +role +wait +client|setname +client|id +select +evalsha +script|load +get +getrange +strlen +set +del \
    +exists +pexpire +pexpireat +pexpiretime +pttl +zadd +zrem +zremrangebyrank +zrange +zrangebyscore +zmscore +zrank \
    +zcard +zcount +hget +spublish +ssubscribe +pubsub|shardnumsub +cluster|nodes +cluster|info";

/// The line. Without a password the user is off. It begins with `reset`, so that `ACL SETUSER` of it replaces what the user
/// had, such as an old password.
pub fn line(name: &str, password: Option<&Secret>, Patterns { keys, channels }: &Patterns) -> String {
    let state = match password {
        Some(password) => format!("on #{}", hash(password)),
        None => "off".to_owned(),
    };
    format!("user {name} reset {state} sanitize-payload resetkeys {keys} resetchannels {channels} -@all {COMMANDS}")
}

/// The hash by which Redis knows a password.
fn hash(password: &Secret) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, password.expose().as_bytes()).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hashed_as_redis_hashes_it() {
        let patterns = Patterns { keys: "~k".to_owned(), channels: "&c".to_owned() };
        let line = line("app", Some(&Secret::new("abc")), &patterns);
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(line.starts_with(&format!(
            "user app reset on #{hash} sanitize-payload resetkeys ~k resetchannels &c -@all +info "
        )));
        assert!(super::line("app", None, &patterns).starts_with("user app reset off sanitize-payload "));
    }
}
