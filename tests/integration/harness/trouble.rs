//! What befalls Redis, or the way to it.

use std::time::Duration;

use tokio::time::sleep;

use super::{Fault, Proxy, TestRedis, eventually};

/// Between two blows of a trouble that is many.
const BLOW: Duration = Duration::from_millis(200);
/// Redis keeps every write that it has answered.
pub const AOF: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// Others are told that it is busy while the script that keeps it so still runs.
pub const SOON_BUSY: [&str; 2] = ["--busy-reply-threshold", "100"];

/// Each of them; those of the way to Redis stand last.
pub const ALL: [Trouble; 20] = [
    Trouble::Stopped,
    Trouble::StoppedWithAof,
    Trouble::Killed,
    Trouble::KilledWithAof,
    Trouble::Frozen,
    Trouble::Flushed,
    Trouble::ScriptsForgotten,
    Trouble::Paused,
    Trouble::Busy,
    Trouble::OutOfMemory,
    Trouble::ConnectionsKilled,
    Trouble::Delayed,
    Trouble::DelayedTooLong,
    Trouble::Cut,
    Trouble::RepliesSwallowed,
    Trouble::RepliesHeld,
    Trouble::RequestsSwallowed,
    Trouble::RequestsHeld,
    Trouble::HalfOpen,
    Trouble::HalfOpenAndLate,
];
/// Those of the way to Redis.
pub const WAY: &[Trouble] = ALL.split_at(11).1;

/// One trouble. Those of the way to Redis befall one sidecar; the other has another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGTERM, and a restart.
    Stopped,
    StoppedWithAof,
    /// SIGKILL, and a restart.
    Killed,
    KilledWithAof,
    /// SIGSTOP, and SIGCONT.
    Frozen,
    Flushed,
    ScriptsForgotten,
    /// CLIENT PAUSE ALL.
    Paused,
    /// A script that runs until it is killed.
    Busy,
    OutOfMemory,
    ConnectionsKilled,
    /// Slower than usual, and faster than the deadline.
    Delayed,
    /// Slower than the deadline.
    DelayedTooLong,
    Cut,
    RepliesSwallowed,
    RepliesHeld,
    RequestsSwallowed,
    /// What was asked reaches Redis when the trouble is over.
    RequestsHeld,
    /// The connections that there are lead nowhere; new ones work.
    HalfOpen,
    /// The same, but what was sent on them reaches Redis in the end.
    HalfOpenAndLate,
}

impl Trouble {
    /// What the server that it befalls is started with.
    pub fn redis(self) -> TestRedis {
        match self {
            Trouble::StoppedWithAof | Trouble::KilledWithAof => TestRedis::start(&AOF),
            Trouble::Busy => TestRedis::start(&SOON_BUSY),
            _ => TestRedis::start(&[]),
        }
    }

    /// Whether Redis has afterwards what it had before.
    pub fn keeps_data(self) -> bool {
        !matches!(self, Trouble::Stopped | Trouble::Killed | Trouble::Flushed)
    }

    /// Begins it, keeps it up for `span`, and ends it.
    pub async fn strike(self, redis: &mut TestRedis, proxy: &Proxy, span: Duration) {
        match self {
            Trouble::Stopped | Trouble::StoppedWithAof => {
                redis.stop();
                sleep(span).await;
                come_back(redis).await;
            }
            Trouble::Killed | Trouble::KilledWithAof => {
                redis.kill();
                sleep(span).await;
                come_back(redis).await;
            }
            Trouble::Cut => blows(span, || proxy.cut()).await,
            // Over as soon as it has begun: new connections work.
            Trouble::HalfOpen => proxy.half_open(),
            _ if WAY.contains(&self) => {
                self.begin(proxy);
                sleep(span).await;
                self.end(proxy);
            }
            _ => self.befall(redis, span).await,
        }
    }

    /// Begins one of the way to Redis.
    pub fn begin(self, proxy: &Proxy) {
        match self {
            Trouble::Delayed => proxy.set(Fault::DelayReplies(Duration::from_millis(300))),
            Trouble::DelayedTooLong => proxy.set(Fault::DelayReplies(Duration::from_millis(1500))),
            Trouble::Cut => proxy.cut(),
            Trouble::RepliesSwallowed => proxy.set(Fault::SwallowReplies),
            Trouble::RepliesHeld => proxy.set(Fault::HoldReplies),
            Trouble::RequestsSwallowed => proxy.set(Fault::SwallowRequests),
            Trouble::RequestsHeld => proxy.set(Fault::HoldRequests),
            Trouble::HalfOpen | Trouble::HalfOpenAndLate => proxy.half_open(),
            _ => panic!("{self:?} is not of the way to Redis"),
        }
    }

    /// Ends one of the way to Redis.
    pub fn end(self, proxy: &Proxy) {
        match self {
            Trouble::HalfOpen => {}
            Trouble::HalfOpenAndLate => proxy.deliver_late(),
            _ => proxy.mend(),
        }
    }

    /// [`Trouble::strike`] of a trouble that a server runs through by itself: neither the way to it nor its start has a part in
    /// that.
    pub async fn befall(self, redis: &TestRedis, span: Duration) {
        match self {
            Trouble::Frozen => {
                redis.signal("STOP");
                sleep(span).await;
                redis.signal("CONT");
            }
            Trouble::Flushed => blows(span, || drop(redis.ask::<String>("FLUSHALL", &[]))).await,
            Trouble::ScriptsForgotten => blows(span, || drop(redis.ask::<String>("SCRIPT", &["FLUSH"]))).await,
            Trouble::Paused => {
                redis.ask::<String>("CLIENT", &["PAUSE", &span.as_millis().to_string(), "ALL"]);
                sleep(span).await;
            }
            Trouble::Busy => {
                // Connected before, since whoever comes later is told that Redis is busy.
                let (mut connection, mut way_out) = (redis.connection(), redis.connection());
                let script = std::thread::spawn(move || {
                    redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut connection)
                });
                sleep(span).await;
                redis::cmd("SCRIPT").arg("KILL").query::<()>(&mut way_out).expect("the script can be killed");
                script.join().expect("the script's thread ends").expect_err("the script was killed");
            }
            Trouble::OutOfMemory => {
                redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
                sleep(span).await;
                redis.ask::<String>("CONFIG", &["SET", "maxmemory", "0"]);
            }
            Trouble::ConnectionsKilled => {
                blows(span, || {
                    for kind in ["normal", "pubsub"] {
                        redis.ask::<u64>("CLIENT", &["KILL", "TYPE", kind, "SKIPME", "yes"]);
                    }
                })
                .await;
            }
            _ => panic!("{self:?} is not a server's own"),
        }
    }
}

/// Without holding up the other scenarios of this thread.
async fn come_back(redis: &mut TestRedis) {
    redis.launch();
    eventually("redis is back", Duration::from_secs(10), async || redis.is_up()).await;
}

async fn blows(span: Duration, blow: impl Fn()) {
    let end = tokio::time::Instant::now() + span;
    while tokio::time::Instant::now() < end {
        blow();
        sleep(BLOW).await;
    }
}
