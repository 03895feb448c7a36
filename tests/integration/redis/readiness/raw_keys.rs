//! Sidecars with raw keys and without, in one lock space: one key is two locks.

use super::{GOOD, SEEN, assert_warnings, told_is, warnings};
use crate::harness::{Sidecar, TestRedis, eventually};

#[tokio::test]
async fn sidecars_without_raw_keys_warn_of_one_with_them_and_only_in_their_own_lock_space() {
    let redis = TestRedis::start(&GOOD);
    let raw = Sidecar::start(&redis, &["--raw-keys"]).await;
    let plain = Sidecar::start(&redis, &[]).await;
    let elsewhere = Sidecar::start(&redis, &["--key-prefix=elsewhere"]).await;
    assert_warnings(&plain, &["raw-keys"]).await;
    assert_warnings(&elsewhere, &[]).await;
    assert_warnings(&raw, &[]).await;
    // A sidecar that was there before learns of it, too.
    let late = Sidecar::start(&redis, &["--raw-keys", "--key-prefix=elsewhere"]).await;
    eventually("it is seen", SEEN, async || warnings(&elsewhere).await == ["raw-keys"]).await;
    drop(late);
    redis.ask::<u64>("DEL", &["{elsewhere:raw}:mark"]);
    eventually("it is over", SEEN, async || warnings(&elsewhere).await.is_empty()).await;
    told_is(&elsewhere, "raw-keys", 2).await;
}
