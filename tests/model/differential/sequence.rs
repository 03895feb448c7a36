//! Random steps over few keys, owners and attempts, so that they meet one another.

use lockside::lock::model::ALL;

use super::commands::COMMANDS;
use crate::dice::Dice;
use crate::lua::Arg;
use crate::redis::Reply;

const TAG: &str = "{lockside:17}";
const PUSH: &str = "lockside:push:0:";
/// One sidecar listens, the other does not.
pub const CHANNELS: [&str; 3] = ["lockside:push:0:a-0", "lockside:push:0:all", "lockside:push:0:events"];
/// 2026-03-01, in microseconds since 1970.
const BEGIN_US: i64 = 1_772_323_200_000_000;

/// A command by itself, as scripts send it.
const COMMAND: &str = "local ARGV = cmsgpack.unpack(ARGV[1])\nreturn redis.pcall(unpack(ARGV))";

/// One call.
pub struct Step {
    pub now_us: i64,
    pub is_full: bool,
    pub name: String,
    pub text: String,
    pub keys: Vec<Vec<u8>>,
    pub args: Vec<Arg>,
}

/// The texts of all scripts.
pub fn texts() -> impl Iterator<Item = String> {
    ALL.iter().map(|script| script.text().to_owned()).chain([COMMAND.to_owned()])
}

pub struct Steps {
    dice: Dice,
    pub now_us: i64,
    /// Tokens and positions that were seen.
    numbers: Vec<String>,
    entries: Vec<String>,
}

fn of_script(name: &str) -> String {
    ALL.iter().find(|script| script.name == name).expect("a script").text().to_owned()
}

fn key(kind: &str, name: &str) -> Vec<u8> {
    format!("{TAG}:{kind}:{name}").into_bytes()
}

fn shard(kind: &str) -> Vec<u8> {
    format!("{TAG}:{kind}").into_bytes()
}

fn identity(owner: &str) -> String {
    format!("\"kind\":\"system\",\"owner\":\"{owner}\",")
}

/// Keys and arguments.
type Call = (Vec<Vec<u8>>, Vec<String>);

impl Steps {
    pub fn new(dice: Dice) -> Steps {
        Steps { dice, now_us: BEGIN_US, numbers: vec!["0".to_owned()], entries: Vec::new() }
    }

    pub fn next(&mut self) -> Step {
        // Now and then Redis's clock is set back.
        self.now_us += [0, 300, 1_000, 2_000, 299_000, 700_000, 1_500_000, 61_000_000, -400_000][self.dice.roll(9)];
        let is_full = self.dice.roll(12) == 0;
        let name = ["command", "read", "watch", "sweep", "census", "force", "queue_decline"];
        let often = [
            "acquire",
            "share",
            "renew",
            "release",
            "undo",
            "queue_join",
            "queue_advance",
            "batch",
            "acquire_all",
            "renew_all",
        ];
        let name = if self.dice.roll(4) == 0 { self.dice.one(&name) } else { self.dice.one(&often) };
        let (now_us, text) = (self.now_us, if name == "command" { COMMAND.to_owned() } else { of_script(name) });
        let (keys, args) = if name == "batch" {
            self.batch()
        } else {
            let (keys, args) = self.call(name);
            (keys, args.iter().map(|arg| Arg::from(arg.as_str())).collect())
        };
        Step { now_us, is_full, name: name.to_owned(), text, keys, args }
    }

