//! Redis as the engine sees it: a script to run, a range to read, and whether it is there. Owns the connections, their
//! deadlines and their recovery. Knows no lock; `connection` alone knows the client library.
//!
//! Architecture invariant: a command is sent once. The client library never repeats one behind our back, and its own
//! deadline is the only one: a call that is given up from outside would still be sent later.
//!
//! Architecture invariant: nothing is changed later than we answered. What changes anything carries its deadline by the
//! server's own clock, and the server refuses it afterwards.

mod acl;
mod batch;
mod beside;
mod clock;
mod cluster;
mod connection;
mod diagnosis;
mod failure;
mod in_flight;
mod info;
mod master;
mod masters;
mod node;
mod operation;
mod plain;
mod probe;
mod push;
mod reach;
mod replicas;
mod reply;
mod routed;
mod script;
mod sentinel;
mod servers;
mod settings;
mod status;

use acl::advice;
pub use acl::{Needs, Patterns, user_line};
pub use clock::Sample;
pub use diagnosis::Step;
pub use failure::RedisFailure;
pub use in_flight::{Flight, InFlight};
pub use info::{Info, Role};
pub use masters::Slot;
use node::Node;
pub use push::{Attention, Heard, Push};
pub use reach::{Endpoint, Reached};
pub use reply::Reply;
pub use script::{Args, Call, Optional, Purpose, Script};
pub use servers::{Health, Redis, Server};
pub use settings::{RedisConfig, RedisServer};
use status::Status;
