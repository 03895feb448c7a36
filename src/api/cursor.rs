//! Where a page of a list ended: a token. Of a lease that the caller was not shown, it is sealed, since it would be all
//! that a service caller needs to release that lease.

use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::failure::Failure;
use crate::lock::Token;

/// What a sealed one begins with: no number does.
const SEALED: &str = "s";

/// The cursor behind a lease that the caller was shown.
pub fn open(token: Token) -> String {
    token.to_string()
}

/// The cursor behind a lease that the caller was not shown. This process alone can read it.
pub fn sealed(token: Token) -> String {
    let mut text = token.get().to_be_bytes().to_vec();
    let nonce = key().seal_in_place_append_tag(Aad::empty(), &mut text).expect("a token is short");
    format!("{SEALED}{}", BASE64_URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &text].concat()))
}

/// The token behind which the next page begins.
pub fn parse(text: &str) -> Result<Token, Failure> {
    let token = match text.strip_prefix(SEALED) {
        Some(sealed) => unsealed(sealed),
        None => text.parse().ok().and_then(Token::from_i64),
    };
    token.ok_or_else(|| Failure::BadRequest("cursor: expected one that a page named; begin again without".to_owned()))
}

fn unsealed(text: &str) -> Option<Token> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let mut text = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let token = key().open_in_place(nonce, Aad::empty(), &mut text).ok()?;
    Token::new(u64::from_be_bytes((&*token).try_into().ok()?))
}

/// The key of this process.
fn key() -> &'static RandomizedNonceKey {
    static KEY: OnceLock<RandomizedNonceKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system has random bytes");
        RandomizedNonceKey::new(&AES_256_GCM, &secret).expect("32 bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_cursor_is_read_back_and_tells_nothing() {
        let token = Token::new(244_358_750_068_573).expect("a token");
        let cursor = sealed(token);
        assert_eq!((parse(&cursor).ok(), parse(&open(token)).ok()), (Some(token), Some(token)));
        assert_ne!(cursor, sealed(token), "not even that two are the same");
        assert_eq!(cursor.len(), 49);
        let mut forged = cursor.clone().into_bytes();
        forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        for text in ["", "s", "sAAAA", "0", "-1", "x", "1.0", &cursor[1..], &cursor[..40], &forged] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
