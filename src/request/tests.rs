use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn of(ids: &[&str], traces: &[&str]) -> Request {
    Request::of(ids.iter().map(|id| id.as_bytes()), traces.iter().map(|trace| trace.as_bytes()))
}

/// The fields of a line.
fn fields() -> Vec<String> {
    let mut fields = Vec::new();
    describe(|name, detail| {
        fields.push(match detail {
            Detail::Text(text) => format!("{name}={text}"),
            Detail::Number(number) => format!("{name}={number}"),
        });
    });
    fields
}

#[tokio::test]
async fn an_id_of_64_visible_ascii_characters_is_kept_and_any_other_is_replaced() {
    let longest = "x".repeat(64);
    for id in ["1", "0af7651916cd43dd-8448", "!\"#~", &longest] {
        let answered = of(&[id], &[]).serve(async { id_for_answer() }).await;
        assert_eq!(answered.as_deref(), Some(id));
    }
    let too_long = "x".repeat(65);
    for ids in [&["a b"][..], &[""], &["ä"], &["a\tb"], &["a\u{7f}"], &[&too_long], &["a", "b"], &["a", "a"]] {
        let answered = of(ids, &[]).serve(async { id_for_answer() }).await.expect("one of ours");
        assert!(
            fit(std::iter::once(answered.as_bytes())).is_some() && !ids.contains(&&*answered),
            "{ids:?}: {answered}"
        );
    }
}

#[tokio::test]
async fn an_id_that_nobody_sent_is_in_the_answer_only_when_it_was_written() {
    assert_eq!(Request::default().serve(async { id_for_answer() }).await, None);
    let (problem, answer) = Request::default().serve(async { (id(), id_for_answer()) }).await;
    assert!(problem.is_some() && problem == answer);
    let (line, answer) = Request::default().serve(async { (fields(), id_for_answer()) }).await;
    assert!(line.contains(&format!("request_id={}", answer.expect("it was written"))), "{line:?}");
    let (silent, told, answer) = Request::default()
        .serve(async {
            let line = tokio::spawn(continued(async { fields() }));
            let silent = id_for_answer();
            (silent, line.await.expect("no panic"), id_for_answer())
        })
        .await;
    assert_eq!(silent, None);
    assert!(told.contains(&format!("request_id={}", answer.expect("it was written"))), "{told:?}");
}

#[tokio::test]
async fn two_requests_never_have_one_id() {
    let first = Request::default().serve(async { (id(), id()) }).await;
    let second = Request::default().serve(async { id() }).await;
    assert_eq!(first.0, first.1);
    assert_ne!(first.0, second);
}

#[tokio::test]
async fn a_line_names_what_was_noted_and_nothing_without_a_request() {
    asks_for(|| "lost".into());
    assert_eq!(fields(), [""; 0]);
    let request = of(&["r-1"], &[&format!("00-{TRACE}-b7ad6b7169203331-01")]);
    let line = request.serve(async {
        asks_for(|| "orders".into());
        shows(7);
        speaks_for("web-3");
        asked_by(Caller::User("alice".into(), Sender::Header));
        tokio::spawn(continued(async { fields() })).await.expect("no panic")
    });
    let trace = format!("trace_id={TRACE}");
    let expected =
        ["key=orders", "token=7", "owner=web-3", "caller=alice", "caller_kind=user", "request_id=r-1", &trace];
    assert_eq!(line.await, expected);
    let unknown = Request::default().serve(async { fields() }).await;
    assert_eq!(unknown[..2], ["caller=anonymous", "caller_kind=anonymous"]);
}

#[test]
fn a_trace_is_taken_from_a_traceparent_that_is_whole() {
    let seen = |text: &str| trace(std::iter::once(text.as_bytes())).map(|id| format!("{id:032x}"));
    for text in ["00-T-b7ad6b7169203331-01", "00-T-b7ad6b7169203331-00", "cc-T-b7ad6b7169203331-01-more"] {
        assert_eq!(seen(&text.replace('T', TRACE)).as_deref(), Some(TRACE), "{text}");
    }
    for text in [
        "",
        "T",
        "00-T",
        "00-T-b7ad6b7169203331",
        "00-T-b7ad6b7169203331-01-more",
        "ff-T-b7ad6b7169203331-01",
        "0-T-b7ad6b7169203331-01",
        "00-T-0000000000000000-01",
        "00-T-b7ad6b716920333-01",
        "00-T-b7ad6b7169203331-0x",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c8031é-b7ad6b7169203331-01",
    ] {
        assert_eq!(seen(&text.replace('T', TRACE)), None, "{text}");
    }
    assert!(of(&[], &["00-a", "00-b"]).sent.is_some_and(|sent| sent.trace_id.is_none()), "two are none");
}
