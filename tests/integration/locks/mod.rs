//! What every lock keeps, whatever goes wrong: exclusion, tokens, queues, the index, and keys shared with other programs.

mod bundles;
mod engine;
mod exclusion;
mod intervals;
mod other_programs;
mod pipelined;
mod raw_keys;
mod shards;
mod sharing;
mod sweeps;
mod tokens;
pub mod volume;
mod waiting;
mod watching;
