//! What one review, and many at once, may take of the webhook.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio_rustls::client::TlsStream;

use super::super::pod;
use super::{Webhook, send};

type Stream = TlsStream<TcpStream>;

/// One of the longest reviews: `part` of the spec of its pod has as many of these items as fit.
fn large(part: &str, item: &str, around: [&str; 2]) -> String {
    const LONGEST: usize = 3 * 1024 * 1024;
    let mut object = pod(json!({"lockside/cli": "true"}));
    object["spec"][part] = json!("HERE");
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                        "request": {"uid": "1", "operation": "CREATE", "object": object}});
    let [begin, end] = around;
    let text = review.to_string().replacen("\"HERE\"", &format!("{begin}HERE{end}"), 1);
    let items = vec![item; (LONGEST - text.len()) / (item.len() + 1)].join(",");
    text.replacen("HERE", &items, 1)
}

/// The most memory that a process has had, MiB.
fn peak_memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn four_of_the_longest_reviews_at_once_stay_well_below_the_memory_limit_of_the_chart() {
    let (app, list) = (["[{\"name\":\"app\",\"env\":[", "]}]"], ["[", "]"]);
    for (part, item, around, status) in [
        // As many values as are read, in parts that change.
        ("containers", "{\"name\":\"abcdefgh\",\"v\":\"abcdefg\"}", app, 200),
        ("initContainers", "{\"name\":\"abcdefgh\",\"v\":\"abcdefg\"}", app, 200),
        ("containers", "{\"name\":\"abcdefgh\",\"resources\":{}}", list, 200),
        ("volumes", "{\"name\":\"abcdefgh\",\"emptyDir\":{}}", list, 200),
        // More.
        ("containers", "{\"\":1}", app, 400),
        ("nodeSelector", "1", list, 400),
    ] {
        let webhook = Webhook::start().await;
        let body = large(part, item, around);
        assert!(body.len() > 3_000_000);
        let answers = futures_util::future::join_all((0..4).map(|_| send(&webhook, &body))).await;
        for answer in answers {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{part} of {item}: {answer}");
        }
        let peak = peak_memory(&webhook.child);
        assert!(peak < 160, "{part} of {item}: {peak} MiB");
    }
}

