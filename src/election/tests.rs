//! What an election tells those who listen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::knowledge::Seen;
use super::{Asker, Condition, Election, ElectionConfig, ElectionSettings, Elections};
use crate::lock::{Key, State, Ttl};
use crate::metrics::Metrics;

const TTL: Duration = Duration::from_secs(1);

fn election() -> Arc<Election> {
    let key = Key::parse("election:jobs").expect("a key");
    let elections = vec![ElectionSettings { name: "jobs".to_owned(), key }];
    let ttl = Ttl::from_ms(1000, 60_000).expect("a ttl");
    let config = ElectionConfig { elections, candidate: "me".to_owned(), ttl, condition: Condition::Always };
    let elections = Elections::new(&config, &Arc::new(Metrics::new()));
    Arc::clone(elections.only().expect("one election"))
}

#[tokio::test]
async fn what_changes_with_time_alone_is_told_though_it_changes_as_it_is_looked_at() {
    let election = election();
    let mut listener = election.listen(Asker::App);
    let mut fresh = 0;
    for nanos in (0..20_000_u64).cycle().step_by(7).take(500) {
        let at = Instant::now() - TTL + Duration::from_nanos(nanos % 3_000);
        election.see(Seen::of(&State::Free, 0, at, 77));
        if !listener.answer().is_stale {
            fresh += 1;
            let told = tokio::time::timeout(Duration::from_millis(300), listener.changed()).await;
            assert!(told.is_ok() && listener.answer().is_stale, "stale after {} ns: not told", nanos % 3_000);
        }
    }
    assert!(fresh > 0);
}
