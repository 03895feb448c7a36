//! Tokens at the edges of an int64: what is none is a bad request, what can be none of ours is not found.

use super::{Leases, Who, assert_message, editor, reader, token_of};
use crate::harness::{Answer, unique};

/// The answers of every route that takes a token.
async fn answers(leases: &Leases, token: &str) -> [Answer; 3] {
    let who = Who::System;
    [leases.renew(&who, token, 30).await, leases.release(&who, token).await, leases.remove(&who, token).await]
}

#[tokio::test]
async fn what_is_no_int64_is_a_bad_request() {
    let leases = Leases::start(&[]).await;
    for token in [
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999999999",
        "1.5",
        "1.0",
        "1e3",
        "abc",
        "0x10",
        "1_000",
        "%201",
        "1%20",
        "--1",
        "%2D",
        "%D9%A1",
        "%FF",
        "1%00",
        "custom",
    ] {
        for answer in answers(&leases, token).await {
            assert_eq!(answer.status, 400, "{token}: {}", answer.text());
            assert_message(&answer, 400);
        }
    }
}

#[tokio::test]
async fn an_int64_that_can_be_no_token_is_not_found() {
    let leases = Leases::start(&[]).await;
    for token in [
        "9223372036854775807",
        "-9223372036854775808",
        "9007199254740992",
        "9007199254740993",
        "0",
        "-1",
        "-0",
        "9007199254740991",
        "1",
        "%31",
        "00000000000000000000000000000007",
    ] {
        for answer in answers(&leases, token).await {
            assert_eq!(answer.status, 404, "{token}: {}", answer.text());
            assert_message(&answer, 404);
        }
    }
}

#[tokio::test]
async fn a_percent_encoded_token_is_the_token() {
    let leases = Leases::start(&[]).await;
    let alice = editor("alice");
    let encoded = |token: u64| -> String { token.to_string().bytes().map(|digit| format!("%{digit:02X}")).collect() };
    let token = token_of(&leases.granted(&alice, &unique("encoded"), 30).await);
    assert_eq!(leases.renew(&alice, encoded(token), 30).await.status, 200);
    assert_message(&leases.release(&alice, encoded(token)).await, 200);
    let token = token_of(&leases.granted(&alice, &unique("encoded"), 30).await);
    assert_message(&leases.remove(&alice, encoded(token)).await, 200);
}

#[tokio::test]
async fn the_neighbours_of_a_token_are_nobodys() {
    let leases = Leases::start(&[]).await;
    let alice = reader("alice");
    let token = token_of(&leases.granted(&alice, &unique("neighbour"), 30).await);
    // The same shard, and the two beside it.
    for other in [token + 64, token - 64, token + 1, token - 1] {
        assert_message(&leases.renew(&alice, other, 30).await, 404);
        assert_message(&leases.release(&alice, other).await, 404);
    }
    assert_eq!(leases.renew(&alice, token, 30).await.status, 200);
}
