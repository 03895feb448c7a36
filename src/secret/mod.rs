//! A text that no log, error or `Debug` shows, and the files that secrets come from.

mod file;
mod rotation;

use std::fmt;

pub use file::{Change, OPEN_TO_OTHERS, Reloaded, Unwise, WRITABLE_BY_OTHERS, Watched};
pub use rotation::watch;

/// A secret. Its `Debug` says only that there is one.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// From what a file holds.
    pub fn parse(content: &[u8]) -> Result<Secret, String> {
        let text = std::str::from_utf8(content).map_err(|_| "is not UTF-8 text")?;
        Ok(Secret::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
