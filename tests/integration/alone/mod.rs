//! What measures time under a load of its own. Runs behind all other tests, one at a time.

mod confined;
mod connections;
mod handshakes;
mod holds;
mod lists;
