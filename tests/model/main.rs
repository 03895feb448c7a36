//! The scripts, the queue and the attempts as they ship, explored over every interleaving of small worlds.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod dice;
mod differential;
mod lua;
mod redis;