/// Announces a body of a length, and waits for nothing.
async fn begin(webhook: &Webhook, length: usize) -> Stream {
    let mut stream = webhook.client.shake().await.unwrap();
    let head =
        format!("POST /mutate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The beginning of the next answer.
async fn answer(stream: &mut Stream) -> String {
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).to_lowercase()
}

const CONTINUE: &str = "http/1.1 100 continue\r\n\r\n";

#[tokio::test]
async fn large_reviews_beyond_four_wait_and_are_told_to_retry_while_small_ones_are_answered() {
    let webhook = Webhook::start().await;
    let body = large("volumes", "{\"name\":\"abcdefgh\",\"emptyDir\":{}}", ["[", "]"]);
    let since = std::time::Instant::now();
    let mut begun = Vec::new();
    for _ in 0..4 {
        let mut stream = begin(&webhook, body.len()).await;
        assert_eq!(answer(&mut stream).await, CONTINUE);
        begun.push(stream);
    }
    // Four more will have their turn when those are too slow, and keep the last one waiting.
    let mut next = Vec::new();
    for _ in 0..4 {
        next.push(begin(&webhook, body.len()).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut last = begin(&webhook, body.len()).await;
    webhook.created(&pod(json!({}))).await;
    let mut too_long = webhook.client.shake().await.unwrap();
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n";
    too_long.write_all(head.as_bytes()).await.unwrap();
    let refused = answer(&mut too_long).await;
    assert!(refused.starts_with("http/1.1 413"), "what is refused anyway waits for nothing: {refused}");
    assert!(since.elapsed() < Duration::from_millis(2500), "{:?}", since.elapsed());
    let refused = answer(&mut last).await;
    assert!(refused.starts_with("http/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(since.elapsed() > Duration::from_secs(4), "{:?}", since.elapsed());
    for stream in &mut next {
        assert_eq!(answer(stream).await, CONTINUE);
    }
}

#[tokio::test]
async fn four_slow_senders_do_not_keep_a_large_review_from_its_answer() {
    let webhook = Webhook::start().await;
    let body = large("volumes", "{\"name\":\"abcdefgh\",\"emptyDir\":{}}", ["[", "]"]);
    let since = std::time::Instant::now();
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = begin(&webhook, body.len()).await;
        assert_eq!(answer(&mut stream).await, CONTINUE);
        slow.push(stream);
    }
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for stream in slow {
        let (reader, writer) = tokio::io::split(stream);
        readers.push(reader);
        writers.push(writer);
    }
    // They send a byte now and then.
    let trickle = tokio::spawn(async move {
        loop {
            for writer in &mut writers {
                let _ = writer.write_all(b" ").await;
                let _ = writer.flush().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let genuine = send(&webhook, &body).await;
    assert!(genuine.starts_with("HTTP/1.1 200 "), "{}", &genuine[..genuine.len().min(200)]);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    for mut reader in readers {
        let mut refused = vec![0; 512];
        let length = reader.read(&mut refused).await.unwrap();
        let refused = String::from_utf8_lossy(&refused[..length]);
        assert!(refused.starts_with("HTTP/1.1 408 ") && refused.contains("took longer than 3 s"), "{refused}");
    }
    trickle.abort();
}

#[tokio::test]
async fn the_work_and_the_lines_of_one_review_are_bounded_whatever_its_names_are() {
    let webhook = Webhook::start().await;
    let long = |part: &str| format!("lockside/{}{part}", "x".repeat(10_000));
    let many: serde_json::Map<String, Value> = (0..20_000).map(|at| (format!("lockside/x{at}"), json!(""))).collect();
    let mut labelled = pod(json!({}));
    labelled["metadata"]["labels"].as_object_mut().unwrap().extend(many.clone());
    let mut named = pod(json!({"lockside/cli": "x".repeat(100_000), "lockside/image": "X".repeat(100_000)}));
    named["metadata"]["name"] = json!("y".repeat(100_000));
    let mut valued = pod(json!({}));
    valued["metadata"]["labels"]["lockside/inject"] = json!("x".repeat(100_000));
    for (object, is_allowed) in [
        (pod(Value::from(many)), false),
        (pod((0..100).map(|at| (long(&at.to_string()), json!(""))).collect::<serde_json::Map<_, _>>().into()), false),
        (labelled, true),
        (named, false),
        (valued, false),
    ] {
        webhook.log.lock().unwrap().clear();
        let response = webhook.create(&object).await;
        assert_eq!(response["allowed"], is_allowed);
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert!(message.len() < 10_000 && message.matches("; annotation").count() < 20, "{}", message.len());
        let warnings = response["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(warnings, if is_allowed { 20 } else { 0 });
        let lines = webhook.log.lock().unwrap().clone();
        assert!(lines.len() <= 20 && lines.iter().all(|line| line.len() < 10_000), "{lines:?}");
    }
    let response = webhook.create(&pod(json!({long(""): ""}))).await;
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("xxx…`: there is none of this name") && message.len() < 500, "{message}");
}

#[tokio::test]
async fn a_review_may_be_of_three_mebibytes_and_no_longer() {
    const LONGEST: usize = 3 * 1024 * 1024;
    let webhook = Webhook::start().await;
    let mut object = pod(json!({"large": ""}));
    let bare = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                      "request": {"uid": "1", "operation": "CREATE", "object": object}});
    for (length, status) in [(LONGEST, 200), (LONGEST + 1, 413)] {
        object["metadata"]["annotations"]["large"] = json!("x".repeat(length - bare.to_string().len()));
        let mut review = bare.clone();
        review["request"]["object"] = object.clone();
        assert_eq!(review.to_string().len(), length);
        let answer = webhook.client.ask("POST", "/mutate", Some(&review)).await.unwrap();
        assert_eq!(answer.status, status);
    }
}
