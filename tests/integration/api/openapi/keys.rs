//! What a user is answered while the keys that verify the JWT cannot be fetched.

use super::Document;
use crate::harness::{Sidecar, TestRedis, editor};

/// The issuer cannot be reached.
pub async fn of_missing_keys(document: &Document) {
    let flags = ["--jwks-url", "http://127.0.0.1:1/keys", "--elect", "keyless"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    for operation in document.that_answer("503") {
        let answer = operation.call(&sidecar, &editor("alice")).send().await;
        assert_eq!(answer.status, 503, "{}: {}", operation.id, answer.text());
        document.check(&operation.id, &answer);
    }
}
