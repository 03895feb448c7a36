//! Locks that are granted and forced by the scripts themselves, many in one pipeline: as other sidecars would, and faster
//! than a debug build.

use lockside::lock::{Key, KeySpace};
use redis::{Connection, Pipeline, Script};

/// Acts on the locks of a sidecar with the usual key prefix.
pub struct Pipelined {
    connection: Connection,
    space: KeySpace,
    acquire: Script,
    force: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(
            include_str!("../../../lua/head.lua"),
            include_str!("../../../lua/lease.lua"),
            include_str!("../../../lua/shared.lua"),
            include_str!("../../../lua/grant.lua"),
            include_str!("../../../lua/queue.lua"),
            include_str!("../../../lua/attempt.lua"),
            include_str!(concat!("../../../lua/", $name, ".lua"))
        ))
    };
}

impl Pipelined {
    pub fn on(mut connection: Connection) -> Pipelined {
        let (acquire, force) = (script!("acquire"), script!("force"));
        for script in [&acquire, &force] {
            script.prepare_invoke().load(&mut connection).expect("a script");
        }
        Pipelined { connection, space: KeySpace::new("lockside"), acquire, force }
    }

    /// Grants leases of so many milliseconds to other owners; `further` fields of a lease stand at its end.
    pub fn acquire(&mut self, keys: &[String], ttl_ms: u64, further: &str) {
        let mut pipe = redis::pipe();
        for key in keys {
            let (floor, request, own, not_after) = (0, "", "refuse", "");
            self.call(&mut pipe, &self.acquire, 4, key);
            self.shard_of(&mut pipe, key, floor);
            pipe.arg(r#""kind":"system","owner":"gone","#).arg(format!(r#""nonce":"{key}","#)).arg(request);
            pipe.arg(ttl_ms).arg(further).arg(own).arg(not_after).ignore();
        }
        pipe.exec(&mut self.connection).expect("leases are granted");
    }

    /// Removes whichever leases lie there.
    pub fn force(&mut self, keys: &[String]) {
        let mut pipe = redis::pipe();
        for key in keys {
            let (floor, token, not_after) = (0, "", "");
            self.call(&mut pipe, &self.force, 5, key);
            pipe.arg(self.space.forced(&Key::parse(key).expect("a key")));
            self.shard_of(&mut pipe, key, floor);
            pipe.arg(token).arg(not_after).ignore();
        }
        pipe.exec(&mut self.connection).expect("leases are removed");
    }

    /// The script and the keys of Redis that all have.
    fn call(&self, pipe: &mut Pipeline, script: &Script, keys: usize, key: &str) {
        let key = Key::parse(key).expect("a key");
        pipe.cmd("EVALSHA").arg(script.get_hash()).arg(keys);
        pipe.arg(self.space.lock(&key)).arg(&self.space.tokens(key.shard())[..]).arg(self.space.queue(&key));
        pipe.arg(&self.space.watch(key.shard())[..]);
    }

    /// The first four arguments that all have.
    fn shard_of(&self, pipe: &mut Pipeline, key: &str, floor: u64) {
        let shard = Key::parse(key).expect("a key").shard();
        pipe.arg(key).arg(shard.to_string()).arg(floor).arg(self.space.push(shard));
    }
}
