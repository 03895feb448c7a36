//! Every behaviour, shown with the real binary over real sockets and a real redis-server. One binary; all tests but those
//! of `alone` run in parallel on one Redis, but for those that stop or flush one of their own.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![expect(clippy::print_stdout, reason = "a test may say what it measured")]

mod harness;
mod keys;

mod alone;
mod api;
mod audit;
mod documents;
mod elections;
mod failover;
mod faults;
mod locks;
mod policy;
mod process;
mod redis;
mod scripts;
mod tidy;
