//! What the ACL user must be allowed, what Redis refuses of that, and what to change.

pub(super) mod advice;
mod asking;
mod effects;
mod missing;
mod refused;
mod steps;
mod user;
mod verdicts;

use super::Script;
pub use advice::Patterns;
pub(super) use refused::Rights;
pub use user::line as user_line;
pub(super) use verdicts::Verdicts;

/// All that lockside's ACL user must be allowed.
pub struct Needs {
    pub patterns: Patterns,
    /// Whose commands it runs.
    pub scripts: Vec<&'static Script>,
    /// To read and to write; one of each kind that there is.
    pub keys: Vec<String>,
    /// A right that is missing, and that locks can do without.
    pub further: Vec<String>,
    /// To publish to and to listen on.
    pub channels: Vec<String>,
}
