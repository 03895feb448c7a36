//! The process: command line, settings, listeners, logs, limits, signals, and what is deployed with it.

mod check;
mod cli;
mod deploy;
mod environment;
mod exec;
mod hang_up;
mod help;
mod inject;
mod install;
mod listeners;
mod logs;
mod ls;
mod manual;
mod ops;
pub mod overload;
mod read_only;
mod rotation;
mod secrets;
mod settings;
mod shared;
mod slow;
mod vanish;
mod version;
mod watch;
