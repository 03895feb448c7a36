//! A real redis-server whose clock the test moves, and which removes no expired key by itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::wire::Wire;
use crate::lua::Arg;
use crate::redis::Reply;

/// Everything under every key, with its end, in the order of the keys.
const DUMP: &str = "
local rows, names = {}, redis.call('KEYS', '*')
table.sort(names)
for i, name in ipairs(names) do
  local is_text = redis.call('TYPE', name).ok == 'string'
  local value = is_text and {redis.call('GET', name)} or redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  rows[i] = {name, redis.call('PEXPIRETIME', name), value}
end
return rows";

pub struct RealRedis {
    server: Child,
    folder: PathBuf,
    clock: File,
    wire: Wire,
    listener: Wire,
    dump: String,
}

impl RealRedis {
    /// Starts `program`, a redis-server or a server that is like one, whose listener hears these channels.
    pub fn start(program: &str, channels: &[&str]) -> RealRedis {
        let name = Path::new(program).file_name().expect("a program").to_string_lossy();
        let folder = std::env::temp_dir().join(format!("lockside-model-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (shim, clock, socket) = (folder.join("clock.so"), folder.join("clock"), folder.join("socket"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/differential/clock.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).status();
        assert!(compiled.expect("there is a cc").success());
        let file = File::create(&clock).expect("a file");
        file.write_all_at(&1_800_000_000_000_000_i64.to_ne_bytes(), 0).expect("eight bytes");
        let options = "--port 0 --save --appendonly no --enable-debug-command yes --databases 1";
        let server = Command::new(program)
            .args(options.split(' ').flat_map(|word| if word == "--save" { vec![word, ""] } else { vec![word] }))
            .arg("--unixsocket")
            .arg(&socket)
            .env("LD_PRELOAD", &shim)
            .env("MODEL_CLOCK", &clock)
            .stdout(Stdio::null())
            .spawn()
            .expect("a redis-server");
        let connect = || {
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                match Wire::connect(&socket) {
                    Ok(wire) => return wire,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let (mut wire, mut listener) = (connect(), connect());
        assert_eq!(wire.ask(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]), Reply::Status("OK".to_owned()));
        for channel in channels {
            assert!(matches!(listener.ask(&["SSUBSCRIBE", channel]), Reply::Array(_)));
        }
        let dump = load(&mut wire, DUMP);
        RealRedis { server, folder, clock: file, wire, listener, dump }
    }

    /// What it is, as it says itself.
    pub fn version(&mut self) -> String {
        let Reply::Bulk(info) = self.wire.ask(&["INFO", "server"]) else { panic!("no answer to INFO") };
        let info = String::from_utf8_lossy(&info).into_owned();
        let told = |field: &str| info.lines().find_map(|line| line.strip_prefix(field)).map(str::to_owned);
        let valkey = told("valkey_version:").map(|version| format!("Valkey {version}"));
        valkey.or_else(|| told("redis_version:").map(|version| format!("Redis {version}"))).unwrap_or_default()
    }

    /// Loads a script: its digest.
    pub fn load(&mut self, text: &str) -> String {
        load(&mut self.wire, text)
    }

    pub fn set_clock(&self, now_us: i64) {
        self.clock.write_all_at(&now_us.to_ne_bytes(), 0).expect("eight bytes");
    }

    pub fn flush(&mut self) {
        assert_eq!(self.wire.ask(&["FLUSHALL"]), Reply::Status("OK".to_owned()));
    }

    /// Lets it have no memory left for what takes some.
    pub fn set_full(&mut self, is_full: bool) {
        let limit = if is_full { "1" } else { "0" };
        assert_eq!(self.wire.ask(&["CONFIG", "SET", "maxmemory", limit]), Reply::Status("OK".to_owned()));
    }

    /// Runs a script: its answer, and all that lies under the keys then.
    pub fn run(&mut self, digest: &str, keys: &[Vec<u8>], args: &[Arg]) -> (Reply, Reply) {
        let mut command = ["EVALSHA", digest, &keys.len().to_string()].map(|word| word.as_bytes().to_vec()).to_vec();
        command.extend(keys.iter().cloned());
        command.push(packed(args));
        let dump = ["EVALSHA", &self.dump, "0"].map(|word| word.as_bytes().to_vec()).to_vec();
        self.wire.send(&[command, dump]);
        (self.wire.receive(), self.wire.receive())
    }

    /// What was published on the channels since the last time.
    pub fn heard(&mut self, marker: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.wire.ask(&["SPUBLISH", marker, "marker"]);
        let mut heard = Vec::new();
        loop {
            let Reply::Array(parts) = self.listener.receive() else { panic!("no message") };
            match parts.as_slice() {
                [_, Reply::Bulk(_), Reply::Bulk(message)] if message == b"marker" => return heard,
                [_, Reply::Bulk(channel), Reply::Bulk(message)] => heard.push((channel.clone(), message.clone())),
                other => panic!("no message: {other:?}"),
            }
        }
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn load(wire: &mut Wire, text: &str) -> String {
    match wire.ask(&["SCRIPT", "LOAD", text]) {
        Reply::Bulk(digest) => String::from_utf8(digest).expect("a digest"),
        other => panic!("{other:?}"),
    }
}

/// As scripts get their `ARGV`.
fn packed(args: &[Arg]) -> Vec<u8> {
    const MEMORY: &str = "memory takes all that is written";
    let mut list = Vec::new();
    rmp::encode::write_array_len(&mut list, u32::try_from(args.len()).expect("a few")).expect(MEMORY);
    for arg in args {
        match arg {
            Arg::Text(text) => {
                rmp::encode::write_str_len(&mut list, u32::try_from(text.len()).expect("short")).expect(MEMORY);
                list.extend_from_slice(text);
            }
            Arg::Number(number) => {
                rmp::encode::write_uint(&mut list, u64::try_from(*number).expect("a count")).expect(MEMORY);
            }
        }
    }
    list
}
