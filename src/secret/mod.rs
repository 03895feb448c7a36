//! A text that no log, error or `Debug` shows, and the files that secrets come from.

mod file;
mod rotation;

use std::fmt;

use subtle::ConstantTimeEq;

pub use file::{Change, Content, OPEN_TO_OTHERS, Reloaded, Unwise, WRITABLE_BY_OTHERS, Watched, look};
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

    /// Whether it is this text, in a time that says nothing of where they differ.
    pub fn is_text(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Whether it is the same.
    pub fn is(&self, other: &Secret) -> bool {
        self.is_text(&other.0)
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
