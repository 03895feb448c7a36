//! Every behaviour, shown with the real binary over real sockets and a real redis-server. One binary; all tests run in
//! parallel on one Redis, but for those that stop or flush one of their own.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![expect(clippy::print_stdout, reason = "a test may say what it measured")]

mod harness;

mod admin;
mod admin_requests;
mod browser;
mod cli;
mod cluster;
mod confined;
mod credentials;
mod dapr;
mod deploy;
mod directory;
mod documents;
mod engine;
mod environment;
mod exclusion;
mod exec;
mod failover;
mod faults;
mod hang_up;
mod hold;
mod identity;
mod leases;
mod listeners;
mod lists;
mod logs;
mod native;
mod noscript;
mod openapi;
mod ops;
mod outages;
mod overload;
mod permits;
mod progress;
mod raw_keys;
mod readiness;
mod rotation;
mod scripts;
mod secrets;
mod settings;
mod shards;
mod slow;
mod strangers;
mod sweeps;
mod tidy;
mod tls;
mod tokens;
mod vanish;
mod volume;
mod waiting;
