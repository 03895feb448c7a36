//! Commands by themselves.

/// Commands as scripts send them, and some that they never do; `{}` is a key.
#[rustfmt::skip]
pub const COMMANDS: [&str; 53] = [
    "GETRANGE {} 0 -1", "GETRANGE {} -3 -2", "GETRANGE {} 2 1", "STRLEN {}", "GET {}", "EXISTS {} {} other",
    "SET {} text", "SET {} text NX PXAT SOON", "SET {} text PXAT PAST", "SET {} text EX 60", "DEL {} other",
    "PEXPIREAT {} SOON", "PEXPIREAT {} SOON GT", "PEXPIREAT {} PAST", "PEXPIREAT {} PAST GT", "PEXPIRE {} 1000 NX",
    "PEXPIRE {} 1000 GT", "PEXPIRE {} 0", "PTTL {}", "PEXPIRETIME {}", "ZADD {} 5 m 7 n", "ZADD {} GT CH 6 m 6 n",
    "ZADD {} NX 9 m", "ZADD {} XX INCR 1 m", "ZADD {} XX INCR 1 n", "ZADD {} x m", "ZADD {} 1 m 2", "ZREM {} m n",
    "ZREM {} m", "ZCARD {}", "ZRANK {} n", "ZMSCORE {} m o n", "ZRANGE {} 0 -1 WITHSCORES", "ZRANGE {} 1 4",
    "ZRANGE {} -2 -1", "ZRANGE {} 0 x", "ZRANGEBYSCORE {} -inf 0", "ZRANGEBYSCORE {} (5 +inf", "ZCOUNT {} (0 6",
    "ZCOUNT {} x 6", "ZRANGEBYSCORE {} (0 +inf LIMIT 0 1", "ZRANGEBYSCORE {} 0 7 WITHSCORES LIMIT 1 -1",
    "ZRANGE {} (9 -inf BYSCORE REV LIMIT 0 2", "ZRANGE {} 7 5 BYSCORE REV", "ZRANGE {} -1 -1 WITHSCORES",
    "ZREMRANGEBYRANK {} 1 0", "ZREMRANGEBYRANK {} 0 0", "TIME", "GET", "FROB {} a",
    "PUBSUB SHARDNUMSUB lockside:push:0:a-0 other", "SPUBLISH lockside:push:0:all text", "ZCARD",
];
