//! Reads the text of a script: which commands it calls, and in which steps. Knows as much of Lua as the scripts use.

use std::collections::{BTreeSet, HashMap};

/// What changes no lease.
const READS: [&str; 10] =
    ["GET", "GETRANGE", "STRLEN", "EXISTS", "PEXPIRETIME", "PTTL", "ZCOUNT", "ZMSCORE", "ZRANGE", "ZRANGEBYSCORE"];
/// As the scripts name the key of the lease: what is written to another is no effect.
const LEASE: [&str; 2] = ["lock", "keys[1]"];
/// The commands that a text calls.
pub(super) fn commands(text: &str) -> BTreeSet<Command> {
    let mut commands = BTreeSet::new();
    let (main, functions) = parse(text);
    for block in functions.values().chain([&main]) {
        collect(block, &mut commands);
    }
    commands
}

/// A command of a script.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Command {
    /// In small letters; a subcommand as `pubsub|shardnumsub`.
    pub name: String,
    pub takes: Takes,
}

/// What its first argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Takes {
    Nothing,
    Key,
    Channel,
}

pub(super) enum Step {
    Call {
        command: Command,
        /// Whether it changes the lease.
        is_effect: bool,
        is_caught: bool,
    },
    Run(String),
    /// Conditions with what is done where they hold, and what else.
    If(Vec<(Block, Block)>, Block),
    Repeat(Block),
    Return,
}

pub(super) type Block = Vec<Step>;

fn collect(block: &Block, commands: &mut BTreeSet<Command>) {
    for step in block {
        match step {
            Step::Call { command, .. } => drop(commands.insert(command.clone())),
            Step::If(branches, otherwise) => {
                branches.iter().flat_map(|(condition, body)| [condition, body]).for_each(|b| collect(b, commands));
                collect(otherwise, commands);
            }
            Step::Repeat(body) => collect(body, commands),
            Step::Run(_) | Step::Return => {}
        }
    }
}

/// The text's own steps, and those of its functions.
pub(super) fn parse(text: &str) -> (Block, HashMap<String, Block>) {
    let tokens = tokens(text);
    let mut parser = Parser { tokens: &tokens, at: 0, functions: HashMap::new() };
    let main = parser.block();
    (main, parser.functions)
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    functions: HashMap<String, Block>,
}

impl Parser<'_> {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn ahead(&self, count: usize) -> &str {
        self.tokens.get(self.at + count).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    /// Up to the word that ends it, which is left.
    fn block(&mut self) -> Block {
        let mut block = Block::new();
        while !matches!(self.peek(), "" | "end" | "else" | "elseif") {
            match self.peek() {
                "function" => self.function(),
                "if" => self.branches(&mut block),
                "for" | "while" => {
                    let is_for = self.next() == "for";
                    let head = self.until("do");
                    let mut body = self.block();
                    self.next();
                    // What a `for` goes through is asked for once.
                    if is_for {
                        block.extend(head)
                    } else {
                        body.splice(0..0, head).for_each(drop)
                    }
                    block.push(Step::Repeat(body));
                }
                "return" => {
                    self.next();
                    while !matches!(self.peek(), "" | "end" | "else" | "elseif") {
                        self.word(&mut block);
                    }
                    block.push(Step::Return);
                }
                _ => self.word(&mut block),
            }
        }
        block
    }

    fn function(&mut self) {
        self.next();
        let name = self.next();
        while self.next() != ")" {}
        let body = self.block();
        self.next();
        self.functions.insert(name, body);
    }

    fn branches(&mut self, block: &mut Block) {
        let (mut branches, mut otherwise) = (Vec::new(), Block::new());
        loop {
            match self.next().as_str() {
                "else" => otherwise = self.block(),
                "if" | "elseif" => {
                    let begin = self.at;
                    let condition = self.until("then");
                    let then = self.at;
                    let body = self.block();
                    // What is remembered is asked for the first time, and then not again.
                    if self.is_memo(&self.tokens[begin..then], &self.tokens[then..self.at]) {
                        block.extend(body);
                    } else {
                        branches.push((condition, body));
                    }
                }
                _ => break,
            }
        }
        block.push(Step::If(branches, otherwise));
    }

    /// Whether it is `if not x then` and what follows sets x.
    fn is_memo(&self, condition: &[String], body: &[String]) -> bool {
        matches!(condition, [not, name, _] if not == "not" && body.windows(2).any(|two| two[0] == *name && two[1] == "="))
    }

    fn until(&mut self, word: &str) -> Block {
        let mut block = Block::new();
        while !matches!(self.peek(), "") && self.peek() != word {
            self.word(&mut block);
        }
        self.next();
        block
    }

    /// A word of an expression; what is called in it counts as called, whatever stands before it.
    fn word(&mut self, block: &mut Block) {
        let is_redis = self.peek() == "redis" && self.ahead(1) == "." && self.ahead(3) == "(";
        if is_redis && matches!(self.ahead(2), "call" | "pcall") {
            let is_caught = self.ahead(2) == "pcall";
            self.at += 4;
            let begin = self.at;
            self.arguments(block);
            let arguments = &self.tokens[begin..self.at - 1];
            let (command, is_effect) = called(arguments);
            block.push(Step::Call { command, is_effect, is_caught });
            return;
        }
        let name = self.next();
        if self.peek() == "(" && name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            self.next();
            self.arguments(block);
            block.push(Step::Run(name));
        }
    }

    /// Up to the bracket that closes, which is taken: what is called in arguments is called before.
    fn arguments(&mut self, block: &mut Block) {
        while !matches!(self.peek(), "" | ")") {
            if self.peek() == "(" {
                self.next();
                self.arguments(block);
            } else {
                self.word(block);
            }
        }
        self.next();
    }
}

