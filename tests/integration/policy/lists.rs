//! Lists have what the caller may read and its own, and their cursors tell nothing of the rest.

use serde_json::{Value, json};

use super::{As, Guarded};
use crate::harness::unique;

const POLICY: &str = "token:red lock,read red/*\ntoken:blue lock blue/*\nuser:* lock,read {claim:team}/*\n";

/// The keys of all pages of a list, page by page, and the cursors between them.
async fn pages(guarded: &Guarded, who: &As, limit: usize) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut cursors) = (Vec::new(), Vec::<String>::new());
    loop {
        let cursor = cursors.last().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = guarded.ask(who, "GET", &format!("/v1/locks?limit={limit}{cursor}")).send().await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        let locks = page["locks"].as_array().unwrap();
        assert!(locks.len() <= limit);
        keys.extend(locks.iter().map(|lock| lock["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursors.push(next.to_owned()),
            None => return (keys, cursors),
        }
    }
}

#[tokio::test]
async fn each_caller_pages_through_its_own_part_and_learns_no_token_of_the_rest() {
    let guarded = Guarded::start(POLICY, &["red", "blue"], &[]).await;
    let (red, blue) = (As::Token("red"), As::Token("blue"));
    let (mut reds, mut blues) = (Vec::new(), Vec::new());
    for number in 0..12 {
        let (who, team, all) = if number % 3 == 0 { (&red, "red", &mut reds) } else { (&blue, "blue", &mut blues) };
        let key = format!("{team}/{}", unique("list"));
        let lease = guarded.granted(who, &key, json!({})).await;
        all.push((key, lease["token"].to_string()));
    }
    let keys = |all: &[(String, String)]| all.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let claims = json!({"team": ["red", "green"]});
    for (who, expected, others) in
        [(red, &reds, &blues), (As::User("ann", claims), &reds, &blues), (blue, &blues, &reds)]
    {
        for limit in [1, 2, 5, 100] {
            let (shown, cursors) = pages(&guarded, &who, limit).await;
            assert_eq!(shown, keys(expected), "{who:?} {limit}");
            let is_leaked = |cursor: &String| others.iter().any(|(_, token)| token == cursor);
            assert!(!cursors.iter().any(is_leaked), "{cursors:?}");
        }
    }
    // The leases API, whole and in pages.
    let whole = guarded.ask(&As::Token("red"), "GET", "/cmn/leasable-locks").send().await.json();
    let shown: Vec<Value> = whole.as_array().unwrap().iter().map(|lock| lock["key"].clone()).collect();
    assert_eq!(shown, keys(&reds));
    let page = guarded.ask(&As::Token("blue"), "GET", "/cmn/leasable-locks?limit=2").send().await;
    assert_eq!(page.json().as_array().unwrap().len(), 2);
    let link = page.header("link").unwrap();
    assert!(!reds.iter().any(|(_, token)| link.contains(token)), "{link}");
    let next = link.split(['<', '>']).nth(1).unwrap();
    let page = guarded.ask(&As::Token("blue"), "GET", next).send().await;
    assert_eq!((page.status, &page.json()[0]["key"]), (200, &json!(blues[2].0)));
    assert_eq!(pages(&guarded, &As::User("bob", json!({})), 2).await.0, [""; 0], "no team, no lock");
}

#[tokio::test]
async fn a_cursor_that_no_page_named_is_refused() {
    let guarded = Guarded::start(POLICY, &["red"], &[]).await;
    for cursor in ["s", "sAAAA", "0", "x", "-1", &format!("s{}", "A".repeat(48))] {
        let answer = guarded.ask(&As::Token("red"), "GET", &format!("/v1/locks?cursor={cursor}")).send().await;
        assert_eq!((answer.status, answer.text().contains("cursor: expected")), (400, true), "{cursor}");
    }
}
