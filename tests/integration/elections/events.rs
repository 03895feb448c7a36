//! The stream of an election.

use std::time::Duration;

use super::{Candidates, SOON, TTL, news};
use crate::harness::Timed;

#[tokio::test]
async fn events_come_at_once_at_each_change_and_at_each_renewal_while_it_leads() {
    let candidates = Candidates::start(1, &[]).await;
    let mut events = candidates.all[0].call("GET", &format!("{}/events", candidates.path())).open().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(events.headers.get(name).and_then(|value| value.to_str().ok()), Some(value));
    }
    let first = news(&mut events).await.expect("the state, at once");
    assert!(first["leader"] == true || first["leader"] == false);
    candidates.elected().await;
    let (mut renewals, mut last) = (0, String::new());
    while renewals < 3 {
        let event = news(&mut events).await.expect("an event");
        if event["leader"] == true {
            let at = event["last_update"].as_str().expect("a time").to_owned();
            assert!(at >= last, "{at} after {last}");
            (renewals, last) = (renewals + 1, at);
        }
    }
    candidates.resign(0, "?for=1h").await;
    loop {
        let event = news(&mut events).await.expect("an event");
        if event["leader"] == false {
            assert!(event.get("name").is_none(), "it never names itself: {event}");
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_says_that_it_leads_no_longer_and_ends_when_the_sidecar_is_stopped() {
    let mut candidates = Candidates::start(1, &[]).await;
    candidates.elected().await;
    let mut events = candidates.all[0].call("GET", &format!("{}/events", candidates.path())).open().await;
    assert_eq!(news(&mut events).await.expect("the state")["leader"], true);
    candidates.all[0].signal("TERM");
    let mut last = None;
    while let Some(event) = news(&mut events).await {
        last = Some(event);
    }
    assert_eq!(last.expect("an event")["leader"], false);
    assert_eq!(candidates.all[0].exit_code(SOON).await, Some(0));
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_up_neither_the_election_nor_others() {
    let candidates = Candidates::start(1, &[]).await;
    let address = candidates.all[0].api_address().to_owned();
    // Each with the smallest window that the kernel gives, and never read.
    let slow: Vec<Timed> = (0..50)
        .map(|_| {
            let mut stream = Timed::connect(&address, SOON).expect("a connection");
            let request = format!("GET {}/events HTTP/1.1\r\nHost: localhost\r\n\r\n", candidates.path());
            std::io::Write::write_all(&mut stream, request.as_bytes()).expect("written");
            stream
        })
        .collect();
    let begun = candidates.all[0].memory();
    candidates.elected().await;
    let mut events = candidates.all[0].call("GET", &format!("{}/events", candidates.path())).open().await;
    let mut renewals = 0;
    while renewals < 12 {
        let waited = tokio::time::timeout(TTL, news(&mut events)).await.expect("at each renewal").expect("an event");
        renewals += usize::from(waited["leader"] == true);
    }
    assert!(candidates.all[0].memory() < begun + 4 * 1024 * 1024, "nothing waits in memory for them");
    drop(slow);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(candidates.ask(0).await["leader"], true);
}