/// The command of a call with these arguments, and whether it changes the lease.
fn called(arguments: &[String]) -> (Command, bool) {
    let literal = |at: usize| arguments.get(at).and_then(|word| word.strip_prefix('\''));
    let command = literal(0).unwrap_or_default();
    let subcommand = literal(2).filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
    let (name, takes) = match subcommand {
        Some(subcommand) => (format!("{command}|{subcommand}"), Takes::Nothing),
        None if arguments.len() < 3 => (command.to_owned(), Takes::Nothing),
        None if command.ends_with("PUBLISH") => (command.to_owned(), Takes::Channel),
        None => (command.to_owned(), Takes::Key),
    };
    let target: String = arguments.iter().skip(2).take_while(|word| *word != ",").map(String::as_str).collect();
    let is_effect = !READS.contains(&command) && LEASE.iter().any(|lease| target.eq_ignore_ascii_case(lease));
    (Command { name: name.to_ascii_lowercase(), takes }, is_effect)
}

/// The words of a Lua text without its comments; a string begins with a quote, and has none at its end.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") || rest.starts_with("#!") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        } else if first == '\'' || first == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|letter| {
                let ends = letter == first && !is_escaped;
                is_escaped = letter == '\\' && !is_escaped;
                ends
            });
            let inner = end.map_or(&rest[1..], |end| &rest[1..=end]);
            tokens.push(format!("'{inner}"));
            rest = &rest[(inner.len() + 2).min(rest.len())..];
            continue;
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_script_are_read_off_its_text() {
        let text = "local function one() return redis.call('TIME')[1] end -- redis.call('DEL', lock)\n\
                    if redis.pcall('GET', KEYS[1]) then redis.call('SPUBLISH', push .. 'all', one()) end\n\
                    return redis.call('PUBSUB', 'SHARDNUMSUB', push)";
        let found = commands(text);
        let named: Vec<_> = found.iter().map(|command| (command.name.as_str(), command.takes)).collect();
        let expected = [
            ("get", Takes::Key),
            ("pubsub|shardnumsub", Takes::Nothing),
            ("spublish", Takes::Channel),
            ("time", Takes::Nothing),
        ];
        assert_eq!(named, expected);
        // Nothing is called but what can be read off.
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua")).expect("the scripts") {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            let calls = text.matches("redis.call(").count() + text.matches("redis.pcall(").count();
            let named = text.matches("redis.call('").count() + text.matches("redis.pcall('").count();
            assert_eq!(calls, named, "{path:?}");
            for name in text.split("redis.call('").skip(1).filter_map(|rest| rest.split('\'').next()) {
                let found = commands(&text);
                let is_it = |found: &Command| found.name.split('|').next() == Some(&name.to_ascii_lowercase());
                assert!(found.iter().any(is_it), "{path:?}: {name}");
            }
        }
    }
}
