//! Connections whose reads have a deadline. The kernel breaks such a read off with `EINTR` when a signal arrives, such as
//! the one that tells of a child's end, and never goes on with it by itself: here it is repeated.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use redis::{ConnectionLike, Parser, RedisResult, Value};

pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A stream whose reads no signal breaks off.
pub struct Timed(Box<dyn Stream>);

impl Timed {
    /// To `ip:port` or `unix:/path`; a read fails after `within`.
    pub fn connect(address: &str, within: Duration) -> Result<Timed> {
        Ok(match address.strip_prefix("unix:") {
            Some(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(within))?;
                Timed(Box::new(stream))
            }
            None => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(within))?;
                stream.set_nodelay(true)?;
                Timed(Box::new(stream))
            }
        })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

/// A connection to a redis-server that may be frozen: each reply comes within a deadline, or its command fails. Each
/// command is sent once.
pub struct TimedRedis {
    stream: Timed,
    parser: Parser,
}

impl TimedRedis {
    pub fn connect(address: &str, within: Duration) -> RedisResult<TimedRedis> {
        Ok(TimedRedis { stream: Timed::connect(address, within)?, parser: Parser::new() })
    }
}

impl ConnectionLike for TimedRedis {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.stream.write_all(command)?;
        self.parser.parse_value(&mut self.stream)
    }

    fn req_packed_commands(&mut self, _: &[u8], _: usize, _: usize) -> RedisResult<Vec<Value>> {
        unreachable!("no test sends a pipeline to a server that may be frozen")
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}
