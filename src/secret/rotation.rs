//! Follows the files of secrets, so that a rotated one counts without a restart. What does not fit is told once, and
//! leaves the last good one in use.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::{Change, Watched};
use crate::metrics::Metrics;

/// Between two looks at a file; a change counts after two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at the files for as long as the runtime lives, and at once when it is told to; its teller must live as long.
pub async fn watch(files: Vec<Box<dyn Watched>>, metrics: Arc<Metrics>, mut look: Receiver<()>) {
    for file in &files {
        metrics.secret_file_unfit.with_label_values(&[name(file.as_ref())]).set(0);
    }
    let files = Arc::new(files);
    while !files.is_empty() {
        let _ = tokio::time::timeout(PAUSE, look.changed()).await;
        let looked = Arc::clone(&files);
        // A volume that hangs must not hang us.
        let looks = tokio::task::spawn_blocking(move || looked.iter().map(|file| file.look()).collect::<Vec<_>>());
        let Ok(looks) = looks.await else { continue };
        for (file, look) in files.iter().zip(looks) {
            let unfit = metrics.secret_file_unfit.with_label_values(&[name(file.as_ref())]);
            match look {
                Change::Same => {}
                Change::Taken(warnings) => {
                    unfit.set(0);
                    tracing::info!(flag = file.flag(), "secret reloaded");
                    warn(&warnings);
                }
                Change::Unwise(warning) => warn(&[warning]),
                Change::Unfit(problem) => {
                    unfit.set(1);
                    tracing::error!(flag = file.flag(), problem, "invalid secret file; keeping the previous one");
                }
            }
        }
    }
}

/// As at start.
fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

fn name(file: &dyn Watched) -> &'static str {
    file.flag().trim_start_matches('-')
}