    /// Remembers what an answer tells, so that later steps can speak of it.
    pub fn saw(&mut self, step: &Step, reply: &Reply) {
        let mut texts = Vec::new();
        let mut rows = vec![reply];
        while let Some(row) = rows.pop() {
            match row {
                Reply::Bulk(text) => texts.push(String::from_utf8_lossy(text).into_owned()),
                Reply::Array(parts) => rows.extend(parts),
                _ => {}
            }
        }
        for text in texts {
            let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() > 12);
            self.numbers.extend(numbers.map(str::to_owned));
        }
        if step.name == "queue_join" {
            self.entries.extend(step.args.get(4).and_then(|arg| match arg {
                Arg::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                Arg::Number(_) => None,
            }));
        }
    }

    fn batch(&mut self) -> (Vec<Vec<u8>>, Vec<Arg>) {
        let (mut keys, mut args) = (Vec::new(), Vec::new());
        for _ in 0..=self.dice.roll(3) {
            let name = self.dice.one(&["acquire", "share", "renew", "release", "queue_join", "queue_advance"]);
            let (its_keys, its_args) = self.call(name);
            let count = |length: usize| Arg::Number(i64::try_from(length).expect("a few"));
            args.extend([Arg::from(name), count(its_keys.len()), count(its_args.len())]);
            args.extend(its_args.iter().map(|arg| Arg::from(arg.as_str())));
            keys.extend(its_keys);
        }
        (keys, args)
    }

    fn call(&mut self, name: &str) -> Call {
        let name_of_key = self.dice.one(&["k", "k", "l"]);
        let line = [key("lock", name_of_key), shard("tokens"), key("queue", name_of_key), shard("watch")].to_vec();
        let floor = if self.dice.roll(8) == 0 { "7400000000000" } else { "0" };
        let begin = [name_of_key, "17", floor, PUSH].map(str::to_owned).to_vec();
        let owner = identity(self.dice.one(&["x", "y"]));
        let with = |further: Vec<String>| (line.clone(), [begin.clone(), further].concat());
        match name {
            "acquire" | "share" => {
                let mut further = self.acquire(name == "share", owner);
                further.push(self.not_after());
                with(further)
            }
            "acquire_all" | "renew_all" => self.of_both_keys(name, &owner),
            "release" => {
                let sending = self.dice.one(&["", "", "r-1", "n-1"]).to_owned();
                let rest = self.dice.one(&["", "", "", "500"]).to_owned();
                let how = self.dice.one(&["", "resigns", "shows"]).to_owned();
                with(vec![self.token_or_none(), owner, sending, rest, how, self.not_after()])
            }
            "undo" => {
                let sending = self.dice.one(&["", "n-1", "n-2", "r-1", "r-2", "w-1", "w-2"]).to_owned();
                with(vec![owner, sending, self.entry_or_none(), self.not_after()])
            }
            "queue_join" => {
                let (entry, sending) = self.entry(&owner);
                let wait_ms = self.dice.one(&["1000", "90000"]).to_owned();
                let position = if self.dice.roll(3) == 0 { self.number() } else { String::new() };
                with(vec![entry, sending, wait_ms, position, self.own(), self.not_after()])
            }
            "queue_advance" => {
                let how = self.dice.one(&["", "rank"]).to_owned();
                let mut further = vec![self.dice.one(&["a", "b"]).to_owned(), how, self.entry_or_made(&owner)];
                if self.dice.roll(2) == 0 {
                    further.push(self.entry_or_made(&owner));
                }
                with(further)
            }
            "queue_decline" => with(vec![self.number(), self.dice.one(&["a-0", "b-0"]).to_owned()]),
            "force" => {
                let (mut keys, args) = with(vec![self.token_or_none(), self.not_after()]);
                keys.push(key("forced", name_of_key));
                (keys, args)
            }
            "renew" => self.renew(name_of_key, owner),
            "read" => ([key("lock", "k"), key("queue", "k"), key("lock", "l"), key("queue", "l")].to_vec(), Vec::new()),
            "watch" => (vec![shard("watch")], vec!["5000".to_owned()]),
            "sweep" => {
                (vec![shard("tokens"), key("lock", "k"), key("lock", "l")], vec!["k".to_owned(), "l".to_owned()])
            }
            "census" => (vec![shard("tokens")], Vec::new()),
            _ => self.command(),
        }
    }

    /// What an acquire is given behind its key, but for its end.
    fn acquire(&mut self, is_shared: bool, owner: String) -> Vec<String> {
        let (attempt, sending) = self.attempt();
        let limit = self.dice.one(&["", ",\"limit\":\"1\"", ",\"limit\":\"2\""]);
        let mode = if is_shared { format!(",\"mode\":\"shared\"{limit}") } else { String::new() };
        let further = mode + &self.further();
        vec![owner, attempt, sending, self.ttl(), further, self.own()]
    }

    /// Both keys in one step, in either order.
    fn of_both_keys(&mut self, script: &str, owner: &str) -> Call {
        let (mut keys, mut args) = (Vec::new(), Vec::new());
        let names = if self.dice.roll(2) == 0 { ["k", "l"] } else { ["l", "k"] };
        for name in names {
            let (its_keys, its_args) = if script == "renew_all" {
                let (keys, args) = self.renew(name, owner.to_owned());
                let [key, token, owner, ttl, push, _, _, longest, _] = args.try_into().expect("nine arguments");
                (keys, vec![key, token, owner, ttl, push, longest])
            } else {
                let keys = vec![key("lock", name), shard("tokens"), key("queue", name), shard("watch")];
                let is_shared = self.dice.roll(3) == 0;
                let begin = [name, "17", "0", PUSH].map(str::to_owned).to_vec();
                (keys, [begin, self.acquire(is_shared, owner.to_owned())].concat())
            };
            keys.extend(its_keys);
            args.extend(its_args);
        }
        args.push(self.not_after());
        (keys, args)
    }

    fn renew(&mut self, name: &str, owner: String) -> Call {
        let keys = vec![key("lock", name), key("queue", name), key("forced", name), shard("watch")];
        let how = self.dice.one(&["set", "extend", "take", "keep", "check"]).to_owned();
        let sending = self.dice.one(&["", "n-1", "r-1", "w-1", "w-2"]).to_owned();
        let ttl = if self.dice.roll(4) == 0 { String::new() } else { self.ttl() };
        let longest = self.dice.one(&["", "100000", "2000"]).to_owned();
        let args =
            vec![name.to_owned(), self.number(), owner, ttl, PUSH.to_owned(), how, sending, longest, self.not_after()];
        (keys, args)
    }

    /// The nonce, and the sending where that does not name it.
    fn attempt(&mut self) -> (String, String) {
        let (nonce, sending) = [("n-1", ""), ("n-2", ""), ("caller:c", "r-1"), ("caller:c", "r-2")][self.dice.roll(4)];
        (format!("\"nonce\":\"{nonce}\","), sending.to_owned())
    }

    fn entry(&mut self, owner: &str) -> (String, String) {
        let (sidecar, waiter) = (self.dice.one(&["a-0", "b-0"]), self.dice.one(&["w-1", "w-2"]));
        let mode = self.dice.one(&["", "", ",\"mode\":\"shared\",\"limit\":\"2\""]);
        let entry = format!("{sidecar}\n{waiter}\n2000\n{owner}\n\"nonce\":\"{waiter}\",\n{mode}{}", self.further());
        (entry, waiter.to_owned())
    }

    fn entry_or_made(&mut self, owner: &str) -> String {
        match self.entry_or_none() {
            entry if entry.is_empty() => self.entry(owner).0,
            entry => entry,
        }
    }

    fn entry_or_none(&mut self) -> String {
        if self.entries.is_empty() { String::new() } else { self.entries[self.dice.roll(self.entries.len())].clone() }
    }

    fn number(&mut self) -> String {
        self.numbers[self.dice.roll(self.numbers.len())].clone()
    }

    fn token_or_none(&mut self) -> String {
        if self.dice.roll(3) == 0 { String::new() } else { self.number() }
    }

    fn ttl(&mut self) -> String {
        self.dice.one(&["1", "300", "1500", "60000"]).to_owned()
    }

    fn further(&mut self) -> String {
        let terms = ",\"terms\":\"ttl=300 delay=200 min=700 max=900\"";
        self.dice.one(&["", "", ",\"hold\":\"a-0\"", terms]).to_owned()
    }

    fn own(&mut self) -> String {
        self.dice.one(&["refuse", "extend"]).to_owned()
    }

    fn not_after(&mut self) -> String {
        let ms = self.now_us / 1000;
        [String::new(), (ms + 1000).to_string(), ms.to_string(), (ms - 1).to_string()][self.dice.roll(4)].clone()
    }

    /// A command by itself, also at keys of another type.
    fn command(&mut self) -> Call {
        let text = |key: Vec<u8>| String::from_utf8(key).expect("a text");
        let names = [text(key("lock", "k")), text(key("queue", "k")), text(shard("tokens")), text(shard("watch"))];
        let name = names[self.dice.roll(names.len())].clone();
        let ms = self.now_us / 1000;
        let (soon, past) = ((ms + 300).to_string(), (ms - 1).to_string());
        let words = COMMANDS[self.dice.roll(COMMANDS.len())].replace("{}", &name);
        let words = words.replace("SOON", &soon).replace("PAST", &past);
        (Vec::new(), words.split(' ').map(str::to_owned).collect())
    }
}
