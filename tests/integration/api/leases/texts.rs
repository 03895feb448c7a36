//! The texts, in the language that the caller reads.

use serde_json::Value;

use super::{Leases, PATH, Who, assert_message, editor, reader, token_of};
use crate::harness::{Answer, Call, unique};

fn tongue(call: Call<'_>, accept: Option<&str>) -> impl Future<Output = Answer> {
    match accept {
        Some(accept) => call.header("accept-language", accept),
        None => call,
    }
    .send()
}

#[tokio::test]
async fn german_is_spoken_to_who_asks_for_it_and_english_to_all_others() {
    let leases = Leases::start(&[]).await;
    for (accept, language) in [
        (Some("de"), "de"),
        (Some("de-AT"), "de"),
        (Some("fr, de;q=0.5"), "de"),
        (Some("en;q=0.3, de;q=0.9"), "de"),
        (Some("en"), "en"),
        (Some("en-GB, de;q=0.9"), "en"),
        (Some("fr"), "en"),
        (Some("de;q=0"), "en"),
        (Some(";;,="), "en"),
        (None, "en"),
    ] {
        let answer = tongue(leases.ask(&Who::System, "DELETE", &format!("{PATH}/0")), accept).await;
        assert_message(&answer, 404);
        assert_eq!(answer.header("content-language"), Some(language), "{accept:?}");
    }
}

#[tokio::test]
async fn each_message_has_one_code_and_two_texts() {
    let leases = Leases::start(&[]).await;
    let (alice, bob) = (editor("alice"), reader("bob"));
    let token = token_of(&leases.granted(&alice, &unique("texts"), 30).await);
    let path = |rest: &str| format!("{PATH}/{rest}");
    for (who, method, path, status) in [
        (&Who::Nobody, "DELETE", path("7"), 401),
        (&bob, "DELETE", path("custom/7"), 403),
        (&bob, "DELETE", path("abc"), 400),
        (&bob, "PUT", path("7"), 400),
        (&bob, "DELETE", path("7"), 404),
        (&bob, "DELETE", path(&token.to_string()), 403),
        (&bob, "GET", path("7"), 405),
    ] {
        let [german, english] = in_both(&leases, who, method, &path).await;
        assert_message(&german, status);
        assert_message(&english, status);
        assert_different(&german, &english);
    }
}

#[tokio::test]
async fn success_is_told_in_both_languages_too() {
    let leases = Leases::start(&[]).await;
    let alice = editor("alice");
    for custom in ["", "custom/"] {
        let mut answers = Vec::new();
        for language in ["de", "en"] {
            let token = token_of(&leases.granted(&alice, &unique("success"), 30).await);
            let call = leases.ask(&alice, "DELETE", &format!("{PATH}/{custom}{token}"));
            answers.push(tongue(call, Some(language)).await);
            assert_message(answers.last().unwrap(), 200);
        }
        assert_different(&answers[0], &answers[1]);
    }
}

async fn in_both(leases: &Leases, who: &Who, method: &str, path: &str) -> [Answer; 2] {
    [tongue(leases.ask(who, method, path), Some("de")).await, tongue(leases.ask(who, method, path), Some("en")).await]
}

/// A code for machines does not change with the language; the text for people does.
#[track_caller]
fn assert_different(german: &Answer, english: &Answer) {
    assert_eq!(german.header("content-language"), Some("de"));
    assert_eq!(english.header("content-language"), Some("en"));
    let (german, english): (Value, Value) = (german.json(), english.json());
    assert_eq!(german["context"], english["context"]);
    assert_ne!(german["messageValue"], english["messageValue"]);
}
