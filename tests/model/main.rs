//! The scripts, the queue and the attempts as they ship, explored over every interleaving of small worlds.

#![expect(clippy::print_stdout, reason = "a test may say what it measured")]

/// That of the program: Lua asks for little, and often.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
