//! lockside: a distributed lock sidecar.
//!
//! One small process stands beside each instance of an app. The app asks it for locks over HTTP on localhost; each
//! operation becomes one atomic Lua script in a Redis that all sidecars share. A request passes five layers, downward:
//!
//! ```text
//! server/           accept, limits, drain          knows hyper; knows no lock and no path
//! api/route.rs      every path
//! api/<its name>    decode, one call, encode       failure.rs: the table of errors; answer.rs renders it
//! lock/mod.rs       Locks, the only door           knows no HTTP; keys.rs: the whole Redis key schema
//! lua/<op>.lua      one atomic script              its header is its contract
//! ```
//!
//! Dependencies point down only, from `cli` to `metrics`; a test holds them to it. `config` reads every setting in one run,
//! and each part has the settings that are its own; `app` wires the parts and owns the order of shutdown; `redis` knows
//! connections and no lock; `tls` knows certificates, towards callers and towards Redis; `readiness` knows whether a lock can be granted, and what makes locks on this Redis less safe. One thread does
//! all of a request, from the HTTP socket to the Redis socket and back; `--threads N` is that N times over.
//!
//! What is decided over time is decided by state machines without a clock, a channel or I/O: `lock/attempt/state.rs`
//! (one attempt until it is answered), `lock/attempt/held.rs` (a lease that a connection holds), `lock/queue/state.rs` (who
//! waits for which key).

pub mod cli;

pub mod app;
pub mod config;

pub mod inject;

pub mod api;
pub mod ops;

pub mod readiness;

pub mod election;

pub mod bundle;
pub mod hold;

pub mod lock;

pub mod quota;

pub mod audit;
pub mod auth;
pub mod directory;
pub mod policy;
pub mod redis;
pub mod server;

pub mod drain;
mod headers;
mod http_client;
mod json;
pub mod log;
pub mod metrics;
mod request;
pub mod secret;
mod timer;
mod tls;
mod yaml;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
