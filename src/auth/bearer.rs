//! A bearer token in a header; and the file of an API token: what it may hold, and what is unwise about it.

use std::path::Path;

use crate::secret::{OPEN_TO_OTHERS, Secret, Unwise};

/// Fewest bytes of a token: fewer can be guessed, whatever they are.
const TOKEN_BYTES: usize = 16;

/// A token that a header can carry.
pub fn bearer_token(content: &[u8]) -> Result<Secret, String> {
    let text = std::str::from_utf8(content).ok().filter(|text| {
        text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !text.starts_with(' ') && !text.ends_with(' ')
    });
    text.map(Secret::new)
        .ok_or("holds no token that a header can carry; expected printable ASCII without spaces at its ends".to_owned())
}

/// The token in an `Authorization` header.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What is unwise about a token's file.
pub fn unwise_if_short() -> Unwise<Secret> {
    let value = |token: &Secret| {
        is_short(token).then_some("the token in --api-token-file is shorter than 16 bytes and may be guessed")
    };
    Unwise { mode: OPEN_TO_OTHERS, value }
}

/// What is unwise about a token's file of the folder that `flag` names.
pub fn warnings(flag: &str, path: &Path, token: &Secret) -> Vec<String> {
    let mut warnings = Unwise { mode: OPEN_TO_OTHERS, value: |_| None }.of_a_file(flag, path, token);
    if is_short(token) {
        warnings.push(format!("the token in `{}` is shorter than 16 bytes and may be guessed", path.display()));
    }
    warnings
}

fn is_short(token: &Secret) -> bool {
    token.expose().len() < TOKEN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer x.y"), Some("x.y"));
        assert_eq!(bearer("bearer  x.y "), Some("x.y"));
        assert_eq!(bearer("Basic eDp5"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
