//! `lockside inject` and `lockside webhook`: the sidecar in pods that ask for it, and nothing else changed.

mod annotations;
mod manifests;
mod text;
mod webhook;

use serde_json::{Value, json};

use crate::harness::{Finished, lockside_fed};

/// A pod that asks for the sidecar, with these annotations.
fn pod(annotations: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"lockside/inject": "true"}, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "busybox"}]},
    })
}

async fn inject(input: impl AsRef<[u8]>) -> Finished {
    lockside_fed(&["inject"], input).await
}

/// What becomes of one object, of which nothing is said. JSON is YAML, and stays JSON.
async fn injected(object: &Value) -> Value {
    let finished = inject(object.to_string()).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{object}");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// What is said of an object that stays as it is.
async fn left_alone(object: &Value) -> String {
    let finished = inject(object.to_string()).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout, object.to_string(), "it stays as it is");
    finished.stderr
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let items = list.as_array().unwrap_or_else(|| panic!("a list with `{name}`: {list}"));
    items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("`{name}` in {list}"))
}
