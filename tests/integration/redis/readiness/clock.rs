//! Steps of Redis's clock, as a sidecar sees them through a lens that shows another time.

use super::{GOOD, SEEN, log_lines, told_is, warnings};
use crate::harness::{Lens, Sidecar, TestRedis, eventually};

/// Shows each answer to TIME as if the clock were `seconds` ahead of the one that scripts see. Never behind it: a script
/// would find each command late, and say the time that is to be hidden.
pub fn ahead(seconds: u32) -> impl Fn(&mut [u8]) + Send + Sync {
    const HEAD: &[u8] = b"*2\r\n$10\r\n";
    move |reply| {
        if let Some(at) = reply.windows(HEAD.len()).position(|part| part == HEAD) {
            let digits = &mut reply[at + HEAD.len()..][..10];
            if let Ok(now) = std::str::from_utf8(digits).unwrap_or_default().parse::<i64>() {
                digits.copy_from_slice((now + i64::from(seconds)).to_string().as_bytes());
            }
        }
    }
}

async fn steps(sidecar: &Sidecar) -> [u64; 2] {
    let metrics = sidecar.ops("/metrics").await;
    ["forward", "backward"].map(|direction| {
        let name = format!("lockside_redis_clock_steps_total{{direction=\"{direction}\"}} ");
        metrics.text().lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    })
}

#[tokio::test]
async fn a_step_of_the_clock_is_counted_logged_and_a_warning() {
    let redis = TestRedis::start(&GOOD);
    let lens = Lens::before(&redis, ahead(600));
    let sidecar = Sidecar::start_at(&lens.url(), &[]).await;
    assert_eq!((warnings(&sidecar).await, steps(&sidecar).await), (Vec::new(), [0, 0]));

    lens.turn(ahead(660));
    eventually("the step is counted", SEEN, async || steps(&sidecar).await == [1, 0]).await;
    eventually("and a warning", SEEN, async || warnings(&sidecar).await == ["clock-step"]).await;
    told_is(&sidecar, "clock-step", 1).await;
    let lines = log_lines(&sidecar, "clock-step");
    let step_ms = serde_json::from_str::<serde_json::Value>(&lines[0]).unwrap()["step_ms"].as_i64().unwrap();
    // At the least, since a slow answer leaves some room.
    assert!((58_000..=60_100).contains(&step_ms), "{step_ms}");

    lens.turn(ahead(540));
    eventually("the step back is counted", SEEN, async || steps(&sidecar).await == [1, 1]).await;
    eventually("and told", SEEN, async || sidecar.ops("/readyz").await.text().contains("stepped by -1")).await;
    told_is(&sidecar, "clock-step", 2).await;
}
