//! `DELETE ?token=`: a holder lets go.

use super::{Native, Who, assert_done, assert_problem, reader, token_of};
use crate::harness::unique;

#[tokio::test]
async fn a_released_key_is_free_at_once_for_the_next() {
    let native = Native::start(&[]).await;
    let key = unique("release");
    let mut last = 0;
    for who in [reader("alice"), Who::System, reader("bob")] {
        let token = token_of(&native.granted(&who, &key).await);
        assert!(token > last, "{token} after {last}");
        last = token;
        assert_done(&native.release(&who, &key, token).await);
    }
}

#[tokio::test]
async fn a_second_release_is_lost_and_leaves_the_next_holder_alone() {
    let native = Native::start(&[]).await;
    let (key, alice) = (unique("twice"), reader("alice"));
    let token = token_of(&native.granted(&alice, &key).await);
    assert_done(&native.release(&alice, &key, token).await);
    assert_problem(&native.release(&alice, &key, token).await, 410, "lost");
    let next = token_of(&native.granted(&alice, &key).await);
    assert_problem(&native.release(&alice, &key, token).await, 410, "lost");
    assert_eq!(native.fence(&alice, &key, next).await.status, 200);
}

#[tokio::test]
async fn a_token_of_another_key_releases_nothing() {
    let native = Native::start(&[]).await;
    let (a, b) = (unique("a"), unique("b"));
    let (first, second) =
        (token_of(&native.granted(&Who::System, &a).await), token_of(&native.granted(&Who::System, &b).await));
    assert_problem(&native.release(&Who::System, &a, second).await, 410, "lost");
    assert_problem(&native.release(&Who::System, &b, first).await, 410, "lost");
    assert!(!native.is_free(&a).await && !native.is_free(&b).await);
}

#[tokio::test]
async fn what_is_no_token_is_400_and_what_no_lease_can_have_is_lost() {
    let native = Native::start(&[]).await;
    let key = unique("bad");
    native.granted(&Who::System, &key).await;
    for bad in ["", "x", "1.5", "9223372036854775808", "1e3"] {
        assert_problem(&native.release(&Who::System, &key, bad).await, 400, "bad-request");
    }
    for impossible in [0, -1, i64::MAX, i64::MIN, 1 << 53] {
        assert_problem(&native.release(&Who::System, &key, impossible).await, 410, "lost");
    }
    assert!(!native.is_free(&key).await);
}
