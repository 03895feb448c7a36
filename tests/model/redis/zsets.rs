//! Commands about sorted sets.

use super::{Answer, Reply, Server, parse, wrong_arity};

/// What stands between the key and the scores of a `ZADD`.
#[derive(Default)]
struct Options {
    only_new: bool,
    only_there: bool,
    only_greater: bool,
    counts_changed: bool,
    adds: bool,
}

impl Server {
    pub(super) fn zset(&mut self, command: &[u8], key: &[u8], args: &[&[u8]]) -> Answer {
        let now_ms = self.now_ms();
        if command == b"ZADD" {
            return self.zadd(key, args);
        }
        match (command, args) {
            (b"ZCOUNT" | b"ZRANGEBYSCORE", [min, max, options @ ..]) => {
                return self.by_score(command, key, [min, max], options, false);
            }
            (b"ZRANGE", [max, min, b"BYSCORE", b"REV", options @ ..]) => {
                return self.by_score(command, key, [min, max], options, true);
            }
            _ => {}
        }
        // Before the key is looked at, Redis reads what it can of the arguments.
        if let (b"ZRANGE" | b"ZREMRANGEBYRANK", [start, stop, ..]) = (command, args) {
            parse::ranks(start, stop, 0)?;
        }
        let zset = self.keys.zset(key, now_ms)?;
        match (command, args) {
            (b"ZCARD", []) => Ok(integer(zset.map_or(0, |zset| zset.len()))),
            (b"ZRANK", [member]) => Ok(zset.and_then(|zset| zset.rank(member)).map_or(Reply::Nil, integer)),
            (b"ZMSCORE", members @ [_, ..]) => {
                let score = |member: &&[u8]| {
                    let score = zset.as_ref().and_then(|zset| zset.score(member));
                    score.map_or(Reply::Nil, |score| Reply::bulk(score.to_string()))
                };
                Ok(Reply::Array(members.iter().map(score).collect()))
            }
            (b"ZRANGE", [start, stop, rest @ ..]) => {
                let with_scores = match rest {
                    [] => false,
                    [option] if option.eq_ignore_ascii_case(b"WITHSCORES") => true,
                    _ => return Err(Reply::error("ERR syntax error")),
                };
                let Some(zset) = zset else { return Ok(Reply::Array(Vec::new())) };
                let ranks = parse::ranks(start, stop, zset.len())?;
                let found = zset.iter().skip(ranks.start).take(ranks.len());
                let row = |(member, score): (&[u8], i64)| {
                    [Some(Reply::bulk(member)), with_scores.then(|| Reply::bulk(score.to_string()))]
                };
                Ok(Reply::Array(found.flat_map(row).flatten().collect()))
            }
            (b"ZREM", members @ [_, ..]) => {
                let removed = zset.map_or(0, |zset| members.iter().filter(|member| zset.remove(member)).count());
                self.keys.remove_if_empty(key);
                Ok(integer(removed))
            }
            (b"ZREMRANGEBYRANK", [start, stop]) => {
                let removed = match zset {
                    Some(zset) => zset.remove_ranks(parse::ranks(start, stop, zset.len())?),
                    None => 0,
                };
                self.keys.remove_if_empty(key);
                Ok(integer(removed))
            }
            _ => Err(wrong_arity()),
        }
    }

    /// The members with scores from `min` to `max`, or how many there are.
    fn by_score(
        &mut self,
        command: &[u8],
        key: &[u8],
        [min, max]: [&[u8]; 2],
        mut options: &[&[u8]],
        is_reversed: bool,
    ) -> Answer {
        let (mut with_scores, mut skipped, mut most) = (false, 0, usize::MAX);
        while let [option, rest @ ..] = options {
            options = match (*option, rest) {
                (b"WITHSCORES", rest) => {
                    with_scores = true;
                    rest
                }
                (b"LIMIT", [from, count, rest @ ..]) => {
                    let (from, count) = (parse::integer(from)?, parse::integer(count)?);
                    // A count below 0 is all, and a place below 0 is none.
                    most = if from < 0 { 0 } else { usize::try_from(count).unwrap_or(usize::MAX) };
                    skipped = usize::try_from(from).unwrap_or(0);
                    rest
                }
                _ => return Err(Reply::error("ERR syntax error")),
            };
        }
        let (above, below) = (parse::bound(min, true)?, parse::bound(max, false)?);
        let now_ms = self.now_ms();
        let zset = self.keys.zset(key, now_ms)?.map(|zset| &*zset);
        let within = zset.into_iter().flat_map(|zset| zset.iter()).filter(|(_, score)| above(*score) && below(*score));
        let mut within: Vec<_> = within.collect();
        if command == b"ZCOUNT" {
            return Ok(integer(within.len()));
        }
        if is_reversed {
            within.reverse();
        }
        let row = |(member, score): (&[u8], i64)| {
            [Some(Reply::bulk(member)), with_scores.then(|| Reply::bulk(score.to_string()))]
        };
        Ok(Reply::Array(within.into_iter().skip(skipped).take(most).flat_map(row).flatten().collect()))
    }

    fn zadd(&mut self, key: &[u8], mut args: &[&[u8]]) -> Answer {
        let now_ms = self.now_ms();
        let mut options = Options::default();
        while let [option, rest @ ..] = args {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => options.only_new = true,
                b"XX" => options.only_there = true,
                b"GT" => options.only_greater = true,
                b"CH" => options.counts_changed = true,
                b"INCR" => options.adds = true,
                _ => break,
            }
            args = rest;
        }
        if args.is_empty() || args.len() % 2 == 1 || (options.adds && args.len() > 2) {
            return Err(Reply::error("ERR syntax error"));
        }
        let mut pairs = Vec::new();
        for pair in args.chunks(2) {
            pairs.push((parse::score(pair[0])?, pair[1]));
        }
        if self.keys.zset(key, now_ms)?.is_none() && options.only_there {
            return Ok(if options.adds { Reply::Nil } else { Reply::Integer(0) });
        }
        let zset = self.keys.zset_or_new(key)?;
        let (mut added, mut changed, mut sum) = (0, 0, None);
        for (score, member) in pairs {
            let old = zset.score(member);
            let score = if options.adds { score + old.unwrap_or(0) } else { score };
            let may = match old {
                None => !options.only_there,
                Some(old) => !options.only_new && (!options.only_greater || score > old),
            };
            if may {
                zset.put(member, score);
                sum = Some(score);
                added += i64::from(old.is_none());
                changed += i64::from(old != Some(score));
            }
        }
        self.keys.remove_if_empty(key);
        Ok(match (options.adds, sum) {
            (true, Some(sum)) => Reply::bulk(sum.to_string()),
            (true, None) => Reply::Nil,
            (false, _) => Reply::Integer(if options.counts_changed { changed } else { added }),
        })
    }
}

fn integer(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).expect("a small number"))
}
