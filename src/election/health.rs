//! Asks the app whether it is healthy, as `--elect-while` says.

use std::time::Duration;

use tokio::sync::watch;
use url::Url;

use crate::http_client;
use crate::redis::Tls;

/// So many failures in a row make an app unhealthy.
const FAILURES: u32 = 3;

/// Asks at each turn, which is also the longest time for an answer, for as long as there is a listener.
pub async fn watch(url: Url, tls: Option<Tls>, every: Duration, tell: watch::Sender<bool>) {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failures = FAILURES;
    while !tell.is_closed() {
        turns.tick().await;
        let asked = tokio::time::timeout(every, ask(&url, tls.as_ref())).await;
        let problem = match asked {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some(format!("no answer within {} ms", every.as_millis())),
        };
        let was_healthy = *tell.borrow();
        match problem {
            None => {
                failures = 0;
                if !was_healthy {
                    tracing::info!("--elect-while: the app is healthy: standing in its elections");
                    tell.send_replace(true);
                }
            }
            Some(problem) => {
                failures = failures.saturating_add(1);
                if failures >= FAILURES && was_healthy {
                    tracing::warn!(problem, "--elect-while: the app is not healthy: not standing in its elections");
                    tell.send_replace(false);
                }
            }
        }
    }
}

/// One request; an error that says what is wrong unless it is answered with a success.
async fn ask(url: &Url, tls: Option<&Tls>) -> Result<(), String> {
    let status = http_client::status(url, tls).await?;
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}
