//! Redis's protocol, as much as a test needs: commands as arrays of strings, and whatever comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::redis::Reply;

pub struct Wire {
    reader: BufReader<UnixStream>,
}

impl Wire {
    pub fn connect(socket: &Path) -> std::io::Result<Wire> {
        Ok(Wire { reader: BufReader::new(UnixStream::connect(socket)?) })
    }

    /// Sends commands at once, without waiting for their answers.
    pub fn send(&mut self, commands: &[Vec<Vec<u8>>]) {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for word in command {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.reader.get_mut().write_all(&bytes).expect("the server reads");
    }

    pub fn receive(&mut self) -> Reply {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("the server answers");
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r\n").expect("a whole line")).into_owned();
        let (kind, text) = text.split_at(1);
        let number = || text.parse::<i64>().expect("a number");
        match kind {
            "+" => Reply::Status(text.to_owned()),
            "-" => Reply::Error(text.to_owned()),
            ":" => Reply::Integer(number()),
            "$" | "*" if number() < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()).expect("a length") + 2];
                self.reader.read_exact(&mut bytes).expect("the whole string");
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            "*" => Reply::Array((0..number()).map(|_| self.receive()).collect()),
            _ => panic!("no answer begins with {kind}"),
        }
    }

    /// Sends one command, and waits for its answer.
    pub fn ask(&mut self, words: &[&str]) -> Reply {
        self.send(&[words.iter().map(|word| word.as_bytes().to_vec()).collect()]);
        self.receive()
    }
}
