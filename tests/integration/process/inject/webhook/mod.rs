//! The webhook as the API server sees it: reviews over TLS, and the end of the process.

mod limits;

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::{injected, named, pod};
use crate::harness::{Authority, Scratch, Secure, lockside};

struct Webhook {
    child: Child,
    client: Secure,
    log: Arc<Mutex<Vec<String>>>,
    _scratch: Scratch,
}

impl Webhook {
    async fn start() -> Webhook {
        let scratch = Scratch::new();
        let (certificate, key) = Authority::shared().issue(&["localhost"]);
        let (certificate, key) = (scratch.file("tls.crt", certificate), scratch.file("tls.key", key));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.args(["webhook", "--listen", "127.0.0.1:0", "--tls-cert-file", &certificate, "--tls-key-file", &key]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("it listens");
            if let Some((_, rest)) = line.split_once("webhook=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Webhook { child, client: Secure::new(&address, None), log, _scratch: scratch }
    }

    async fn review(&self, request: Value) -> Value {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let answer = self.client.ask("POST", "/mutate?timeout=10s", Some(&review)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let review = answer.json();
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        assert_eq!(review["response"]["uid"], request["uid"]);
        review["response"].clone()
    }

    async fn create(&self, object: &Value) -> Value {
        self.review(json!({"uid": "1", "operation": "CREATE", "namespace": "team", "object": object})).await
    }

    /// The pod as it is after its review.
    async fn created(&self, object: &Value) -> Value {
        let response = self.create(object).await;
        assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")), "{response}");
        let patch = BASE64_STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        let mut made = object.clone();
        for operation in serde_json::from_slice::<Vec<Value>>(&patch).unwrap() {
            apply(&mut made, &operation);
        }
        made
    }
}

/// One operation of a JSON Patch.
fn apply(object: &mut Value, operation: &Value) {
    let (parent, key) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    let value = operation["value"].clone();
    match (operation["op"].as_str().unwrap(), object.pointer_mut(parent).expect("its parent is there")) {
        ("add", Value::Array(items)) => items.insert(key.parse().unwrap(), value),
        ("replace", Value::Array(items)) => items[key.parse::<usize>().unwrap()] = value,
        ("remove", Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
        ("add", Value::Object(entries)) => assert!(entries.insert(key, value).is_none()),
        ("replace", Value::Object(entries)) => assert!(entries.insert(key, value).is_some()),
        ("remove", Value::Object(entries)) => assert!(entries.remove(&key).is_some()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pod_is_created_as_inject_writes_it() {
    let webhook = Webhook::start().await;
    for annotations in [json!({}), json!({"lockside/cli": "true", "lockside/ops-port": "9500"})] {
        let object = pod(annotations);
        assert_eq!(webhook.created(&object).await, injected(&object).await);
    }
    let mut bare = pod(json!({}));
    bare["metadata"] = json!({"generateName": "web-", "labels": {"lockside/inject": "true"}});
    assert_eq!(webhook.created(&bare).await, injected(&bare).await);
}

#[tokio::test]
async fn asked_again_it_completes_what_another_webhook_has_added() {
    let webhook = Webhook::start().await;
    let mut made = webhook.created(&pod(json!({"lockside/cli": "true"}))).await;
    assert_eq!(webhook.create(&made).await, json!({"uid": "1", "allowed": true}));
    made["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "mesh", "image": "mesh"}));
    let again = webhook.created(&made).await;
    assert_eq!(named(&again["spec"]["containers"], "mesh")["volumeMounts"][0]["mountPath"], "/lockside/bin");
    assert_eq!(again["spec"]["initContainers"], made["spec"]["initContainers"]);
}

#[tokio::test]
async fn asked_again_it_keeps_what_others_have_changed_in_its_containers() {
    let webhook = Webhook::start().await;
    let mut made = webhook.created(&pod(json!({"lockside/cli": "true"}))).await;
    let annotations = made["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.insert("lockside/injected".to_owned(), json!("0.1.0"));
    for container in made["spec"]["initContainers"].as_array_mut().unwrap() {
        container["image"] = json!("mirror.example.com/lockside:1");
        container["resources"] = json!({"requests": {"cpu": "20m", "memory": "40Mi"}});
        container["env"] =
            json!([{"name": "MESH", "value": "1"}, {"name": "LOCKSIDE_LISTEN", "value": "127.0.0.1:7500"}]);
        container.as_object_mut().unwrap().remove("securityContext");
    }
    for volume in made["spec"]["volumes"].as_array_mut().unwrap() {
        volume["added"] = json!(true);
    }
    made["spec"]["containers"][0]["env"][0]["value"] = json!("http://127.0.0.1:15001");
    let response = webhook.create(&made).await;
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None), "{response}");
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("container `app` keeps its own LOCKSIDE_URL"), "{warning}");
    // What is missing of ours comes back, and a container that is new is served by the sidecar that there is.
    made["spec"]["containers"][0]["env"] = json!([]);
    made["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "mesh", "image": "mesh"}));
    let (sidecar, install) = (made["spec"]["initContainers"][0].clone(), made["spec"]["initContainers"][1].clone());
    made["spec"]["initContainers"] = json!([{"name": "mesh-init"}, sidecar]);
    made["spec"]["volumes"].as_array_mut().unwrap().pop();
    made["metadata"]["labels"].as_object_mut().unwrap().remove("lockside");
    let again = webhook.created(&made).await;
    let containers = &again["spec"]["initContainers"];
    assert_eq!((&containers[1], &containers[2]["name"]), (&sidecar, &install["name"]));
    assert_eq!(containers[2]["image"], sidecar["image"], "of the image that the sidecar has now");
    let url = json!([{"name": "LOCKSIDE_URL", "value": "http://127.0.0.1:7500"}]);
    for container in [&containers[0], &again["spec"]["containers"][0], &again["spec"]["containers"][1]] {
        assert_eq!((&container["env"], &container["volumeMounts"][0]["name"]), (&url, &json!("lockside-cli")));
    }
    assert_eq!(again["spec"]["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(again["metadata"]["labels"]["lockside"], "sidecar");
    assert_eq!(again["metadata"]["annotations"]["lockside/injected"], "0.1.0");
}

#[tokio::test]
async fn a_file_that_was_injected_with_a_command_line_keeps_it() {
    let webhook = Webhook::start().await;
    let mut made = injected(&pod(json!({"lockside/cli": "true"}))).await;
    made["metadata"]["annotations"].as_object_mut().unwrap().remove("lockside/cli");
    assert_eq!(webhook.create(&made).await, json!({"uid": "1", "allowed": true}));
}

#[tokio::test]
async fn what_is_not_to_change_is_allowed_without_a_patch() {
    let webhook = Webhook::start().await;
    let allowed = json!({"uid": "1", "allowed": true});
    let mut plain = pod(json!({}));
    plain["metadata"]["labels"] = json!({});
    for object in [plain, json!(null), json!({"kind": "Pod"}), json!(5), json!([])] {
        assert_eq!(webhook.create(&object).await, allowed, "{object}");
    }
    for request in [
        json!({"uid": "1", "operation": "UPDATE", "object": pod(json!({}))}),
        json!({"uid": "1", "operation": "DELETE", "object": null}),
        json!({"uid": "1", "operation": "CREATE", "subResource": "exec", "object": pod(json!({}))}),
    ] {
        assert_eq!(webhook.review(request.clone()).await, allowed, "{request}");
    }
    for spec in [json!(5), json!({}), json!({"containers": "app"}), json!({"containers": ["app"]})] {
        let mut malformed = pod(json!({}));
        malformed["spec"] = spec;
        let response = webhook.create(&malformed).await;
        assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None), "{malformed}");
    }
}

#[tokio::test]
async fn a_pod_on_the_network_of_its_host_is_allowed_with_a_warning() {
    let webhook = Webhook::start().await;
    let mut object = pod(json!({}));
    object["spec"]["hostNetwork"] = json!(true);
    let response = webhook.create(&object).await;
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("lockside: Pod `web`: left without a sidecar"), "{warning}");
}

#[tokio::test]
async fn a_wrong_annotation_is_refused_with_its_message() {
    let webhook = Webhook::start().await;
    let response = webhook.create(&pod(json!({"lockside/ops-port": "high", "lockside/cli": "1"}))).await;
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(false), None));
    let message = response["status"]["message"].as_str().unwrap();
    for said in ["annotation `lockside/ops-port`: `high`; expected a port", "annotation `lockside/cli`"] {
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let webhook = Webhook::start().await;
    let request = json!({"uid": "1", "operation": "CREATE"});
    for body in [
        json!({}),
        json!([]),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}),
        json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": request}),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "Pod", "request": request}),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": ""}}),
    ] {
        let answer = webhook.client.ask("POST", "/mutate", Some(&body)).await.unwrap();
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz?x", 200),
        ("POST", "/healthz", 405),
        ("GET", "/mutate", 405),
        ("GET", "/metrics", 404),
    ] {
        let answer = webhook.client.ask(method, path, None).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_that_the_pod_has_twice_is_refused_by_its_name() {
    let webhook = Webhook::start().await;
    let object = pod(json!({})).to_string();
    let object = object.replacen("\"spec\":{", "\"spec\":{\"initContainers\":[],\"initContainers\":[],", 1);
    let body = format!(
        "{{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{{\"uid\":\"1\",\
         \"operation\":\"CREATE\",\"object\":{object}}}}}"
    );
    let answer = send(&webhook, &body).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("no AdmissionReview: duplicate key `initContainers` at line 1 column "), "{answer}");
}

/// Sends a body as it is, and returns the answer with its head.
async fn send(webhook: &Webhook, body: &str) -> String {
    let mut stream = webhook.client.shake().await.unwrap();
    let length = body.len();
    let head =
        format!("POST /mutate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn at_sigterm_what_has_begun_is_answered() {
    let mut webhook = Webhook::start().await;
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                      "request": {"uid": "late", "operation": "CREATE", "object": pod(json!({}))}})
    .to_string();
    let mut stream = webhook.client.shake().await.unwrap();
    let length = body.len();
    let head =
        format!("POST /mutate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The request has begun once the server asks for its body.
    let mut answer = vec![0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut answer).await.unwrap();
    let id = i32::try_from(webhook.child.id().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), rustix::process::Signal::TERM).unwrap();
    let refused = async { while webhook.client.shake().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("it accepts no more");
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"uid\":\"late\""), "{answer}");
    let status = tokio::time::timeout(Duration::from_secs(10), webhook.child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn every_wrong_setting_is_told_in_one_run() {
    let scratch = Scratch::new();
    let missing = scratch.path("missing");
    let flags = ["webhook", "--listen", "127.0.0.1:0", "--tls-cert-file", &missing, "--tls-key-file", &missing];
    let finished = lockside(&[&flags[..], &["--image", "two words"]].concat()).await;
    assert_eq!(finished.code, Some(64));
    for flag in ["--tls-cert-file", "--image"] {
        assert!(finished.stderr.contains(flag), "{}", finished.stderr);
    }
    assert_eq!(lockside(&["webhook"]).await.code, Some(64));
}
