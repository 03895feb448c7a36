//! The scripts, the queue and the attempts as they ship, explored over every interleaving of small worlds.

#![expect(clippy::print_stdout, reason = "a test may say what it measured")]

mod bundles;
mod dice;
mod differential;
mod lua;
mod properties;
mod redis;
mod search;
mod story;
mod walk;
mod world;
mod worlds;
